package shared

import (
	"context"
	"strings"
	"time"

	"example.com/atm/vault/feeds"
	"example.com/atm/vault/pgstore/database"
	"github.com/jackc/pgx/v5"
)

// Claims are how far subscriptions have been delivered, and which replica delivers each: it has
// claimed the row until a time by the clock of the database.
type Claims struct{ db *database.DB }

// NewClaims returns the claims in a database.
func NewClaims(db *database.DB) *Claims { return &Claims{db} }

// CursorColumns are what ScanCursor reads.
const CursorColumns = "id, chain, next, last, sent, test, test_error, delivered, failing, tries, " +
	"error, again"

const (
	putCursorSQL = database.Written + `INSERT INTO feed_cursors (` + CursorColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)` + database.One

	// Rows are added and locked in order of id: no two holders wait for each other.
	newCursorsSQL = `INSERT INTO feed_cursors (id)
		SELECT id FROM unnest($1::bigint[]) AS n (id) ORDER BY id ON CONFLICT (id) DO NOTHING`

	// What the holder has, it keeps, even if the claim was over. It waits for a row that a save
	// of its own has locked. What is free is left to another one that is about to claim it.
	renewSQL = `WITH own AS (SELECT id FROM feed_cursors WHERE id = ANY ($1) AND holder = $2
			ORDER BY id FOR UPDATE)` + claimSQL
	claimFreeSQL = `WITH own AS (SELECT id FROM feed_cursors WHERE id = ANY ($1) AND holder <> $2
			AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())
			ORDER BY id FOR UPDATE SKIP LOCKED)` + claimSQL
	claimSQL = ` UPDATE feed_cursors SET holder = $2,
		claimed_until = clock_timestamp() + make_interval(secs => $3)
		WHERE id IN (SELECT id FROM own) RETURNING ` + CursorColumns

	saveSQL = `WITH own AS (SELECT id FROM feed_cursors WHERE id = ANY ($2) AND holder = $1
			ORDER BY id FOR UPDATE)
		UPDATE feed_cursors c SET chain = v.chain, next = v.next, last = v.last, sent = v.sent,
			test = v.test, test_error = v.test_error, delivered = v.delivered,
			failing = v.failing, tries = v.tries, error = v.error, again = v.again,
			claimed_until = CASE WHEN $14::boolean THEN NULL ELSE claimed_until END
		FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
			$7::bigint[], $8::text[], $9::timestamptz[], $10::timestamptz[], $11::bigint[],
			$12::text[], $13::timestamptz[]) AS v (` + CursorColumns + `)
		WHERE c.id = v.id AND c.id IN (SELECT id FROM own) AND holder = $1
			AND claimed_until > clock_timestamp() RETURNING c.id`

	forgetSQL = `WITH gone AS (SELECT id FROM feed_cursors WHERE id = ANY ($1)
			ORDER BY id FOR UPDATE)
		DELETE FROM feed_cursors WHERE id IN (SELECT id FROM gone)`
)

// ScanCursor reads a row of CursorColumns.
func ScanCursor(row pgx.Row) (feeds.Cursor, error) {
	var c feeds.Cursor
	var id, chain, test int64
	var delivered, failing, again *time.Time
	err := row.Scan(&id, &chain, &c.Next, &c.Last, &c.Sent, &test, &c.TestError, &delivered,
		&failing, &c.Tries, &c.Error, &again)
	c.ID, c.Chain, c.Test = feeds.ID(id), uint64(chain), uint64(test)
	c.Delivered, c.Failing = database.Known(delivered), database.Known(failing)
	c.Again = database.Known(again)
	return c, err
}

// PutCursor adds a cursor that is not there yet, and that nobody has claimed.
func PutCursor(b *pgx.Batch, c *feeds.Cursor) {
	b.Queue(putCursorSQL, int64(c.ID), int64(c.Chain), int64(c.Next), int64(c.Last), c.Sent,
		int64(c.Test), plain(c.TestError), database.Null(c.Delivered), database.Null(c.Failing),
		c.Tries, plain(c.Error), database.Null(c.Again))
}

// plain is text as the database can keep it: one that it cannot would keep all others of the
// same statement from being saved.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func numbers(ids []feeds.ID) []int64 {
	list := make([]int64, len(ids))
	for i, id := range ids {
		list[i] = int64(id)
	}
	return list
}

// Cursors implements vault.FeedStore.
func (c *Claims) Cursors(ctx context.Context) ([]feeds.Cursor, error) {
	return database.Listed(ctx, c.db, ScanCursor, "SELECT "+CursorColumns+
		" FROM feed_cursors ORDER BY id")
}

// ClaimCursors implements vault.FeedStore.
func (c *Claims) ClaimCursors(ctx context.Context, holder string, life time.Duration,
	of []feeds.ID,
) (claimed []feeds.Cursor, err error) {
	if len(of) == 0 {
		return nil, nil
	}
	ids, seconds := numbers(of), life.Seconds()
	err = c.committed(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, newCursorsSQL, ids); err != nil {
			return err
		}
		for _, sql := range []string{renewSQL, claimFreeSQL} {
			some, err := database.List(ctx, tx, ScanCursor, sql, ids, holder, seconds)
			if err != nil {
				return err
			}
			claimed = append(claimed, some...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// committed runs work in a transaction whose statements each see what is committed by then: what
// waited for a row sees its holder as of now.
func (c *Claims) committed(ctx context.Context, work func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	return database.ExplainSent(pgx.BeginTxFunc(ctx, c.db, pgx.TxOptions{
		IsoLevel: pgx.ReadCommitted,
	}, func(tx pgx.Tx) error { return work(ctx, tx) }))
}

// SaveCursors implements vault.FeedStore.
func (c *Claims) SaveCursors(ctx context.Context, holder string, cursors []feeds.Cursor,
	release bool,
) (kept []feeds.ID, err error) {
	if len(cursors) == 0 {
		return nil, nil
	}
	var ids, chains, next, last, sent, tests, tries []int64
	var delivered, failing, again []*time.Time
	var testErrs, errs []string
	for i := range cursors {
		c := &cursors[i]
		ids, chains = append(ids, int64(c.ID)), append(chains, int64(c.Chain))
		next, last = append(next, int64(c.Next)), append(last, int64(c.Last))
		sent, tests = append(sent, c.Sent), append(tests, int64(c.Test))
		testErrs = append(testErrs, plain(c.TestError))
		delivered = append(delivered, database.Null(c.Delivered))
		failing = append(failing, database.Null(c.Failing))
		tries, errs = append(tries, c.Tries), append(errs, plain(c.Error))
		again = append(again, database.Null(c.Again))
	}
	err = c.committed(ctx, func(ctx context.Context, tx pgx.Tx) error {
		kept, err = database.List(ctx, tx, func(row pgx.Row) (feeds.ID, error) {
			var id int64
			err := row.Scan(&id)
			return feeds.ID(id), err
		}, saveSQL, holder, ids, chains, next, last, sent, tests, testErrs, delivered, failing,
			tries, errs, again, release)
		return err
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}

// ForgetCursors implements vault.FeedStore.
func (c *Claims) ForgetCursors(ctx context.Context, of []feeds.ID) error {
	if len(of) == 0 {
		return nil
	}
	return c.committed(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, forgetSQL, numbers(of))
		return err
	})
}
