// Package publish writes the log of a vault to files, and keeps them up to date.
//
// A Publisher never leads: everything that it publishes is committed. It never shortens a log,
// and never publishes two trees of one size: if the vault does not extend the published log,
// the publisher reports that and stops for good. It writes files in an order that readers can
// rely on: first bundles and tiles, then the checkpoint that signs them, and last the public
// key, once a checkpoint that it signed is published. Files that a crash or a person removed
// are published again.
//
// Package audit defines the content of the files and verifies them.
package publish

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

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/search"
	"example.com/atm/internal/durable"
)

var (
	// ErrAhead reports a published log with entries that the vault does not have, because an old
	// vault was restored.
	ErrAhead = errors.New("the published audit log is ahead of the vault")

	// ErrForked reports that the published log and the vault differ in entries that both have.
	ErrForked = errors.New("the published audit log and the vault contradict each other")

	// ErrOtherLog reports a folder with the log of another server.
	ErrOtherLog = errors.New("the audit folder belongs to another log")
)

const recoverHint = "; nothing was changed: put the right vault back, or start a new log with " +
	"atmctl audit recover"

const (
	// After each round the publisher rests nine times as long as the round took, so that it uses a
	// tenth of the disk's time. The rest is shorter if an entry would be published later than
	// latest. A commit waits for a rest and two rounds at most.
	shortestRest = 10 * time.Millisecond
	latest       = 700 * time.Millisecond

	// againAfter is the pause after a failed round.
	againAfter = 800 * time.Millisecond

	// spread is the shortest duration of a round of many bundles. At full speed, such a round would
	// take half of two cores.
	spread         = 200 * time.Millisecond
	worthSpreading = 8 // bundles

	// politeFor is how long a late round yields the CPU between bundles. Under full load a longer
	// yield could starve it.
	politeFor = 50 * time.Millisecond

	// The publisher learns of a key that another replica rotated to shortly after the key signed.
	learnKeyWait  = 300 * time.Millisecond
	learnKeyTries = 3

	// grace is how long a superseded partial tile is kept.
	grace = 10 * time.Second

	// inspectEvery is how often a running publisher looks for missing files, and inspectAtOnce the
	// entries whose files it looks for then, and the newest entries whose files a start looks for.
	inspectEvery  = time.Minute
	inspectAtOnce = 10_000 * merkle.TileWidth
)

// Config is everything that a Publisher needs.
type Config struct {
	// Dir is the folder of the published log, which must exist.
	Dir string

	// Keys returns the public keys of the log, the newest of each algorithm first: the keys that
	// sign now, and then keys that signed before.
	Keys func() []string

	// Complete adds the signatures that the log promises beyond those of the source. Optional.
	Complete func(signed []byte) ([]byte, error)

	// Source is the log in the vault. Required.
	Source audit.Source

	// Archived is the part of the log that the source no longer has. It is asked whether a state
	// that was published here long ago is one of this log. Optional.
	Archived audit.Files

	// Log receives messages for the operator.
	Log *slog.Logger

	// Index gets every complete bundle. Optional.
	Index *search.Index

	// New says that the folder has never had a log, so a missing checkpoint is no reason for a
	// warning.
	New bool
}

// A Publisher publishes one log into one folder. Call Recover before anything else.
type Publisher struct {
	cfg     Config
	folder  folder
	backlog backlog

	mu      sync.Mutex // held for a round
	written written    // guarded by mu

	// newest is the largest state that was published here, even if its files are gone.
	newest checkpoint.Checkpoint // guarded by mu

	// diverged is why the source does not extend newest. It is never reset. Guarded by mu.
	diverged  error
	partials  partials // guarded by mu
	inspected int64    // guarded by mu; entries before it were inspected lately

	state  sync.Mutex // never held during a round
	size   int64      // guarded by state; entries published
	beside string     // guarded by state; the public keys beside the log, one a line
}

// written is the content of the folder.
type written struct {
	size       int64           // entries
	edge       [][]merkle.Hash // the hashes of the last, partial tile of each level
	checkpoint []byte          // nil if it must be written
}

// New returns a publisher.
func New(cfg Config) (*Publisher, error) {
	if _, err := os.Stat(cfg.Dir); err != nil {
		return nil, fmt.Errorf("audit folder: %w", err)
	}
	dir := folder(cfg.Dir)
	return &Publisher{
		cfg: cfg, folder: dir, partials: partials{folder: dir},
		backlog: backlog{committed: make(chan struct{}, 1)},
	}, nil
}

// Published is the number of published entries.
func (p *Publisher) Published() int64 {
	p.state.Lock()
	defer p.state.Unlock()
	return p.size
}

// Key returns the public keys that were last written beside the log, one a line.
func (p *Publisher) Key() string {
	p.state.Lock()
	defer p.state.Unlock()
	return p.beside
}

// Newest is the largest state of the log that was published in this folder with a valid
// signature, or that Saw was called with. The vault may have less.
func (p *Publisher) Newest() checkpoint.Checkpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.newest
}

