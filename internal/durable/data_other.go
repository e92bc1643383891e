//go:build !linux

package durable

import "os"

// SyncData puts what was written to f on stable storage.
func SyncData(f *os.File) error { return f.Sync() }

func forget(*os.File) {}
