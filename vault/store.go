package vault

import (
	"context"
	"errors"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/people"
)

// ErrLocked reports a store that another process has open.
var ErrLocked = errors.New("in use by another process")

// ErrUnavailable reports that a store can commit nothing at the moment, and that
// nothing was changed.
var ErrUnavailable = errors.New("the store is not available")

// ErrRefused reports a commit that a store refused as a whole, because of one of its changes,
// and that changed nothing: a record that it builds on is not what it must be.
var ErrRefused = errors.New("the store refused the commit")

// ErrTooLarge reports a commit of several commands that is too large for one transaction of the
// store. Nothing was changed, and each part of the commands may be small enough.
var ErrTooLarge = errors.New("too much for one commit")

// ErrDamaged reports a store in which Check found something wrong.
var ErrDamaged = errors.New("the vault is damaged")

// ErrNotEmpty reports a store that has something in it already.
var ErrNotEmpty = errors.New("the store is not empty")

// A Store keeps accounts, the journal and the head of the audit tree.
//
// Commit loads the books that keys name, calls decide, and commits every change
// that decide left in them in one transaction. When it returns, the next commit sees
// the changes, and Account and History may; they are on stable storage, those of all
// commits before too, once durable has returned nil. Only then may anything be
// answered or published. A store that waits for stable storage in Commit returns a
// durable that returns nil at once.
//
// Commit may call decide more than once, so decide must touch nothing but books.
// If decide returns an error, Commit changes nothing and returns that error.
// After ErrUnavailable, ErrRefused and ErrTooLarge nothing was changed, either. After any
// other error of Commit, and after any error of durable, nobody knows whether the changes
// are durable, and all later commits fail.
//
// What Signed, Logs and Entries return is durable, and the rest is committed. The
// current audit log begins in the journal where Logs says last; Signed returns its
// checkpoint and its head, and CurrentLog is it as an audit.Source.
type Store interface {
	Commit(ctx context.Context, keys Keys, decide func(*Books) error) (durable func() error,
		err error)

	Signed(ctx context.Context) (checkpoint []byte, head merkle.Head, err error)

	// Entries calls yield with the leaves of the journal from, from+1, … to-1
	// in order. A leaf is good only until yield returns. An error of yield
	// ends it and is returned.
	Entries(ctx context.Context, from, to JournalIndex,
		yield func(index JournalIndex, leaf []byte) error) error

	// Base returns where the journal begins. Entries before that are ErrTrimmed, and History
	// ends there.
	Base(ctx context.Context) (Base, error)

	// Logs returns where in the journal audit logs began, the oldest first.
	Logs(ctx context.Context) ([]JournalIndex, error)

	// History is a vault.History of what has been committed.
	History(ctx context.Context, account Name, from uint64,
		yield func(version uint64, index JournalIndex, leaf []byte) bool) error

	// Balances calls yield for every account, the bank's own too, in one
	// snapshot, and returns how many entries the journal had in it.
	Balances(ctx context.Context, yield func(Account)) (journal JournalIndex, err error)

	// Account returns an account; one that does not exist has version 0.
	Account(ctx context.Context, name Name) (Account, error)

	// Accounts returns up to limit customers' accounts with numbers above
	// after, in order of number.
	Accounts(ctx context.Context, after uint64, limit int) ([]Account, error)

	// Orders calls yield for each standing order that has a due date without an outcome up to
	// until, that date among it. The order of the calls does not matter.
	Orders(ctx context.Context, until time.Time, yield func(*Order) error) error

	people.Store
	FeedStore

	Close() error
}

// A FeedStore keeps subscriptions, and how far each of them has been delivered. Cursors are
// changed beside the commits, and by one process at a time, which claims them.
type FeedStore interface {
	// Feeds returns the subscriptions of all owners, in order of owner.
	Feeds(ctx context.Context) ([]feeds.Book, error)

	// Cursors returns every cursor, in order of id.
	Cursors(ctx context.Context) ([]feeds.Cursor, error)

	// ClaimCursors claims the cursors of subscriptions for a holder, for as long as life from
	// when it was called, and returns those that are the holder's then, new ones for those
	// that had none. What another process holds stays with it until its claim is over. A store
	// of one process lets every claim succeed.
	ClaimCursors(ctx context.Context, holder string, life time.Duration, of []feeds.ID,
	) ([]feeds.Cursor, error)

	// SaveCursors keeps cursors as they are now, durably, and returns the ids of those that it
	// kept: the others are not the holder's any more. With release the claims end.
	SaveCursors(ctx context.Context, holder string, cursors []feeds.Cursor, release bool,
	) (kept []feeds.ID, err error)

	// ForgetCursors removes the cursors of subscriptions that do not exist any more.
	ForgetCursors(ctx context.Context, of []feeds.ID) error
}

// A CurrentLog is the newest audit log in the journal of a store, as an
// audit.Source.
type CurrentLog struct {
	store Store
	begin JournalIndex // where it begins in the journal
}

// OpenLog returns the current audit log of a store.
func OpenLog(ctx context.Context, store Store) (CurrentLog, error) {
	logs, err := store.Logs(ctx)
	if err != nil {
		return CurrentLog{}, err
	}
	return CurrentLog{store, logs[len(logs)-1]}, nil
}

// Signed implements audit.Source.
func (l CurrentLog) Signed(ctx context.Context) ([]byte, merkle.Head, error) {
	return l.store.Signed(ctx)
}

// Base implements audit.Source.
func (l CurrentLog) Base(ctx context.Context) (int64, [][]merkle.Hash, error) {
	base, err := l.store.Base(ctx)
	if err != nil || base.Index <= l.begin {
		return 0, nil, err
	}
	return int64(base.Index - l.begin), base.Edge, nil
}

// Entries implements audit.Source.
func (l CurrentLog) Entries(ctx context.Context, from, to int64,
	yield func(int64, []byte) error,
) error {
	begin, end := l.begin+JournalIndex(from), l.begin+JournalIndex(to)
	return l.store.Entries(ctx, begin, end, func(index JournalIndex, leaf []byte) error {
		return yield(int64(index-l.begin), leaf)
	})
}

// InJournal is the index in the journal of the entry of the log at index.
func (l CurrentLog) InJournal(index int64) JournalIndex { return l.begin + JournalIndex(index) }

// JournalSize is how many entries there are in the journal of a store.
func JournalSize(ctx context.Context, store Store) (JournalIndex, error) {
	l, err := OpenLog(ctx, store)
	if err != nil {
		return 0, err
	}
	_, head, err := l.Signed(ctx)
	return JournalEnd([]JournalIndex{l.begin}, head), err
}
