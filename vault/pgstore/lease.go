package pgstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// A lease is the row that says that a replica runs. Whoever commits has one, and looks for it
// while it holds the head. So what needs all replicas stopped holds the head, refuses while a
// row is fresh, and deletes the others: a replica that was thought dead commits no more.

const (
	// leaseFor is how long a replica counts as running after it renewed its row.
	leaseFor = 10 * time.Second

	// renewEvery is how often it does.
	renewEvery = time.Second

	// leaveWithin bounds how long a stop waits to say that it is one.
	leaveWithin = 2 * time.Second
)

// ErrRunning reports replicas that run on a database that has to be at rest.
var ErrRunning = errors.New("replicas run on this database")

// ErrFenced reports a replica that was silent for so long that it was taken for dead.
var ErrFenced = errors.New("this replica was silent for so long that it was taken for dead, " +
	"and the database was changed as if it had stopped; start it again")

// join notes in a transaction that a replica runs. It waits for what needs all replicas
// stopped, and looks once more whether the secret is that of the installation.
func (s *Store) join(ctx context.Context) error {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	mine, err := markOf(s.cfg.Secret)
	if err != nil {
		return err
	}
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if _, err := readSize(ctx, tx, "FOR UPDATE"); err != nil {
			return err
		}
		done, err := tx.Exec(ctx, `INSERT INTO replicas (id, name, renewed)
			SELECT $1, $2, clock_timestamp() FROM installation WHERE mark = $3`, id, s.cfg.Replica, mine)
		if err == nil && done.RowsAffected() == 0 {
			return ErrWrongSecret
		}
		return err
	})
	if err != nil {
		return explainOwn(err)
	}
	s.lease = id
	renewing, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.renew(renewing) }()
	s.leave = func() {
		stop()
		<-ended
		ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
		defer cancel()
		if _, err := s.pool.Exec(ctx, "DELETE FROM replicas WHERE id = $1", id); err != nil {
			s.cfg.Log.Warn("the database could not be told that this replica stops; it counts as "+
				"running for a moment",
				slog.Any("error", explain(err)))
		}
	}
	return nil
}

// renew renews the lease until ctx is done.
func (s *Store) renew(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		bounded, cancel := context.WithTimeout(ctx, leaseFor)
		done, err := s.pool.Exec(bounded, "UPDATE replicas SET renewed = clock_timestamp() WHERE "+
			"id = $1", s.lease)
		cancel()
		if err == nil && done.RowsAffected() == 0 && ctx.Err() == nil {
			s.fenced.Store(true)
			return
		}
	}
}

// leaseSQL finds the lease of whoever commits. It comes after the head.
const leaseSQL = `SELECT count(*) FROM replicas WHERE id = $1`

// Running returns the names of the replicas that run, this one too, of many the first hundred.
func (s *Store) Running(ctx context.Context) ([]string, error) {
	return listed(ctx, s, func(row pgx.Row) (name string, err error) {
		return name, row.Scan(&name)
	},
		"SELECT name FROM replicas WHERE renewed > clock_timestamp() - make_interval(secs => $1) "+
			"ORDER BY name LIMIT 100",
		leaseFor.Seconds())
}

// Alone reports ErrRunning, and which replicas run, when there are any.
func (s *Store) Alone(ctx context.Context) error {
	return s.alone(ctx, func(pgx.Tx, int64) error { return nil })
}

// alone does something in a transaction that holds the head, when no replica runs. Those
// that have been silent for too long do not come back after it.
func (s *Store) alone(ctx context.Context, work func(tx pgx.Tx, size int64) error) error {
	return explainOwn(pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		var synchronous string
		if err := tx.QueryRow(ctx, "SELECT set_config('synchronous_commit', "+
			"current_setting('synchronous_commit'), true)").Scan(&synchronous); err != nil {
			return err
		}
		if synchronous == "off" {
			return ErrAsync
		}
		size, err := readSize(ctx, tx, "FOR UPDATE")
		if err != nil {
			return err
		}
		running, err := list(ctx, tx, func(row pgx.Row) (name string, err error) {
			return name, row.Scan(&name)
		},
			"SELECT name FROM replicas WHERE renewed > clock_timestamp() - make_interval(secs => "+
				"$1) AND id <> $2 ORDER BY name LIMIT 100",
			leaseFor.Seconds(), append([]byte{}, s.lease...))
		if err != nil {
			return err
		}
		if len(running) > 0 {
			return fmt.Errorf(
				"%w: %s; stop them first (one that was killed counts for %.0f s more)",
				ErrRunning, strings.Join(running, ", "), leaseFor.Seconds())
		}
		if _, err := tx.Exec(ctx, "DELETE FROM replicas WHERE id <> $1",
			append([]byte{}, s.lease...)); err != nil {
			return err
		}
		return work(tx, size)
	}))
}
