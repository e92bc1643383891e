package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

// Recover compares the published log with the source and publishes what is missing. It runs
// once, before the first commit. If it returns an error that is ErrAhead, ErrForked or
// ErrOtherLog, the server must not start.
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
	case diverged(err):
		// The files hash to their checkpoint, but the vault does not extend it, or does not extend
		// a state given to Saw.
		return err
	case err != nil: // perhaps the disk is full: the next round tries again
		p.cfg.Log.Error("publishing the audit log", slog.Any("error", err))
	}
	return nil
}

// compare determines how much of the source is published correctly. The caller holds p.mu.
func (p *Publisher) compare(ctx context.Context) error {
	_, head, err := p.cfg.Source.Signed(ctx)
	if err != nil {
		return err
	}
	base, _, err := p.cfg.Source.Base(ctx)
	if err != nil {
		return err
	}
	onDisk, err := p.folder.read(checkpoint.File)
	if errors.Is(err, fs.ErrNotExist) {
		return p.withoutCheckpoint(head)
	}
	var claim checkpoint.Checkpoint
	if err == nil {
		claim, err = checkpoint.Parse(onDisk)
	}
	if err != nil {
		p.cfg.Log.Warn("the published checkpoint cannot be read; publishing again",
			slog.Any("error", err))
		return p.withoutCheckpoint(head)
	}
	// The claim of a checkpoint counts even if its signature is wrong. Whether that is damage or a
	// contradiction is for an operator to decide.
	if _, _, err := checkpoint.OpenAny(onDisk, p.cfg.Keys()); err != nil {
		p.cfg.Log.Warn("the published checkpoint is not signed by this log's key",
			slog.Any("error", err))
		onDisk = nil
	}
	switch {
	case onDisk == nil && claim.Origin != p.origin():
		return fmt.Errorf("%w: its checkpoint is of %s"+recoverHint, ErrOtherLog, claim.Origin)
	case claim.Size > head.Size:
		if onDisk != nil {
			p.Saw(claim) // signed by a key of this log
		}
		return fmt.Errorf("%w: it has %d entries, the vault %d"+recoverHint, ErrAhead, claim.Size,
			head.Size)
	}
	edge, err := p.folder.edge(claim)
	if err == nil {
		// Those of a long log are inspected later, one part after the other.
		from := max(base, claim.Size-inspectAtOnce)
		if missing := p.folder.missing(claim.Size, from, claim.Size); missing != "" {
			err = &audit.FileError{Name: missing, Err: errors.New("missing, or cut short")}
		}
	}
	if err != nil {
		// The files are damaged or missing, or the checkpoint signs another tree.
		if err := p.checkClaim(ctx, claim); err != nil {
			return err
		}
		p.cfg.Log.Warn("the published audit log is damaged; publishing again",
			slog.Any("error", err))
		p.written = written{}
		p.Saw(claim)
		return nil
	}
	if err := p.checkExtends(ctx, claim, edge, head); err != nil {
		return err
	}
	if _, _, err := checkpoint.OpenEach(onDisk, p.cfg.Keys()); err != nil {
		onDisk = nil // a promised signature is missing: publish the checkpoint again
	}
	p.written = written{claim.Size, edge, onDisk}
	p.Saw(claim)
	p.partials.adopt(claim.Size)
	return nil
}

// withoutCheckpoint handles a folder without a readable checkpoint. Tiles beyond the vault's
// entries show that an old vault was restored.
func (p *Publisher) withoutCheckpoint(head merkle.Head) error {
	beyond := merkle.LastTile(head.Size, merkle.EntriesLevel)
	for width := beyond.Width + 1; width <= merkle.TileWidth; width++ {
		t := merkle.Tile{Level: merkle.EntriesLevel, N: beyond.N, Width: width}
		if p.folder.has(t) {
			return fmt.Errorf("%w: its checkpoint is missing, and %s has entries that the vault "+
				"with %d does not"+recoverHint, ErrAhead, t.Path(), head.Size)
		}
	}
	if head.Size > 0 && !p.cfg.New {
		p.cfg.Log.Warn("the published audit log has no checkpoint; publishing again")
	}
	p.written = written{}
	return nil
}

// checkExtends verifies that the source extends the published log, before any file is written.
func (p *Publisher) checkExtends(ctx context.Context, claim checkpoint.Checkpoint,
	edge [][]merkle.Hash,
	head merkle.Head,
) error {
	if claim.Size == head.Size {
		if claim.Root != head.Root() {
			return contradiction(claim, head.Root())
		}
		return nil
	}
	base, baseEdge, err := p.cfg.Source.Base(ctx)
	if err != nil {
		return err
	}
	if claim.Size < base {
		return p.checkArchived(ctx, claim, base, baseEdge)
	}
	b := merkle.Builder{Edge: cloneEdge(edge), Next: claim.Size}
	err = p.cfg.Source.Entries(ctx, claim.Size, head.Size, func(_ int64, leaf []byte) error {
		return b.AddHash(merkle.LeafHash(leaf))
	})
	if err != nil {
		return err
	}
	if b.Root() == head.Root() {
		return nil
	}
	if err := p.checkClaim(ctx, claim); err != nil {
		return err
	}
	return errors.New("the vault's entries do not hash to the head that it signed; run a check " +
		"of the vault")
}

// checkClaim computes the root that the source had at the claimed size.
func (p *Publisher) checkClaim(ctx context.Context, claim checkpoint.Checkpoint) error {
	base, edge, err := p.cfg.Source.Base(ctx)
	if err != nil {
		return err
	}
	if claim.Size < base {
		return p.checkArchived(ctx, claim, base, edge)
	}
	b := merkle.Builder{Edge: cloneEdge(edge), Next: base}
	err = p.cfg.Source.Entries(ctx, base, claim.Size, func(_ int64, leaf []byte) error {
		return b.AddHash(merkle.LeafHash(leaf))
	})
	if err != nil {
		return err
	}
	if root := b.Root(); root != claim.Root {
		return contradiction(claim, root)
	}
	return nil
}

func contradiction(claim checkpoint.Checkpoint, root merkle.Hash) error {
	return fmt.Errorf("%w: at %d entries its root is %s, the vault's %s"+recoverHint, ErrForked,
		claim.Size, claim.Root, root)
}
