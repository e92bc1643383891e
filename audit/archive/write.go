package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"sync"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

// A Draft is a chapter that is to be written.
type Draft struct {
	// Log has the files of the log, at least from the newest chapter of the archive on.
	Log audit.Files

	// Signed is a checkpoint of Log, with the cosignatures that there are.
	Signed []byte

	// Keys are the public keys of the log, the newest of each algorithm first: those that sign now,
	// and then those that signed before.
	Keys []string

	// Snapshot is the snapshot of the accounts.
	Snapshot Content
}

// atOnce is how many objects are written or read back at a time.
const atOnce = 8

// Write writes a chapter, and nothing that does not hash to its checkpoint. It begins where the
// newest chapter ends. After an error, or a crash, it can be called again with the same draft or
// with a later one: what is there already is compared.
//
// It returns an error that is ErrOtherLog if the archive belongs to another log or its newest
// chapter is not a state of this one, ErrAhead if it has a newer chapter, ErrConflict if an
// object has other content, audit.ErrDiffers if Log does not match its checkpoint, and
// audit.ErrUnreachable if the archive could not be asked.
func (a *Archive) Write(ctx context.Context, d Draft) (Chapter, error) {
	c, by, err := checkpoint.OpenEach(d.Signed, d.Keys)
	if err != nil {
		return Chapter{}, err
	}
	key := strings.Join(by, "\n")
	chapter := Chapter{Checkpoint: c, Signed: d.Signed, Key: key}
	log, err := audit.OpenLogAt(ctx, d.Log, d.Signed, key)
	if err != nil {
		return Chapter{}, err
	}
	newest, err := a.Newest(ctx)
	if err != nil && !errors.Is(err, ErrEmpty) {
		return Chapter{}, err
	}
	if err == nil {
		if err = a.Compare(ctx, log, newest, d.Keys); err != nil {
			return Chapter{}, err
		}
		if newest.Size == c.Size {
			return newest, nil
		}
	}
	if err := a.copyLog(ctx, log, newest.Size); err != nil {
		return Chapter{}, err
	}
	folder := chapterFolder(c.Size)
	if err := a.put(ctx, folder+snapshotName, d.Snapshot); err != nil {
		return Chapter{}, err
	}
	if err := a.put(ctx, folder+checkpoint.KeyFile, Bytes([]byte(key+"\n"))); err != nil {
		return Chapter{}, err
	}
	// Last, because a chapter with a checkpoint is complete.
	if err := a.put(ctx, folder+checkpoint.File, Bytes(d.Signed)); err != nil {
		return Chapter{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.newest = &chapter
	return chapter, nil
}

// Compare returns an error unless a chapter is a state that log was in. It is ErrOtherLog if the
// chapter is one of another log or contradicts this one, and ErrAhead if log has fewer entries.
func (a *Archive) Compare(ctx context.Context, log *audit.Log, c Chapter, keys []string) error {
	if c.Origin != log.Origin {
		return fmt.Errorf("%s: %w: its newest chapter is of %s", a, ErrOtherLog, c.Origin)
	}
	if _, _, err := checkpoint.OpenAny(c.Signed, keys); err != nil {
		return fmt.Errorf("%s: %w: its newest chapter: %w", a, ErrOtherLog, err)
	}
	if c.Size > log.Size {
		return fmt.Errorf("%s: %w: its newest chapter has %d entries, the log %d", a, ErrAhead,
			c.Size, log.Size)
	}
	edge, err := log.Edge(ctx, c.Size)
	if err != nil {
		return err
	}
	if root := merkle.RootOf(c.Size, edge); root != c.Root {
		return fmt.Errorf("%s: %w: at %d entries its root is %s, that of the log %s", a,
			ErrOtherLog, c.Size, c.Root, root)
	}
	return nil
}

// copyLog writes the tiles and bundles that were not complete at size from.
func (a *Archive) copyLog(ctx context.Context, log *audit.Log, from int64) error {
	work := begin(ctx)
	defer work.end()
	err := log.Tiles(work.ctx, from, func(t merkle.Tile, data []byte) error {
		if t.Level == merkle.EntriesLevel {
			runtime.Gosched() // what is archived is old; operations are served now
		}
		return work.do(func(ctx context.Context) error { return a.put(ctx, t.Path(), Bytes(data)) })
	})
	if failed := work.end(); failed != nil {
		return failed // the cause, of which err may only be the consequence
	}
	return err
}

// put writes an object, or checks that it is there already.
func (a *Archive) put(ctx context.Context, name string, content Content) error {
	err := a.objects.Put(ctx, name, content)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	there := comparison{with: content}
	if _, err := a.objects.Copy(ctx, name, &there); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: the name %s is taken, and there is no object", a, name)
	} else if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !there.equal() {
		return fmt.Errorf("%s: %s: %w", a, name, ErrConflict)
	}
	return nil
}

// ReadBack reads the entries from, from+1, … to-1 of a chapter, with all tiles above them, and its
// snapshot back from the archive. It compares them with the root that one of keys signed, and
// with the SHA-256 of the snapshot. Call it before the only other copy is removed.
//
// It returns an error that is audit.ErrDiffers if an object is missing or has other content, and
// one that is audit.ErrUnreachable if the archive could not be asked.
func (a *Archive) ReadBack(ctx context.Context, c Chapter, keys []string, from, to int64,
	snapshot [sha256.Size]byte,
) error {
	// A chapter of before the log had its second key has one signature.
	_, by, err := checkpoint.OpenAny(c.Signed, keys)
	if err != nil {
		return err
	}
	log, err := audit.OpenLogAt(ctx, a.At(c), c.Signed, strings.Join(by, "\n"))
	if err != nil {
		return err
	}
	if to > log.Size {
		return fmt.Errorf("the chapter has %d entries, not %d", log.Size, to)
	}
	work := begin(ctx)
	defer work.end()
	const piece = merkle.TileWidth * merkle.TileWidth // of one tile of level 1, which is read once
	for first := from; first < to && work.ctx.Err() == nil; first = (first/piece + 1) * piece {
		work.do(func(ctx context.Context) error {
			return log.Leaves(ctx, first, min((first/piece+1)*piece, to),
				func(index int64, _ []byte) error {
					if (index+1)%merkle.TileWidth == 0 {
						runtime.Gosched()
					}
					return ctx.Err()
				})
		})
	}
	if err := work.end(); err != nil {
		return err
	}
	h := sha256.New()
	_, sum, err := a.Snapshot(ctx, c, h)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w (%w)", audit.ErrDiffers, err)
	case err == nil && sum != snapshot:
		return fmt.Errorf("%s%s: %w", chapterFolder(c.Size), snapshotName, audit.ErrDiffers)
	}
	return err
}

// work is done by a few goroutines, until one of them fails.
type work struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	slots   chan struct{}
	running sync.WaitGroup
}

func begin(ctx context.Context) *work {
	w := &work{slots: make(chan struct{}, atOnce)}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	return w
}

// do calls f when there is a slot for it, and does not wait for the result.
func (w *work) do(f func(context.Context) error) error {
	select {
	case w.slots <- struct{}{}:
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	w.running.Go(func() {
		defer func() { <-w.slots }()
		if err := f(w.ctx); err != nil {
			w.cancel(err)
		}
	})
	return nil
}

// end waits for what was begun, and returns the first failure.
func (w *work) end() error {
	w.running.Wait()
	err := context.Cause(w.ctx)
	w.cancel(nil)
	return err
}
