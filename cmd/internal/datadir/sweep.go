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

// What a process that was killed leaves behind: files on their way to another name, and
// copies of the vault that a backup, a compaction or an import had begun. Only the
// program that holds the lock of the folder makes them, so those that are there when the lock
// is taken belong to no program any more. Links are never followed.

// temporary is how package durable begins the name of a file on its way to another one.
const temporary = ".tmp-"

// Sweep removes what an earlier process left unfinished, but for the tiles of the audit log,
// and returns the names. Call it before anything is begun.
func (d *Dir) Sweep() (removed []string, err error) {
	left, err := d.Leftovers()
	for _, path := range left {
		failed := os.RemoveAll(d.Path(path)) // which follows no links
		if err = errors.Join(err, failed); failed == nil {
			removed = append(removed, path)
		}
	}
	return removed, err
}

// Leftovers names what Sweep removes, if no process has the folder.
func (d *Dir) Leftovers() (left []string, err error) {
	for _, folder := range []string{"", "keys", "ca", "tls", "audit"} {
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
			}
		}
	}
	return left, err
}

// unfinished reports whether a file in the root of the folder is a vault on its way.
func unfinished(name string) bool { return name == "vault.db.compact" || name == "vault.db.part" }

// SweepTiles removes files of the published log that were on their way before a moment. The
// folders of a long log are many, so it is done while the server runs.
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

// LeftTiles counts what SweepTiles removes, if no process has the folder.
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
		case errors.Is(err, fs.ErrNotExist): // a partial tile that was superseded meanwhile
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
