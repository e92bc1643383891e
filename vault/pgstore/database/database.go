// Package database talks to PostgreSQL: it connects, tries again what may work the next time,
// and says in one line what went wrong. It knows which settings of a server would lose what
// was acknowledged, and nothing of accounts.
package database

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// An Address says where a database is and how to sign in to it.
type Address struct {
	URL      string // postgres://, as libpq has it, of one host or several
	Password string // empty when the URL, a password file or nothing will do
}

// A DB is a pool of connections to one database.
type DB struct {
	*pgxpool.Pool
	Log *slog.Logger
}

var (
	// ErrURL reports a URL that names no database.
	ErrURL = errors.New("this is no postgres:// URL of a database")

	// ErrReadOnly reports a standby.
	ErrReadOnly = errors.New("the database takes no changes: it is a standby, or read-only; name " +
		"all hosts and target_session_attrs=read-write")

	// ErrAsync reports a database that acknowledges what is not durable.
	ErrAsync = errors.New("synchronous_commit is off: the database would acknowledge what a " +
		"crash takes back; set it to on")
)

const (
	// RoundTrip bounds how long an answer of the database may take, the wait
	// for a lock included.
	RoundTrip = 10 * time.Second

	// ReadWithin bounds how long reading one page of records may take.
	ReadWithin = 30 * time.Second

	// connectWithin bounds how long one host is tried.
	connectWithin = 2 * time.Second

	// maxConnections bounds the connections of one replica, unless the URL says
	// pool_max_conns.
	maxConnections = 16
)

// Open connects, and refuses a server that would not keep what it acknowledges.
func Open(ctx context.Context, at Address, log *slog.Logger) (*DB, error) {
	c, err := Parse(at)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, RoundTrip)
	defer cancel()
	direct, schema, err := look(ctx, c.ConnConfig)
	if err != nil {
		return nil, Explain(err)
	}
	if schema != "" {
		c.ConnConfig.RuntimeParams["search_path"] = pgx.Identifier{schema}.Sanitize()
	}
	// A pooler between us and the server gives each transaction any of its own connections,
	// and a statement that was prepared on another one is not there.
	if !direct && c.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, Explain(err)
	}
	db := &DB{pool, log}
	if err := db.checkServer(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return db, nil
}

// CheckURL reports whether a store of this URL can be asked for. It refuses a password in the
// URL, which everybody on the machine could read.
func CheckURL(url string) error {
	c, err := Parse(Address{URL: url})
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

// Parse returns the settings of connections to a database.
func Parse(at Address) (*pgxpool.Config, error) {
	if !strings.HasPrefix(at.URL, "postgres://") && !strings.HasPrefix(at.URL, "postgresql://") {
		return nil, ErrURL
	}
	c, err := pgxpool.ParseConfig(at.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = connectWithin
	}
	if !strings.Contains(at.URL, "pool_max_conns") {
		c.MaxConns = maxConnections
	}
	if at.Password != "" {
		c.ConnConfig.Password = at.Password
	}
	// Our SQL relies on this, whatever is set for the database or the role.
	c.ConnConfig.RuntimeParams["standard_conforming_strings"] = "on"
	if _, named := c.ConnConfig.RuntimeParams["application_name"]; !named {
		c.ConnConfig.RuntimeParams["application_name"] = "atmserver"
	}
	return c, nil
}

// lookSQL finds the schema of the books when it is not on the search path of the role.
// PostgreSQL puts the schema that is named like the current role first, so what the owner
// creates there is invisible to every other role.
const lookSQL = `SELECT pg_backend_pid(), coalesce((
	SELECT CASE WHEN count(*) = 1 THEN min(n.nspname) END
	FROM pg_class j JOIN pg_namespace n ON n.oid = j.relnamespace
	WHERE j.relname = 'journal' AND j.relkind = 'r' AND to_regclass('versions') IS NULL
		AND EXISTS (SELECT FROM pg_class h
			WHERE h.relnamespace = n.oid AND h.relname = 'versions')), '')`

// look reports whether the connection goes to the server itself, not to a pooler, and which
// schema has the books when the role would not find them.
func look(ctx context.Context, cfg *pgx.ConnConfig) (direct bool, schema string, err error) {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return false, "", err
	}
	defer conn.Close(ctx)
	var pid uint32
	err = conn.QueryRow(ctx, lookSQL, pgx.QueryExecModeExec).Scan(&pid, &schema)
	return pid == conn.PgConn().PID(), schema, err
}

// checkServer refuses a server that would not keep what it acknowledges.
func (db *DB) checkServer(ctx context.Context) error {
	var readOnly, synchronous, fsync string
	err := db.QueryRow(ctx, `SELECT current_setting('transaction_read_only'),
		current_setting('synchronous_commit'), current_setting('fsync')`).
		Scan(&readOnly, &synchronous, &fsync)
	switch {
	case err != nil:
		return Explain(err)
	case readOnly == "on":
		return ErrReadOnly
	case synchronous == "off":
		return ErrAsync
	case fsync == "off":
		db.Log.Warn("fsync of the database is off: what it acknowledges is lost when its " +
			"machine fails")
	}
	return nil
}
