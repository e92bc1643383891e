package retention

import (
	"context"
	"errors"
	"fmt"

	"example.com/atm/audit"
	"example.com/atm/vault"
)

// A Whole store reads entries that its journal does not have any more from the published log and
// its archive. History still ends where the journal begins.
type Whole struct {
	vault.Store

	// Open opens the published log with what was archived of it.
	Open func(context.Context) (*audit.Log, error)
}

// Entries implements vault.Store.
func (w Whole) Entries(ctx context.Context, from, to vault.JournalIndex,
	yield func(index vault.JournalIndex, leaf []byte) error,
) error {
	base, err := w.Base(ctx)
	if err != nil {
		return err
	}
	if from < base.Index && from < to {
		if err := w.archived(ctx, from, min(to, base.Index), yield); err != nil {
			return err
		}
		from = min(to, base.Index)
	}
	return w.Store.Entries(ctx, from, to, yield)
}

// archived yields entries from before the base.
func (w Whole) archived(ctx context.Context, from, to vault.JournalIndex,
	yield func(index vault.JournalIndex, leaf []byte) error,
) error {
	current, err := vault.OpenLog(ctx, w.Store)
	if err != nil {
		return err
	}
	begin := current.InJournal(0)
	if from < begin { // of a log that was given up
		base, err := w.Base(ctx)
		if err != nil {
			return err
		}
		return base.Trimmed(from)
	}
	log, err := w.Open(ctx)
	if err != nil {
		return err
	}
	err = log.Leaves(ctx, int64(from-begin), int64(to-begin), func(i int64, leaf []byte) error {
		return yield(begin+vault.JournalIndex(i), leaf)
	})
	if errors.Is(err, audit.ErrUnreachable) {
		return fmt.Errorf("%w: %w", vault.ErrUnavailable, err)
	}
	return err
}
