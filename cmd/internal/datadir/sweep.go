package datadir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A killed process leaves files with temporary names, and copies of the vault from an
// unfinished backup, snapshot, compaction or import. Only the program that has locked the folder
// creates them. So those that exist when the lock is taken belong to no running program. Symbolic
// links are never followed.

// temporary is the prefix of temporary names of package durable.
const temporary = ".tmp-"

// Sweep removes the unfinished files of an earlier process, except for tiles of the audit log,
// and returns their names. Call it right after locking the folder.
func (d *Dir) Sweep() (removed []string, err error) {
	left, err := d.Leftovers()
	for _, path := range left {
		failed := os.RemoveAll(d.Path(path)) // does not follow links
		if err = errors.Join(err, failed); failed == nil {
			removed = append(removed, path)
		}
	}
	return removed, err
}

// Leftovers lists the files that Sweep would remove. It must be called only if no process has
// locked the folder.
func (d *Dir) Leftovers() (left []string, err error) {
	for _, folder := range []string{"", "keys", "ca", "tls", "audit", snapshots} {
		names, failed := os.ReadDir(d.Path(folder))
		if errors.Is(failed, fs.ErrNotExist) {
			continue
		}
		err = errors.Join(err, failed)
		for _, e := range names {
			path := filepath.Join(folder, e.Name())
			switch {
			case e.Type().IsRegular() && (strings.HasPrefix(e.Name(), temporary) || folder == "" &&
				unfinished(e.Name())):
				left = append(left, path)
			case e.IsDir() && folder == "" && strings.HasPrefix(e.Name(), ".backup-"):
				left = append(left, path)
			case folder == snapshots && strings.HasPrefix(e.Name(), "."):
				left = append(left, path) // being taken, or fetched
			}
		}
	}
	return left, err
}

// unfinished reports whether a file in the root of the folder is an unfinished vault.
func unfinished(name string) bool { return name == "vault.db.compact" || name == "vault.db.part" }

// SweepTiles removes unfinished files of the published log from before a time. A long log has
// many folders, so this is done while the server runs.
func (d *Dir) SweepTiles(ctx context.Context, before time.Time) (removed int, err error) {
	err = d.eachLeftTile(ctx, func(path string, e fs.DirEntry) error {
		if info, err := e.Info(); err != nil || !info.ModTime().Before(before) {
			return nil
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		removed++
		return nil
	})
	return removed, err
}

// LeftTiles counts the files that SweepTiles would remove. It must be called only if no process
// has locked the folder.
func (d *Dir) LeftTiles(ctx context.Context) (left int, err error) {
	err = d.eachLeftTile(ctx, func(string, fs.DirEntry) error { left++; return nil })
	return left, err
}

func (d *Dir) eachLeftTile(ctx context.Context,
	visit func(path string, e fs.DirEntry) error,
) error {
	return filepath.WalkDir(d.Path("audit", "tile"), func(path string, e fs.DirEntry,
		err error,
	) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // a partial tile that was superseded during the walk
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), temporary):
			return nil
		}
		return visit(path, e)
	})
}
