package vault

import (
	"slices"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/people"
	"example.com/atm/vault/record"
	"example.com/atm/vault/requestid"
)

// What there is of each kind of record is in this file: how a rule names one, what a store
// loads, what a commit writes and a move moves. A new kind is a line in Keys, Loaded, Records
// and Books, and its table in NewBooks, which binds the four. Tests name what is missing: of
// this package, of the kinds in boltstore and pgstore, of what vaulttest furnishes, and of what
// a replay compares. A kind that is about people is declared the same way in package people.

// Keys name the records that a rule reads and may change.
type Keys struct {
	Accounts  []Name
	Holds     []HoldID    // each stands for its account, too
	Mandates  []MandateID // each stands for its account, too
	Orders    []OrderID   // each stands for both of its accounts, too
	Grants    []string    // by id
	Reversals []JournalIndex
	Requests  []requestid.Key
	Feeds     []string // by owner
	people.Keys

	// More, unless it is nil, may be called by a store in Commit before it loads anything, when
	// it is its turn after the commits of other processes. It returns the keys to load instead:
	// more commands may be decided by then. A store that commits again calls it again.
	More func() Keys
}

func (k *Keys) accounts(names ...Name) { k.Accounts = append(k.Accounts, names...) }

// Records are records of each kind.
type Records struct {
	Accounts  []Account
	Holds     []Hold
	Grants    []Grant
	Mandates  []Mandate
	Orders    []Order
	Reversals []Reversal
	Feeds     []feeds.Book
	Cursors   []feeds.Cursor // which no rule changes
	people.Records
}

// Add adds more records.
func (r *Records) Add(more *Records) {
	r.Accounts = append(r.Accounts, more.Accounts...)
	r.Holds = append(r.Holds, more.Holds...)
	r.Grants = append(r.Grants, more.Grants...)
	r.Mandates = append(r.Mandates, more.Mandates...)
	r.Orders = append(r.Orders, more.Orders...)
	r.Reversals = append(r.Reversals, more.Reversals...)
	r.Feeds = append(r.Feeds, more.Feeds...)
	r.Cursors = append(r.Cursors, more.Cursors...)
	r.Records.Add(&more.Records)
}

// Loaded is what a store found for the keys of a transaction.
type Loaded struct {
	Accounts  record.Loaded[Name, Account]
	Holds     record.Loaded[HoldID, Hold]
	Grants    record.Loaded[string, Grant]
	Mandates  record.Loaded[MandateID, Mandate]
	Orders    record.Loaded[OrderID, Order]
	Reversals record.Loaded[JournalIndex, Reversal]
	Requests  record.Loaded[requestid.Key, Remembered]
	Feeds     record.Loaded[string, feeds.Book]
	people.Loaded

	Head       merkle.Head
	Checkpoint []byte
	History    History // of what was committed before

	// Now is the time by the clock that all writers of the store share; zero when
	// there is none.
	Now time.Time

	// Logs are the indexes in the journal at which an audit log began, the
	// oldest first; nil for the one log that began with the journal. A journal
	// has more than one when an audit log had to be given up (audit recover).
	Logs []JournalIndex
}

// Books are the records that one transaction has loaded, and the changes made
// to them. A Store fills them, hands them to decide, and then writes what
// Changes returns. They belong to one goroutine.
//
// Books refuse every record that was not asked for. While a command is decided
// only its own keys count, whatever others in the transaction need.
type Books struct {
	record.Tx // the ledger sets Now before it decides
	journal

	// People are the books of the rules about people, and Feeds of those about subscriptions.
	People *people.Books
	Feeds  *feeds.Books

	accounts  record.Table[Name, Account]
	holds     record.Table[HoldID, Hold]
	grants    record.Table[string, Grant]
	mandates  record.Table[MandateID, Mandate]
	orders    record.Table[OrderID, Order]
	reversals record.Table[JournalIndex, Reversal]
	requests  record.Table[requestid.Key, Remembered] // the answer that each had first
	kinds     []record.Kind                           // the table of each kind

	keys    Keys // of the command being decided, or before the first one of the transaction
	effect  effect
	tally   tally
	changes Changes
}

