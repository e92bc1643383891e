package retention

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/merkle"
	"example.com/atm/internal/durable"
	"example.com/atm/teller/events"
	"example.com/atm/vault"
)

// A Taken snapshot is that of a chapter, as the signed log has it.
type Taken struct {
	events.Snapshot
	At      time.Time // of its entry
	Chapter int64     // entries of the log in the chapter
}

// lookBack is how many entries before the end of a chapter the entry about its snapshot is looked
// for: the chapter ends with the first checkpoint that signs the entry.
const lookBack = 1 << 20

// mark is in the entry about a snapshot, and in few others.
var mark = []byte(`"` + string(audit.EventSnapshot) + `"`)

// Find finds the entry about the snapshot of the chapter that ends at a size of a log. It is the
// newest such entry in it, since a chapter is not written when another one follows.
func Find(ctx context.Context, log *audit.Log, chapter int64) (found Taken, err error) {
	if log.Size < chapter {
		return found, fmt.Errorf("the archive has %d entries, the log %d", chapter, log.Size)
	}
	for to := chapter; to > max(0, chapter-lookBack) && found.Chapter == 0; {
		from := max(0, (to-1)&^(merkle.TileWidth-1))
		err := log.Leaves(ctx, from, to, func(_ int64, leaf []byte) error {
			if !bytes.Contains(leaf, mark) {
				return nil
			}
			entry, err := audit.ParseEntry(leaf)
			if err != nil {
				return err
			}
			if s, is := events.SnapshotOf(entry); is {
				found = Taken{s, entry.Time, chapter}
			}
			return nil
		})
		if err != nil {
			return found, err
		}
		to = from
	}
	if found.Chapter == 0 {
		err = fmt.Errorf("%w of the chapter with %d entries", ErrNotTaken, chapter)
	}
	return found, err
}

// ErrNotTaken reports a chapter whose snapshot has no entry.
var ErrNotTaken = errors.New("no entry is about the snapshot")

// takenFor is Find in the log as it is now, if the chapter is a state that the log was in.
func (r *Runner) takenFor(ctx context.Context, chapter int64) (Taken, error) {
	if t, known := r.taken[chapter]; known {
		return t, nil
	}
	log, err := r.cfg.Open(ctx)
	if err != nil {
		return Taken{}, err
	}
	c, err := r.cfg.Archive.Chapter(ctx, chapter)
	if err == nil {
		err = r.cfg.Archive.Compare(ctx, log, c, r.cfg.Keys())
	}
	if err != nil {
		return Taken{}, err
	}
	t, err := Find(ctx, log, chapter)
	if err == nil {
		r.taken[chapter] = t
	}
	return t, err
}

// Fetch writes the snapshot of a chapter to a file, if it is the one with this SHA-256.
func Fetch(ctx context.Context, from *archive.Archive, chapter int64, sum merkle.Hash,
	path string,
) error {
	c, err := from.Chapter(ctx, chapter)
	if err != nil {
		return err
	}
	f, err := durable.Temporary(path, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has its name
	_, got, err := from.Snapshot(ctx, c, f)
	if err == nil && merkle.Hash(got) != sum {
		err = fmt.Errorf("the snapshot of the chapter with %d entries: %w", chapter,
			audit.ErrDiffers)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return durable.Rename(f.Name(), path)
}

// Kept is where the snapshot is kept in a folder that a journal begins with.
func Kept(dir string, base vault.Base) string {
	return filepath.Join(dir, fmt.Sprintf("%016d.db", base.State))
}

// Snapshot returns the file of the snapshot that a journal begins with: the one in dir, or one
// that it fetches from the archive into dir. from is nil without an archive, and the log with its
// chapters began at an index of the journal. Without a snapshot it returns "".
func Snapshot(ctx context.Context, dir string, base vault.Base, from *archive.Archive,
	log vault.JournalIndex,
) (string, error) {
	path := Kept(dir, base)
	if f, err := os.Open(path); err == nil {
		content, err := archive.File(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return "", err
		}
		if merkle.Hash(*content.SHA256) == base.Sum {
			return path, nil
		}
	}
	if from == nil {
		return "", nil
	}
	sizes, err := from.Sizes(ctx)
	if err != nil {
		return "", err
	}
	sizes = slices.DeleteFunc(sizes, func(size int64) bool { return size <= int64(base.State-log) })
	if len(sizes) == 0 {
		return "", nil
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for _, size := range sizes[:min(len(sizes), mayBe)] {
		if err = Fetch(ctx, from, size, base.Sum, path); !errors.Is(err, audit.ErrDiffers) {
			break
		}
	}
	return path, err
}

// mayBe is how many chapters may have a snapshot. It is in the first one that is larger than what
// the snapshot has seen, unless two servers took snapshots at the same moment.
const mayBe = 3
