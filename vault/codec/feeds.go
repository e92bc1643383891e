package codec

import (
	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

// A record begins with the version of its form.
const (
	formBook   = 1
	formCursor = 1
)

// What is said of a subscription in one bit each.
const (
	feedProofs = 1 << iota
	feedEverything
)

// EncodeBook returns the record of the subscriptions of an owner.
func EncodeBook(b *feeds.Book) []byte {
	w := fields{[]byte{formBook}}
	w.uint(uint64(len(b.Subscriptions)))
	for i := range b.Subscriptions {
		w.subscription(&b.Subscriptions[i])
	}
	w.uint(uint64(len(b.Sources)))
	for _, s := range b.Sources {
		w.uint(uint64(s.ID))
		w.text(s.Name)
		w.uint(s.Generation)
		w.time(s.Rotated)
	}
	return w.b
}

func (w *fields) subscription(s *feeds.Subscription) {
	w.uint(uint64(s.ID))
	w.text(s.Name)
	w.text(s.URL)
	w.text(string(s.Filter.Operation))
	w.text(s.Filter.Status)
	w.text(s.Filter.Account)
	w.text(s.Filter.Owner)
	w.text(s.Filter.Subject)
	w.int(int64(s.Filter.Above))
	w.int(int64(s.Filter.Below))
	var flags uint64
	if s.Proofs {
		flags |= feedProofs
	}
	if s.Everything {
		flags |= feedEverything
	}
	w.uint(flags)
	w.int(int64(s.From))
	w.uint(s.Chain)
	w.uint(s.Generation)
	w.time(s.Rotated)
	w.uint(s.Tests)
	w.uint(uint64(s.State))
	w.text(s.Reason)
	w.uint(s.Resumed)
}

// DecodeBook reads what EncodeBook returned.
func DecodeBook(owner string, v []byte) (feeds.Book, error) {
	if len(v) < 1 || v[0] != formBook {
		return feeds.Book{}, ErrForm
	}
	r := reader{b: v[1:]}
	b := feeds.Book{Owner: owner}
	for range r.count() {
		b.Subscriptions = append(b.Subscriptions, r.subscription())
	}
	for range r.count() {
		b.Sources = append(b.Sources, feeds.Source{
			ID: feeds.ID(r.uint()), Name: r.text(), Generation: r.uint(), Rotated: r.time(),
		})
	}
	if !r.done() {
		return feeds.Book{}, ErrForm
	}
	return b, nil
}

func (r *reader) subscription() feeds.Subscription {
	s := feeds.Subscription{
		ID: feeds.ID(r.uint()), Name: r.text(), URL: r.text(),
		Filter: feeds.Filter{
			Operation: atm.Operation(r.text()), Status: r.text(), Account: r.text(),
			Owner: r.text(), Subject: r.text(), Above: atm.Amount(r.int()),
			Below: atm.Amount(r.int()),
		},
	}
	flags := r.uint()
	s.Proofs, s.Everything = flags&feedProofs != 0, flags&feedEverything != 0
	s.From, s.Chain, s.Generation = feeds.Position(r.int()), r.uint(), r.uint()
	s.Rotated, s.Tests = r.time(), r.uint()
	state := r.uint()
	s.State, s.Reason, s.Resumed = feeds.State(state), r.text(), r.uint()
	if flags > feedProofs|feedEverything || state > uint64(feeds.Stopped) {
		r.bad = true
	}
	return s
}

// CursorKey returns the key of the cursor of a subscription.
func CursorKey(id feeds.ID) []byte { return JournalKey(vault.JournalIndex(id)) }

// CursorID reads a key that CursorKey returned.
func CursorID(k []byte) (feeds.ID, error) {
	id, err := JournalIndex(k)
	return feeds.ID(id), err
}

// EncodeCursor returns the record of how far a subscription has been delivered.
func EncodeCursor(c *feeds.Cursor) []byte {
	w := fields{[]byte{formCursor}}
	w.uint(c.Chain)
	w.int(int64(c.Next))
	w.int(int64(c.Last))
	w.int(c.Sent)
	w.uint(c.Test)
	w.text(c.TestError)
	w.time(c.Delivered)
	w.time(c.Failing)
	w.int(c.Tries)
	w.text(c.Error)
	w.time(c.Again)
	return w.b
}

// DecodeCursor reads what EncodeCursor returned.
func DecodeCursor(id feeds.ID, v []byte) (feeds.Cursor, error) {
	if len(v) < 1 || v[0] != formCursor {
		return feeds.Cursor{}, ErrForm
	}
	r := reader{b: v[1:]}
	c := feeds.Cursor{
		ID: id, Chain: r.uint(), Next: feeds.Position(r.int()), Last: feeds.Position(r.int()),
		Sent: r.int(), Test: r.uint(), TestError: r.text(), Delivered: r.time(),
		Failing: r.time(), Tries: r.int(), Error: r.text(), Again: r.time(),
	}
	if !r.done() {
		return feeds.Cursor{}, ErrForm
	}
	return c, nil
}
