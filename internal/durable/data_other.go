//go:build !linux

package durable

import "os"

// SyncData makes the data written to f durable.
func SyncData(f *os.File) error { return f.Sync() }

func forget(*os.File) {}
