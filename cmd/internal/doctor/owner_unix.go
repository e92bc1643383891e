//go:build linux || darwin

package doctor

import (
	"io/fs"
	"syscall"
)

// ownerOf is the user id of a file's owner.
func ownerOf(info fs.FileInfo) (uid uint32, known bool) {
	if of, ok := info.Sys().(*syscall.Stat_t); ok {
		return of.Uid, true
	}
	return 0, false
}

// sameDisk reports whether two files are on one file system.
func sameDisk(one, other fs.FileInfo) bool {
	a, known := one.Sys().(*syscall.Stat_t)
	b, too := other.Sys().(*syscall.Stat_t)
	return known && too && a.Dev == b.Dev
}
