package durable

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
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

// forget lets go of the memory that the system keeps the file in, which is on stable
// storage: pages that were in use a moment ago are cheaper to write to than others.
func forget(f *os.File) {
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // it is no more than advice
}
