// Package shared keeps what the replicas on one database share beside the books: which of them
// run, the keys and certificates of the installation, uses of nonces, failed sign-ins, and
// whether one of them saw the database go back.
package shared

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/replicated"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

// Replicas are the servers on one database, as one of them sees them, or a program that works
// on the database without being one.
//
// A replica has a lease, the row that says that it runs, and looks for it in every commit while
// it holds the head of the journal. So what needs all replicas stopped holds the head, refuses
// while a row is fresh, and deletes the others: a replica that was thought dead commits no
// more.
type Replicas struct {
	db   *database.DB
	name string // of this replica, for people; empty for none

	lease  []byte      // of this replica; empty for none
	leave  func()      // gives the lease up; nil without one
	fenced atomic.Bool // the lease is gone
}

const (
	// leaseFor is how long a replica counts as running after it renewed its lease.
	leaseFor = 10 * time.Second

	// renewEvery is how often a replica renews its lease.
	renewEvery = time.Second

	// leaveWithin bounds how long a stop takes to delete the lease.
	leaveWithin = 2 * time.Second
)

var (
	// ErrRunning reports replicas that run on a database that has to be at rest.
	ErrRunning = replicated.ErrRunning

	// ErrFenced reports a replica that was silent for so long that it was taken for dead.
	ErrFenced = replicated.ErrFenced
)

// New returns the replicas on a database. name is this replica's, and empty when this program
// is none.
func New(db *database.DB, name string) *Replicas {
	return &Replicas{db: db, name: name, lease: []byte{}}
}

// Join takes a lease. It waits for what needs all replicas stopped, and looks once more whether
// the mark is that of the installation.
func (r *Replicas) Join(ctx context.Context, mark []byte) error {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	err := pgx.BeginTxFunc(ctx, r.db, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if _, err := holdHead(ctx, tx); err != nil {
			return err
		}
		done, err := tx.Exec(ctx, `INSERT INTO replicas (id, name, renewed)
			SELECT $1, $2, clock_timestamp() FROM installation WHERE mark = $3`, id, r.name, mark)
		if err == nil && done.RowsAffected() == 0 {
			return secrets.ErrWrong
		}
		return err
	})
	if err != nil {
		return database.ExplainSent(err)
	}
	r.lease = id
	renewing, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); r.renew(renewing) }()
	r.leave = func() { stop(); <-ended }
	return nil
}

// Leave gives the lease up.
func (r *Replicas) Leave() {
	if r.leave == nil {
		return
	}
	r.leave()
	r.leave = nil
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	if _, err := r.db.Exec(ctx, "DELETE FROM replicas WHERE id = $1", r.lease); err != nil {
		r.db.Log.Warn("the database could not be told that this replica stops; it counts as "+
			"running for a moment", slog.Any("error", database.Explain(err)))
	}
}

// renew renews the lease until ctx is done.
func (r *Replicas) renew(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		bounded, cancel := context.WithTimeout(ctx, leaseFor)
		done, err := r.db.Exec(bounded,
			"UPDATE replicas SET renewed = clock_timestamp() WHERE id = $1", r.lease)
		cancel()
		if err == nil && done.RowsAffected() == 0 && ctx.Err() == nil {
			r.fenced.Store(true)
			return
		}
	}
}

// Fenced reports whether the lease is gone, as far as is known.
func (r *Replicas) Fenced() bool { return r.fenced.Load() }

// QueueLease looks for the lease of this replica in a transaction that holds the head. *err is
// ErrFenced then when it is gone.
func (r *Replicas) QueueLease(b *pgx.Batch, err *error) {
	if len(r.lease) == 0 {
		return
	}
	b.Queue(`SELECT count(*) FROM replicas WHERE id = $1`, r.lease).QueryRow(
		func(row pgx.Row) error {
			var leases int
			failed := row.Scan(&leases)
			if leases == 0 {
				*err = ErrFenced
			}
			return failed
		})
}

const runningSQL = `SELECT name FROM replicas
	WHERE renewed > clock_timestamp() - make_interval(secs => $1) AND id <> $2
	ORDER BY name LIMIT 100`

func scanName(row pgx.Row) (name string, err error) {
	err = row.Scan(&name)
	return name, err
}

// Running returns the names of the replicas that run, this one too, of many the first hundred.
func (r *Replicas) Running(ctx context.Context) ([]string, error) {
	return database.Listed(ctx, r.db, scanName, runningSQL, leaseFor.Seconds(), []byte{})
}

// Alone reports ErrRunning, and which other replicas run, when there are any.
func (r *Replicas) Alone(ctx context.Context) error {
	return r.Exclude(ctx, func(pgx.Tx, int64) error { return nil })
}

// Exclude runs work in a transaction that holds the head, when no other replica runs. Those
// that have been silent for too long commit nothing after it. size is that of the journal.
func (r *Replicas) Exclude(ctx context.Context, work func(tx pgx.Tx, size int64) error) error {
	return database.ExplainSent(pgx.BeginTxFunc(ctx, r.db, pgx.TxOptions{}, func(tx pgx.Tx) error {
		var synchronous string
		if err := tx.QueryRow(ctx, `SELECT set_config('synchronous_commit',
			current_setting('synchronous_commit'), true)`).Scan(&synchronous); err != nil {
			return err
		}
		if synchronous == "off" {
			return database.ErrAsync
		}
		size, err := holdHead(ctx, tx)
		if err != nil {
			return err
		}
		if err := r.evict(ctx, tx); err != nil {
			return err
		}
		return work(tx, size)
	}))
}

// evict deletes the leases of the other replicas, and refuses while one is fresh.
func (r *Replicas) evict(ctx context.Context, tx pgx.Tx) error {
	running, err := database.List(ctx, tx, scanName, runningSQL, leaseFor.Seconds(), r.lease)
	if err != nil {
		return err
	}
	if len(running) > 0 {
		return fmt.Errorf("%w: %s; stop them first (one that was killed counts for %.0f s more)",
			ErrRunning, strings.Join(running, ", "), leaseFor.Seconds())
	}
	_, err = tx.Exec(ctx, "DELETE FROM replicas WHERE id <> $1", r.lease)
	return err
}

// holdHead locks the head of the journal and returns its size.
func holdHead(ctx context.Context, tx pgx.Tx) (size int64, err error) {
	err = tx.QueryRow(ctx, "SELECT size FROM log FOR UPDATE").Scan(&size)
	return size, err
}

// Tidy deletes what no replica needs any more, a part at a time.
func (r *Replicas) Tidy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	for _, sql := range []string{
		`DELETE FROM nonces WHERE (nonce, count) IN (SELECT nonce, count FROM nonces
			WHERE until < clock_timestamp() ORDER BY until LIMIT 20000 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM failures WHERE (replica, source) IN (SELECT replica, source FROM failures
			WHERE changed < clock_timestamp() - interval '10 min'
			ORDER BY changed LIMIT 20000 FOR UPDATE SKIP LOCKED)`,
		"SELECT sweep()",
	} {
		if _, err := r.db.Exec(ctx, sql); err != nil {
			return database.Explain(err)
		}
	}
	return nil
}