// NewBooks returns books for one transaction, with what was loaded for its keys.
func NewBooks(keys Keys, l Loaded) *Books {
	b := &Books{keys: keys, journal: journal{
		Head: l.Head, Checkpoint: l.Checkpoint, logs: l.Logs, history: l.History,
	}}
	b.Now = l.Now
	k, r := &b.keys, &b.changes.Records
	b.kinds = []record.Kind{
		b.accounts.Open(&b.Tx, "account", &k.Accounts, l.Accounts, &r.Accounts),
		b.holds.Open(&b.Tx, "hold", &k.Holds, l.Holds, &r.Holds),
		b.grants.Open(&b.Tx, "grant", &k.Grants, l.Grants, &r.Grants),
		b.mandates.Open(&b.Tx, "mandate", &k.Mandates, l.Mandates, &r.Mandates),
		b.orders.Open(&b.Tx, "standing order", &k.Orders, l.Orders, &r.Orders),
		b.reversals.Open(&b.Tx, "reversal", &k.Reversals, l.Reversals, &r.Reversals),
		b.requests.Open(&b.Tx, "request id", &k.Requests, l.Requests, new([]Remembered)),
	}
	var ofPeople []record.Kind
	b.People, ofPeople = people.NewBooks(&b.Tx, &k.Keys, l.Loaded, &r.Records)
	var ofFeeds record.Kind
	b.Feeds, ofFeeds = feeds.NewBooks(&b.Tx, &k.Feeds, l.Feeds, &r.Feeds, func() feeds.Position {
		return feeds.Position(b.next())
	})
	b.kinds = append(append(b.kinds, ofPeople...), ofFeeds)
	b.askForTheirs()
	return b
}

// begin begins to decide a command, whose keys it may use.
func (b *Books) begin(keys func(*Keys)) {
	b.Tx.Begin()
	for _, kind := range b.kinds {
		kind.Forget()
	}
	keys(&b.keys)
	b.askForTheirs()
	b.effect.begin()
}

// askForTheirs asks for the accounts of the other records that were asked for.
func (b *Books) askForTheirs() {
	k := &b.keys
	if len(k.Holds)+len(k.Mandates)+len(k.Orders) == 0 {
		return
	}
	k.Accounts = appendTheirs(slices.Clip(k.Accounts), k, b.holds.Peek, b.mandates.Peek,
		b.orders.Peek)
}

// AppendTheirs appends the accounts of the holds, mandates and standing orders among the keys,
// as far as they were found.
func (l *Loaded) AppendTheirs(to []Name, k *Keys) []Name {
	return appendTheirs(to, k, func(id HoldID) *Hold { return l.Holds.Found[id] },
		func(id MandateID) *Mandate { return l.Mandates.Found[id] },
		func(id OrderID) *Order { return l.Orders.Found[id] })
}

func appendTheirs(to []Name, k *Keys, hold func(HoldID) *Hold,
	mandate func(MandateID) *Mandate, order func(OrderID) *Order,
) []Name {
	for _, id := range k.Holds {
		if h := hold(id); h != nil {
			to = append(to, h.Account)
		}
	}
	for _, id := range k.Mandates {
		if m := mandate(id); m != nil {
			to = append(to, m.Account)
		}
	}
	for _, id := range k.Orders {
		if o := order(id); o != nil {
			to = append(to, o.Account, o.To)
		}
	}
	return to
}

// damaged says which record that was asked for cannot be read; nil when all can.
func (b *Books) damaged() error {
	for _, kind := range b.kinds {
		if err := kind.Damaged(); err != nil {
			return err
		}
	}
	return nil
}
