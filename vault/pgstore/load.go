package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/record"
	"github.com/jackc/pgx/v5"
)

// A request is what a transaction asks for, in the form in which it is sent.
type request struct {
	keys        vault.Keys
	accounts    []string // in order, each once
	users       []string
	requests    [][]byte
	holds       []int64
	grants      []string
	revocations []string
}

func wanted(keys vault.Keys) *request {
	w := &request{
		keys: keys, accounts: once(keys.Accounts), users: once(keys.Users),
		grants: once(keys.Grants), revocations: once(keys.Revocations),
	}
	for _, key := range keys.Requests {
		w.requests = append(w.requests, key[:])
	}
	for _, id := range keys.Holds {
		w.holds = append(w.holds, int64(id))
	}
	return w
}

// once returns list in order, without repetitions.
func once[S ~string](list []S) []string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = string(s)
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// A trail is what a transaction has to know of the state that it found.
type trail struct {
	seen     highWater // before it began
	found    sighting
	files    int64
	accounts map[vault.Name]*vault.Account

	synchronous string // synchronous_commit, as the commit will have it
	leases      int    // of this replica
}

const (
	accountColumns = `name, owner, holder, standing, balance, version, pending,
		limit_operation, limit_amount, limit_count, limit_zone, spent_day, spent_amount, spent_count`

	// A transaction that its replica has forgotten must not hold the others up:
	// the server ends it.
	// What a commit waits for stays as it is until the commit, whatever is set meanwhile.
	beginSQL = `SELECT set_config('idle_in_transaction_session_timeout', '10s', true), set_config('lock_timeout', '10s', true),
		set_config('synchronous_commit', current_setting('synchronous_commit'), true)`

	// The rows are held in the order of their names, so that nobody waits for
	// who waits for them.
	accountsSQL = `SELECT ` + accountColumns +
		` FROM accounts WHERE name = ANY ($1) ORDER BY name FOR UPDATE`
	accountsHoldsSQL = `SELECT ` + accountColumns + ` FROM accounts
		WHERE name IN (SELECT unnest($1::text[]) UNION SELECT account FROM holds WHERE id = ANY ($2)) ORDER BY name FOR UPDATE`

	headSQL = `SELECT ` + sightColumns +
		`, checkpoint, logs, files, clock_timestamp() FROM log FOR UPDATE`

	// Accounts that others opened while this transaction waited for the head. It must not
	// wait for them, since whoever holds one of them waits for the head: it fails at once,
	// and the next attempt finds them in their place in the order.
	bornSQL = `SELECT ` + accountColumns +
		` FROM accounts WHERE name = ANY ($1) AND born >= $2 ORDER BY name FOR UPDATE NOWAIT`

	holdsSQL       = `SELECT id, account, amount, state FROM holds WHERE id = ANY ($1)`
	usersSQL       = `SELECT subject, roles, disabled, ha1, slow FROM users WHERE subject = ANY ($1)`
	grantsSQL      = `SELECT id, grantor, grantee, accounts, operations, cap, spent, expires FROM grants WHERE id = ANY ($1)`
	revocationsSQL = `SELECT name, at FROM revocations WHERE name = ANY ($1)`
	requestsSQL    = `SELECT r.key, r.index, j.leaf FROM requests r LEFT JOIN journal j ON j.index = r.index WHERE r.key = ANY ($1)`
)

