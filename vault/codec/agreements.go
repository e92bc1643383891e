package codec

import (
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
)

// A record begins with the version of its form.
const (
	formMandate  = 1
	formOrder    = 1
	formReversal = 1
)

func (w *fields) agreements(list []vault.Agreement) {
	w.uint(uint64(len(list)))
	for _, g := range list {
		w.uint(g.ID)
		w.text(g.Creditor)
		w.instant(g.Until)
	}
}

func (r *reader) agreements() (list []vault.Agreement) {
	for range r.count() {
		list = append(list, vault.Agreement{ID: r.uint(), Creditor: r.text(), Until: r.instant()})
	}
	return list
}

// instant writes a time to the second, and the zero time as such.
func (w *fields) instant(t time.Time) {
	if t.IsZero() {
		w.uint(0)
		return
	}
	w.uint(1)
	w.int(t.Unix())
}

func (r *reader) instant() time.Time {
	if r.uint() == 0 {
		return time.Time{}
	}
	return time.Unix(r.int(), 0).UTC()
}

// MandateKey returns the key of a mandate.
func MandateKey(id vault.MandateID) []byte { return JournalKey(vault.JournalIndex(id)) }

// MandateID reads a key that MandateKey returned.
func MandateID(k []byte) (vault.MandateID, error) {
	id, err := JournalIndex(k)
	return vault.MandateID(id), err
}

// EncodeMandate returns the record of a mandate.
func EncodeMandate(m *vault.Mandate) []byte {
	w := fields{[]byte{formMandate, 0}}
	if m.Revoked {
		w.b[1] = 1
	}
	w.text(string(m.Account))
	w.text(m.Debtor)
	w.text(m.Creditor)
	w.text(m.Memo)
	w.int(int64(m.Terms.Each))
	w.int(int64(m.Terms.Total))
	w.uint(uint64(m.Terms.Period))
	w.instant(m.Terms.From)
	w.instant(m.Terms.Until)
	w.int(int64(m.Spent))
	w.int(m.Counted)
	return w.b
}

// DecodeMandate reads what EncodeMandate returned.
func DecodeMandate(id vault.MandateID, v []byte) (vault.Mandate, error) {
	if len(v) < 2 || v[0] != formMandate || v[1] > 1 {
		return vault.Mandate{}, ErrForm
	}
	r := reader{b: v[2:]}
	m := vault.Mandate{
		ID: id, Revoked: v[1] == 1, Account: vault.Name(r.text()), Debtor: r.text(),
		Creditor: r.text(), Memo: r.text(),
		Terms: vault.MandateTerms{
			Each: atm.Amount(r.int()), Total: atm.Amount(r.int()),
			Period: calendar.Period(r.uint()), From: r.instant(), Until: r.instant(),
		},
		Spent: atm.Amount(r.int()), Counted: r.int(),
	}
	if !r.done() {
		return vault.Mandate{}, ErrForm
	}
	return m, nil
}

// OrderKey returns the key of a standing order.
func OrderKey(id vault.OrderID) []byte { return JournalKey(vault.JournalIndex(id)) }

// OrderID reads a key that OrderKey returned.
func OrderID(k []byte) (vault.OrderID, error) {
	id, err := JournalIndex(k)
	return vault.OrderID(id), err
}

// EncodeOrder returns the record of a standing order.
func EncodeOrder(o *vault.Order) []byte {
	w := fields{[]byte{formOrder, 0}}
	if o.Cancelled {
		w.b[1] = 1
	}
	w.text(string(o.Account))
	w.text(o.Debtor)
	w.text(string(o.To))
	w.text(o.Memo)
	w.int(int64(o.Amount))
	s := &o.Schedule
	w.uint(uint64(s.Every))
	w.int(int64(s.On))
	w.int(int64(s.At))
	w.text(s.Zone)
	w.int(int64(s.From))
	w.int(int64(s.Until))
	w.instant(o.Next)
	w.int(o.Paid)
	w.int(o.Failed)
	w.instant(o.Last)
	w.text(string(o.Outcome))
	return w.b
}

// DecodeOrder reads what EncodeOrder returned.
func DecodeOrder(id vault.OrderID, v []byte) (vault.Order, error) {
	if len(v) < 2 || v[0] != formOrder || v[1] > 1 {
		return vault.Order{}, ErrForm
	}
	r := reader{b: v[2:]}
	o := vault.Order{
		ID: id, Cancelled: v[1] == 1, Account: vault.Name(r.text()), Debtor: r.text(),
		To: vault.Name(r.text()), Memo: r.text(), Amount: atm.Amount(r.int()),
		Schedule: calendar.Schedule{
			Every: calendar.Period(r.uint()), On: int(r.int()), At: int(r.int()),
			Zone: r.text(), From: calendar.Date(r.int()), Until: calendar.Date(r.int()),
		},
		Next: r.instant(), Paid: r.int(), Failed: r.int(), Last: r.instant(),
		Outcome: atm.Code(r.text()),
	}
	if !r.done() {
		return vault.Order{}, ErrForm
	}
	return o, nil
}

// EncodeReversal returns the record of what was given back of what an entry moved.
func EncodeReversal(r *vault.Reversal) []byte {
	w := fields{[]byte{formReversal}}
	w.int(int64(r.Amount))
	return w.b
}

// DecodeReversal reads what EncodeReversal returned.
func DecodeReversal(of vault.JournalIndex, v []byte) (vault.Reversal, error) {
	if len(v) < 1 || v[0] != formReversal {
		return vault.Reversal{}, ErrForm
	}
	r := reader{b: v[1:]}
	reversal := vault.Reversal{
		Of: of, Amount: atm.Amount(r.int()),
	}
	if !r.done() {
		return vault.Reversal{}, ErrForm
	}
	return reversal, nil
}
