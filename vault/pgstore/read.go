package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"github.com/jackc/pgx/v5"
)

// A querier is a connection, a pool of them, or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// forEach calls scan for every row that a query finds.
func forEach(ctx context.Context, q querier, scan func(pgx.Rows) error, sql string,
	args ...any,
) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

// patiently reads, and tries again what failed, for as long as a commit does. What it calls
// begins anew or goes on where it was. What could not be read then is an error that is
// vault.ErrUnavailable.
func (s *Store) patiently(ctx context.Context, read func() error) error {
	for give := time.Now().Add(patience); ; {
		err := read()
		if err == nil || !passes(err) {
			return err
		}
		if ctx.Err() != nil || time.Now().After(give) {
			return fmt.Errorf("%w: %w", vault.ErrUnavailable, err)
		}
		s.rest(err)
	}
}

// rest lets a moment pass before something is tried again.
func (s *Store) rest(failed error) {
	if state, _ := stateOf(failed); state == "" || state == readOnlyTransaction {
		s.pool.Reset() // the others are of the same server, and have its settings
	}
	time.Sleep(time.Duration(1+rand.IntN(20)) * time.Millisecond)
}

// Signed implements vault.Store.
func (s *Store) Signed(ctx context.Context) (checkpoint []byte, head merkle.Head, err error) {
	err = s.patiently(ctx, func() error {
		bounded, cancel := context.WithTimeout(ctx, roundTrip)
		defer cancel()
		checkpoint, head, err = s.signed(bounded)
		return err
	})
	return checkpoint, head, err
}

func (s *Store) signed(ctx context.Context) (checkpoint []byte, head merkle.Head, err error) {
	seen := s.newest() // before: commits go on meanwhile
	var row sightingRow
	if err := s.pool.QueryRow(ctx, "SELECT "+sightColumns+", checkpoint FROM log", seen.size).
		Scan(row.columns(&checkpoint)...); err != nil {
		return nil, merkle.Head{}, explain(err)
	}
	now, err := row.sighting()
	if err != nil {
		return nil, merkle.Head{}, err
	}
	return checkpoint, now.head, s.observe(seen, now)
}

func signed(ctx context.Context, q querier) (checkpoint []byte, head merkle.Head, err error) {
	var text []byte
	if err := q.QueryRow(ctx, "SELECT checkpoint, head FROM log").Scan(&checkpoint,
		&text); err != nil {
		return nil, merkle.Head{}, explain(err)
	}
	head, err = merkle.UnmarshalHead(text)
	return checkpoint, head, err
}

// Logs implements vault.Store.
func (s *Store) Logs(ctx context.Context) (logs []int64, err error) {
	err = s.patiently(ctx, func() error {
		bounded, cancel := context.WithTimeout(ctx, roundTrip)
		defer cancel()
		return explain(s.pool.QueryRow(bounded, "SELECT logs FROM log").Scan(&logs))
	})
	return logs, err
}

// entriesAtOnce bounds one reading of the journal.
const entriesAtOnce = 4096

// Entries implements vault.Store.
func (s *Store) Entries(ctx context.Context, from, to int64,
	yield func(index int64, leaf []byte) error,
) error {
	return s.patiently(ctx, func() error {
		return entries(ctx, s.pool, from, to, func(index int64, leaf []byte) error {
			from = index + 1
			return yield(index, leaf)
		})
	})
}

func entries(ctx context.Context, q querier, from, to int64,
	yield func(index int64, leaf []byte) error,
) error {
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := min(to, from+entriesAtOnce)
		bounded, cancel := context.WithTimeout(ctx, readWithin)
		err := forEach(bounded, q, func(rows pgx.Rows) error {
			var index int64
			var leaf []byte
			if err := rows.Scan(&index, &leaf); err != nil {
				return err
			}
			if index != from {
				return fmt.Errorf("journal entry %d is missing", from)
			}
			from++
			return yield(index, leaf)
		}, "SELECT index, leaf FROM journal WHERE index >= $1 AND index < $2 ORDER BY index",
			from, end)
		cancel()
		if err != nil {
			return err
		}
		if from != end {
			return fmt.Errorf("journal entry %d is missing", from)
		}
	}
	return nil
}

// History implements vault.Store.
func (s *Store) History(ctx context.Context, account vault.Name, from uint64,
	yield func(version uint64, index int64, leaf []byte) bool,
) error {
	below := from // what is left to read
	return s.patiently(ctx, func() error {
		if below == 0 {
			return nil
		}
		return history(ctx, s.pool, account, below, func(version uint64, index int64,
			leaf []byte,
		) bool {
			below = version - 1
			return yield(version, index, leaf)
		})
	})
}