// load begins a transaction and reads what it needs. The accounts come first, and
// the head of the journal last of what is locked: it is held only while the
// transaction decides and commits. What is read after it cannot change any more,
// because whoever changes anything holds the head; each statement sees what was
// committed before it.
func (s *Store) load(ctx context.Context, conn *pgx.Conn, want *request) (*vault.Books, *trail,
	error,
) {
	l := vault.Loaded{History: func(account vault.Name, from uint64, yield func(uint64, int64,
		[]byte) bool,
	) error {
		return history(ctx, conn, account, from, yield)
	}}
	l.Accounts.Found = make(map[vault.Name]*vault.Account, len(want.accounts))
	l.Users.Found = make(map[string]*people.User, len(want.users))
	l.Requests.Found = make(map[vault.RequestKey]*vault.Remembered)
	l.Holds.Found = make(map[vault.HoldID]*vault.Hold, len(want.holds))
	l.Grants.Found = make(map[string]*vault.Grant, len(want.grants))
	l.Revocations.Found = make(map[string]*people.Revocation, len(want.revocations))
	t := &trail{seen: s.newest()}
	// What the driver could read and makes no sense, or does not open, concerns nobody but
	// those that need the record.
	noteAccount := func(rows pgx.Rows) error {
		a, err := scanAccount(rows)
		if err != nil {
			return damaged(&l.Accounts, a.Name, err)
		}
		l.Accounts.Found[a.Name] = &a
		return nil
	}
	var b pgx.Batch
	b.Queue("BEGIN")
	b.Queue(beginSQL).QueryRow(func(row pgx.Row) error {
		var idle, lock string
		return row.Scan(&idle, &lock, &t.synchronous)
	})
	switch {
	case len(want.holds) > 0:
		b.Queue(accountsHoldsSQL, want.accounts, want.holds).Query(each(noteAccount))
	case len(want.accounts) > 0:
		b.Queue(accountsSQL, want.accounts).Query(each(noteAccount))
	}
	b.Queue(headSQL, t.seen.size).QueryRow(func(row pgx.Row) error {
		var r sightingRow
		if err := row.Scan(r.columns(&l.Checkpoint, &l.Logs, &t.files, &l.Now)...); err != nil {
			return err
		}
		var err error
		t.found, err = r.sighting()
		l.Head = t.found.head
		return err
	})
	if s.lease != nil {
		b.Queue(leaseSQL, s.lease).QueryRow(func(row pgx.Row) error { return row.Scan(&t.leases) })
	}
	if len(want.accounts) > 0 {
		b.Queue(bornSQL, want.accounts, t.seen.size).Query(each(noteAccount))
	}
	if len(want.holds) > 0 {
		b.Queue(holdsSQL, want.holds).Query(each(func(rows pgx.Rows) error {
			h, err := scanHold(rows)
			l.Holds.Found[h.ID] = &h
			return err
		}))
	}
	if len(want.users) > 0 {
		b.Queue(usersSQL, want.users).Query(each(func(rows pgx.Rows) error {
			u, err := s.scanUser(rows)
			if err != nil {
				return damaged(&l.Users, u.Subject, err)
			}
			l.Users.Found[u.Subject] = &u
			return nil
		}))
	}
	if len(want.grants) > 0 {
		b.Queue(grantsSQL, want.grants).Query(each(func(rows pgx.Rows) error {
			g, err := scanGrant(rows)
			l.Grants.Found[g.ID] = &g
			return err
		}))
	}
	if len(want.revocations) > 0 {
		b.Queue(revocationsSQL, want.revocations).Query(each(func(rows pgx.Rows) error {
			r, err := scanRevocation(rows)
			l.Revocations.Found[r.Name] = &r
			return err
		}))
	}
	if len(want.requests) > 0 {
		b.Queue(requestsSQL, want.requests).Query(each(func(rows pgx.Rows) error {
			var key []byte
			var first vault.Remembered
			if err := rows.Scan(&key, &first.Index, &first.Leaf); err != nil {
				return err
			}
			if len(key) != len(vault.RequestKey{}) {
				return errRecord
			}
			if first.Leaf == nil {
				return damaged(&l.Requests, vault.RequestKey(key),
					fmt.Errorf("there is no entry %d", first.Index))
			}
			l.Requests.Found[vault.RequestKey(key)] = &first
			return nil
		}))
	}
	if err := conn.SendBatch(ctx, &b).Close(); err != nil {
		if errors.Is(err, errRecord) {
			return nil, nil, err
		}
		return nil, nil, explain(err)
	}
	t.accounts = l.Accounts.Found
	return vault.NewBooks(want.keys, l), t, nil
}

