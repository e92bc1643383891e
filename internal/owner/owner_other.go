//go:build !unix

package owner

import "io/fs"

// Known reports whether the system has owners and permission bits.
const Known = false

// IsCaller is false, because the system does not report owners.
func IsCaller(fs.FileInfo) bool { return false }

// IsCallerOrRoot is false, because the system does not report owners.
func IsCallerOrRoot(fs.FileInfo) bool { return false }
