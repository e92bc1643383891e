// Package feeds has the records of the event feed, and the rules about them: subscriptions to
// entries of the audit log, where they go, and how far each was delivered.
//
// It knows neither an account nor the journal. Package vault decides its rules in the same
// transaction as those about money, and writes their entries; package feed delivers.
package feeds

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/vault/record"
)

// An ID names a subscription: the index in the journal of the entry that made it.
type ID uint64

// String is the id as clients see it, such as "f4711".
func (id ID) String() string { return "f" + strconv.FormatUint(uint64(id), 10) }

// ParseID reads what String writes.
func ParseID(s string) (ID, bool) {
	digits, found := strings.CutPrefix(s, "f")
	n, err := strconv.ParseUint(digits, 10, 63)
	return ID(n), found && err == nil && ID(n).String() == s
}

// A Position is an index in the journal of a store: a vault.JournalIndex, which this package
// does not know. Its place in an audit log may be another one.
type Position int64

// A State says whether a subscription is delivered.
type State uint8

const (
	Active  State = iota
	Paused        // by its owner; what happens meanwhile is delivered when it is resumed
	Stopped       // by the server, because it could not be delivered, or may not be
)

// String is the state in one word.
func (s State) String() string {
	switch s {
	case Active:
		return "active"
	case Paused:
		return "paused"
	case Stopped:
		return "stopped"
	}
	return "unknown"
}

// A Filter selects entries. An empty field selects all.
type Filter struct {
	Operation atm.Operation `json:"operation,omitempty"`

	Status  string `json:"status,omitempty"`  // OK or ERROR
	Account string `json:"account,omitempty"` // number of one that the entry names or changes
	Owner   string `json:"owner,omitempty"`   // of an account that it changes, at the moment
	Subject string `json:"subject,omitempty"` // of the caller

	// Above selects entries whose amount is above it; zero selects all.
	Above atm.Amount `json:"above,omitempty"`

	// Below selects entries by which the balance of an account, of Account when there is one,
	// falls below it: one entry each time that happens. Zero selects all.
	Below atm.Amount `json:"below,omitempty"`
}

// A Subscription is what one owner is told of, and where. A store may keep it as JSON.
type Subscription struct {
	ID     ID     `json:"id"`
	Name   string `json:"name"` // one of its owner's, as CheckName says
	URL    string `json:"url"`
	Filter Filter `json:"filter"`
	Proofs bool   `json:"proofs"` // each event has a proof that its entry is in the log

	// Everything says that the owner could see every entry when it was made. Others are told
	// of an account of their own.
	Everything bool `json:"everything"`

	// From is the first entry that is considered. Chain counts how often From was set: what
	// was delivered of an earlier chain does not count for this one.
	From  Position `json:"from"`
	Chain uint64   `json:"chain"`

	// Generation counts the secrets that it has had. Rotated is when the newest but the first
	// took the place of another one; zero for never.
	Generation uint64    `json:"generation"`
	Rotated    time.Time `json:"rotated,omitzero"`

	Tests   uint64 `json:"tests"` // test events that were asked for
	State   State  `json:"state"`
	Reason  string `json:"reason,omitempty"` // why it was stopped
	Resumed uint64 `json:"resumed"`          // how often; one that fails is tried at once then
}

// Overlap is how long what is sent is signed by the secret before as well, when another one
// takes its place.
const Overlap = 24 * time.Hour

// A Source is where signed webhooks may come from: each is a notice by its owner, a service.
type Source struct {
	ID         ID        `json:"id"`
	Name       string    `json:"name"`       // one of its owner's, as CheckName says
	Generation uint64    `json:"generation"` // as of a Subscription
	Rotated    time.Time `json:"rotated,omitzero"`
}

// A Book has all subscriptions and sources of one owner.
type Book struct {
	Owner         string // a subject
	Subscriptions []Subscription
	Sources       []Source
}

// MaxSubscriptions bounds those of one owner, and MaxSources the sources.
const (
	MaxSubscriptions = 20
	MaxSources       = 20
)

// Find returns the subscription of a name, or of an id; nil when there is none.
func (b *Book) Find(name string) *Subscription {
	i := slices.IndexFunc(b.Subscriptions, func(s Subscription) bool {
		return s.Name == name || s.ID.String() == name
	})
	if i < 0 {
		return nil
	}
	return &b.Subscriptions[i]
}

