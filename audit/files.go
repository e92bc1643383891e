package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/internal/durable"
)

// Files are the files of a published log. They may be read concurrently.
type Files interface {
	// ReadFile returns the content of the file with this slash-separated name.
	// It returns an error that is fs.ErrNotExist when there is none, and an
	// error when it has more than limit bytes.
	ReadFile(ctx context.Context, name string, limit int64) ([]byte, error)
}

// A FileError says that a file of a log could not be used.
type FileError struct {
	Name string
	Err  error
}

// Error implements error.
func (e *FileError) Error() string { return e.Name + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

var (
	// ErrTooLarge reports a file that is larger than such a file can be.
	ErrTooLarge = errors.New("larger than such a file can be")

	// ErrUnreachable reports an archive that could not be asked for a file. It says nothing about
	// the log.
	ErrUnreachable = errors.New("cannot be reached")
)

// Dir is a log in a folder. It reads only regular files: it does not follow a symbolic link, or
// block on a pipe or device.
type Dir string

// ReadFile implements Files.
func (d Dir) ReadFile(_ context.Context, name string, limit int64) ([]byte, error) {
	data, err := readRegular(filepath.Join(string(d), filepath.FromSlash(name)), limit)
	if err != nil {
		return nil, &FileError{name, err}
	}
	return data, nil
}

func readRegular(path string, limit int64) ([]byte, error) {
	f, info, err := durable.OpenRegular(path)
	if err != nil {
		return nil, unwrapPath(err)
	}
	defer f.Close()
	if info.Size() > limit {
		return nil, ErrTooLarge
	}
	data, err := durable.ReadAll(f, info.Size(), limit+1)
	if err != nil {
		return nil, unwrapPath(err)
	}
	if int64(len(data)) > limit { // it grew since
		return nil, ErrTooLarge
	}
	return data, nil
}

// unwrapPath takes the path off an error, because FileError names the file.
func unwrapPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// folderOf returns the folder of a log, of which the earlier part may be elsewhere.
func folderOf(files Files) (Dir, bool) {
	if layered, is := files.(interface{ Hot() Files }); is {
		files = layered.Hot()
	}
	dir, is := files.(Dir)
	return dir, is
}

// maxBundleBytes is the size of a complete bundle of the longest entries.
const maxBundleBytes = merkle.TileWidth * (2 + MaxEntryBytes)

// maxUnexpected bounds the warnings about files that do not belong to the log.
const maxUnexpected = 10

// unexpected returns warnings about files that a log of this size does not need: tiles beyond
// the size, partial tiles that wider tiles have replaced, and files that are not part of a log.
func (d Dir) unexpected(size int64) []string {
	var warnings []string
	more, superseded := 0, 0
	// A folder that cannot be listed is no error here: the walk has already read each file that the
	// log needs.
	filepath.WalkDir(string(d), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		name, err := filepath.Rel(string(d), path)
		if err != nil {
			return nil
		}
		name = filepath.ToSlash(name)
		why := "is no file of the log"
		switch t, isTile := merkle.ParsePath(name); {
		case name == checkpoint.File, name == checkpoint.KeyFile, name == checkpoint.WitnessedFile,
			name == checkpoint.PrunedFile:
			return nil
		case !isTile:
		case t == merkle.TileAt(size, t.Level, t.N):
			return nil
		case t.Width > merkle.TileAt(size, t.Level, t.N).Width:
			why = "is beyond the signed size"
		default:
			superseded++ // a publisher leaves some for a moment
			return nil
		}
		if len(warnings) < maxUnexpected {
			warnings = append(warnings, name+" "+why)
		} else {
			more++
		}
		return nil
	})
	if more > 0 {
		warnings = append(warnings,
			fmt.Sprintf("and %d more files that the log does not need", more))
	}
	if superseded > 0 {
		warnings = append(warnings, fmt.Sprintf("%d partial tiles have been superseded and not "+
			"been deleted yet", superseded))
	}
	return warnings
}

// readTile reads the hashes of a tile, or the bytes of a bundle, and reports how many hashes or
// entries the file must hold.
//
// A publisher deletes a partial tile some time after the log has grown. A wider tile, which
// begins with the same hashes, then takes its place. So a log can be read at one size to the
// end while it grows.
func readTile(ctx context.Context, files Files, t merkle.Tile) (data []byte, held int, err error) {
	limit := int64(merkle.TileBytes)
	if t.Level < 0 {
		limit = maxBundleBytes
	}
	data, err = files.ReadFile(ctx, t.Path(), limit)
	if t.Width == merkle.TileWidth || !errors.Is(err, fs.ErrNotExist) {
		return data, t.Width, err
	}
	missing := err
	for width := t.Width; ; {
		full := merkle.Tile{Level: t.Level, N: t.N, Width: merkle.TileWidth}
		if data, err := files.ReadFile(ctx, full.Path(), limit); !errors.Is(err, fs.ErrNotExist) {
			return data, merkle.TileWidth, err
		}
		// The current checkpoint names the current tile. It need not be verified, because every
		// tile is compared with the signed root anyway. The width grows with each iteration, so the
		// loop ends.
		now, err := publishedSize(ctx, files)
		if err != nil {
			return nil, 0, err
		}
		wider := merkle.TileAt(now, t.Level, t.N)
		if wider.Width <= width {
			return widerInDir(ctx, files, t, limit, missing)
		}
		data, err := files.ReadFile(ctx, wider.Path(), limit)
		if !errors.Is(err, fs.ErrNotExist) {
			return data, wider.Width, err
		}
		width = wider.Width
	}
}

// widerInDir looks for any wider tile in a folder, where a checkpoint can be older than the
// tiles. It returns the error missing if there is none.
func widerInDir(
	ctx context.Context, files Files, t merkle.Tile, limit int64, missing error,
) (data []byte, held int, err error) {
	dir, listable := folderOf(files)
	if !listable {
		return nil, 0, missing
	}
	for width := t.Width + 1; width < merkle.TileWidth; width++ {
		wider := merkle.Tile{Level: t.Level, N: t.N, Width: width}
		if data, err := dir.ReadFile(ctx, wider.Path(), limit); err == nil {
			return data, width, nil
		}
	}
	return nil, 0, missing
}

// publishedSize is the size in the published checkpoint, and 0 if there is no readable
// checkpoint.
func publishedSize(ctx context.Context, files Files) (int64, error) {
	_, c, err := ReadCheckpoint(ctx, files)
	var file *FileError
	if errors.As(err, &file) || errors.Is(err, checkpoint.ErrNoCheckpoint) {
		return 0, nil
	}
	return c.Size, err
}

// readHashes is readTile for a tile of hashes.
func readHashes(ctx context.Context, files Files, t merkle.Tile) ([]merkle.Hash, error) {
	data, held, err := readTile(ctx, files, t)
	if err != nil {
		return nil, err
	}
	hashes, ok := merkle.SplitHashes(data, t.Width, held)
	if !ok {
		return nil, &FileError{t.Path(), fmt.Errorf("holds %d bytes, not %d hashes",
			len(data), held)}
	}
	return hashes, nil
}
