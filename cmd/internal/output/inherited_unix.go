//go:build unix

package output

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// inherited returns the descriptor that path stands for, such as 1 for /dev/stdout. Opening
// the name would write a file from its beginning, over earlier output, and cannot open a
// socket at all.
func inherited(name string) (fd int, ok bool) {
	name = path.Clean(filepath.ToSlash(name))
	switch name {
	case "/dev/stdout":
		return 1, true
	case "/dev/stderr":
		return 2, true
	}
	for _, folder := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if number, found := strings.CutPrefix(name, folder); found {
			fd, err := strconv.ParseUint(number, 10, 16)
			return int(fd), err == nil
		}
	}
	return 0, false
}

// duplicate returns a copy of the descriptor, which can be closed without closing the
// original.
func duplicate(fd int, name string) (*os.File, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	own, err := syscall.Dup(fd)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	syscall.CloseOnExec(own)
	return os.NewFile(uintptr(own), name), nil
}
