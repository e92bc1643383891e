// Package retention bounds what a server keeps of its past. At intervals it writes a chapter to an
// archive: a snapshot of the accounts, and the log up to there. What is older than a window is then
// removed here: from the journal in the vault, and from the folder of the published log.
//
// Nothing is removed before it has been read back from the archive and compared with the signed
// log. A crash at any moment is made good by the next round: chapters are complete or not there,
// the base of the journal is noted before anything is removed, and files are removed last.
package retention

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/merkle"
	"example.com/atm/teller/events"
	"example.com/atm/vault"
)

const (
	// roundEvery is how often it is looked whether there is something to do.
	roundEvery = time.Minute

	// publishTimes is how often the log is published before a snapshot, which has the entries that
	// are not published yet. Those that are committed during the first time may be many; during the
	// second time they are few.
	publishTimes = 2

	// clockSlack is by how much a chapter may be from the future.
	clockSlack = time.Minute

	// longestEvery is the longest interval between chapters.
	longestEvery = 24 * time.Hour

	// lagsAfter is how many intervals without a chapter are too many.
	lagsAfter = 3

	// LeadFor is how long a server has the lease that it took. While it works it takes it again
	// every renewEvery, and otherwise in each round.
	LeadFor    = 2 * roundEvery
	renewEvery = roundEvery / 2
)

// Config is everything that a Runner needs.
type Config struct {
	Archive *archive.Archive

	// Keep is the window: what is older is removed here. 0 removes nothing.
	Keep time.Duration

	// Every is the interval between chapters. 0 means a tenth of Keep, and a day at most.
	Every time.Duration

	Store vault.Backend

	// Snapshot writes a vault with all records of Store, and with its journal from a base on, to a
	// new file.
	Snapshot func(ctx context.Context, base vault.Base, file string) (*vault.Trail, error)

	// Record commits the entry about a snapshot.
	Record func(context.Context, events.Snapshot) atm.Status

	Published

	// Lead takes the lease of the server that archives and trims for all, for LeadFor, and reports
	// whether this server has it. Optional.
	Lead func(context.Context) (bool, error)

	Dir string // folder for snapshots, which must exist
	Now func() time.Time
	Log *slog.Logger
}

// Published is the published log of this server.
type Published struct {
	Hot audit.Files // in its folder

	// Open opens it, with what was archived of it.
	Open func(context.Context) (*audit.Log, error)

	// Publish publishes everything that is committed.
	Publish func(context.Context) error

	// Keys are the public keys of the log, the newest first.
	Keys func() []string

	// Prune removes files from before an index.
	Prune func(ctx context.Context, base int64) error
}

// State is how far the archive is.
type State struct {
	Archived int64     // entries of the log in the newest chapter
	Chapter  time.Time // of the newest chapter; zero if there is none
	Err      error     // of the last round; nil if it succeeded

	Every time.Duration // between chapters
	Since time.Time     // when this server began to archive
}

// Lags reports whether there has been no chapter for three intervals.
func (s *State) Lags(now time.Time) bool {
	last := s.Chapter
	if last.IsZero() {
		last = s.Since
	}
	return now.Sub(last) > lagsAfter*s.Every
}

// A Runner archives and trims one log.
type Runner struct {
	cfg   Config
	begin vault.JournalIndex // of the log in the journal
	taken map[int64]Taken    // by the size of the chapter

	resumed bool // what an earlier process left of a trim is removed

	mu    sync.Mutex
	state State // guarded by mu
}

// New returns a runner.
func New(ctx context.Context, cfg Config) (*Runner, error) {
	if cfg.Every == 0 {
		cfg.Every = longestEvery
		if cfg.Keep > 0 {
			cfg.Every = min(cfg.Every, cfg.Keep/10)
		}
	}
	if cfg.Lead == nil {
		cfg.Lead = func(context.Context) (bool, error) { return true, nil }
	}
	log, err := vault.OpenLog(ctx, cfg.Store)
	return &Runner{
		cfg: cfg, begin: log.InJournal(0), taken: make(map[int64]Taken),
		state: State{Every: cfg.Every, Since: cfg.Now()},
	}, err
}

