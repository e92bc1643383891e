// Package pgstore keeps the books of any number of machines in PostgreSQL.
//
// A commit is one transaction of the database: when Commit returns nil, it is as
// durable as the database makes a commit. Every commit holds the one row that is
// the head of the journal, so commits happen one after the other, whoever makes
// them; nothing else is relied on but rows, keys and constraints. What the
// connection was lost over is looked up before anybody is told anything.
//
// The database is never made in place of one that should exist: Create makes it,
// Open only opens it.
package pgstore

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/sealing"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config is everything a Store needs.
type Config struct {
	// URL says where the database is: a postgres:// URL as libpq has it, of one
	// host or several. Required.
	URL string

	// Password is for signing in. Optional; the URL, a password file or nothing
	// may do.
	Password string

	// Secret is what secrets in the database are sealed under. Required.
	Secret []byte

	// Adopt is told of shared files that another replica changed, before
	// anything is decided after that. Optional.
	Adopt func([]File) error

	// Replica names the server that commits here, for people: its machine and its data
	// folder. Empty for what works on a database without being a replica.
	Replica string

	// Log is for the operator. Optional.
	Log *slog.Logger
}

// A Store is a vault.Store in a database.
type Store struct {
	cfg  Config
	pool *pgxpool.Pool

	ciphers map[string]cipher.AEAD // by what they are for
	suite   sealing.Suite

	mu    sync.Mutex
	seen  highWater // guarded by mu; the newest that was read or written here
	files int64     // guarded by mu; version of the newest file that was adopted

	settings *string // guarded by mu; of the database, for sessions that begin; nil at first

	adopting sync.Mutex // held while files are adopted

	rolledBack atomic.Pointer[error] // set for good when the journal was found to have gone back
	telling    sync.WaitGroup        // the other replicas of it

	trouble atomic.Pointer[trouble] // nil when the last commit was made

	oldest atomic.Int64 // a day before which there is no request id

	lease  []byte      // of a replica; nil for none
	leave  func()      // gives the lease up; nil without one
	fenced atomic.Bool // the lease is gone
}

// highWater is a state of the journal.
type highWater struct {
	size int64 // of the journal
	head merkle.Head
	last merkle.Hash // leaf hash of the newest entry
}

var _ vault.Store = (*Store)(nil)

var (
	// ErrNoBooks reports a database without books.
	ErrNoBooks = errors.New("the database has no books; a first start or atmctl import makes them")

	// ErrWrongSecret reports books that belong to another vault key.
	ErrWrongSecret = errors.New("the database belongs to another keys/vault.key")

	// ErrReadOnly reports a standby.
	ErrReadOnly = errors.New("the database takes no changes: it is a standby, or read-only; name " +
		"all hosts and target_session_attrs=read-write")

	// ErrEncoding reports a database that lacks characters that customers may send.
	ErrEncoding = errors.New("the encoding of the database must be UTF8")

	// ErrAsync reports a database that acknowledges what is not durable.
	ErrAsync = errors.New("synchronous_commit is off: the database would acknowledge what a " +
		"crash takes back; set it to on")

	// ErrRolledBack reports a database that has gone back in time.
	ErrRolledBack = errors.New("the database is older than what this server has seen of it: an " +
		"old state was restored, or a standby was promoted that had not received all")

	// ErrOutcome reports a commit of which nobody knows whether it happened.
	ErrOutcome = errors.New("the outcome of a commit is unknown")
)

const (
	// connectWithin bounds how long one host is tried.
	connectWithin = 2 * time.Second

	// roundTrip bounds how long an answer of the database may take, the wait
	// for the head included.
	roundTrip = 10 * time.Second

	// readWithin bounds one reading of a page of records.
	readWithin = 30 * time.Second

	// maxConnections bounds the connections of one replica, unless the URL says
	// pool_max_conns.
	maxConnections = 16
)

// open connects, and looks whether the server is one to write to.
func open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Adopt == nil {
		cfg.Adopt = func([]File) error { return nil }
	}
	pool, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, pool: pool}
	if err := s.checkServer(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

func connect(ctx context.Context, cfg Config) (*pgxpool.Pool, error) {
	c, err := parse(cfg)
	if err != nil {
		return nil, err
	}
	// A pooler between us and the server hands a transaction to any connection
	// of its own. What was prepared on another one would not be there.
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	direct, schema, err := look(ctx, c.ConnConfig)
	if err != nil {
		return nil, explain(err)
	}
	if schema != "" {
		c.ConnConfig.RuntimeParams["search_path"] = pgx.Identifier{schema}.Sanitize()
	}
	if !direct && c.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, explain(err)
	}
	return pool, nil
}

// ErrURL reports a URL that names no database.
var ErrURL = errors.New("this is no postgres:// URL of a database")

// CheckURL reports whether a store of this URL can be asked for. A password in
// it could be read by everybody on the machine.
func CheckURL(url string) error {
	c, err := parse(Config{URL: url})
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(url, "://") // several hosts are no URL to package url
	if user, _, found := strings.Cut(rest, "@"); found && strings.Contains(user, ":") ||
		strings.Contains(url, "password=") {
		return errors.New("a password does not belong into a URL, where others can read it: give " +
			"it in a file with --store-password-file, or name a passfile")
	}
	if c.ConnConfig.Database == "" {
		return ErrURL
	}
	return nil
}

