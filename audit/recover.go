package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Recover compares what is published with the source and catches up. It runs
// once, before anything new is committed. An error that is ErrAhead,
// ErrForked or ErrOtherLog means that the server must not start.
func (p *Publisher) Recover(ctx context.Context) error {
	if err := p.EnsureKey(); err != nil {
		return err
	}
	p.mu.Lock()
	err := p.compare(ctx)
	p.mu.Unlock()
	if err != nil {
		return err
	}
	err = p.Publish(ctx)
	switch {
	case errors.Is(err, ErrForked), errors.Is(err, ErrAhead):
		// What is published hashes to its checkpoint, yet the vault does not
		// extend it, or what was seen of it.
		return err
	case err != nil: // a full disk, perhaps: the next round tries again
		p.log.Error("publishing the audit log", slog.Any("error", err))
	}
	return nil
}

// compare finds out how much of the source is published and good. The caller
// holds p.mu.
func (p *Publisher) compare(ctx context.Context) error {
	_, head, err := p.src.Signed(ctx)
	if err != nil {
		return err
	}
	onDisk, err := readRegular(filepath.Join(p.dir, checkpointFile), maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return p.withoutCheckpoint(head)
	}
	var claim Checkpoint
	if err == nil {
		claim, err = ParseCheckpoint(onDisk)
	}
	if err != nil {
		p.log.Warn("the published checkpoint cannot be read; publishing again",
			slog.Any("error", err))
		return p.withoutCheckpoint(head)
	}
	// What a checkpoint claims is taken seriously even when its signature is
	// bad: whether it is damage or a contradiction, an operator decides.
	if _, _, err := openAny(onDisk, p.keys()); err != nil {
		p.log.Warn("the published checkpoint is not signed by this log's key",
			slog.Any("error", err))
		onDisk = nil
	}
	switch {
	case onDisk == nil && claim.Origin != p.origin():
		return fmt.Errorf("%w: its checkpoint is of %s"+recoverHint, ErrOtherLog, claim.Origin)
	case claim.Size > head.Size:
		if onDisk != nil {
			p.Saw(claim) // the key of this log signed it
		}
		return fmt.Errorf("%w: it has %d entries, the vault %d"+recoverHint, ErrAhead, claim.Size,
			head.Size)
	}
	edge, err := p.readEdge(ctx, claim)
	if err == nil {
		if missing := p.missing(claim.Size); missing != "" {
			err = &FileError{missing, errors.New("missing, or cut short")}
		}
	}
	if err != nil {
		// Files are damaged or gone, or somebody signed something else.
		if err := p.checkClaim(ctx, claim); err != nil {
			return err
		}
		p.log.Warn("the published audit log is damaged; publishing again", slog.Any("error", err))
		p.restart()
		p.Saw(claim)
		return nil
	}
	if err := p.checkExtends(ctx, claim, edge, head); err != nil {
		return err
	}
	p.size, p.edge, p.published = claim.Size, edge, onDisk
	p.Saw(claim)
	p.adopt()
	return nil
}

// Saw tells the publisher of a state of the log that somebody relies on, though it need not
// be published here: nothing is published that does not extend it. Call it before Recover.
func (p *Publisher) Saw(c Checkpoint) {
	if c.Size > p.newest.Size {
		p.newest = c
	}
}

// adopt finds the partial tiles that an earlier run left behind: those of the
// last checkpoint, and older ones, which go at once.
func (p *Publisher) adopt() {
	for level := entriesLevel; level < levels(p.size); level++ {
		last := tileOf(p.size, level, tilesAt(p.size, max(level, 0))>>tileHeight)
		for n := max(0, last.n-1); n <= last.n; n++ {
			for width := 1; width < tileWidth; width++ {
				t := tile{level, n, width}
				if t == last {
					p.current = append(p.current, t.path())
				} else if _, err := os.Lstat(filepath.Join(p.dir,
					filepath.FromSlash(t.path()))); err == nil {
					p.retired = append(p.retired, retired{path: t.path()})
				}
			}
		}
	}
	p.tidy(time.Now())
}

func (p *Publisher) origin() string {
	c, err := originOf(p.keys()[0])
	if err != nil {
		return ""
	}
	return c
}

// withoutCheckpoint decides about a folder whose checkpoint says nothing. Tiles
// beyond the vault's entries give an old vault away.
func (p *Publisher) withoutCheckpoint(head Head) error {
	beyond := tileOf(head.Size, entriesLevel, head.Size>>tileHeight)
	for width := beyond.width + 1; width <= tileWidth; width++ {
		t := tile{entriesLevel, beyond.n, width}
		if _, err := os.Lstat(filepath.Join(p.dir, filepath.FromSlash(t.path()))); err == nil {
			return fmt.Errorf("%w: its checkpoint is missing, and %s has entries that the vault "+
				"with %d does not"+recoverHint,
				ErrAhead, t.path(), head.Size)
		}
	}
	if head.Size > 0 && !p.new {
		p.log.Warn("the published audit log has no checkpoint; publishing again")
	}
	p.restart()
	return nil
}

// readEdge reads the last tile of each level and checks that they hash to what
// the checkpoint claims.
func (p *Publisher) readEdge(ctx context.Context, claim Checkpoint) ([][]Hash, error) {
	edge := make([][]Hash, levels(claim.Size))
	for level := range edge {
		count := tilesAt(claim.Size, level)
		t := tileOf(claim.Size, level, count>>tileHeight)
		if t.width == 0 {
			continue // all of the level is in complete tiles
		}
		hashes, err := readHashes(ctx, Dir(p.dir), t)
		if err != nil {
			return nil, err
		}
		edge[level] = hashes
	}
	if edgeRoot(claim.Size, edge) != claim.Root {
		return nil, errors.New("the last tiles do not hash to the root in the checkpoint")
	}
	return edge, nil
}

// checkExtends makes sure that the source goes on where the published log
// ends, before a file is touched.
func (p *Publisher) checkExtends(ctx context.Context, claim Checkpoint, edge [][]Hash,
	head Head,
) error {
	if claim.Size == head.Size {
		if claim.Root != head.Root() {
			return contradiction(claim, head.Root())
		}
		return nil
	}
	b := builder{edge: cloneEdge(edge), next: claim.Size}
	err := p.src.Entries(ctx, claim.Size, head.Size, func(_ int64, leaf []byte) error {
		return b.addHash(LeafHash(leaf))
	})
	if err != nil {
		return err
	}
	if edgeRoot(head.Size, b.edge) == head.Root() {
		return nil
	}
	if err := p.checkClaim(ctx, claim); err != nil {
		return err
	}
	return errors.New("the vault's entries do not hash to the head that it signed; run a check " +
		"of the vault")
}

// checkClaim computes the root that the source had at the claimed size.
func (p *Publisher) checkClaim(ctx context.Context, claim Checkpoint) error {
	var b builder
	err := p.src.Entries(ctx, 0, claim.Size, func(_ int64, leaf []byte) error {
		return b.addHash(LeafHash(leaf))
	})
	if err != nil {
		return err
	}
	if root := edgeRoot(claim.Size, b.edge); root != claim.Root {
		return contradiction(claim, root)
	}
	return nil
}

func contradiction(claim Checkpoint, root Hash) error {
	return fmt.Errorf("%w: at %d entries its root is %s, the vault's %s"+recoverHint, ErrForked,
		claim.Size, claim.Root, root)
}