// Saw tells the publisher of a signed state that another party relies on, whether or not it is
// published here. The publisher publishes nothing that does not extend it. Call it before
// Recover.
func (p *Publisher) Saw(c checkpoint.Checkpoint) {
	if c.Size > p.newest.Size {
		p.newest = c
	}
}

// Err is the error of the last round, or nil if it succeeded.
func (p *Publisher) Err() error { return p.backlog.failure() }

// Committed says that there is more to publish. It does not block.
func (p *Publisher) Committed() { p.backlog.grew() }

// Yield is called before each commit. It waits a little if earlier entries have been
// unpublished for long, because callers that use the whole CPU could make the publisher fall
// behind further and further. A failing publisher never delays commits (ADR 6).
func (p *Publisher) Yield() {
	if wait := p.backlog.wait(); wait > 0 {
		time.Sleep(wait)
	}
}

// Run publishes after calls of Committed until ctx is done. The caller publishes the rest. It
// returns an error that is ErrAhead or ErrForked when the source no longer extends the
// published log. The caller must then stop committing.
func (p *Publisher) Run(ctx context.Context) error {
	inspect := time.NewTicker(inspectEvery)
	defer inspect.Stop()
	tidy := time.NewTicker(grace)
	defer tidy.Stop()
	for {
		var again <-chan time.Time // set after a failed round
		if p.Err() != nil {
			again = time.After(againAfter)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-inspect.C:
			p.inspect(ctx)
		case <-tidy.C:
			p.mu.Lock()
			p.partials.tidy(time.Now().Add(-grace))
			p.mu.Unlock()
			continue
		case <-again:
		case <-p.backlog.committed:
		}
		begun := time.Now()
		err := p.publish(ctx, spread)
		if err != nil && ctx.Err() == nil {
			p.cfg.Log.Error("publishing the audit log", slog.Any("error", err))
		}
		if diverged(err) {
			return err
		}
		took := time.Since(begun)
		rest(ctx, max(min(9*took, latest-3*took), shortestRest)) // let more entries come together
	}
}

// Publish publishes everything that the source has signed, at full speed.
func (p *Publisher) Publish(ctx context.Context) error { return p.publish(ctx, 0) }

// publish is Publish, spread over a duration.
func (p *Publisher) publish(ctx context.Context, over time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backlog.take()
	err := p.diverged
	if err == nil {
		err = p.round(ctx, over)
	}
	if diverged(err) {
		p.diverged = err
	}
	p.state.Lock()
	p.size = p.written.size
	p.state.Unlock()
	p.backlog.done(err)
	return err
}

// diverged reports whether err says that the source does not extend the published log.
func diverged(err error) bool { return errors.Is(err, ErrAhead) || errors.Is(err, ErrForked) }

// inspect looks for files that were deleted from the folder. If one is missing, the next round
// publishes everything again. In a long log each call looks at another part.
func (p *Publisher) inspect(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	base, _, err := p.cfg.Source.Base(ctx)
	if err != nil || p.written.checkpoint == nil {
		return // the next round reports the error
	}
	from := max(p.inspected, base)
	if from >= p.written.size {
		from = base
	}
	p.inspected = min(from+inspectAtOnce, p.written.size)
	if missing := p.folder.missing(p.written.size, from, p.inspected); missing != "" {
		p.cfg.Log.Warn("a file of the published audit log is missing; publishing again",
			slog.String("file", missing))
		p.written = written{}
	}
}

// round publishes once. The caller holds p.mu.
func (p *Publisher) round(ctx context.Context, over time.Duration) error {
	signed, head, err := p.cfg.Source.Signed(ctx)
	if err != nil {
		return err
	}
	if err := p.extends(ctx, signed, head); err != nil {
		return err
	}
	if head.Size == 0 {
		return nil
	}
	if p.written.checkpoint != nil {
		onDisk, err := p.folder.read(checkpoint.File)
		if err == nil && bytes.HasPrefix(onDisk, p.written.checkpoint) {
			p.written.checkpoint = onDisk // witnesses may have cosigned it
		}
		switch {
		case err != nil || string(onDisk) != string(p.written.checkpoint):
			p.cfg.Log.Warn("the published checkpoint was changed or deleted; publishing again")
			base, _, err := p.cfg.Source.Base(ctx)
			if err != nil {
				return err
			}
			if p.folder.missing(p.written.size, base, p.written.size) != "" {
				p.written = written{}
			}
			p.written.checkpoint = nil
		case bytes.HasPrefix(onDisk, signed):
			// Another replica may have given the log its second key after this was published.
			if _, _, err := checkpoint.OpenEach(onDisk, p.cfg.Keys()); err == nil {
				return nil
			}
		}
	}
	return p.extend(ctx, over, signed, head)
}

