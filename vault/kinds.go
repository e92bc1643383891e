package vault

import (
	"time"

	"example.com/atm/audit/merkle"
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
	Accounts []Name
	Holds    []HoldID // each stands for its account, too
	Grants   []string // by id
	Requests []requestid.Key
	people.Keys
}

func (k *Keys) accounts(names ...Name) { k.Accounts = append(k.Accounts, names...) }

// Records are records of each kind.
type Records struct {
	Accounts []Account
	Holds    []Hold
	Grants   []Grant
	people.Records
}

// Add adds more records.
func (r *Records) Add(more *Records) {
	r.Accounts = append(r.Accounts, more.Accounts...)
	r.Holds = append(r.Holds, more.Holds...)
	r.Grants = append(r.Grants, more.Grants...)
	r.Records.Add(&more.Records)
}

// Loaded is what a store found for the keys of a transaction.
type Loaded struct {
	Accounts record.Loaded[Name, Account]
	Holds    record.Loaded[HoldID, Hold]
	Grants   record.Loaded[string, Grant]
	Requests record.Loaded[requestid.Key, Remembered]
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

	// People are the books of the rules about people.
	People *people.Books

	accounts record.Table[Name, Account]
	holds    record.Table[HoldID, Hold]
	grants   record.Table[string, Grant]
	requests record.Table[requestid.Key, Remembered] // the answer that each had first
	kinds    []record.Kind                           // the table of each kind

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
		b.requests.Open(&b.Tx, "request id", &k.Requests, l.Requests, new([]Remembered)),
	}
	var ofPeople []record.Kind
	b.People, ofPeople = people.NewBooks(&b.Tx, &k.Keys, l.Loaded, &r.Records)
	b.kinds = append(b.kinds, ofPeople...)
	b.askForHeld()
	return b
}

// begin begins to decide a command, whose keys it may use.
func (b *Books) begin(keys func(*Keys)) {
	b.Tx.Begin()
	for _, kind := range b.kinds {
		kind.Forget()
	}
	keys(&b.keys)
	b.askForHeld()
	b.effect.begin()
}

// askForHeld asks for the accounts of the holds that were asked for.
func (b *Books) askForHeld() {
	accounts := b.keys.Accounts[:len(b.keys.Accounts):len(b.keys.Accounts)]
	for _, id := range b.keys.Holds {
		if h := b.holds.Peek(id); h != nil {
			accounts = append(accounts, h.Account)
		}
	}
	if len(accounts) > len(b.keys.Accounts) {
		b.keys.Accounts = accounts
	}
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
