// Package replicated is the contract of a store that any number of servers work on at once: what
// they share beside the books, and what each learns of the others.
package replicated

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/secrets"
)

// A Store is a vault.Backend in a database. Its servers are called replicas.
type Store interface {
	vault.Backend
	Replicas
	Files

	// Since returns what has been written since the journal had a size, and tells Config.Adopt
	// of files. It may return what was committed while it reads once more the next time.
	Since(ctx context.Context, size vault.JournalIndex) (*News, error)

	// Trouble says why commits have failed lately. It is nil when they succeed, as far as is
	// known.
	Trouble() error

	// Newest is the head of the audit log in the newest state of the journal that was read or
	// written here.
	Newest() merkle.Head

	// RolledBack is the error that is ErrRolledBack when the journal was found to have gone
	// back. From then on the store neither commits nor says what is signed.
	RolledBack() error

	// Installation returns what the books belong to, and Complete notes that its init came to
	// its end.
	Installation(ctx context.Context) (*Installation, error)
	Complete(ctx context.Context) error

	// Rekey seals everything under another secret, all or nothing. No replica may run. The store
	// is of no use after it: open another one. ReadSealed opens everything that is sealed, and
	// returns the first error.
	Rekey(ctx context.Context, secret []byte) error
	ReadSealed(ctx context.Context) error
}

// Replicas are all servers on a database, as one of them sees them, or a program that works on
// the database without being one.
type Replicas interface {
	// Running returns the names of the replicas that run, this one too, of many the first
	// hundred. Alone reports ErrRunning, and which other replicas run, when there are any; those
	// that have been silent for too long commit nothing after it.
	Running(ctx context.Context) ([]string, error)
	Alone(ctx context.Context) error

	// Lease takes work that one replica does for all, for this long from now on, and reports
	// whether this replica has it. A replica that has the work keeps it by taking it again. It
	// is free once its time is over, or once its replica has stopped.
	Lease(ctx context.Context, work string, life time.Duration) (bool, error)

	// Spend notes the use of a count of a nonce, and reports whether it is the first use on any
	// replica. The nonce is stale from until on.
	Spend(ctx context.Context, nonce string, count uint64, until time.Time) (first bool, err error)

	// ShareFailures tells the other replicas how often sign-ins have failed here, by source,
	// since this replica started. It returns by how much the recent counts of the others exceed
	// seen, and updates seen.
	ShareFailures(ctx context.Context, replica []byte, counts map[string]int64,
		seen map[string]int64) (grown map[string]int64, err error)

	// Tidy deletes what no replica needs any more, a part at a time.
	Tidy(ctx context.Context) error

	// TellRollback tells all replicas that the database went back: this replica has seen size
	// entries of its audit log. From then on none of them serves on it and none starts, until a
	// new log begins. Rollbacks returns what replicas told, the largest first.
	TellRollback(ctx context.Context, size int64)
	Rollbacks(ctx context.Context) ([]Rollback, error)
}

// Files are the files that all replicas share: keys and certificates of the installation.
type Files interface {
	// PutFiles changes files, together. The other replicas adopt them before they decide
	// anything else.
	PutFiles(ctx context.Context, files ...File) error

	// AllFiles returns all files, those that were removed too.
	AllFiles(ctx context.Context) ([]File, error)
}

// A File is one that all replicas share.
type File struct {
	Name string // relative to the data folder
	Data []byte // nil for a file that was removed
}

// An Installation is what a database's books belong to.
type Installation struct {
	Name     string
	Complete bool // whether its init came to an end
}

// A Rollback is what a replica told of a database that went back.
type Rollback struct {
	Replica string // its machine and data folder
	Size    int64  // entries of the audit log that it has seen
}

// News is what other replicas may have done.
type News struct {
	Size        vault.JournalIndex // of the journal
	Users       []people.User
	Revocations []people.Revocation

	// Ahead is how far the clock that counts is ahead of this machine's.
	Ahead time.Duration
}

var (
	// ErrNoBooks reports a database without books.
	ErrNoBooks = errors.New("the database has no books; a first start or atmctl import makes them")

	// ErrSchema reports a schema of another version.
	ErrSchema = errors.New("the schema of the database is not that of this program")

	// ErrWrongSecret reports a secret that is not the one of the installation.
	ErrWrongSecret = secrets.ErrWrong

	// ErrRunning reports replicas that run on a database that has to be at rest.
	ErrRunning = errors.New("replicas run on this database")

	// ErrFenced reports a replica that was silent for so long that it was taken for dead.
	ErrFenced = errors.New("this replica was silent for so long that it was taken for dead, " +
		"and the database was changed as if it had stopped; start it again")

	// ErrRolledBack reports a database that has gone back in time.
	ErrRolledBack = errors.New("the database is older than what this server has seen of it: an " +
		"old state was restored, or a standby was promoted that had not received all")

	// ErrOutcome reports a commit of which nobody knows whether it happened.
	ErrOutcome = errors.New("the outcome of a commit is unknown")
)

// Trouble is why the last commit could not be made.
type Trouble struct{ last atomic.Pointer[failure] }

type failure struct {
	err error
	at  time.Time
}

// troubleFor is how long a failed commit counts as trouble if none follows it.
const troubleFor = 5 * time.Second

// Note notes a commit that failed, and End one that was made.
func (t *Trouble) Note(err error) { t.last.Store(&failure{err, time.Now()}) }

// End notes that a commit was made.
func (t *Trouble) End() { t.last.Store(nil) }

// Recent says why commits have failed lately.
func (t *Trouble) Recent() error {
	if last := t.last.Load(); last != nil && time.Since(last.at) < troubleFor {
		return last.err
	}
	return nil
}
