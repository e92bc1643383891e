//go:build !linux && !darwin

package doctor

import (
	"errors"
	"io/fs"
)

// freeBytes is not known where no server runs.
func freeBytes(string) (uint64, error) { return 0, errors.ErrUnsupported }

// ownerOf is not known where files have no owner.
func ownerOf(fs.FileInfo) (uid uint32, known bool) { return 0, false }
