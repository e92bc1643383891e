package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// The migrations lead from one version of the schema to the next. They go
// forward only: the way back is a backup.
//
//go:embed migrations/*.sql
var migrations embed.FS

// schemaVersion is the version of the schema that this program knows.
const schemaVersion = 3

// migrateWithin bounds a migration.
const migrateWithin = 10 * time.Minute

// ErrSchema reports a schema of another version.
var ErrSchema = errors.New("the schema of the database is not that of this program")

// checkSchema makes sure that the schema is the one that this program knows,
// and changes nothing.
func (s *Store) checkSchema(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	return checkSchema(ctx, s.pool)
}

func checkSchema(ctx context.Context, q querier) error {
	var version int64
	err := q.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE "+
		"is_applied").Scan(&version)
	const undefinedTable = "42P01"
	if state, _ := stateOf(err); state == undefinedTable || err == nil && version == 0 {
		return ErrNoBooks
	}
	switch {
	case err != nil:
		return explain(err)
	case version < schemaVersion:
		return fmt.Errorf("%w: it has version %d, older than %d; stop every replica and run "+
			"atmctl migrate", ErrSchema, version, schemaVersion)
	case version > schemaVersion:
		return fmt.Errorf("%w: it has version %d, newer than %d; use the program that migrated it",
			ErrSchema, version, schemaVersion)
	}
	return nil
}

// Migrate makes the schema in an empty database, or brings an older one up to
// date. Whoever does it owns the tables.
func Migrate(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, migrateWithin)
	defer cancel()
	c, err := parse(cfg)
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*c.ConnConfig)
	defer db.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return err
	}
	if pending, err := provider.HasPending(ctx); err == nil && pending {
		if err := checkStopped(ctx, cfg); err != nil {
			if checkMigrated(ctx, cfg) == nil { // by the one that runs, meanwhile
				return nil
			}
			return err
		}
	}
	if _, err := provider.Up(ctx); err != nil {
		// Two that start at once on an empty database are in each other's way;
		// the one that made it has made it for both.
		for range 20 {
			if done := checkMigrated(ctx, cfg); done == nil {
				return nil
			}
			time.Sleep(100 * time.Millisecond)
		}
		return fmt.Errorf("migrate: %w", explain(err))
	}
	return nil
}

// checkStopped refuses a migration under replicas that run, where the schema knows of them.
func checkStopped(ctx context.Context, cfg Config) error {
	s, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	var known bool
	if err := s.pool.QueryRow(ctx,
		"SELECT to_regclass('replicas') IS NOT NULL").Scan(&known); err != nil {
		return explain(err)
	}
	if !known {
		return nil
	}
	return s.Alone(ctx)
}

func checkMigrated(ctx context.Context, cfg Config) error {
	s, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.checkSchema(ctx)
}

// Grant lets a role of the database do what a server has to, and no more: it
// reads and adds records, changes those columns of them that operations change, adds to the
// journal, and owns nothing. What it was allowed before and need not do is taken back.
func Grant(ctx context.Context, cfg Config, role string) error {
	s, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	var owns bool // and may do everything
	err = s.pool.QueryRow(ctx, "SELECT pg_get_userbyid(relowner) = $1 FROM pg_class WHERE oid = "+
		"'journal'::regclass", role).Scan(&owns)
	if err != nil || owns {
		return explain(err)
	}
	var schema string
	if err := s.pool.QueryRow(ctx, "SELECT relnamespace::regnamespace::text FROM pg_class WHERE "+
		"oid = 'journal'::regclass").Scan(&schema); err != nil {
		return explain(err)
	}
	to := pgx.Identifier{role}.Sanitize()
	var b strings.Builder
	// which is quoted where it has to be
	fmt.Fprintf(&b, "GRANT USAGE ON SCHEMA %s TO %s;\n", schema, to)
	fmt.Fprintf(&b, "REVOKE ALL ON journal, versions, installation, log, accounts, holds, grants, "+
		"users, revocations, certificates, requests, rollbacks, files FROM %s;\n", to)
	for _, g := range []string{
		"SELECT ON goose_db_version", "SELECT, INSERT ON journal, versions",
		"SELECT, INSERT, UPDATE (mark, complete) ON installation",
		"SELECT, UPDATE (size, head, checkpoint, logs, files) ON log",
		"SELECT, INSERT, UPDATE (owner, holder, standing, balance, version, pending, " +
			"limit_operation, limit_amount, limit_count, limit_zone, spent_day, spent_amount, " +
			"spent_count) ON accounts",
		"SELECT, INSERT, UPDATE (state) ON holds", "SELECT, INSERT, UPDATE (spent) ON grants",
		"SELECT, INSERT, UPDATE (roles, disabled, ha1, slow, changed) ON users",
		"SELECT, INSERT, UPDATE (at, changed) ON revocations",
		"SELECT, INSERT, UPDATE (sealed, version) ON files", "SELECT, INSERT, DELETE, UPDATE " +
			"(subject, not_after, issued, scope, actor) ON certificates",
		"SELECT, INSERT, DELETE ON requests, rollbacks",
		"SELECT, INSERT, UPDATE, DELETE ON nonces, failures, replicas",
	} {
		fmt.Fprintf(&b, "GRANT %s TO %s;\n", g, to)
	}
	_, err = s.pool.Exec(ctx, b.String(), pgx.QueryExecModeSimpleProtocol)
	return explain(err)
}
