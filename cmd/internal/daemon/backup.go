package daemon

import (
	"context"
	"fmt"
	"io"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/cmd/internal/backup"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/teller"
	"example.com/atm/vault"
)

// Backup prepares a backup of the running server. What it returns writes everything that was
// answered before it is called. Unless since is empty, that is an increment on the backup that has
// this checkpoint: its journal begins with the last complete bundle before that.
func (s *Server) Backup(ctx context.Context, since []byte) (func(context.Context, io.Writer) error,
	error,
) {
	draft := backup.Draft{
		Dir: s.dir, Lock: s.keys.Lock(), Since: since,
		Snapshot: func(ctx context.Context, file string) ([]byte, error) {
			return s.accounts.snapshot(ctx, file, s.keys.VaultSecret())
		},
	}
	if len(since) == 0 {
		return draft.Write, nil
	}
	base, err := s.baseOf(ctx, since)
	if err != nil {
		return nil, err
	}
	draft.Snapshot = func(ctx context.Context, file string) ([]byte, error) {
		trail, err := storage.ExportFrom(ctx, s.accounts, base, file, s.keys.VaultSecret())
		if err != nil {
			return nil, err
		}
		if trail.Base.Index > base.Index { // trimmed since it was looked at
			return nil, trail.Base.Trimmed(base.Index)
		}
		return trail.Checkpoint, nil
	}
	return draft.Write, nil
}

// baseOf is where the journal of an increment begins on the backup that has a checkpoint. The
// published log must have had the checkpoint's root at its size: the error is teller.ErrNoBase
// otherwise.
func (s *Server) baseOf(ctx context.Context, since []byte) (base vault.Base, err error) {
	claim, err := checkpoint.Parse(since)
	if err != nil {
		return base, noBase("%w", err)
	}
	current, err := vault.OpenLog(ctx, s.accounts)
	if err != nil {
		return base, err
	}
	_, head, err := current.Signed(ctx)
	if err != nil {
		return base, err
	}
	kept, err := s.accounts.Base(ctx)
	if err != nil {
		return base, err
	}
	at := claim.Size &^ (merkle.TileWidth - 1)
	base.Index = current.InJournal(at)
	base.State = base.Index
	switch {
	case claim.Origin != s.dir.Config.Origin:
		return base, noBase("it is of the log %s, and the log here is %s", claim.Origin,
			s.dir.Config.Origin)
	case claim.Size > head.Size:
		return base, noBase("it has %d entries, and the log here %d", claim.Size, head.Size)
	case base.Index < kept.Index:
		return base, noBase("it has %d entries, and the journal here begins with entry %d",
			claim.Size, kept.Index)
	}
	if err := s.log.await(ctx, claim.Size); err != nil {
		return base, err
	}
	log, err := s.log.published(ctx)
	if err != nil {
		return base, err
	}
	edge, err := log.Edge(ctx, claim.Size)
	if err != nil {
		return base, err
	}
	if root := merkle.RootOf(claim.Size, edge); root != claim.Root {
		return base, noBase("with %d entries its root is %s, and here it was %s", claim.Size,
			claim.Root, root)
	}
	base.Edge, err = log.Edge(ctx, at)
	return base, err
}

func noBase(format string, args ...any) error {
	return fmt.Errorf("%w: take a full one: %w", teller.ErrNoBase, fmt.Errorf(format, args...))
}
