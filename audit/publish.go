package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/atm/internal/durable"
)

// A Source is the log as the vault holds it.
type Source interface {
	// Signed returns the last signed checkpoint and the head that it signs;
	// nil and an empty head when nothing has been committed.
	Signed(ctx context.Context) (checkpoint []byte, head Head, err error)

	// Entries calls yield with the leaves of the entries from, from+1, … to-1
	// in order. A leaf is good only until yield returns. An error of yield
	// ends it and is returned.
	Entries(ctx context.Context, from, to int64, yield func(index int64, leaf []byte) error) error
}

var (
	// ErrAhead reports a published log that has entries which the vault does
	// not: somebody restored an old vault.
	ErrAhead = errors.New("the published audit log is ahead of the vault")

	// ErrForked reports a published log that says something else than the
	// vault about entries that both have.
	ErrForked = errors.New("the published audit log and the vault contradict each other")

	// ErrOtherLog reports a folder with the log of another server.
	ErrOtherLog = errors.New("the audit folder belongs to another log")
)

const recoverHint = "; nothing was changed: put the right vault back, or start a new log with " +
	"atmctl audit recover"

const (
	// Between two rounds the publisher rests nine times as long as the last one
	// took, so that it takes a tenth of the disk's time, or as long as latest leaves: a
	// commit is published at most a rest and two rounds later, and that is within
	// latest, if no round takes longer than the one before it. With what a round may
	// take more, it is less than a second.
	shortestRest = 10 * time.Millisecond
	latest       = 700 * time.Millisecond

	// againAfter is how long it waits after a round that failed.
	againAfter = 800 * time.Millisecond

	// spread is how long a round of many bundles takes at least. It does a little of
	// its work at a time: done at once, it would take half of two cores from everybody
	// for as long.
	spread         = 200 * time.Millisecond
	worthSpreading = 8 // bundles

	// politeFor is for how long a round that is late lets others have their turn
	// before it goes on, of whom there can be enough to keep it from ever ending.
	politeFor = 50 * time.Millisecond

	// patience is how old what is not published yet may be before commits wait for the
	// publisher: for a tenth of what it is older than that, each, and for mostYield
	// at most. It is somewhat longer than it gets where both keep up.
	patience  = 600 * time.Millisecond
	mostYield = 20 * time.Millisecond

	// A key that another replica rotated to is known here a moment after it signed.
	learnKeyWait  = 300 * time.Millisecond
	learnKeyTries = 3

	// grace is how long a superseded partial tile is kept.
	grace = 10 * time.Second

	// inspectEvery is how often a running publisher looks whether files are
	// missing.
	inspectEvery = time.Minute
)

// A Publisher writes the log of a Source to files, and follows it. It never
// leads: what is published has been committed before.
type Publisher struct {
	dir  string
	new  bool            // nothing was published here before
	keys func() []string // public keys of the log, the newest first, those of before it too
	src  Source
	log  *slog.Logger

	index *Index // gets every bundle that is completed; nil for none

	mu        sync.Mutex // held for a round
	size      int64      // guarded by mu; entries published
	edge      [][]Hash   // guarded by mu; the hashes of the last, partial tile of each level
	published []byte     // guarded by mu; the checkpoint on disk, nil when it has to be written
	// guarded by mu; the largest that was published here, whatever became of the files
	newest   Checkpoint
	diverged error     // guarded by mu; why the source does not extend newest; set for good
	current  []string  // guarded by mu; the partial tiles of the last checkpoint
	retired  []retired // guarded by mu; those before it, the oldest first

	committed chan struct{} // holds a token when something has been committed since a round began

	state  sync.Mutex // for who asks how it goes, while a round is under way
	done   int64      // guarded by state; size
	beside string     // guarded by state; the public key beside the log
	err    error      // guarded by state; of the last round
	// guarded by state; when the oldest entry was committed that no round has begun with, zero for
	// none
	waiting time.Time
	// guarded by state; the same of the entries that the round under way, or one that failed, has
	// begun with
	taken time.Time
}

// retired is a partial tile that was superseded.
type retired struct {
	path string
	at   time.Time
}

