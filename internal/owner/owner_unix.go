//go:build unix

package owner

import (
	"io/fs"
	"os"
	"syscall"
)

// Known says that the system has owners and permission bits.
const Known = true

// IsCaller reports whether a file is the caller's own.
func IsCaller(info fs.FileInfo) bool {
	uid, ok := uidOf(info)
	return ok && uid == os.Geteuid()
}

// IsCallerOrRoot reports whether a file is the caller's own, or root's, who may change
// every file.
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
