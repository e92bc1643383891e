//go:build unix

package owner

import (
	"io/fs"
	"os"
	"syscall"
)

// Known reports whether the system has owners and permission bits.
const Known = true

// IsCaller reports whether the caller owns a file.
func IsCaller(info fs.FileInfo) bool {
	uid, ok := uidOf(info)
	return ok && uid == os.Geteuid()
}

// IsCallerOrRoot reports whether the caller or root, who can change any file anyway, owns a
// file.
func IsCallerOrRoot(info fs.FileInfo) bool {
	uid, ok := uidOf(info)
	return ok && (uid == 0 || uid == os.Geteuid())
}

func uidOf(info fs.FileInfo) (int, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