// extends refuses a head that is older than the published log, and a checkpoint that does not
// sign the head. The caller holds p.mu.
func (p *Publisher) extends(ctx context.Context, signed []byte, head merkle.Head) error {
	switch {
	case head.Size < p.newest.Size:
		return fmt.Errorf("%w: it has %d entries, the vault %d"+recoverHint, ErrAhead,
			p.newest.Size, head.Size)
	case head.Size == p.newest.Size && head.Size > 0 && head.Root() != p.newest.Root:
		return contradiction(p.newest, head.Root())
	case head.Size == 0:
		return nil
	}
	c, _, err := checkpoint.OpenAny(signed, p.cfg.Keys())
	for range learnKeyTries {
		if !errors.Is(err, checkpoint.ErrSignature) {
			break
		}
		rest(ctx, learnKeyWait)
		c, _, err = checkpoint.OpenAny(signed, p.cfg.Keys())
	}
	switch {
	case err != nil:
		return fmt.Errorf("the checkpoint in the vault: %w", err)
	case c.Size != head.Size || c.Root != head.Root():
		return fmt.Errorf("the checkpoint in the vault signs %d entries with root %s, its head "+
			"is %d with %s", c.Size, c.Root, head.Size, head.Root())
	}
	return nil
}

// extend writes the entries and tiles from p.written to head, and then the checkpoint. The
// caller holds p.mu.
func (p *Publisher) extend(ctx context.Context, over time.Duration, signed []byte,
	head merkle.Head,
) error {
	var batch durable.Batch
	defer batch.Abandon() // after an error
	next, edge, err := p.start(ctx)
	if err != nil {
		return err
	}
	b := merkle.Builder{
		Edge: edge, Next: next,
		Write: func(name string, data []byte) error {
			path := p.folder.path(name)
			if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return err
			}
			return batch.Add(path, data, 0o600)
		},
	}
	pause := func() {}
	if bundles := (head.Size - b.Next) / merkle.TileWidth; bundles >= worthSpreading {
		pause = pace(ctx, over, bundles+1) // one more for the partial tiles
	}
	b.BundleDone = func(n int64, bundle []byte) {
		if p.cfg.Index != nil {
			p.cfg.Index.Add(n, bundle)
		}
		pause()
	}
	err = p.cfg.Source.Entries(ctx, b.Next, head.Size, func(_ int64, leaf []byte) error {
		if err := b.Add(leaf); err != nil || b.Next != p.newest.Size {
			return err
		}
		if root := b.Root(); root != p.newest.Root {
			return contradiction(p.newest, root)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if root := b.Root(); root != head.Root() {
		return fmt.Errorf("%w: extending what is published gives root %s, the vault signed %s",
			ErrForked, root, head.Root())
	}
	partial, err := b.Flush(p.written.edge)
	if err != nil {
		return err
	}
	// Tiles must be durable before the checkpoint that signs them, and the checkpoint before the
	// key that first signed it.
	if err := batch.Flush(); err != nil {
		return err
	}
	if p.cfg.Complete != nil {
		if signed, err = p.cfg.Complete(signed); err != nil {
			return err
		}
	}
	if err := p.folder.write(checkpoint.File, signed); err != nil {
		return err
	}
	if err := p.EnsureKey(); err != nil { // the key may have been rotated
		return err
	}
	p.partials.supersede(partial)
	p.written = written{head.Size, b.Edge, signed}
	p.newest = checkpoint.Checkpoint{Origin: p.origin(), Size: head.Size, Root: head.Root()}
	return nil
}

// Tidy deletes all superseded partial tiles, without grace. It is for a clean stop.
func (p *Publisher) Tidy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.partials.tidy(time.Now().Add(time.Hour))
}

// EnsureKey writes beside the log the newest public keys that signed the published checkpoint,
// one for each algorithm. After a rotation those are the old keys until a checkpoint signed by
// the new ones is published. It returns ErrOtherLog for a folder with the key of another log.
func (p *Publisher) EnsureKey() error {
	keys := p.cfg.Keys()
	data, err := p.folder.read(checkpoint.KeyFile)
	beside := strings.Fields(string(data))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("%s: %w", p.folder, err)
	case len(beside) == 0 || slices.ContainsFunc(beside, func(key string) bool {
		return !slices.Contains(keys, key)
	}):
		return fmt.Errorf("%w: %s holds another key", ErrOtherLog,
			p.folder.path(checkpoint.KeyFile))
	}
	want := beside
	if signed, err := p.folder.read(checkpoint.File); err == nil {
		if _, by, err := checkpoint.OpenAny(signed, keys); err == nil {
			want = by
		}
	}
	if len(want) == 0 {
		want = keys[:1]
	}
	text := strings.Join(want, "\n")
	if !slices.Equal(want, beside) {
		if err := p.folder.write(checkpoint.KeyFile, []byte(text+"\n")); err != nil {
			return err
		}
	}
	p.state.Lock()
	defer p.state.Unlock()
	p.beside = text
	return nil
}

func (p *Publisher) origin() string {
	origin, err := checkpoint.OriginOf(p.cfg.Keys()[0])
	if err != nil {
		return ""
	}
	return origin
}

// pace returns a function to call after each of a number of pieces of work. It waits so that
// the pieces together take the duration over.
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

func cloneEdge(edge [][]merkle.Hash) [][]merkle.Hash {
	clone := make([][]merkle.Hash, len(edge))
	for i := range edge {
		clone[i] = append(make([]merkle.Hash, 0, merkle.TileWidth), edge[i]...)
	}
	return clone
}
