// Package owner reports who owns a file and what other users may do with it, on systems with
// owners and permission bits: Linux and macOS. Windows has access control lists instead, which
// are not read here.
package owner

import (
	"errors"
	"io/fs"
)

// ErrUnknown reports that the system does not report the owner of a file.
var ErrUnknown = errors.New("this system does not tell whose a file is")

// Permission bits of users other than the owner.
const (
	othersAny   fs.FileMode = 0o077
	othersWrite fs.FileMode = 0o022
)

// OthersMayUse reports whether users other than the owner may access a file. It is false on
// systems without permission bits.
func OthersMayUse(info fs.FileInfo) bool { return Known && info.Mode()&othersAny != 0 }

// OthersMayWrite reports whether users other than the owner may change a file. It is false on
// systems without permission bits.
func OthersMayWrite(info fs.FileInfo) bool { return Known && info.Mode()&othersWrite != 0 }
