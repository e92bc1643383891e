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

	// Entries calls yield with the leaves of the entries from, from+1, … to-1 in order. A leaf is
	// valid only until yield returns. An error of yield ends the iteration and is returned.
	Entries(ctx context.Context, from, to int64, yield func(index int64, leaf []byte) error) error
}