func parse(cfg Config) (*pgxpool.Config, error) {
	if !strings.HasPrefix(cfg.URL, "postgres://") && !strings.HasPrefix(cfg.URL, "postgresql://") {
		return nil, ErrURL
	}
	c, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = connectWithin
	}
	if !strings.Contains(cfg.URL, "pool_max_conns") {
		c.MaxConns = maxConnections
	}
	if cfg.Password != "" {
		c.ConnConfig.Password = cfg.Password
	}
	// Whatever is set for the database or the role: the SQL here is written for this.
	c.ConnConfig.RuntimeParams["standard_conforming_strings"] = "on"
	if _, named := c.ConnConfig.RuntimeParams["application_name"]; !named {
		c.ConnConfig.RuntimeParams["application_name"] = "atmserver"
	}
	return c, nil
}

// look reports whether the process that a connection is said to be of is the one that
// answers, and where the books are when they are not where the role looks first: a schema that
// is called like its owner is such a place, for every other role. Without it, books that are
// there would be taken for none.
func look(ctx context.Context, cfg *pgx.ConnConfig) (direct bool, schema string, err error) {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return false, "", err
	}
	defer conn.Close(ctx)
	var pid uint32
	err = conn.QueryRow(ctx, `SELECT pg_backend_pid(), coalesce((
		SELECT CASE WHEN count(*) = 1 THEN min(n.nspname) END FROM pg_class j JOIN pg_namespace n ON n.oid = j.relnamespace
		WHERE j.relname = 'journal' AND j.relkind = 'r' AND to_regclass('versions') IS NULL
			AND EXISTS (SELECT FROM pg_class h WHERE h.relnamespace = n.oid AND h.relname = 'versions')), '')`,
		pgx.QueryExecModeExec).Scan(&pid, &schema)
	return pid == conn.PgConn().PID(), schema, err
}

// checkServer refuses a server that would not keep what it acknowledges.
func (s *Store) checkServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	var readOnly, synchronous, fsync string
	err := s.pool.QueryRow(ctx, "SELECT current_setting('transaction_read_only'), "+
		"current_setting('synchronous_commit'), current_setting('fsync')").
		Scan(&readOnly, &synchronous, &fsync)
	switch {
	case err != nil:
		return explain(err)
	case readOnly == "on":
		return ErrReadOnly
	case synchronous == "off":
		return ErrAsync
	case fsync == "off":
		s.cfg.Log.Warn("fsync of the database is off: what it acknowledges is lost when its " +
			"machine fails")
	}
	return nil
}

// Close lets go of the database.
func (s *Store) Close() error {
	if s.leave != nil {
		s.leave()
		s.leave = nil
	}
	s.telling.Wait()
	s.pool.Close()
	return nil
}

// troubleFor is how long a commit that could not be made says that the next one
// could not, either, unless it was made.
const troubleFor = 5 * time.Second

// Trouble is why commits could not be made in the last moment, and nil when they
// could, as far as is known.
func (s *Store) Trouble() error {
	if t := s.trouble.Load(); t != nil && time.Since(t.at) < troubleFor {
		return t.err
	}
	return nil
}

// trouble is why a commit could not be made.
type trouble struct {
	err error
	at  time.Time
}

// An Error is what went wrong with the database, in one line.
type Error struct{ err error }

// Error implements error.
func (e *Error) Error() string {
	var said []string // with and without TLS a host says the same
	for line := range strings.Lines(e.err.Error()) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	return "database: " + strings.Join(said, " ")
}

// Unwrap returns what the driver said.
func (e *Error) Unwrap() error { return e.err }

func explain(err error) error {
	var known *Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer in time: %w", err)
	}
	if dropped(err) {
		err = fmt.Errorf("%s: %w", dropping, err)
	}
	if c := new(pgconn.ConnectError); errors.As(err, &c) && strings.Contains(err.Error(),
		"read only") {
		return ErrReadOnly // from target_session_attrs
	}
	return &Error{err}
}

// stateOf is the SQLSTATE of an error, and "" when the database sent none. fatal
// says that it ended the connection.
func stateOf(err error) (state string, fatal bool) {
	var p *pgconn.PgError
	if !errors.As(err, &p) {
		return "", false
	}
	return p.Code, p.Severity == "FATAL" || p.Severity == "PANIC"
}

// passes reports whether what failed may work when it is tried again: another
// transaction was in the way, or a server is on its way down or up.
func passes(err error) bool {
	state, _ := stateOf(err)
	switch state {
	case "":
		// Nothing from the database: a connection that failed or was too slow.
		// What is wrong in itself, such as a record of no known form, is no Error.
		known := new(Error)
		return errors.As(err, &known) || errors.Is(err, ErrReadOnly) || errors.Is(err, ErrAsync)
	case serializationFailure, deadlockDetected, lockNotAvailable, readOnlyTransaction,
		idleTransaction, tooManyConnections:
		return true
	}
	switch state[:2] {
	case classConnection, classResources, classIntervention, classSystem:
		return true
	}
	return false
}

// SQLSTATE codes and classes (PostgreSQL, appendix A).
const (
	divisionByZero       = "22012" // see written
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	lockNotAvailable     = "55P03"
	readOnlyTransaction  = "25006"
	idleTransaction      = "25P03"
	tooManyConnections   = "53300"

	classConnection   = "08"
	classResources    = "53" // a full disk among them
	classIntervention = "57"
	classSystem       = "58"
)