// A page of a history is short at first: most readers want the newest entries.
const (
	historyFirst = 64
	historyMost  = 1024
)

func history(ctx context.Context, q querier, account vault.Name, from uint64,
	yield func(version uint64, index int64, leaf []byte) bool,
) error {
	next := int64(min(from, 1<<62))
	for limit := historyFirst; next > 0; limit = min(2*limit, historyMost) {
		bounded, cancel := context.WithTimeout(ctx, readWithin)
		found, more := 0, true
		err := forEach(bounded, q, func(rows pgx.Rows) error {
			var version, index int64
			var leaf []byte
			if err := rows.Scan(&version, &index, &leaf); err != nil {
				return err
			}
			if found++; found > 1 && version != next {
				return fmt.Errorf("version %d of account %s is missing", next, account)
			}
			next = version - 1
			if !yield(uint64(version), index, leaf) {
				more = false
				return errEnough
			}
			return nil
		}, `SELECT v.version, v.index, j.leaf FROM versions v JOIN journal j ON j.index = v.index
			WHERE v.account = $1 AND v.version <= $2 ORDER BY v.version DESC LIMIT $3`, string(account), next, limit)
		cancel()
		if errors.Is(err, errEnough) {
			err = nil
		}
		if err != nil || !more || found < limit {
			return err
		}
	}
	return nil
}

var errEnough = errors.New("enough")

// snapshot runs read on one state of the database.
func (s *Store) snapshot(ctx context.Context, read func(tx pgx.Tx) error) error {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{
		IsoLevel:   pgx.RepeatableRead,
		AccessMode: pgx.ReadOnly,
	})
	if err != nil {
		return explain(err)
	}
	defer func() { // there is nothing to commit
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTrip)
		defer cancel()
		tx.Rollback(bounded) // a connection that does not bear it is closed
	}()
	return explainOwn(read(tx))
}

// explainOwn explains errors of the database, and leaves others as they are.
func explainOwn(err error) error {
	if state, _ := stateOf(err); state != "" {
		return explain(err)
	}
	return err
}

// Balances implements vault.Store.
func (s *Store) Balances(ctx context.Context, yield func(vault.Account)) (journal int64,
	err error,
) {
	begun := false
	var broken error // once somebody was told of an account, there is no beginning anew
	err = s.patiently(ctx, func() error {
		failed := s.snapshot(ctx, func(tx pgx.Tx) error {
			if journal, err = readSize(ctx, tx, ""); err != nil {
				return explain(err)
			}
			return forEach(ctx, tx, func(rows pgx.Rows) error {
				a, err := scanAccount(rows)
				if err == nil {
					begun = true
					yield(a)
				}
				return err
			}, "SELECT "+accountColumns+" FROM accounts ORDER BY number NULLS LAST, name")
		})
		if begun && failed != nil && passes(failed) {
			broken = fmt.Errorf("%w: %w", vault.ErrUnavailable, failed)
			return nil
		}
		return failed
	})
	return journal, errors.Join(broken, err)
}

// listed is list with patience.
func listed[T any](ctx context.Context, s *Store, scan func(pgx.Row) (T, error), sql string,
	args ...any,
) (found []T, err error) {
	err = s.patiently(ctx, func() error {
		found, err = list(ctx, s.pool, scan, sql, args...)
		return err
	})
	return found, err
}

// list reads records of one kind.
func list[T any](ctx context.Context, q querier, scan func(pgx.Row) (T, error), sql string,
	args ...any,
) (found []T, err error) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	err = forEach(ctx, q, func(rows pgx.Rows) error {
		record, err := scan(rows)
		found = append(found, record)
		return err
	}, sql, args...)
	return found, err
}

// Account implements vault.Store.
func (s *Store) Account(ctx context.Context, name vault.Name) (vault.Account, error) {
	found, err := listed(ctx, s, scanAccount, "SELECT "+accountColumns+" FROM accounts WHERE "+
		"name = $1", string(name))
	if err != nil || len(found) == 0 {
		return vault.Account{Name: name}, err
	}
	return found[0], nil
}

// Accounts implements vault.Store.
func (s *Store) Accounts(ctx context.Context, after uint64, limit int) ([]vault.Account, error) {
	return listed(ctx, s, scanAccount, "SELECT "+accountColumns+" FROM accounts WHERE number > "+
		"$1 ORDER BY number LIMIT $2", int64(min(after, 1<<62)), limit)
}

