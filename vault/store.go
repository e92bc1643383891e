package vault

import (
	"context"
	"errors"

	"example.com/atm/audit"
)

// ErrLocked reports a store that another process has open.
var ErrLocked = errors.New("in use by another process")

// A Store keeps accounts, the journal and the head of the audit tree.
//
// Commit loads the books that keys name, calls decide, and makes every change
// that decide left in them durable in one transaction before it returns nil.
// It may call decide more than once, so decide must touch nothing but books.
// If decide returns an error, Commit changes nothing and returns that error.
// After any other error nobody knows whether the changes are durable.
//
// Signed and Entries read the journal as an audit.Source: they see only what
// has been committed. History does, too.
type Store interface {
	Commit(ctx context.Context, keys Keys, decide func(*Books) error) error

	audit.Source

	// History is a vault.History of what has been committed.
	History(ctx context.Context, account Name, from uint64, yield func(version uint64, index int64, leaf []byte) bool) error

	// Accounts returns up to limit customers' accounts with numbers above
	// after, in order of number.
	Accounts(ctx context.Context, after uint64, limit int) ([]Account, error)

	// Users returns everybody the house knows, in order of subject.
	Users(ctx context.Context) ([]User, error)

	Close() error
}