// NewPublisher returns a publisher into dir, which must exist, of the log
// with these public keys, the newest first. Call Recover before anything else.
func NewPublisher(dir string, keys func() []string, src Source, log *slog.Logger) (*Publisher,
	error,
) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("audit folder: %w", err)
	}
	return &Publisher{dir: dir, keys: keys, src: src, log: log, committed: make(chan struct{}, 1)},
		nil
}

// Feed makes the publisher put what it completes into an index. Call it before
// anything is published.
func (p *Publisher) Feed(x *Index) { p.index = x }

// Begin says that nothing has been published into the folder before, so that
// nothing is missed there.
func (p *Publisher) Begin() { p.new = true }

// Published is how many entries are published.
func (p *Publisher) Published() int64 {
	p.state.Lock()
	defer p.state.Unlock()
	return p.done
}

// Newest is the largest state of the log that its key signed and that was published in this
// folder, or that Saw was told of, whatever the vault has now.
func (p *Publisher) Newest() Checkpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.newest
}

// Err is what the last round failed with, nil when it did not.
func (p *Publisher) Err() error {
	p.state.Lock()
	defer p.state.Unlock()
	return p.err
}

// Committed says that there is more to publish. It does not wait for that.
func (p *Publisher) Committed() {
	p.state.Lock()
	if p.waiting.IsZero() {
		p.waiting = time.Now()
	}
	p.state.Unlock()
	select {
	case p.committed <- struct{}{}:
	default: // it knows already
	}
}

// Yield is called before each commit. It waits a little when what was committed before
// is not published for long: the publisher could be left behind further and further by
// callers who take all of the processor. A failing publisher never delays commits (ADR 6).
func (p *Publisher) Yield() {
	p.state.Lock()
	oldest, err := p.taken, p.err
	if oldest.IsZero() {
		oldest = p.waiting
	}
	p.state.Unlock()
	if oldest.IsZero() || err != nil {
		return
	}
	if late := time.Since(oldest) - patience; late > 0 {
		time.Sleep(min(late/10, mostYield))
	}
}

// Run publishes after each commit that Committed tells of, until ctx is done.
// The caller publishes what comes after that. It returns an error that is ErrAhead or
// ErrForked when the source no longer extends what was published: nothing is published
// after that, and nothing must be committed.
func (p *Publisher) Run(ctx context.Context) error {
	inspect := time.NewTicker(inspectEvery)
	defer inspect.Stop()
	tidy := time.NewTicker(grace)
	defer tidy.Stop()
	for {
		var again <-chan time.Time // after a round that failed
		if p.Err() != nil {
			again = time.After(againAfter)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-inspect.C:
			p.inspect()
		case <-tidy.C:
			p.mu.Lock()
			p.tidy(time.Now().Add(-grace))
			p.mu.Unlock()
			continue
		case <-again:
		case <-p.committed:
		}
		begun := time.Now()
		err := p.publish(ctx, spread)
		if err != nil && ctx.Err() == nil {
			p.log.Error("publishing the audit log", slog.Any("error", err))
		}
		if errors.Is(err, ErrAhead) || errors.Is(err, ErrForked) {
			return err
		}
		took := time.Since(begun)
		rest(ctx, max(min(9*took, latest-3*took), shortestRest)) // let more come together
	}
}

// Publish makes the files equal to what the source has signed, as fast as it can.
func (p *Publisher) Publish(ctx context.Context) error { return p.publish(ctx, 0) }

// publish is Publish, with the work spread over a while.
func (p *Publisher) publish(ctx context.Context, over time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Lock()
	if p.taken.IsZero() {
		p.taken = p.waiting
	}
	p.waiting = time.Time{}
	p.state.Unlock()
	err := p.diverged
	if err == nil {
		err = p.round(ctx, over)
	}
	if errors.Is(err, ErrAhead) || errors.Is(err, ErrForked) {
		p.diverged = err
	}
	p.state.Lock()
	defer p.state.Unlock()
	p.err, p.done = err, p.size
	if err == nil {
		p.taken = time.Time{}
	}
	return err
}

// inspect notices files that were deleted behind the publisher's back, so that
// the next round publishes everything again.
func (p *Publisher) inspect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if missing := p.missing(p.size); missing != "" && p.published != nil {
		p.log.Warn("a file of the published audit log is missing; publishing again",
			slog.String("file", missing))
		p.restart()
	}
}

