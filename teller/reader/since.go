package reader

import (
	"context"
	"errors"
	"time"

	"example.com/atm/audit"
	"example.com/atm/vault"
)

// A beginning is where a trimmed journal begins.
type beginning struct {
	index vault.JournalIndex
	at    time.Time
}

// Since returns the time from which on there are entries: that of the first one which the store
// keeps. It is zero when the store keeps all.
func (r *Reader) Since(ctx context.Context) (time.Time, error) {
	for {
		base, err := r.store.Base(ctx)
		if err != nil || base.Index == 0 {
			return time.Time{}, err
		}
		if known := r.begins.Load(); known != nil && known.index == base.Index {
			return known.at, nil
		}
		b := beginning{index: base.Index}
		err = r.store.Entries(ctx, base.Index, base.Index+1, func(_ vault.JournalIndex,
			leaf []byte,
		) error {
			entry, err := audit.ParseEntry(leaf)
			if err == nil {
				b.at = entry.Time
			}
			return err
		})
		switch {
		case errors.Is(err, vault.ErrTrimmed):
			continue // it begins later now
		case err != nil:
			return time.Time{}, err
		}
		r.begins.Store(&b)
		return b.at, nil
	}
}
