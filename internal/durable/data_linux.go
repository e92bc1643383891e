package durable

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// SyncData makes the data written to f durable, but only the metadata that is needed to read it
// again. Overwriting existing blocks needs none.
func SyncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// forget tells the kernel to drop the page cache of f, whose content is durable. Recently used
// pages are cheaper to allocate for the next file.
func forget(f *os.File) {
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // the advice may be ignored
}