// restart forgets what is published.
func (p *Publisher) restart() {
	p.size, p.edge, p.published = 0, nil, nil
}

// round is one publication. The caller holds p.mu.
func (p *Publisher) round(ctx context.Context, over time.Duration) error {
	checkpoint, head, err := p.src.Signed(ctx)
	if err != nil {
		return err
	}
	if err := p.extends(ctx, checkpoint, head); err != nil {
		return err
	}
	if head.Size == 0 {
		return nil
	}
	if p.published != nil {
		onDisk, err := readRegular(filepath.Join(p.dir, checkpointFile), maxCheckpoint)
		if err == nil && bytes.HasPrefix(onDisk, p.published) {
			p.published = onDisk // witnesses may have cosigned it
		}
		switch {
		case err != nil || string(onDisk) != string(p.published):
			p.log.Warn("the published checkpoint was changed or deleted; publishing again")
			if p.missing(p.size) != "" {
				p.restart()
			}
			p.published = nil
		case bytes.HasPrefix(onDisk, checkpoint):
			return nil
		}
	}
	return p.extend(ctx, over, checkpoint, head)
}

// extends refuses a head that is older than what was published, and a checkpoint that does
// not sign it: a log is never shortened, and never says two things. The caller holds p.mu.
func (p *Publisher) extends(ctx context.Context, checkpoint []byte, head Head) error {
	switch {
	case head.Size < p.newest.Size:
		return fmt.Errorf("%w: it has %d entries, the vault %d"+recoverHint, ErrAhead,
			p.newest.Size, head.Size)
	case head.Size == p.newest.Size && head.Size > 0 && head.Root() != p.newest.Root:
		return contradiction(p.newest, head.Root())
	case head.Size == 0:
		return nil
	}
	signed, _, err := openAny(checkpoint, p.keys())
	for range learnKeyTries {
		if !errors.Is(err, ErrSignature) {
			break
		}
		rest(ctx, learnKeyWait)
		signed, _, err = openAny(checkpoint, p.keys())
	}
	switch {
	case err != nil:
		return fmt.Errorf("the checkpoint in the vault: %w", err)
	case signed.Size != head.Size || signed.Root != head.Root():
		return fmt.Errorf("the checkpoint in the vault signs %d entries with root %s, its head "+
			"is %d with %s",
			signed.Size, signed.Root, head.Size, head.Root())
	}
	return nil
}

