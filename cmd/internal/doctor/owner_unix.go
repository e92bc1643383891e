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
