package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/internal/durable"
)

// Files are the files of a published log.
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

var errTooLarge = errors.New("larger than such a file can be")

// Dir is a log in a folder. Only regular files count: a link, a pipe or a
// device in place of one is not followed and not waited for.
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
		return nil, errTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, unwrapPath(err)
	}
	if int64(len(data)) > limit { // it grew since
		return nil, errTooLarge
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

// HTTP is a log that a server serves.
type HTTP struct {
	Client *http.Client
	Base   string // the URL that names are appended to, with a slash at its end
}

// maxBundleBytes is the size of a complete bundle of the longest entries.
const maxBundleBytes = merkle.TileWidth * (2 + MaxEntryBytes)

// maxStrangers bounds the warnings about files that do not belong to the log.
const maxStrangers = 10

// strangers returns warnings about files that a log of this size does not
// need: tiles beyond it, partial tiles that wider ones have replaced, and
// what is no file of a log at all.
func (d Dir) strangers(size int64) []string {
	var warnings []string
	more, superseded := 0, 0
	// What cannot be listed was not needed, or would have been missed.
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
		case name == checkpoint.File, name == checkpoint.KeyFile, name == checkpoint.WitnessedFile:
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
		if len(warnings) < maxStrangers {
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

// A RefusedError is the answer of a server that does not give a file out.
type RefusedError struct {
	StatusCode int
	Sentence   string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the server refuses: %s (%d)", e.Sentence, e.StatusCode)
}

// maxSentence bounds what is read of an answer that is no file, in bytes.
const maxSentence = 512

// ReadFile implements Files. A connection that breaks or stalls, and a server that
// fails, say nothing about the log: it asks once more, and returns a *url.Error then.
func (h HTTP) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, err := h.ask(ctx, name, limit)
	var lost *url.Error
	if errors.As(err, &lost) && ctx.Err() == nil {
		data, err = h.ask(ctx, name, limit)
	}
	return data, err
}

func (h HTTP) ask(ctx context.Context, name string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.Base+name, nil)
	if err != nil {
		return nil, err
	}
	resp, err := h.Client.Do(req)
	if err != nil {
		return nil, err // says what was asked of whom
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, &FileError{name, fs.ErrNotExist}
	case resp.StatusCode != http.StatusOK:
		data, _ := io.ReadAll(io.LimitReader(resp.Body, maxSentence)) // as far as it goes
		sentence, _, _ := strings.Cut(string(data), "\n")
		refused := &RefusedError{resp.StatusCode, sentence}
		if resp.StatusCode >= http.StatusInternalServerError {
			return nil, &url.Error{Op: "Get", URL: h.Base + name, Err: errors.New(refused.Error())}
		}
		return nil, refused
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, &url.Error{Op: "Get", URL: h.Base + name, Err: err}
	case int64(len(data)) > limit:
		return nil, &FileError{name, errTooLarge}
	}
	return data, nil
}

// readTile reads the hashes of a tile, or the bytes of a bundle. A publisher deletes a
// partial tile some time after the log has grown: a wider one, which has the same
// beginning, then stands in for it. So a log is read at one size to the end, however
// long that takes and however much the log grows meanwhile. held is how many hashes or
// entries the file that was read is to hold.
func readTile(ctx context.Context, files Files, t merkle.Tile) (data []byte, held int, err error) {
	limit := int64(merkle.TileBytes)
	if t.Level < 0 {
		limit = maxBundleBytes
	}
	data, err = files.ReadFile(ctx, t.Path(), limit)
	if t.Width == merkle.TileWidth || !errors.Is(err, fs.ErrNotExist) {
		return data, t.Width, err
	}
	gone := err
	for width := t.Width; ; {
		full := merkle.Tile{Level: t.Level, N: t.N, Width: merkle.TileWidth}
		if data, err := files.ReadFile(ctx, full.Path(), limit); !errors.Is(err, fs.ErrNotExist) {
			return data, merkle.TileWidth, err
		}
		// Today's checkpoint names today's tile. It need not be verified for that: what
		// is read there is held against the signed root, like every tile. The width only
		// grows, so this ends.
		now, err := publishedSize(ctx, files)
		if err != nil {
			return nil, 0, err
		}
		wider := merkle.TileAt(now, t.Level, t.N)
		if wider.Width <= width {
			return widerInDir(ctx, files, t, limit, gone)
		}
		data, err := files.ReadFile(ctx, wider.Path(), limit)
		if !errors.Is(err, fs.ErrNotExist) {
			return data, wider.Width, err
		}
		width = wider.Width
	}
}

// widerInDir looks for any wider tile in a folder, whose checkpoint may be an older one
// than its tiles. It returns gone when there is none.
func widerInDir(
	ctx context.Context, files Files, t merkle.Tile, limit int64, gone error,
) (data []byte, held int, err error) {
	dir, listable := files.(Dir)
	if !listable {
		return nil, 0, gone
	}
	for width := t.Width + 1; width < merkle.TileWidth; width++ {
		wider := merkle.Tile{Level: t.Level, N: t.N, Width: width}
		if data, err := dir.ReadFile(ctx, wider.Path(), limit); err == nil {
			return data, width, nil
		}
	}
	return nil, 0, gone
}

// publishedSize is the size that the published checkpoint claims, and 0 when there is
// none that can be read.
func publishedSize(ctx context.Context, files Files) (int64, error) {
	_, c, err := ReadCheckpoint(ctx, files)
	var file *FileError
	if errors.As(err, &file) || errors.Is(err, checkpoint.ErrNoCheckpoint) {
		return 0, nil
	}
	return c.Size, err
}

// readHashes is readTile for a tile of hashes, taken apart.
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
