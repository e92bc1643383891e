package audit

import (
	"context"

	"example.com/atm/audit/merkle"
)

// A Source is the log in the vault.
type Source interface {
	// Signed returns the last signed checkpoint and the head that it signs, or nil and an empty
	// head if nothing has been committed.
	Signed(ctx context.Context) (checkpoint []byte, head merkle.Head, err error)

	// Base returns the index of the first entry that the source still has, and the hashes of the
	// last, partial tile of each level of the tree of the entries before it. The index is a
	// multiple of merkle.TileWidth, never falls, and is 0 in a source that was never trimmed.
	Base(ctx context.Context) (index int64, edge [][]merkle.Hash, err error)

	// Entries calls yield with the leaves of the entries from, from+1, … to-1 in order. A leaf is
	// valid only until yield returns. An error of yield ends the iteration and is returned.
	Entries(ctx context.Context, from, to int64, yield func(index int64, leaf []byte) error) error
}
