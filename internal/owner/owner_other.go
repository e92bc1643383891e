//go:build !unix

package owner

import "io/fs"

// Known says that the system has owners and permission bits.
const Known = false

// IsCaller is false: the system does not tell.
func IsCaller(fs.FileInfo) bool { return false }

// IsCallerOrRoot is false: the system does not tell.
func IsCallerOrRoot(fs.FileInfo) bool { return false }
