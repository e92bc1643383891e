//go:build !linux && !darwin

package doctor

import "io/fs"

// ownerOf is unknown on systems without owners.
func ownerOf(fs.FileInfo) (uid uint32, known bool) { return 0, false }

// sameDisk is unknown there.
func sameDisk(fs.FileInfo, fs.FileInfo) bool { return false }
