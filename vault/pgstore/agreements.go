package pgstore

import (
	"context"
	"strconv"
	"strings"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/record"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

var (
	mandatesKind = &records[vault.MandateID, vault.Mandate]{
		table: "mandates", columns: mandateColumns, key: "id",
		list:  func(r *vault.Records) *[]vault.Mandate { return &r.Mandates },
		keyOf: func(m *vault.Mandate) vault.MandateID { return m.ID },
		asked: func(k *vault.Keys) (any, int) { return numbers(k.Mandates), len(k.Mandates) },
		loaded: func(l *vault.Loaded) *record.Loaded[vault.MandateID, vault.Mandate] {
			return &l.Mandates
		},
		scan: func(_ *secrets.Keys, row pgx.Row) (vault.Mandate, error) { return scanMandate(row) },
		put:  putMandate,
	}
	ordersKind = &records[vault.OrderID, vault.Order]{
		table: "orders", columns: orderColumns, key: "id",
		list:  func(r *vault.Records) *[]vault.Order { return &r.Orders },
		keyOf: func(o *vault.Order) vault.OrderID { return o.ID },
		asked: func(k *vault.Keys) (any, int) { return numbers(k.Orders), len(k.Orders) },
		loaded: func(l *vault.Loaded) *record.Loaded[vault.OrderID, vault.Order] {
			return &l.Orders
		},
		scan: func(_ *secrets.Keys, row pgx.Row) (vault.Order, error) { return scanOrder(row) },
		put:  putOrder,
	}
	reversalsKind = &records[vault.JournalIndex, vault.Reversal]{
		table: "reversals", columns: "entry, amount", key: "entry",
		list:  func(r *vault.Records) *[]vault.Reversal { return &r.Reversals },
		keyOf: func(r *vault.Reversal) vault.JournalIndex { return r.Of },
		asked: func(k *vault.Keys) (any, int) { return numbers(k.Reversals), len(k.Reversals) },
		loaded: func(l *vault.Loaded) *record.Loaded[vault.JournalIndex, vault.Reversal] {
			return &l.Reversals
		},
		scan: func(_ *secrets.Keys, row pgx.Row) (vault.Reversal, error) {
			return scanReversal(row)
		},
		put: putReversal,
	}
)

// numbers are ids as the database has them.
func numbers[T ~int64 | ~uint64](ids []T) []int64 {
	list := make([]int64, len(ids))
	for i, id := range ids {
		list[i] = int64(id)
	}
	return list
}

const (
	mandateColumns = `id, account, debtor, creditor, memo, "each", total, period, begins, ends,
		spent, counted, revoked`

	putMandateSQL = database.Written + `INSERT INTO mandates (` + mandateColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (id) DO UPDATE SET spent = excluded.spent, counted = excluded.counted,
		revoked = excluded.revoked` + database.One
)

func scanMandate(row pgx.Row) (vault.Mandate, error) {
	var m vault.Mandate
	var id, period int64
	var begins, ends *time.Time
	err := row.Scan(&id, &m.Account, &m.Debtor, &m.Creditor, &m.Memo, &m.Terms.Each,
		&m.Terms.Total, &period, &begins, &ends, &m.Spent, &m.Counted, &m.Revoked)
	m.ID, m.Terms.Period = vault.MandateID(id), calendar.Period(period)
	m.Terms.From, m.Terms.Until = database.Known(begins), database.Known(ends)
	return m, err
}

func putMandate(_ *secrets.Keys, b *pgx.Batch, m *vault.Mandate, _ vault.JournalIndex) {
	t := &m.Terms
	b.Queue(putMandateSQL, int64(m.ID), string(m.Account), m.Debtor, m.Creditor, m.Memo,
		int64(t.Each), int64(t.Total), int64(t.Period), database.Null(t.From),
		database.Null(t.Until), int64(m.Spent), m.Counted, m.Revoked)
}

const (
	orderColumns = `id, account, debtor, payee, memo, amount, every, day, minute, zone,
		first, last, next, paid, failed, settled, outcome, cancelled`

	putOrderSQL = database.Written + `INSERT INTO orders (` + orderColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
		ON CONFLICT (id) DO UPDATE SET next = excluded.next, paid = excluded.paid,
		failed = excluded.failed, settled = excluded.settled, outcome = excluded.outcome,
		cancelled = excluded.cancelled` + database.One
)

func scanOrder(row pgx.Row) (vault.Order, error) {
	var o vault.Order
	var id, every, first, last int64
	var next, settled *time.Time
	s := &o.Schedule
	err := row.Scan(&id, &o.Account, &o.Debtor, &o.To, &o.Memo, &o.Amount, &every, &s.On, &s.At,
		&s.Zone, &first, &last, &next, &o.Paid, &o.Failed, &settled, &o.Outcome, &o.Cancelled)
	o.ID, s.Every = vault.OrderID(id), calendar.Period(every)
	s.From, s.Until = calendar.Date(first), calendar.Date(last)
	o.Next, o.Last = database.Known(next), database.Known(settled)
	return o, err
}

func putOrder(_ *secrets.Keys, b *pgx.Batch, o *vault.Order, _ vault.JournalIndex) {
	s := &o.Schedule
	b.Queue(putOrderSQL, int64(o.ID), string(o.Account), o.Debtor, string(o.To), o.Memo,
		int64(o.Amount), int64(s.Every), s.On, s.At, s.Zone, int64(s.From), int64(s.Until),
		database.Null(o.Next), o.Paid, o.Failed, database.Null(o.Last), string(o.Outcome),
		o.Cancelled)
}

const putReversalSQL = database.Written + `INSERT INTO reversals (entry, amount)
	VALUES ($1, $2) ON CONFLICT (entry) DO UPDATE SET amount = excluded.amount` + database.One

func scanReversal(row pgx.Row) (vault.Reversal, error) {
	var of int64
	var r vault.Reversal
	err := row.Scan(&of, &r.Amount)
	r.Of = vault.JournalIndex(of)
	return r, err
}

func putReversal(_ *secrets.Keys, b *pgx.Batch, r *vault.Reversal, _ vault.JournalIndex) {
	b.Queue(putReversalSQL, int64(r.Of), int64(r.Amount))
}

// Orders implements vault.Store.
func (r *reader) Orders(ctx context.Context, until time.Time,
	yield func(*vault.Order) error,
) error {
	return database.Explain(database.ForEach(ctx, r.db, func(rows pgx.Rows) error {
		o, err := scanOrder(rows)
		if err != nil {
			return err
		}
		return yield(&o)
	}, "SELECT "+orderColumns+" FROM orders WHERE next <= $1", until))
}

// agreementsOf reads the agreements of an account: one array has the id and the end of each, and
// the other one the creditors.
func agreementsOf(ends []int64, creditors []string) ([]vault.Agreement, error) {
	if len(ends) != 2*len(creditors) {
		return nil, errRecord
	}
	var list []vault.Agreement
	for i, creditor := range creditors {
		g := vault.Agreement{ID: uint64(ends[2*i]), Creditor: creditor}
		if end := ends[2*i+1]; end != 0 {
			g.Until = time.Unix(end, 0).UTC()
		}
		list = append(list, g)
	}
	return list, nil
}

// agreementsText is the array that agreementsOf reads.
func agreementsText(list []vault.Agreement) string {
	b := []byte{'{'}
	for i, g := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendUint(b, g.ID, 10), ',')
		if g.Until.IsZero() {
			b = append(b, '0')
		} else {
			b = strconv.AppendInt(b, g.Until.Unix(), 10)
		}
	}
	return string(append(b, '}'))
}

// creditorsText is the array of the creditors; a subject has no character that means something
// in an array.
func creditorsText(list []vault.Agreement) string {
	quoted := make([]string, len(list))
	for i, g := range list {
		quoted[i] = strconv.Quote(g.Creditor)
	}
	return "{" + strings.Join(quoted, ",") + "}"
}
