package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
)

var (
	// ErrEmpty reports an archive without a complete chapter.
	ErrEmpty = errors.New("the archive has no complete chapter")

	// ErrConflict reports an object with other content than the one to be written.
	ErrConflict = errors.New("the archive has other content under this name")

	// ErrOtherLog reports an archive of another log.
	ErrOtherLog = errors.New("the archive belongs to another log")

	// ErrAhead reports an archive with a newer chapter than the log that is to be archived.
	ErrAhead = errors.New("the archive is ahead of the log")
)

// The names of objects besides the tiles of the log.
const (
	chaptersPrefix = "chapter/"
	sizeDigits     = 16
	snapshotName   = "snapshot"
)

// An Archive is the log and the snapshots in Objects. It implements audit.Files: the checkpoint and
// the key are those of the newest complete chapter.
type Archive struct {
	objects Objects

	mu     sync.Mutex
	newest *Chapter // guarded by mu; nil until it was looked for
}

// New returns the archive in objects.
func New(objects Objects) *Archive { return &Archive{objects: objects} }

// String is the location for people.
func (a *Archive) String() string { return a.objects.String() }

// A Chapter is what one archiving added. It is complete if it was read from an archive.
type Chapter struct {
	checkpoint.Checkpoint
	Signed []byte // the checkpoint, with the cosignatures that there were
	Key    string // the public keys beside it, one a line, which an attacker can replace as well
}

// folder is the prefix of the names of a chapter's objects.
func chapterFolder(size int64) string {
	return fmt.Sprintf("%s%0*d/", chaptersPrefix, sizeDigits, size)
}

// SnapshotName is the name of the snapshot of the chapter of this size.
func SnapshotName(size int64) string { return chapterFolder(size) + snapshotName }

// parseChapter reads the size from the name of a chapter's checkpoint.
func parseChapter(name string) (size int64, ok bool) {
	digits, ok := strings.CutSuffix(strings.TrimPrefix(name, chaptersPrefix), "/"+checkpoint.File)
	size, err := strconv.ParseInt(digits, 10, 64)
	return size, ok && err == nil && size > 0 && name == chapterFolder(size)+checkpoint.File
}

// Sizes returns the sizes of the complete chapters, the oldest first.
func (a *Archive) Sizes(ctx context.Context) ([]int64, error) {
	var sizes []int64
	err := a.objects.List(ctx, chaptersPrefix, func(name string) error {
		if size, is := parseChapter(name); is {
			sizes = append(sizes, size)
		}
		return nil
	})
	return sizes, err
}

// Chapter reads the complete chapter of this size. It verifies no signature.
func (a *Archive) Chapter(ctx context.Context, size int64) (Chapter, error) {
	c := Chapter{}
	for name, to := range map[string]func([]byte){
		checkpoint.File:    func(b []byte) { c.Signed = b },
		checkpoint.KeyFile: func(b []byte) { c.Key = strings.TrimSpace(string(b)) },
	} {
		data, err := a.readObject(ctx, chapterFolder(size)+name, checkpoint.MaxBytes)
		if err != nil {
			return c, err
		}
		to(data)
	}
	var err error
	if c.Checkpoint, err = checkpoint.Parse(c.Signed); err == nil && c.Size != size {
		err = fmt.Errorf("signs %d entries", c.Size)
	}
	if err != nil {
		return c, &audit.FileError{Name: chapterFolder(size) + checkpoint.File, Err: err}
	}
	return c, nil
}

// Newest reads the newest complete chapter. It returns ErrEmpty if there is none.
func (a *Archive) Newest(ctx context.Context) (Chapter, error) {
	sizes, err := a.Sizes(ctx)
	if err != nil {
		return Chapter{}, err
	}
	if len(sizes) == 0 {
		return Chapter{}, fmt.Errorf("%s: %w", a, ErrEmpty)
	}
	c, err := a.Chapter(ctx, sizes[len(sizes)-1])
	if err == nil {
		a.mu.Lock()
		a.newest = &c
		a.mu.Unlock()
	}
	return c, err
}

// ReadFile implements audit.Files. An archive without a chapter is unreachable, because a disk that
// is not mounted and a bucket of another name look like that.
func (a *Archive) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	a.mu.Lock()
	newest := a.newest
	a.mu.Unlock()
	if newest == nil || name == checkpoint.File {
		c, err := a.Newest(ctx)
		switch {
		case errors.Is(err, ErrEmpty):
			return nil, fmt.Errorf("the archive %s %w: it has no complete chapter", a,
				audit.ErrUnreachable)
		case err != nil:
			return nil, err
		}
		newest = &c
	}
	return a.At(*newest).ReadFile(ctx, name, limit)
}

// At returns the log as it was at a chapter.
func (a *Archive) At(c Chapter) audit.Files { return at{a, c} }

type at struct {
	archive *Archive
	chapter Chapter
}

// ReadFile implements audit.Files.
func (f at) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	switch name {
	case checkpoint.File:
		return f.chapter.Signed, nil
	case checkpoint.KeyFile:
		return []byte(f.chapter.Key + "\n"), nil
	case checkpoint.WitnessedFile: // its cosignatures are on the checkpoint
		return nil, &audit.FileError{Name: name, Err: fs.ErrNotExist}
	}
	return f.archive.readObject(ctx, name, limit)
}

// readObject reads an object. It returns an audit.FileError for one that is missing or unusable.
func (a *Archive) readObject(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, err := a.objects.Get(ctx, name, limit)
	if err == nil || errors.Is(err, audit.ErrUnreachable) || ctx.Err() != nil {
		return data, err
	}
	return nil, &audit.FileError{Name: name, Err: err}
}

// Snapshot writes the snapshot of a chapter to w, and returns its size and SHA-256.
func (a *Archive) Snapshot(ctx context.Context, c Chapter, w io.Writer) (size int64,
	sum [sha256.Size]byte, err error,
) {
	h := sha256.New()
	name := SnapshotName(c.Size)
	size, err = a.objects.Copy(ctx, name, io.MultiWriter(w, h))
	if err != nil {
		return size, sum, fmt.Errorf("%s: %w", name, err)
	}
	return size, [sha256.Size]byte(h.Sum(nil)), nil
}
