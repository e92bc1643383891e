package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/pgstore/journal"
	"example.com/atm/vault/requestid"
	"github.com/jackc/pgx/v5"
)

// A transaction is one attempt at a commit. It loads everything it needs in one round trip, or in
// two if more may have come while it waited for its turn, and writes and commits everything it
// changes in another.
type transaction struct {
	store *Store
	conn  *pgx.Conn
	ended bool // the transaction has ended, and the connection is good

	keys     vault.Keys
	accounts []string // those of keys, in order, each once

	// What was loaded, and of which state of the journal.
	loaded vault.Loaded
	seen   highWater // the newest state before the transaction began
	found  sighting

	files       int64  // version of the newest file that replicas share
	synchronous string // synchronous_commit, as the commit will have it
	lease       error  // that the lease of this replica is gone
}

// attempt tries a commit once.
func (c *commit) attempt(ctx context.Context) error {
	s := c.store
	bounded, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	conn, err := s.db.Acquire(bounded)
	if err != nil {
		return database.Explain(err)
	}
	defer conn.Release()
	t := &transaction{
		store: s, conn: conn.Conn(), seen: s.past.newest(), keys: c.keys,
	}
	defer func() {
		if !t.ended { // only the end of the connection is sure to end the transaction
			t.conn.Close(bounded)
		}
	}()
	if err := t.load(bounded); err != nil {
		if state, _ := database.State(err); state == database.LockNotAvailable {
			t.rollBack(bounded) // the connection is good
		}
		return err
	}
	if err := t.admit(bounded); err != nil {
		return err
	}
	books := vault.NewBooks(t.keys, t.loaded)
	if err := c.decide(books); err != nil {
		return err
	}
	changes := books.Changes()
	if changes == nil {
		t.rollBack(bounded)
		return nil
	}
	if err := t.follow(changes); err != nil {
		return err
	}
	return t.commit(ctx, books.Now, changes)
}

func (t *transaction) rollBack(ctx context.Context) {
	_, err := t.conn.Exec(ctx, "ROLLBACK")
	t.ended = err == nil
}

const (
	// The server ends a transaction that its replica has forgotten, so that it does not hold
	// the others up. What a commit waits for stays as it is until the commit, whatever is set
	// meanwhile.
	//
	// All that a transaction reads and changes it finds by keys. A plan that was made when a
	// table was small would go through the whole table for them, and stays in use for the minute
	// that it may take until the table is analyzed.
	beginSQL = `SELECT set_config('synchronous_commit', current_setting('synchronous_commit'), true),
		set_config('idle_in_transaction_session_timeout', '10s', true),
		set_config('lock_timeout', '10s', true), set_config('enable_seqscan', 'off', true),
		set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
		set_config('jit', 'off', true)`

	headSQL = `SELECT ` + sightColumns + `, checkpoint, logs, files, clock_timestamp()
		FROM log FOR UPDATE`

	// A hold stands for its account, too, a mandate likewise, and a standing order for both of
	// its accounts.
	accountsSQL      = `SELECT ` + accountColumns + ` FROM accounts WHERE name = ANY ($1)`
	theirAccountsSQL = `SELECT ` + accountColumns + ` FROM accounts WHERE name IN (
		SELECT unnest($1::text[]) UNION SELECT account FROM holds WHERE id = ANY ($2)
		UNION SELECT account FROM mandates WHERE id = ANY ($3)
		UNION SELECT account FROM orders WHERE id = ANY ($4)
		UNION SELECT payee FROM orders WHERE id = ANY ($4))`

	requestsSQL = `SELECT r.key, r.index, r.day, j.leaf, r.index < (SELECT begins FROM log)
		FROM requests r LEFT JOIN journal j ON j.index = r.index WHERE r.key = ANY ($1)`
)

// load begins the transaction and reads what it needs. It locks the head of the journal before
// it reads anything else. Nothing of that can change any more, because every change needs the
// head, and each statement sees what was committed before it. So no row but the head is locked.
func (t *transaction) load(ctx context.Context) error {
	t.loaded.History = func(account vault.Name, from uint64,
		yield func(uint64, vault.JournalIndex, []byte) bool,
	) error {
		return journal.History(ctx, t.conn, account, from, yield)
	}
	var b pgx.Batch
	b.Queue("BEGIN")
	b.Queue(beginSQL).QueryRow(func(row pgx.Row) error {
		return row.Scan(&t.synchronous, nil, nil, nil, nil, nil, nil)
	})
	b.Queue(headSQL, int64(t.seen.size)).QueryRow(t.scanHead)
	t.store.Replicas.QueueLease(&b, &t.lease)
	if more := t.keys.More; more != nil {
		if err := t.send(ctx, &b); err != nil {
			return err
		}
		b, t.keys = pgx.Batch{}, more()
	}
	t.queueKeys(&b)
	return t.send(ctx, &b)
}