// Source returns the source of a name, or of an id; nil when there is none.
func (b *Book) Source(name string) *Source {
	i := slices.IndexFunc(b.Sources, func(s Source) bool {
		return s.Name == name || s.ID.String() == name
	})
	if i < 0 {
		return nil
	}
	return &b.Sources[i]
}

// A Cursor is how far a subscription has been delivered. Only what delivers changes it, without
// an entry. One that is lost or went back is no harm: events are delivered again, with the
// same ids.
type Cursor struct {
	ID    ID
	Chain uint64   // of the subscription, that the rest is about
	Next  Position // the first entry that is to be considered
	Last  Position // the entry that was delivered last; -1 for none
	Sent  int64    // events that were delivered
	Test  uint64   // the test event that was tried last

	// TestError says why the test event could not be delivered; empty when it was.
	TestError string

	// Delivered is when something was delivered last, and Failing since when nothing can be;
	// each zero for never. Tries counts the tries since, Error says why the last one failed,
	// and Again is when the next one may be.
	Delivered time.Time
	Failing   time.Time
	Tries     int64
	Error     string
	Again     time.Time
}

// NewCursor is the cursor of a subscription of which nothing was delivered yet.
func NewCursor(id ID) Cursor { return Cursor{ID: id, Last: -1} }

// At returns the cursor in the chain that a subscription is at: one of an earlier chain is where
// the present one begins.
func (c Cursor) At(s *Subscription) Cursor {
	if c.Chain == s.Chain {
		return c
	}
	return c.Anew(s)
}

// Anew returns the cursor at the beginning of the chain that a subscription is at.
func (c Cursor) Anew(s *Subscription) Cursor {
	return Cursor{
		ID: s.ID, Chain: s.Chain, Next: s.From, Last: -1, Sent: c.Sent, Test: c.Test,
		TestError: c.TestError, Delivered: c.Delivered,
	}
}

// A Summary counts subscriptions by what becomes of their events. Those that fail are active.
type Summary struct {
	All, Failing, Paused, Stopped int64
}

// String says how many there are, and what keeps some of them from being delivered.
func (s Summary) String() string {
	text := strconv.FormatInt(s.All, 10) + " subscriptions"
	if s.All == 1 {
		text = "1 subscription"
	}
	for _, some := range []struct {
		n    int64
		word string
	}{{s.Failing, "failing"}, {s.Stopped, "stopped"}, {s.Paused, "paused"}} {
		if some.n > 0 {
			text += ", " + strconv.FormatInt(some.n, 10) + " " + some.word
		}
	}
	return text
}

// Summarize counts the subscriptions in books.
func Summarize(books []Book, cursors []Cursor) (s Summary) {
	fails := make(map[ID]bool)
	for _, c := range cursors {
		fails[c.ID] = !c.Failing.IsZero()
	}
	for _, book := range books {
		for i := range book.Subscriptions {
			s.All++
			switch sub := &book.Subscriptions[i]; {
			case sub.State == Paused:
				s.Paused++
			case sub.State == Stopped:
				s.Stopped++
			case fails[sub.ID]:
				s.Failing++
			}
		}
	}
	return s
}

// A Rule decides one operation on subscriptions. It is to this package what vault.Rule is to
// vault.
type Rule interface {
	// Of is whose subscriptions it is about.
	Of() string

	Decide(b *Books) atm.Status
}

// Books are the subscriptions that one transaction has loaded, and the changes made to them.
type Books struct {
	*record.Tx

	// Entry is the index that the entry of the command being decided will have.
	Entry func() Position

	books record.Table[string, Book]
}

// NewBooks returns the books of a transaction, with what was loaded for its keys, and their
// table.
func NewBooks(tx *record.Tx, keys *[]string, l record.Loaded[string, Book], changes *[]Book,
	entry func() Position,
) (*Books, record.Kind) {
	b := &Books{Tx: tx, Entry: entry}
	return b, b.books.Open(tx, "feed", keys, l, changes)
}

// Book returns the subscriptions of an owner, which are nobody else's to change.
func (b *Books) Book(owner string) Book {
	book, _ := b.books.Get(owner)
	book.Owner, book.Subscriptions = owner, slices.Clone(book.Subscriptions)
	book.Sources = slices.Clone(book.Sources)
	return book
}

func (b *Books) put(book Book) { b.books.Put(book.Owner, book) }

func ok(result any) atm.Status { return atm.Status{Code: atm.OK, Result: result} }

func refuse(code atm.Code, reason string) atm.Status {
	return atm.Status{Code: code, Reason: reason, Result: ""}
}
