// Package owner reports who owns a file and what other users may do with it, on systems with
// owners and permission bits: Linux and macOS. Windows has access control lists instead, which
// are not read here.
package owner

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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

// Exposed reports whether users other than the owner may access a secret. A credential that systemd
// gives to a service is root's, and readable by the user of the service through a list of rights,
// which its mode shows as a right of the group.
func Exposed(path string, info fs.FileInfo) bool {
	given := os.Getenv("CREDENTIALS_DIRECTORY")
	if given != "" && filepath.Dir(path) == filepath.Clean(given) && info.Mode()&0o037 == 0 {
		return false
	}
	return OthersMayUse(info)
}

// OthersMayWrite reports whether users other than the owner may change a file. It is false on
// systems without permission bits.
func OthersMayWrite(info fs.FileInfo) bool { return Known && info.Mode()&othersWrite != 0 }
