package audit

import (
	"context"

	"example.com/atm/audit/merkle"
)

// A Source is the log as the vault holds it.
type Source interface {
	// Signed returns the last signed checkpoint and the head that it signs;
	// nil and an empty head when nothing has been committed.
	Signed(ctx context.Context) (checkpoint []byte, head merkle.Head, err error)

	// Entries calls yield with the leaves of the entries from, from+1, … to-1
	// in order. A leaf is good only until yield returns. An error of yield
	// ends it and is returned.
	Entries(ctx context.Context, from, to int64, yield func(index int64, leaf []byte) error) error
}
