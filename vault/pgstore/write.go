package pgstore

import (
	"context"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/pgstore/journal"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

const (
	putRequestsSQL = database.Written + `INSERT INTO requests (key, index, day)
		SELECT key, index, $3 FROM unnest($1::bytea[], $2::bigint[]) AS n (key, index)` +
		database.EachOf1
	putHeadSQL = database.Written + `UPDATE log SET size = $1, head = $2, checkpoint = $3
		WHERE size = $4` + database.One

	// Commits delete request ids that are over, a part at a time.
	sweepRequestsSQL = `DELETE FROM requests WHERE key IN (
		SELECT key FROM requests WHERE day < $1 ORDER BY day LIMIT 1000)`
	oldestSQL = `SELECT coalesce(min(day), 0) FROM requests`

	secondsOfDay = 24 * 60 * 60
)

// dayOf numbers the days since 1970, in UTC.
func dayOf(t time.Time) int64 { return t.Unix() / secondsOfDay }

// oldestDay is the first day whose request ids still count.
func oldestDay(now time.Time) int64 { return dayOf(now.Add(-requestid.Life)) }

// write sends all changes of the transaction and its commit at once. size is that of the
// journal after it.
func (t *transaction) write(ctx context.Context, now time.Time, c *vault.Changes,
	size vault.JournalIndex,
) error {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	head, err := c.Head.MarshalBinary()
	if err != nil {
		return err
	}
	var b pgx.Batch
	journal.Queue(&b, c)
	queueRecords(t.store.keys, &b, &written{&c.Records, c.First, t.loaded.Accounts.Found})
	if len(c.Certificates) > 0 {
		b.Queue(sweepCertificatesSQL, now.Add(-certificateKept))
	}
	if len(c.Sessions) > 0 {
		b.Queue(sweepSessionsSQL, now.Add(-people.SessionKept))
	}
	oldest := t.store.oldest.Load()
	queueSweep(&b, now, &oldest)
	queueRequests(&b, c.Requests, now)
	b.Queue(putHeadSQL, int64(size), head, c.Checkpoint, int64(c.First))
	b.Queue("COMMIT")
	if err := t.conn.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	t.store.oldest.Store(oldest)
	return nil
}

// queueRecords writes the records of each kind.
func queueRecords(keys *secrets.Keys, b *pgx.Batch, w *written) {
	for _, kind := range kinds {
		kind.write(keys, b, w)
	}
}

// queueSweep deletes old request ids when there are any. oldest is a day before which there are
// none, and becomes the new one.
func queueSweep(b *pgx.Batch, now time.Time, oldest *int64) {
	kept := oldestDay(now)
	if *oldest >= kept {
		return
	}
	b.Queue(sweepRequestsSQL, kept)
	b.Queue(oldestSQL).QueryRow(func(row pgx.Row) error {
		var first int64
		err := row.Scan(&first)
		if first == 0 { // there are none at all
			first = kept
		}
		*oldest = first
		return err
	})
}

// queueRequests writes the request ids that were answered first.
func queueRequests(b *pgx.Batch, requests []vault.AnsweredRequest, now time.Time) {
	if len(requests) == 0 {
		return
	}
	keys, indexes := make([][]byte, len(requests)), make([]int64, len(requests))
	for i := range requests {
		keys[i], indexes[i] = requests[i].Key[:], int64(requests[i].Index)
	}
	b.Queue(putRequestsSQL, keys, indexes, dayOf(now))
}
