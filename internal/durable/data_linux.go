package durable

import (
	"errors"
	"os"
	"syscall"
)

// SyncData puts what was written to f on stable storage, and of its metadata only
// what is needed to read that again: where blocks are overwritten, nothing.
func SyncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