// extend writes the entries and tiles from p.size to head, and then the
// checkpoint. The caller holds p.mu.
func (p *Publisher) extend(ctx context.Context, over time.Duration, checkpoint []byte,
	head Head,
) error {
	// A partial bundle is written again as a whole, so it is read again from
	// its first entry.
	var batch durable.Batch
	defer batch.Abandon() // after an error
	b := builder{
		edge: cloneEdge(p.edge), next: p.size &^ (tileWidth - 1), index: p.index,
		write: func(name string, data []byte) error {
			path := filepath.Join(p.dir, filepath.FromSlash(name))
			if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return err
			}
			return batch.Add(path, data, 0o600)
		},
	}
	if len(b.edge) > 0 {
		b.edge[0] = b.edge[0][:0]
	}
	if bundles := (head.Size - b.next) / tileWidth; bundles >= worthSpreading {
		b.pause = pace(ctx, over, bundles+1) // the partial tiles too
	}
	err := p.src.Entries(ctx, b.next, head.Size, func(_ int64, leaf []byte) error {
		if err := b.add(leaf); err != nil || b.next != p.newest.Size {
			return err
		}
		if root := edgeRoot(b.next, b.edge); root != p.newest.Root {
			return contradiction(p.newest, root)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if root := edgeRoot(head.Size, b.edge); root != head.Root() {
		return fmt.Errorf("%w: extending what is published gives root %s, the vault signed %s",
			ErrForked, root, head.Root())
	}
	partial, err := b.flush(p.edge)
	if err != nil {
		return err
	}
	// What the checkpoint signs is on the disk before the checkpoint is, and that before
	// the key that signed it for the first time.
	if err := batch.Flush(); err != nil {
		return err
	}
	if err := p.writeFile(checkpointFile, checkpoint); err != nil {
		return err
	}
	if err := p.EnsureKey(); err != nil { // it may have been rotated
		return err
	}
	p.supersede(partial)
	p.size, p.edge, p.published = head.Size, b.edge, checkpoint
	p.newest = Checkpoint{Origin: p.origin(), Size: head.Size, Root: head.Root()}
	return nil
}

// pace returns what is called after each of so many pieces of work, to spread them
// over a while.
func pace(ctx context.Context, over time.Duration, pieces int64) func() {
	begun, done := time.Now(), time.Duration(0)
	return func() {
		done++
		elapsed := time.Since(begun)
		if early := over*done/time.Duration(pieces) - elapsed; early > 0 {
			rest(ctx, early)
		} else if elapsed < politeFor {
			runtime.Gosched()
		}
	}
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// supersede notes the partial tiles of the new checkpoint. Those before it are
// kept a moment longer, because somebody may be reading them.
func (p *Publisher) supersede(now []string) {
	at := time.Now()
	for _, path := range p.current {
		if !slices.Contains(now, path) {
			p.retired = append(p.retired, retired{path, at})
		}
	}
	p.current = now
	p.tidy(at.Add(-grace))
}

// tidy deletes the partial tiles that were superseded before then.
func (p *Publisher) tidy(then time.Time) {
	for len(p.retired) > 0 && p.retired[0].at.Before(then) {
		path := filepath.Join(p.dir, filepath.FromSlash(p.retired[0].path))
		p.retired = p.retired[1:]
		if err := os.Remove(path); err == nil {
			os.Remove(filepath.Dir(path)) // fails while there are others in it
		}
	}
}

// Tidy deletes the partial tiles that nobody needs any more. It is for a clean
// stop.
func (p *Publisher) Tidy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tidy(time.Now().Add(time.Hour))
}

// writeFile writes one of the files at the top of the log, whole and synced.
func (p *Publisher) writeFile(name string, data []byte) error {
	return durable.WriteFile(filepath.Join(p.dir, name), data, 0o600)
}

// missing returns the first file that a log of this size lacks, or has with
// another size than it must, and "" when all are there.
func (p *Publisher) missing(size int64) string {
	for level := entriesLevel; level < levels(size); level++ {
		for n := range (tilesAt(size, max(level, 0)) + tileWidth - 1) >> tileHeight {
			t := tileOf(size, level, n)
			info, err := os.Lstat(filepath.Join(p.dir, filepath.FromSlash(t.path())))
			if err != nil || !info.Mode().IsRegular() || level >= 0 &&
				info.Size() != int64(t.width*len(Hash{})) || info.Size() == 0 {
				return t.path()
			}
		}
	}
	return ""
}

// EnsureKey puts beside the log the newest public key that signed the checkpoint there:
// after a rotation that is the old one until a checkpoint is published that the new one
// signed. It refuses a folder that has a key of another log.
func (p *Publisher) EnsureKey() error {
	keys, path := p.keys(), filepath.Join(p.dir, keyFile)
	data, err := readRegular(path, maxCheckpoint)
	beside := strings.TrimSpace(string(data))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case !slices.Contains(keys, beside):
		return fmt.Errorf("%w: %s holds another key", ErrOtherLog, path)
	}
	want := beside
	if checkpoint, err := readRegular(filepath.Join(p.dir, checkpointFile),
		maxCheckpoint); err == nil {
		if _, key, err := openAny(checkpoint, keys); err == nil {
			want = key
		}
	}
	if want == "" {
		want = keys[0]
	}
	if want != beside {
		if err := p.writeFile(keyFile, []byte(want+"\n")); err != nil {
			return err
		}
	}
	p.state.Lock()
	defer p.state.Unlock()
	p.beside = want
	return nil
}

// Key is the public key that was last put beside the log.
func (p *Publisher) Key() string {
	p.state.Lock()
	defer p.state.Unlock()
	return p.beside
}

func cloneEdge(edge [][]Hash) [][]Hash {
	clone := make([][]Hash, len(edge))
	for i := range edge {
		clone[i] = append(make([]Hash, 0, tileWidth), edge[i]...)
	}
	return clone
}
