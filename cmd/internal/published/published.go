// Package published opens audit logs on disks and in archives: the folder of a server together
// with the archive of its earlier part, and an archive alone.
package published

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/archive/s3archive"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/cmd/internal/datadir"
)

// ArchiveHelp is the help of a flag that names an archive to read from.
const ArchiveHelp = "`DIR` or s3://BUCKET/PREFIX with the earlier part of the log (default the " +
	"archive of the server whose data folder DIR is in)"

const s3Scheme = "s3:"

// Objects returns what an archive is kept in: a folder, which must exist, or s3://BUCKET/PREFIX. It
// asks for nothing there.
func Objects(ctx context.Context, location string) (archive.Objects, error) {
	if strings.HasPrefix(location, s3Scheme) {
		bucket, err := s3archive.Open(ctx, location)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", datadir.ErrUsage, err)
		}
		return bucket, nil
	}
	root, err := filepath.Abs(location)
	if err != nil {
		return nil, err
	}
	return archive.NewFolder(root), nil
}

// Archive returns the archive at a location.
func Archive(ctx context.Context, location string) (*archive.Archive, error) {
	objects, err := Objects(ctx, location)
	if err != nil {
		return nil, err
	}
	return archive.New(objects), nil
}

// IsArchive reports whether a log is to be read from an archive alone: s3://…, or a folder with
// chapters and no checkpoint beside them.
func IsArchive(where string) bool {
	if strings.HasPrefix(where, s3Scheme) {
		return true
	}
	_, chapters := os.Stat(filepath.Join(where, "chapter"))
	_, signed := os.Stat(filepath.Join(where, checkpoint.File))
	return chapters == nil && signed != nil
}

// Files returns the log in the folder dir, whose earlier part is in the archive at location. An
// empty location is that of the server whose data folder dir is in.
func Files(ctx context.Context, dir, location string) (audit.Files, error) {
	if location == "" {
		noted, err := datadir.At(filepath.Dir(filepath.Clean(dir))).Archived().Read()
		if err != nil {
			return nil, err
		}
		if noted != nil {
			location = noted.Location
		}
	}
	return Over(ctx, audit.Dir(dir), location)
}

// Over returns a log whose earlier part is in the archive at location, empty for none.
func Over(ctx context.Context, hot audit.Files, location string) (audit.Files, error) {
	if location == "" {
		return archive.Over(hot, nil), nil
	}
	archived, err := Archive(ctx, location)
	if err != nil {
		return nil, err
	}
	return archive.Over(hot, archived), nil
}