// State is the state after the last round.
func (r *Runner) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Run archives and trims until ctx is done.
func (r *Runner) Run(ctx context.Context) {
	tick := time.NewTicker(min(roundEvery, r.cfg.Every))
	defer tick.Stop()
	for {
		if err := r.Round(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.Error("archiving the audit log", slog.Any("error", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Round does what there is to do: it writes a chapter that is due, trims what is older than the
// window, and removes files that the journal does not go back to any more.
func (r *Runner) Round(ctx context.Context) error {
	err := errors.Join(r.lead(ctx), r.prune(ctx))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Err = err
	return err
}

func (r *Runner) lead(ctx context.Context) error {
	leads, err := r.cfg.Lead(ctx)
	if err != nil {
		return err
	}
	if leads {
		defer r.stayLeader(ctx)()
	}
	sizes, err := r.cfg.Archive.Sizes(ctx)
	if err != nil {
		return err
	}
	var newest Taken
	if len(sizes) == 0 {
		if _, err := r.cfg.Open(ctx); errors.Is(err, fs.ErrNotExist) {
			return nil // a new server has published nothing yet
		}
	} else {
		if newest, err = r.takenFor(ctx, sizes[len(sizes)-1]); err != nil {
			return err
		}
	}
	if now := r.cfg.Now(); leads && (!now.Before(newest.At.Add(r.cfg.Every)) ||
		now.Add(clockSlack).Before(newest.At)) { // the clock was set back
		if newest, err = r.chapter(ctx); err != nil {
			return err
		}
		sizes = append(sizes, newest.Chapter)
	}
	r.mu.Lock()
	r.state.Archived, r.state.Chapter = newest.Chapter, newest.At
	r.mu.Unlock()
	if !leads || r.cfg.Keep == 0 {
		return nil
	}
	return r.trim(ctx, sizes)
}

// stayLeader takes the lease again and again until stop is called, since a chapter may take longer
// than a lease lasts. What of a lease is lost meanwhile does no harm: chapters of two servers are
// both good.
func (r *Runner) stayLeader(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(renewEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if _, err := r.cfg.Lead(ctx); err != nil && ctx.Err() == nil {
				r.cfg.Log.Warn("renewing the lease for archiving", slog.Any("error", err))
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// chapter takes a snapshot and writes a chapter.
func (r *Runner) chapter(ctx context.Context) (done Taken, err error) {
	for range publishTimes {
		if err := r.cfg.Publish(ctx); err != nil {
			return done, err
		}
	}
	log, err := r.cfg.Open(ctx)
	if err != nil {
		return done, err
	}
	base, err := r.baseAt(ctx, log, log.Size)
	if err != nil {
		return done, err
	}
	folder, err := os.MkdirTemp(r.cfg.Dir, ".tmp-taking-")
	if err != nil {
		return done, err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "vault.db")
	trail, err := r.cfg.Snapshot(ctx, base, path)
	if err != nil {
		return done, fmt.Errorf("snapshot: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return done, err
	}
	defer f.Close()
	content, err := archive.File(f)
	if err != nil {
		return done, err
	}
	snapshot := events.Snapshot{
		Size: trail.Head.Size, Root: trail.Head.Root(), Bytes: content.Size, Sum: *content.SHA256,
	}
	log, done, err = r.record(ctx, snapshot)
	if err != nil {
		return done, err
	}
	written, err := r.cfg.Archive.Write(ctx, archive.Draft{
		Log: r.cfg.Hot, Signed: log.WithCosignatures(nil), Keys: r.cfg.Keys(), Snapshot: content,
	})
	if err != nil {
		return done, err
	}
	r.cfg.Log.Info("archived the audit log", slog.String("archive", r.cfg.Archive.String()),
		slog.Int64("entries", written.Size), slog.Int64("snapshot_bytes", content.Size))
	r.taken[written.Size] = done
	return done, nil
}

// record commits the entry about a snapshot, and publishes it. It returns the log then, and what it
// says of the snapshot. It returns errOvertaken if the entry about another one follows in that log:
// Find takes the newest.
func (r *Runner) record(ctx context.Context, s events.Snapshot) (*audit.Log, Taken, error) {
	status := r.cfg.Record(ctx, s)
	digits, _, _ := strings.Cut(status.Receipt, " ")
	index, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return nil, Taken{}, fmt.Errorf("the entry about a snapshot was not stored: %s",
			status.Reason)
	}
	if err := r.cfg.Publish(ctx); err != nil {
		return nil, Taken{}, err
	}
	log, err := r.cfg.Open(ctx)
	if err != nil {
		return nil, Taken{}, err
	}
	if log.Size <= index {
		return nil, Taken{}, fmt.Errorf("entry %d is not published", index)
	}
	newest, err := Find(ctx, log, log.Size)
	if err == nil && newest.Snapshot != s {
		err = errOvertaken
	}
	return log, newest, err
}

// errOvertaken reports a snapshot that becomes no chapter, because another server has the lease
// now.
var errOvertaken = errors.New("another server took a snapshot at the same moment, and writes the " +
	"chapter")

// errNotBehind reports a base that is not behind a snapshot in the archive.
var errNotBehind = errors.New("the journal begins where the archive has no snapshot that it " +
	"could begin with: somebody else trimmed it, and nothing is removed here")

// baseAt is the base at the last complete bundle of a log that had size entries, without what is
// about a snapshot.
func (r *Runner) baseAt(ctx context.Context, log *audit.Log, size int64) (vault.Base, error) {
	at := size &^ (merkle.TileWidth - 1)
	edge, err := log.Edge(ctx, at)
	index := r.begin + vault.JournalIndex(at)
	return vault.Base{Index: index, State: index, Edge: edge}, err
}

// trim makes the journal begin with the newest snapshot that is older than the window. The newest
// chapter of all stays out of it, so that a clock that is set far ahead removes no more than was
// there a chapter ago.
func (r *Runner) trim(ctx context.Context, sizes []int64) error {
	before, err := r.cfg.Store.Base(ctx)
	if err != nil {
		return err
	}
	if !r.resumed && before.Index > r.begin { // a trim that was interrupted goes on
		if err := r.cfg.Store.Trim(ctx, before); err != nil {
			return err
		}
	}
	r.resumed = true
	for i := len(sizes) - 2; i >= 0; i-- {
		t, err := r.takenFor(ctx, sizes[i])
		if err != nil {
			return err
		}
		state := r.begin + vault.JournalIndex(t.Size)
		if state <= before.State {
			return nil
		}
		if t.At.Add(r.cfg.Keep).After(r.cfg.Now()) {
			continue
		}
		return r.trimTo(ctx, before, t)
	}
	return nil
}

// trimTo trims the journal to the snapshot of a chapter, after everything before it has been read
// back from the archive.
func (r *Runner) trimTo(ctx context.Context, before vault.Base, t Taken) error {
	log, err := r.cfg.Open(ctx)
	if err != nil {
		return err
	}
	base, err := r.baseAt(ctx, log, t.Size)
	if err != nil {
		return err
	}
	base.State, base.Sum = r.begin+vault.JournalIndex(t.Size), t.Sum
	chapter, err := r.cfg.Archive.Chapter(ctx, t.Chapter)
	if err != nil {
		return err
	}
	from := max(0, int64(before.Index-r.begin))
	if err := r.cfg.Archive.ReadBack(ctx, chapter, r.cfg.Keys(), from, t.Size, t.Sum); err != nil {
		return fmt.Errorf("reading back what is to be removed: %w", err)
	}
	// The snapshot is kept beside the vault as well, so that fsck needs no archive.
	if err := Fetch(ctx, r.cfg.Archive, t.Chapter, t.Sum, Kept(r.cfg.Dir, base)); err != nil {
		return err
	}
	if err := r.cfg.Store.Trim(ctx, base); err != nil {
		return err
	}
	r.cfg.Log.Info("trimmed the journal", slog.Int64("entries", int64(base.Index-before.Index)),
		slog.Int64("begins", int64(base.Index)))
	return r.forget()
}

// forget removes the snapshots that no journal begins with any more. The one before the newest
// stays: a backup that is being taken may have copied a vault that begins with it.
func (r *Runner) forget() error {
	names, err := fs.Glob(os.DirFS(r.cfg.Dir), "*.db") // in order of age
	for _, name := range names[:max(0, len(names)-2)] {
		err = errors.Join(err, os.Remove(filepath.Join(r.cfg.Dir, name)))
	}
	return err
}

// prune makes the folder follow the base of the journal, whichever server set that: it keeps the
// snapshot that the journal begins with, and removes files of the published log from before it. It
// removes nothing behind a base without such a snapshot, which no server has set.
func (r *Runner) prune(ctx context.Context) error {
	base, err := r.cfg.Store.Base(ctx)
	if err != nil || base.Index <= r.begin {
		return err
	}
	if _, err := os.Stat(Kept(r.cfg.Dir, base)); errors.Is(err, fs.ErrNotExist) {
		path, err := Snapshot(ctx, r.cfg.Dir, base, r.cfg.Archive, r.begin)
		if err == nil && path == "" {
			err = errNotBehind
		}
		if err = errors.Join(err, r.forget()); err != nil {
			return err
		}
	}
	if base.State < base.Index {
		return errNotBehind
	}
	return r.cfg.Prune(ctx, int64(base.Index-r.begin))
}
