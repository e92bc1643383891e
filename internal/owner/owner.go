// Package owner says whose a file is, and what others may do with it, where the
// system tells: it does on Linux and macOS, in an owner and permission bits. On
// Windows a file has a list of rights instead, which is not read here.
package owner

import (
	"errors"
	"io/fs"
)

// ErrUnknown reports that the system does not tell whose a file is.
var ErrUnknown = errors.New("this system does not tell whose a file is")

// Permission bits of everybody but the owner.
const (
	othersAny   fs.FileMode = 0o077
	othersWrite fs.FileMode = 0o022
)

// OthersMayUse reports whether others than the owner may do anything with a file. It
// is false where the system has no permission bits.
func OthersMayUse(info fs.FileInfo) bool { return Known && info.Mode()&othersAny != 0 }

// OthersMayWrite reports whether others than the owner may change a file. It is false
// where the system has no permission bits.
func OthersMayWrite(info fs.FileInfo) bool { return Known && info.Mode()&othersWrite != 0 }
