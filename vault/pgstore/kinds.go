package pgstore

import (
	"context"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/record"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

// kinds are the kinds of records, each with a table of its own. Loading, writing and moving run
// over this list, and TestEveryKindIsStored fails for a kind of vault.Records that is not in
// it. A new kind needs a migration and its privileges in package schema, too.
var kinds = []kind{
	accounts{},
	&records[vault.HoldID, vault.Hold]{
		table: "holds", columns: "id, account, amount, state", key: "id",
		list:   func(r *vault.Records) *[]vault.Hold { return &r.Holds },
		keyOf:  func(h *vault.Hold) vault.HoldID { return h.ID },
		asked:  func(k *vault.Keys) (any, int) { return numbers(k.Holds), len(k.Holds) },
		loaded: func(l *vault.Loaded) *record.Loaded[vault.HoldID, vault.Hold] { return &l.Holds },
		scan:   func(_ *secrets.Keys, row pgx.Row) (vault.Hold, error) { return scanHold(row) },
		put:    putHold,
	},
	&records[string, vault.Grant]{
		table: "grants", key: "id",
		columns: "id, grantor, grantee, accounts, operations, cap, spent, expires",
		list:    func(r *vault.Records) *[]vault.Grant { return &r.Grants },
		keyOf:   func(g *vault.Grant) string { return g.ID },
		asked:   func(k *vault.Keys) (any, int) { return k.Grants, len(k.Grants) },
		loaded:  func(l *vault.Loaded) *record.Loaded[string, vault.Grant] { return &l.Grants },
		scan:    func(_ *secrets.Keys, row pgx.Row) (vault.Grant, error) { return scanGrant(row) },
		put:     putGrant,
	},
	&records[string, people.User]{
		table: "users", columns: userColumns, key: "subject",
		list:   func(r *vault.Records) *[]people.User { return &r.Users },
		keyOf:  func(u *people.User) string { return u.Subject },
		asked:  func(k *vault.Keys) (any, int) { return k.Users, len(k.Users) },
		loaded: func(l *vault.Loaded) *record.Loaded[string, people.User] { return &l.Users },
		scan:   scanUser,
		put:    putUser,
	},
	&records[string, people.Revocation]{
		table: "revocations", columns: "name, at", key: "name",
		list:  func(r *vault.Records) *[]people.Revocation { return &r.Revocations },
		keyOf: func(r *people.Revocation) string { return r.Name },
		asked: func(k *vault.Keys) (any, int) { return k.Revocations, len(k.Revocations) },
		loaded: func(l *vault.Loaded) *record.Loaded[string, people.Revocation] {
			return &l.Revocations
		},
		scan: func(_ *secrets.Keys, row pgx.Row) (people.Revocation, error) {
			return scanRevocation(row)
		},
		put: putRevocation,
	},
	&records[string, people.Certificate]{
		table: "certificates", columns: certificateColumns, key: "serial",
		list: func(r *vault.Records) *[]people.Certificate { return &r.Certificates },
		scan: func(_ *secrets.Keys, row pgx.Row) (people.Certificate, error) {
			return scanCertificate(row)
		},
		put: putCertificate,
	},
	&records[string, people.Passkey]{
		table: "passkeys", columns: passkeyColumns, key: "id",
		list:   func(r *vault.Records) *[]people.Passkey { return &r.Passkeys },
		keyOf:  func(p *people.Passkey) string { return p.ID },
		asked:  func(k *vault.Keys) (any, int) { return k.Passkeys, len(k.Passkeys) },
		loaded: func(l *vault.Loaded) *record.Loaded[string, people.Passkey] { return &l.Passkeys },
		scan: func(_ *secrets.Keys, row pgx.Row) (people.Passkey, error) {
			return scanPasskey(row)
		},
		put: putPasskey,
	},
	&records[string, people.Session]{
		table: "sessions", columns: sessionColumns, key: "id",
		list:   func(r *vault.Records) *[]people.Session { return &r.Sessions },
		keyOf:  func(s *people.Session) string { return s.ID },
		asked:  func(k *vault.Keys) (any, int) { return k.Sessions, len(k.Sessions) },
		loaded: func(l *vault.Loaded) *record.Loaded[string, people.Session] { return &l.Sessions },
		scan: func(_ *secrets.Keys, row pgx.Row) (people.Session, error) {
			return scanSession(row)
		},
		put: putSession,
	},
	mandatesKind,
	ordersKind,
	reversalsKind,
	feedsKind,
	cursorsKind,
}

// A kind is what the store does with the records of one kind.
type kind interface {
	// of is where the records are in r.
	of(r *vault.Records) any

	// load reads the records that asked names, in a transaction that holds the head.
	load(keys *secrets.Keys, b *pgx.Batch, asked *vault.Keys, l *vault.Loaded)

	// write writes the records of the kind that are new or changed.
	write(keys *secrets.Keys, b *pgx.Batch, w *written)

	// dump reads the whole table into r, and calls flush when r has movedAtOnce of the
	// records and at the end.
	dump(ctx context.Context, keys *secrets.Keys, q database.Querier, r *vault.Records,
		flush func() error) error
}

// What was written, and what writing it depends on.
type written struct {
	records *vault.Records
	first   vault.JournalIndex // index in the journal of the first entry of the commit

	// before are the accounts as they were; one that is not there is new.
	before map[vault.Name]*vault.Account
}

// records are a kind whose records are each one row under one key.
type records[K comparable, V any] struct {
	table, columns string
	key            string // column of the key

	list func(*vault.Records) *[]V
	scan func(*secrets.Keys, pgx.Row) (V, error)
	put  func(keys *secrets.Keys, b *pgx.Batch, v *V, first vault.JournalIndex)

	// For a kind that rules name in their keys; nil for others. asked returns the keys as the
	// database has them, and how many there are.
	keyOf  func(*V) K
	asked  func(*vault.Keys) (keys any, n int)
	loaded func(*vault.Loaded) *record.Loaded[K, V]
}

func (k *records[K, V]) of(r *vault.Records) any { return k.list(r) }

func (k *records[K, V]) load(keys *secrets.Keys, b *pgx.Batch, asked *vault.Keys, l *vault.Loaded) {
	if k.asked == nil {
		return
	}
	named, n := k.asked(asked)
	if n == 0 {
		return
	}
	scan := func(row pgx.Row) (V, error) { return k.scan(keys, row) }
	b.Queue("SELECT "+k.columns+" FROM "+k.table+" WHERE "+k.key+" = ANY ($1)", named).
		Query(noteEach(k.loaded(l), scan, k.keyOf))
}

func (k *records[K, V]) write(keys *secrets.Keys, b *pgx.Batch, w *written) {
	list := *k.list(w.records)
	for i := range list {
		k.put(keys, b, &list[i], w.first)
	}
}

func (k *records[K, V]) dump(ctx context.Context, keys *secrets.Keys, q database.Querier,
	r *vault.Records,
	flush func() error,
) error {
	scan := func(row pgx.Row) (V, error) { return k.scan(keys, row) }
	return dump(ctx, q, scan, k.list(r), flush, "SELECT "+k.columns+" FROM "+k.table)
}

// dump reads records of one kind into a list, and flushes it whenever it is full and at the
// end.
func dump[T any](ctx context.Context, q database.Querier, scan func(pgx.Row) (T, error),
	into *[]T, flush func() error, sql string,
) error {
	err := database.ForEach(ctx, q, func(rows pgx.Rows) error {
		record, err := scan(rows)
		if err != nil {
			return err
		}
		if *into = append(*into, record); len(*into) < movedAtOnce {
			return nil
		}
		return flush()
	}, sql)
	if err != nil {
		return err
	}
	return flush()
}

// noteEach adds each row to what was loaded. A row that the driver could read, but that makes
// no sense or does not open, concerns only the commands that need it.
func noteEach[K comparable, V any](l *record.Loaded[K, V], scan func(pgx.Row) (V, error),
	keyOf func(*V) K,
) func(pgx.Rows) error {
	if l.Found == nil {
		l.Found = make(map[K]*V)
	}
	return database.Each(func(rows pgx.Rows) error {
		v, err := scan(rows)
		switch key := keyOf(&v); {
		case err == nil:
			l.Found[key] = &v
		case key == *new(K): // not even the key could be read
			return err
		default:
			l.Note(key, err)
		}
		return nil
	})
}

func scanHold(row pgx.Row) (vault.Hold, error) {
	var h vault.Hold
	var id, state int64
	err := row.Scan(&id, &h.Account, &h.Amount, &state)
	h.ID, h.State = vault.HoldID(id), vault.HoldState(state)
	return h, err
}

const putHoldSQL = database.Written + `INSERT INTO holds (id, account, amount, state)
	VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET state = excluded.state` + database.One

func putHold(_ *secrets.Keys, b *pgx.Batch, h *vault.Hold, _ vault.JournalIndex) {
	b.Queue(putHoldSQL, int64(h.ID), string(h.Account), int64(h.Amount), int64(h.State))
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

const putGrantSQL = database.Written + `INSERT INTO grants
	(id, grantor, grantee, accounts, operations, cap, spent, expires)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
	ON CONFLICT (id) DO UPDATE SET spent = excluded.spent` + database.One

func putGrant(_ *secrets.Keys, b *pgx.Batch, g *vault.Grant, _ vault.JournalIndex) {
	b.Queue(putGrantSQL, g.ID, g.Grantor, g.Grantee, texts(g.Accounts), texts(g.Operations),
		int64(g.Cap), int64(g.Spent), g.Expires)
}

// texts returns a list as the database has it.
func texts[S ~string](list []S) []string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = string(s)
	}
	return texts
}