const allUsers = "SELECT subject, roles, disabled, ha1, slow FROM users"

// Users implements vault.Store.
func (s *Store) Users(ctx context.Context) ([]people.User, error) {
	return listed(ctx, s, s.scanUser, allUsers+" ORDER BY subject")
}

const allRevocations = "SELECT name, at FROM revocations"

// Revocations implements vault.Store.
func (s *Store) Revocations(ctx context.Context) ([]people.Revocation, error) {
	return listed(ctx, s, scanRevocation, allRevocations+" ORDER BY name")
}

// Certificates implements vault.Store.
func (s *Store) Certificates(ctx context.Context) ([]people.Certificate, error) {
	return listed(ctx, s, scanCertificate, "SELECT "+certificateColumns+
		" FROM certificates ORDER BY serial")
}

const certificateColumns = "serial, subject, not_after, issued, scope, actor"

func scanCertificate(row pgx.Row) (people.Certificate, error) {
	var c people.Certificate
	var issued *time.Time
	err := row.Scan(&c.Serial, &c.Subject, &c.NotAfter, &issued, &c.Scope, &c.Actor)
	c.NotAfter = c.NotAfter.UTC()
	if issued != nil {
		c.Issued = issued.UTC()
	}
	return c, err
}

// certificateRow is a certificate as certificateColumns have it.
func certificateRow(c *people.Certificate) []any {
	var issued *time.Time
	if !c.Issued.IsZero() {
		issued = &c.Issued
	}
	return []any{c.Serial, c.Subject, c.NotAfter, issued, c.Scope, c.Actor}
}

// News is what other replicas may have done.
type News struct {
	Size        int64 // of the journal
	Users       []people.User
	Revocations []people.Revocation

	// Ahead is how far the clock of the database is ahead of this machine's.
	Ahead time.Duration
}

// newsSQL reads the head, and what decides whether a commit would be durable: the session's
// own setting, and those that sessions get when they begin (ALTER DATABASE, ALTER ROLE).
const newsSQL = `SELECT ` + sightColumns + `, files, clock_timestamp(), current_setting('transaction_read_only'), current_setting('synchronous_commit'),
	(SELECT coalesce(string_agg(setdatabase || ' ' || setrole || ' ' || setconfig::text, ' ' ORDER BY setdatabase, setrole), '')
		FROM pg_db_role_setting WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))
	FROM log`

// Since returns what has been written since the journal had a size, and tells
// Config.Adopt of files. What was committed while it reads it may tell of twice.
func (s *Store) Since(ctx context.Context, size int64) (_ *News, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	var n News
	var files int64
	var now time.Time
	asked := time.Now()
	var readOnly, synchronous, settings string
	seen := s.newest() // before: commits go on meanwhile
	var row sightingRow
	if err := s.pool.QueryRow(ctx, newsSQL, seen.size).Scan(row.columns(&files, &now, &readOnly,
		&synchronous, &settings)...); err != nil {
		return nil, explain(err)
	}
	if s.fenced.Load() {
		return nil, ErrFenced
	}
	if s.resettled(settings) {
		s.pool.Reset() // the sessions there are began with the old ones; the new ones decide
	}
	switch {
	case synchronous == "off":
		s.pool.Reset()
		return nil, ErrAsync
	case readOnly == "on": // it has become a standby, and may lag behind
		s.pool.Reset()
		return nil, ErrReadOnly
	}
	found, err := row.sighting()
	if err != nil {
		return nil, err
	}
	if err := s.observe(seen, found); err != nil {
		return nil, err
	}
	n.Size = found.size
	n.Ahead = now.Sub(asked.Add(time.Since(asked) / 2))
	if files > s.adopted() {
		if err := s.adopt(ctx, s.pool); err != nil {
			return nil, err
		}
	}
	if n.Size <= size {
		return &n, nil
	}
	if n.Users, err = list(ctx, s.pool, s.scanUser, allUsers+" WHERE changed >= $1",
		size); err != nil {
		return nil, err
	}
	n.Revocations, err = list(ctx, s.pool, scanRevocation, allRevocations+
		" WHERE changed >= $1", size)
	return &n, err
}

// resettled notes the settings that sessions begin with, and reports whether they are
// others than before.
func (s *Store) resettled(settings string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.settings
	s.settings = &settings
	return was != nil && *was != settings
}
