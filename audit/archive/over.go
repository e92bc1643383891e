package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

// Over returns a log whose recent part is in hot and whose earlier part is in an archive, as one.
// The checkpoint, its key and partial tiles are those of hot. A complete tile or bundle that hot
// does not have is read from the archive.
//
// archived may be nil. If hot says that it was pruned, files below its base are unreachable then,
// rather than missing.
func Over(hot, archived audit.Files) audit.Files {
	return &over{hot: hot, archived: archived}
}

// askAgainAfter is how long an archive that could not be reached is not asked again. Without it,
// each of many files would wait for an answer.
const askAgainAfter = 10 * time.Second

var errNotNamed = fmt.Errorf("the log was pruned, and its archive %w: none is named",
	audit.ErrUnreachable)

type over struct {
	hot, archived audit.Files

	mu     sync.Mutex
	failed error     // guarded by mu; why the archive could not be reached
	until  time.Time // guarded by mu; when it is asked again
}

// Hot returns the recent part, for what is asked of a folder alone.
func (f *over) Hot() audit.Files { return f.hot }

// ReadFile implements audit.Files.
func (f *over) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, missing := f.hot.ReadFile(ctx, name, limit)
	if !errors.Is(missing, fs.ErrNotExist) && (f.archived == nil ||
		!errors.Is(missing, audit.ErrUnreachable)) { // by the server that hot is on
		return data, missing
	}
	t, isTile := merkle.ParsePath(name)
	if !isTile || t.Partial() {
		return nil, missing
	}
	if f.archived == nil {
		if base, err := ReadPruned(ctx, f.hot); err != nil || next(t).First() > base {
			return nil, missing
		}
		return nil, errNotNamed
	}
	if err := f.recently(); err != nil {
		return nil, err
	}
	data, err := f.archived.ReadFile(ctx, name, limit)
	if errors.Is(err, audit.ErrUnreachable) {
		f.mu.Lock()
		f.failed, f.until = err, time.Now().Add(askAgainAfter)
		f.mu.Unlock()
	}
	return data, err
}

// recently returns the error of an archive that could not be reached a moment ago.
func (f *over) recently() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Now().Before(f.until) {
		return f.failed
	}
	return nil
}

// next is the tile after t.
func next(t merkle.Tile) merkle.Tile {
	t.N++
	return t
}

// ReadPruned returns where a log begins whose earlier part was pruned, and an error that is
// fs.ErrNotExist if it was not. Nobody signs that: it tells a reader why files are missing, and
// never that a log is whole.
func ReadPruned(ctx context.Context, files audit.Files) (base int64, err error) {
	text, err := files.ReadFile(ctx, checkpoint.PrunedFile, checkpoint.MaxBytes)
	if err != nil {
		return 0, err
	}
	base, err = strconv.ParseInt(strings.TrimSuffix(string(text), "\n"), 10, 64)
	if err != nil || base < 0 {
		return 0, &audit.FileError{
			Name: checkpoint.PrunedFile, Err: errors.New("is not an index"),
		}
	}
	return base, nil
}
