// Package schema makes the tables of the books, brings those of an older program up to date,
// and says what the role of a server may do with them.
//
// Migrations go forward only: the way back is a backup.
package schema

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/pgstore/shared"
	"example.com/atm/vault/replicated"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// The migrations lead from one version of the schema to the next.
//
//go:embed migrations/*.sql
var migrations embed.FS

// version is the version of the schema that this program knows.
const version = 10

// migrateWithin bounds a migration.
const migrateWithin = 10 * time.Minute

var (
	// ErrNoBooks reports a database without books.
	ErrNoBooks = replicated.ErrNoBooks

	// ErrSchema reports a schema of another version.
	ErrSchema = replicated.ErrSchema

	// ErrEncoding reports a database that lacks characters that customers may send.
	ErrEncoding = errors.New("the encoding of the database must be UTF8")
)

// Check makes sure that the schema is the one that this program knows, and changes nothing.
func Check(ctx context.Context, db *database.DB) error {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	var found int64
	err := db.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version
		WHERE is_applied`).Scan(&found)
	state, _ := database.State(err)
	switch {
	case state == database.UndefinedTable || err == nil && found == 0:
		return ErrNoBooks
	case err != nil:
		return database.Explain(err)
	case found < version:
		return fmt.Errorf("%w: it has version %d, older than %d; stop every replica and run "+
			"atmctl migrate", ErrSchema, found, version)
	case found > version:
		return fmt.Errorf("%w: it has version %d, newer than %d; use the program that migrated it",
			ErrSchema, found, version)
	}
	return nil
}

// Ensure makes the schema in an empty database, and checks it in one that has books.
func Ensure(ctx context.Context, db *database.DB, at database.Address) error {
	err := Check(ctx, db)
	if !errors.Is(err, ErrNoBooks) && !(errors.Is(err, ErrSchema) && empty(ctx, db)) {
		return err
	}
	if err := checkEncoding(ctx, db); err != nil {
		return err
	}
	return Migrate(ctx, at, db.Log)
}

// empty reports whether the journal is empty. Then an older schema is one that another replica
// is making at this moment, or that an interrupted init began.
func empty(ctx context.Context, db *database.DB) bool {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	var empty bool
	err := db.QueryRow(ctx, "SELECT NOT EXISTS (SELECT FROM journal)").Scan(&empty)
	return err == nil && empty
}

// checkEncoding refuses a database that cannot keep every text.
func checkEncoding(ctx context.Context, db *database.DB) error {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	var encoding string
	if err := db.QueryRow(ctx, "SELECT current_setting('server_encoding')").
		Scan(&encoding); err != nil {
		return database.Explain(err)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("%w: this one is %s; CREATE DATABASE … ENCODING 'UTF8' TEMPLATE "+
			"template0", ErrEncoding, encoding)
	}
	return nil
}

// Migrate makes the schema in an empty database, or brings an older one up to date. The role
// that does it owns the tables.
func Migrate(ctx context.Context, at database.Address, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, migrateWithin)
	defer cancel()
	c, err := database.Parse(at)
	if err != nil {
		return err
	}
	conns := stdlib.OpenDB(*c.ConnConfig)
	defer conns.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, conns, files)
	if err != nil {
		return err
	}
	if pending, err := provider.HasPending(ctx); err == nil && pending {
		if err := connected(ctx, at, log, checkStopped); err != nil {
			if connected(ctx, at, log, Check) == nil { // a replica that runs did it meanwhile
				return nil
			}
			return err
		}
	}
	if _, err := provider.Up(ctx); err != nil {
		// Two that start at once on an empty database are in each other's way. The one that
		// makes the schema makes it for both.
		for range 20 {
			if connected(ctx, at, log, Check) == nil {
				return nil
			}
			time.Sleep(100 * time.Millisecond)
		}
		return fmt.Errorf("migrate: %w", database.Explain(err))
	}
	return nil
}

// connected calls check with new connections: those from before know another schema.
func connected(ctx context.Context, at database.Address, log *slog.Logger,
	check func(context.Context, *database.DB) error,
) error {
	db, err := database.Open(ctx, at, log)
	if err != nil {
		return err
	}
	defer db.Close()
	return check(ctx, db)
}

// checkStopped refuses a migration while replicas run, if the schema knows of replicas.
func checkStopped(ctx context.Context, db *database.DB) error {
	var known bool
	if err := db.QueryRow(ctx, "SELECT to_regclass('replicas') IS NOT NULL").
		Scan(&known); err != nil {
		return database.Explain(err)
	}
	if !known {
		return nil
	}
	return shared.New(db, "").Alone(ctx)
}

// Privileges of a server: it reads and adds records, changes the columns that operations change,
// adds to the journal, and trims it.
var privileges = []string{
	"SELECT ON goose_db_version",
	"SELECT, INSERT ON journal, versions",
	"SELECT, INSERT, UPDATE (mark, complete) ON installation",
	"SELECT, UPDATE (size, head, checkpoint, logs, files, base) ON log",
	"EXECUTE ON FUNCTION trim_journal",
	"SELECT, INSERT, UPDATE (owner, holder, sealed_holder, standing, balance, version, pending, " +
		"limit_operation, limit_amount, limit_count, limit_zone, " +
		"spent_day, spent_amount, spent_count, agreements, creditors) ON accounts",
	"SELECT, INSERT, UPDATE (state) ON holds",
	"SELECT, INSERT, UPDATE (spent, counted, revoked) ON mandates",
	"SELECT, INSERT, UPDATE (next, paid, failed, settled, outcome, cancelled) ON orders",
	"SELECT, INSERT, UPDATE (amount) ON reversals",
	"SELECT, INSERT, UPDATE (subscriptions, sources) ON feeds",
	"SELECT, INSERT, UPDATE (spent) ON grants",
	"SELECT, INSERT, UPDATE (roles, disabled, ha1, slow, changed) ON users",
	"SELECT, INSERT, UPDATE (at, changed) ON revocations",
	"SELECT, INSERT, UPDATE (sealed, version) ON files",
	"SELECT, INSERT, DELETE, UPDATE (subject, not_after, issued, scope, actor) ON certificates",
	"SELECT, INSERT, UPDATE (name, count, flags, removed) ON passkeys",
	"SELECT, INSERT, DELETE, UPDATE (seen, ended) ON sessions",
	"SELECT, INSERT, DELETE ON requests, rollbacks",
	"SELECT, INSERT, UPDATE, DELETE ON nonces, failures, replicas, leases, feed_cursors",
}

// guarded are the tables of which a role loses what it was allowed before.
const guarded = "journal, versions, installation, log, accounts, holds, mandates, orders, " +
	"reversals, feeds, grants, users, " +
	"revocations, certificates, passkeys, sessions, requests, rollbacks, files"

// Grant gives a role of the database the privileges of a server, and takes every other one
// back. It leaves the owner of the tables alone.
func Grant(ctx context.Context, db *database.DB, role string) error {
	var owns bool
	var schema string // quoted where it has to be
	err := db.QueryRow(ctx, `SELECT pg_get_userbyid(relowner) = $1,
		relnamespace::regnamespace::text FROM pg_class WHERE oid = 'journal'::regclass`, role).
		Scan(&owns, &schema)
	if err != nil || owns {
		return database.Explain(err)
	}
	to := pgx.Identifier{role}.Sanitize()
	var b strings.Builder
	fmt.Fprintf(&b, "GRANT USAGE ON SCHEMA %s TO %s;\n", schema, to)
	fmt.Fprintf(&b, "REVOKE ALL ON %s FROM %s;\n", guarded, to)
	for _, privilege := range privileges {
		fmt.Fprintf(&b, "GRANT %s TO %s;\n", privilege, to)
	}
	_, err = db.Exec(ctx, b.String(), pgx.QueryExecModeSimpleProtocol)
	return database.Explain(err)
}
