//go:build !linux

package durable

import (
	"io/fs"
	"os"
)

// SyncData makes the data written to f durable.
func SyncData(f *os.File) error { return f.Sync() }

func forget(*os.File) {}

// SameFile returns the size of the file at path, and whether it is the one that info is of.
func SameFile(path string, info fs.FileInfo) (size int64, same bool, err error) {
	return sameByStat(path, info)
}
