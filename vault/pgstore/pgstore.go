// Package pgstore keeps the books of any number of machines in PostgreSQL.
//
// A commit is one transaction of the database: when Commit returns nil, it is as durable as the
// database makes a commit. Every commit locks the one row that is the head of the journal, so
// commits happen one after the other, on whichever replica; nothing else is relied on but rows,
// keys and constraints. When the connection is lost over a commit, the store looks up whether
// it happened before it tells anybody.
//
// A database that should have books and has none is never made anew: Create makes the books,
// Open only opens them.
package pgstore

import (
	"context"
	"log/slog"
	"sync/atomic"

	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/pgstore/schema"
	"example.com/atm/vault/pgstore/shared"
	"example.com/atm/vault/replicated"
	"example.com/atm/vault/secrets"
)

// Config is everything a Store needs.
type Config struct {
	// URL says where the database is: a postgres:// URL as libpq has it, of one
	// host or several. Required.
	URL string

	// Password is for signing in. Optional if the URL, a password file or nothing will do.
	Password string

	// Secret is what secrets in the database are sealed under. Required.
	Secret []byte

	// Adopt is told of shared files that another replica changed, before the next commit is
	// decided. Optional.
	Adopt func([]File) error

	// Replica names the server that commits here, for people: its machine and its data
	// folder. Empty for a program that works on a database without being a replica.
	Replica string

	// Log is for the operator. Optional.
	Log *slog.Logger
}

func (c Config) address() database.Address {
	return database.Address{URL: c.URL, Password: c.Password}
}

func (c Config) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

// A Store is a vault.Store in a database. Its reader has the methods that only read the books,
// and its claims those about cursors.
type Store struct {
	reader
	*shared.Claims

	// Replicas are all servers on the database, and Files the files that they share.
	*shared.Replicas
	Files *shared.Files

	replica  bool // this program is one
	trouble  replicated.Trouble
	settings atomic.Pointer[string] // of the database, for sessions that begin; nil at first
	oldest   atomic.Int64           // a day before which there is no request id
}

var _ replicated.Store = (*Store)(nil)

// A File is one that all replicas share.
type File = shared.File

// Errors of the packages below, for callers that only know a Store.
var (
	ErrURL         = database.ErrURL
	ErrReadOnly    = database.ErrReadOnly
	ErrAsync       = database.ErrAsync
	ErrNoBooks     = schema.ErrNoBooks
	ErrSchema      = schema.ErrSchema
	ErrEncoding    = schema.ErrEncoding
	ErrWrongSecret = secrets.ErrWrong
	ErrRunning     = shared.ErrRunning
	ErrFenced      = shared.ErrFenced
)

var (
	// ErrRolledBack reports a database that has gone back in time.
	ErrRolledBack = replicated.ErrRolledBack

	// ErrOutcome reports a commit of which nobody knows whether it happened.
	ErrOutcome = replicated.ErrOutcome
)

// CheckURL reports whether a store of this URL can be asked for. It refuses a password in the
// URL, which everybody on the machine could read.
func CheckURL(url string) error { return database.CheckURL(url) }

func connect(ctx context.Context, cfg Config) (*database.DB, error) {
	return database.Open(ctx, cfg.address(), cfg.log())
}

// Close gives the lease of a replica up and closes all connections.
func (s *Store) Close() error {
	s.Replicas.Leave()
	s.past.telling.Wait()
	s.db.Close()
	return nil
}

// Trouble implements replicated.Store.
func (s *Store) Trouble() error { return s.trouble.Recent() }

// PutFiles implements replicated.Files.
func (s *Store) PutFiles(ctx context.Context, files ...File) error {
	return s.Files.Put(ctx, files...)
}

// AllFiles implements replicated.Files.
func (s *Store) AllFiles(ctx context.Context) ([]File, error) { return s.Files.All(ctx) }
