//go:build linux || darwin

package doctor

import (
	"io/fs"
	"syscall"
)

// freeBytes is how many bytes are free for the caller on the disk that path is on.
func freeBytes(path string) (uint64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(path, &fs); err != nil {
		return 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

// ownerOf is the user that a file belongs to.
func ownerOf(info fs.FileInfo) (uid uint32, known bool) {
	if of, ok := info.Sys().(*syscall.Stat_t); ok {
		return of.Uid, true
	}
	return 0, false
}