// queueKeys reads what the keys name.
func (t *transaction) queueKeys(b *pgx.Batch) {
	t.accounts = accountNames(t.keys.Accounts)
	noteAccounts := noteEach(&t.loaded.Accounts, accountsIn(t.store.keys), accountName)
	switch {
	case len(t.keys.Holds)+len(t.keys.Mandates)+len(t.keys.Orders) > 0:
		b.Queue(theirAccountsSQL, t.accounts, numbers(t.keys.Holds), numbers(t.keys.Mandates),
			numbers(t.keys.Orders)).Query(noteAccounts)
	case len(t.accounts) > 0:
		b.Queue(accountsSQL, t.accounts).Query(noteAccounts)
	}
	for _, kind := range kinds {
		kind.load(t.store.keys, b, &t.keys, &t.loaded)
	}
	t.queueRequests(b)
}

func (t *transaction) send(ctx context.Context, b *pgx.Batch) error {
	err := t.conn.SendBatch(ctx, b).Close()
	if errors.Is(err, errRecord) {
		return err
	}
	return database.Explain(err)
}

func (t *transaction) scanHead(row pgx.Row) (err error) {
	var r sightingRow
	l := &t.loaded
	var logs []int64
	if err := row.Scan(r.columns(&l.Checkpoint, &logs, &t.files, &l.Now)...); err != nil {
		return err
	}
	t.found, err = r.sighting()
	l.Head, l.Logs = t.found.head, journalIndexes(logs)
	return err
}

// queueRequests reads which entries answered request ids first.
func (t *transaction) queueRequests(b *pgx.Batch) {
	if len(t.keys.Requests) == 0 {
		return
	}
	keys := make([][]byte, len(t.keys.Requests))
	for i := range keys {
		keys[i] = t.keys.Requests[i][:]
	}
	l := &t.loaded.Requests
	l.Found = make(map[requestid.Key]*vault.Remembered)
	b.Queue(requestsSQL, keys).Query(database.Each(func(rows pgx.Rows) error {
		var key, leaf []byte
		var index, day int64
		var trimmed bool
		if err := rows.Scan(&key, &index, &day, &leaf, &trimmed); err != nil {
			return err
		}
		if len(key) != len(requestid.Key{}) {
			return errRecord
		}
		if leaf == nil && day < oldestDay(t.loaded.Now) {
			return nil // its answer was trimmed, and it is about to be swept away
		}
		if leaf == nil && !trimmed {
			l.Note(requestid.Key(key), fmt.Errorf("there is no entry %d", index))
			return nil
		}
		l.Found[requestid.Key(key)] = &vault.Remembered{
			Index: vault.JournalIndex(index), Leaf: leaf,
		}
		return nil
	}))
}

// admit refuses to decide on what must not be built on: a commit that would not be durable, a
// replica that was taken for dead, a database that went back. It adopts the files of others.
func (t *transaction) admit(ctx context.Context) error {
	if t.synchronous == "off" {
		return ErrAsync
	}
	if t.lease != nil {
		return t.lease
	}
	if err := t.store.past.observe(t.seen, t.found); err != nil {
		return err
	}
	return t.store.Files.Adopt(ctx, t.conn, t.files)
}

// follow makes sure that the changes build on the accounts that are there.
func (t *transaction) follow(c *vault.Changes) error {
	return c.Follow(func(name vault.Name) (version uint64, loaded bool) {
		if a := t.loaded.Accounts.Found[name]; a != nil {
			return a.Version, true
		}
		_, asked := slices.BinarySearch(t.accounts, string(name))
		return 0, asked
	})
}

// commit writes the changes and commits them. It returns an inDoubt when the connection was
// lost over it.
func (t *transaction) commit(ctx context.Context, now time.Time, c *vault.Changes) error {
	after := highWater{
		c.First + vault.JournalIndex(len(c.Entries)), c.Head,
		merkle.LeafHash(c.Entries[len(c.Entries)-1].Leaf),
	}
	err := t.write(ctx, now, c, after.size)
	t.ended = err == nil
	switch state, fatal := database.State(err); {
	case err == nil:
		t.store.past.reached(after)
		return nil
	case state != "" && !fatal:
		return database.Explain(err) // it was refused, and with it the whole transaction
	}
	return &inDoubt{
		index: c.First, leaf: c.Entries[0].Leaf, after: after, err: database.Explain(err),
	}
}
