package shared

import (
	"context"
	"log/slog"
	"time"

	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/replicated"
	"github.com/jackc/pgx/v5"
)

// tellWithin bounds how long a replica that ends tries to tell the others of a rollback.
const tellWithin = 2 * time.Second

// TellRollback tells all replicas on this database that it went back: this replica has seen
// size entries of its audit log. From then on none of them serves on it and none starts, not
// even one that saw nothing of the lost entries, until a new log begins.
func (r *Replicas) TellRollback(ctx context.Context, size int64) {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	_, err := r.db.Exec(ctx, `INSERT INTO rollbacks (replica, size) VALUES ($1, $2)
		ON CONFLICT DO NOTHING`, r.name, size)
	if err != nil {
		r.db.Log.Error("the other replicas could not be told that the database went back; "+
			"stop them", slog.Any("error", database.Explain(err)))
	}
}

// A Rollback is what a replica told of a database that went back.
type Rollback = replicated.Rollback

// Rollbacks returns what replicas told since the audit log began, the largest first.
func (r *Replicas) Rollbacks(ctx context.Context) ([]Rollback, error) {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	told, err := database.List(ctx, r.db, func(row pgx.Row) (told Rollback, err error) {
		err = row.Scan(&told.Replica, &told.Size)
		return told, err
	}, "SELECT replica, size FROM rollbacks ORDER BY size DESC, replica LIMIT 100")
	return told, database.Explain(err)
}
