package durable

import (
	"errors"
	"io/fs"
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

// SameFile returns the size of the file at path, and whether it is the one that info is of. It
// does not ask for the times of the file: since Linux 6.13 a write changes times that somebody has
// asked for, however short ago it changed them before, and where a sync has to write those too it
// takes the disk half as long again.
func SameFile(path string, info fs.FileInfo) (size int64, same bool, err error) {
	var now unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_SIZE, &now) != nil {
		return sameByStat(path, info) // its error says more, and there may be no statx
	}
	of := info.Sys().(*syscall.Stat_t)
	same = now.Ino == of.Ino && unix.Mkdev(now.Dev_major, now.Dev_minor) == uint64(of.Dev)
	return int64(now.Size), same, nil
}