// damaged notes that a record cannot be read. It returns the error when not even the key could
// be.
func damaged[K comparable, V any](l *record.Loaded[K, V], key K, err error) error {
	if key == *new(K) {
		return err
	}
	l.Note(key, err)
	return nil
}

// each calls scan for every row.
func each(scan func(pgx.Rows) error) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

// errRecord reports a row that no version of this program wrote.
var errRecord = errors.New("a row of no known form")

func scanAccount(row pgx.Row) (vault.Account, error) {
	var a vault.Account
	var name string
	var standing, version int64
	var pending []int64
	err := row.Scan(&name, &a.Owner, &a.Holder, &standing, &a.Balance, &version, &pending,
		&a.Limits.PerOperation, &a.Limits.DailyAmount, &a.Limits.DailyCount, &a.Limits.Zone,
		&a.Spent.Day, &a.Spent.Amount, &a.Spent.Count)
	if err != nil {
		return a, err
	}
	a.Name, a.Standing, a.Version = vault.Name(name), vault.Standing(standing), uint64(version)
	if len(pending)%3 != 0 {
		return a, fmt.Errorf("account %s: %w", name, errRecord)
	}
	for p := range slices.Chunk(pending, 3) {
		a.Pending = append(a.Pending, vault.Pending{
			ID:     vault.HoldID(p[0]),
			Amount: atm.Amount(p[1]), Expires: time.Unix(p[2], 0).UTC(),
		})
	}
	return a, nil
}

// pendingText is the array that scanAccount reads.
func pendingText(list []vault.Pending) string {
	if len(list) == 0 {
		return "{}"
	}
	b := []byte{'{'}
	for i, p := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(p.ID), 10)
		b = strconv.AppendInt(append(b, ','), int64(p.Amount), 10)
		b = strconv.AppendInt(append(b, ','), p.Expires.Unix(), 10)
	}
	return string(append(b, '}'))
}

func scanHold(row pgx.Row) (vault.Hold, error) {
	var h vault.Hold
	var id, state int64
	err := row.Scan(&id, &h.Account, &h.Amount, &state)
	h.ID, h.State = vault.HoldID(id), vault.HoldState(state)
	return h, err
}

func (s *Store) scanUser(row pgx.Row) (people.User, error) {
	var u people.User
	var roles []string
	if err := row.Scan(&u.Subject, &roles, &u.Disabled, &u.HA1, &u.Slow); err != nil {
		return u, err
	}
	for _, text := range roles {
		role, known := atm.ParseRole(text)
		if !known {
			return u, fmt.Errorf("user %s: %w", u.Subject, errRecord)
		}
		u.Roles = append(u.Roles, role)
	}
	var err error
	if u.HA1, err = s.open(forHA1, u.Subject, u.HA1); err == nil {
		u.Slow, err = s.open(forSlow, u.Subject, u.Slow)
	}
	return u, err
}

func scanGrant(row pgx.Row) (vault.Grant, error) {
	var g vault.Grant
	var accounts, operations []string
	err := row.Scan(&g.ID, &g.Grantor, &g.Grantee, &accounts, &operations, &g.Cap, &g.Spent,
		&g.Expires)
	g.Expires = g.Expires.UTC()
	for _, a := range accounts {
		g.Accounts = append(g.Accounts, vault.Name(a))
	}
	for _, op := range operations {
		g.Operations = append(g.Operations, atm.Operation(op))
	}
	return g, err
}

func scanRevocation(row pgx.Row) (people.Revocation, error) {
	var r people.Revocation
	err := row.Scan(&r.Name, &r.At)
	r.At = r.At.UTC()
	return r, err
}
