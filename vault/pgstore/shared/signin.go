package shared

import (
	"context"
	"crypto/rand"
	"time"

	"example.com/atm/vault/pgstore/database"
	"github.com/jackc/pgx/v5"
)

// spendSQL does not wait for the disk: what the request changes is committed after it in the
// same log of the database, and is never there without it.
const spendSQL = `INSERT INTO nonces (nonce, count, until, use)
	SELECT $1, $2, $3, $4 FROM (SELECT set_config('synchronous_commit', 'off', true)) AS s
	ON CONFLICT (nonce, count) DO UPDATE SET use = excluded.use WHERE nonces.use = excluded.use`

// Spend notes the use of a count of a nonce, and reports whether it is the first use on any
// replica. The nonce is stale from until on.
func (r *Replicas) Spend(ctx context.Context, nonce string, count uint64, until time.Time) (
	first bool, err error,
) {
	var use [16]byte // recognizes this use when the answer to an earlier try was lost
	rand.Read(use[:])
	err = r.db.Patiently(ctx, func() error {
		bounded, cancel := context.WithTimeout(ctx, database.RoundTrip)
		defer cancel()
		done, err := r.db.Exec(bounded, spendSQL, nonce, int64(count), until, use[:])
		first = done.RowsAffected() == 1
		return database.Explain(err)
	})
	return first, err
}

const (
	putFailuresSQL = `INSERT INTO failures (replica, source, n, changed)
		SELECT $1, source, n, clock_timestamp()
		FROM unnest($2::bytea[], $3::bigint[]) AS f (source, n)
		ON CONFLICT (replica, source) DO UPDATE SET n = excluded.n, changed = excluded.changed`
	failuresSQL = `SELECT replica, source, n FROM failures
		WHERE changed > clock_timestamp() - interval '10 s' AND replica <> $1 LIMIT 10000`
)

// ShareFailures tells the other replicas how often sign-ins have failed here, by source, since
// this replica started. It returns by how much the recent counts of the others exceed seen, and
// updates seen.
func (r *Replicas) ShareFailures(ctx context.Context, replica []byte, counts map[string]int64,
	seen map[string]int64,
) (grown map[string]int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	var sources [][]byte
	var n []int64
	for source, count := range counts {
		sources, n = append(sources, []byte(source)), append(n, count)
	}
	if len(sources) > 0 {
		if _, err := r.db.Exec(ctx, putFailuresSQL, replica, sources, n); err != nil {
			return nil, database.Explain(err)
		}
	}
	grown = make(map[string]int64)
	err = database.ForEach(ctx, r.db, func(rows pgx.Rows) error {
		var other, source []byte
		var n int64
		if err := rows.Scan(&other, &source, &n); err != nil {
			return err
		}
		key := string(other) + string(source)
		grown[string(source)] += n - seen[key]
		seen[key] = n
		return nil
	}, failuresSQL, replica)
	return grown, err
}
