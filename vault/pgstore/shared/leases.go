package shared

import (
	"context"
	"time"

	"example.com/atm/vault/pgstore/database"
	"github.com/jackc/pgx/v5"
)

// leaseSQL takes work that nobody has, or that this replica has already.
const leaseSQL = `INSERT INTO leases AS l (work, holder, until)
	VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
	ON CONFLICT (work) DO UPDATE SET holder = excluded.holder, until = excluded.until
	WHERE l.holder = excluded.holder OR l.until <= clock_timestamp()
		OR NOT EXISTS (SELECT FROM replicas WHERE id = l.holder)`

// Lease takes work that one replica does for all, for this long from now on, and reports whether
// this replica has it. A replica that has the work keeps it by taking it again. It is free once
// its time is over by the clock of the database, or once its replica has stopped.
func (r *Replicas) Lease(ctx context.Context, work string, life time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	var has bool
	err := pgx.BeginTxFunc(ctx, r.db, pgx.TxOptions{IsoLevel: pgx.ReadCommitted},
		func(tx pgx.Tx) error {
			done, err := tx.Exec(ctx, leaseSQL, work, r.lease, life.Seconds())
			has = done.RowsAffected() == 1
			return err
		})
	return has && err == nil, database.ExplainSent(err)
}
