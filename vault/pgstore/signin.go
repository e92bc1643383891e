package pgstore

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/jackc/pgx/v5"
)

// What replicas share of signing in that is no part of the books.

// Spend notes the use of a count of a nonce, and reports whether it is the first
// one on any replica. The nonce is stale from until on.
//
// The commit does not wait for the disk. What the request changes is committed
// behind it in the same log of the database, and is never there without it.
func (s *Store) Spend(ctx context.Context, nonce string, count uint64, until time.Time) (first bool,
	err error,
) {
	var use [16]byte // what a try that was lost is known by, when it was noted all the same
	rand.Read(use[:])
	err = s.patiently(ctx, func() error {
		bounded, cancel := context.WithTimeout(ctx, roundTrip)
		defer cancel()
		done, err := s.pool.Exec(bounded, `INSERT INTO nonces (nonce, count, until, use)
			SELECT $1, $2, $3, $4 FROM (SELECT set_config('synchronous_commit', 'off', true)) AS s
			ON CONFLICT (nonce, count) DO UPDATE SET use = excluded.use WHERE nonces.use = excluded.use`, nonce, int64(count), until, use[:])
		first = done.RowsAffected() == 1
		return explain(err)
	})
	return first, err
}

// Share tells the other replicas how often sign-ins have failed here, by source,
// since this replica started, and returns by how much the counts of the others
// have grown since the last call, as far as they are recent.
func (s *Store) Share(ctx context.Context, replica []byte, counts map[string]int64,
	seen map[string]int64,
) (grown map[string]int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	var sources [][]byte
	var n []int64
	for source, count := range counts {
		sources, n = append(sources, []byte(source)), append(n, count)
	}
	if len(sources) > 0 {
		if _, err := s.pool.Exec(ctx, `INSERT INTO failures (replica, source, n, changed) SELECT $1, source, n, clock_timestamp() FROM unnest($2::bytea[], $3::bigint[]) AS f (source, n)
			ON CONFLICT (replica, source) DO UPDATE SET n = excluded.n, changed = excluded.changed`, replica, sources, n); err != nil {
			return nil, explain(err)
		}
	}
	grown = make(map[string]int64)
	err = forEach(ctx, s.pool, func(rows pgx.Rows) error {
		var other, source []byte
		var n int64
		if err := rows.Scan(&other, &source, &n); err != nil {
			return err
		}
		key := string(other) + string(source)
		grown[string(source)] += n - seen[key]
		seen[key] = n
		return nil
	}, "SELECT replica, source, n FROM failures WHERE changed > clock_timestamp() - interval '10 "+
		"s' AND replica <> $1 LIMIT 10000", replica)
	return grown, err
}

// Tidy deletes what no replica needs any more, a part at a time.
func (s *Store) Tidy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	for _, sql := range []string{
		"DELETE FROM nonces WHERE (nonce, count) IN (SELECT nonce, count FROM nonces WHERE until " +
			"< clock_timestamp() ORDER BY until LIMIT 20000 FOR UPDATE SKIP LOCKED)",
		"DELETE FROM failures WHERE (replica, source) IN (SELECT replica, source FROM failures " +
			"WHERE changed < clock_timestamp() - interval '10 min' ORDER BY changed LIMIT 20000 " +
			"FOR UPDATE SKIP LOCKED)",
		"SELECT sweep()",
	} {
		if _, err := s.pool.Exec(ctx, sql); err != nil {
			return explain(err)
		}
	}
	return nil
}
