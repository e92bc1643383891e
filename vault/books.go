package vault

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault/record"
	"example.com/atm/vault/requestid"
)

// A History yields the entries that made the versions of an account, from
// version from, or the newest when that is older, downwards, until yield
// returns false. An account that does not exist has none.
type History func(account Name, from uint64, yield func(version uint64, index JournalIndex,
	leaf []byte) bool) error

// An Entry is a new journal entry and the accounts whose records it changes.
type Entry struct {
	Leaf    []byte
	Hash    merkle.Hash // of the leaf
	Touched []audit.Change
}

// Remembered is the entry that first answered a request id.
type Remembered struct {
	Index JournalIndex
	Leaf  []byte // nil if the journal was trimmed behind it
}

// An AnsweredRequest is a request id and the index in the journal of the entry that
// answered it.
type AnsweredRequest struct {
	Key   requestid.Key
	Index JournalIndex
}

// Changes are what a transaction writes.
type Changes struct {
	Records
	Before []uint64 // the versions that Accounts were changed from, in their order

	// Entries are new in the journal; the first has index First there.
	First   JournalIndex
	Entries []Entry

	// Requests are the request ids that were answered first, in the order of the
	// entries that answered them.
	Requests []AnsweredRequest

	Head       merkle.Head
	Checkpoint []byte

	// Commands is how many commands were decided. What several of them do can be committed in
	// parts.
	Commands int
}

// Follow returns ErrRefused unless every account was changed from the version that the store
// has of it. A store calls it before it writes; version says false for an account that was
// not loaded.
func (c *Changes) Follow(version func(Name) (v uint64, loaded bool)) error {
	for i := range c.Accounts {
		name := c.Accounts[i].Name
		switch v, loaded := version(name); {
		case !loaded:
			return fmt.Errorf("%w: account %s was not loaded", ErrRefused, name)
		case v != c.Before[i]:
			return fmt.Errorf("%w: account %s has version %d, and is changed from version %d",
				ErrRefused, name, v, c.Before[i])
		}
	}
	return nil
}

// A journal is that of the store, and what the transaction adds to it.
type journal struct {
	// Head is the tree of the current audit log as it was when the
	// transaction began, and Checkpoint the note that signs it; nil for the
	// empty tree.
	Head       merkle.Head
	Checkpoint []byte

	logs    []JournalIndex
	history History
	entries []Entry

	leaves []byte      // memory for the leaves of entries
	entry  audit.Entry // memory for the one that is being written
	answer atm.Status  // the one that entry has
}

// first is the index in the journal of the first entry of this transaction.
func (j *journal) first() JournalIndex { return JournalEnd(j.logs, j.Head) }

// next is the index in the journal of the entry of the command being decided.
func (j *journal) next() JournalIndex { return j.first() + JournalIndex(len(j.entries)) }

// InLog is the index that an entry of the journal has in the audit log that it
// is in.
func (j *journal) InLog(index JournalIndex) int64 { return InLog(j.logs, index) }

// append adds a leaf to the journal and returns its index there and its hash.
func (j *journal) append(leaf []byte, touched []audit.Change) (JournalIndex, merkle.Hash) {
	index, hash := j.next(), merkle.LeafHash(leaf)
	j.entries = append(j.entries, Entry{leaf, hash, touched})
	return index, hash
}

// An effect is what the command being decided does, as its entry says it.
type effect struct {
	touched  []audit.Change
	expires  time.Time      // of the hold that it makes
	reverses int64          // index in the log of the entry that it reverses; 0 for none
	debtor   string         // whose mandate it collects by; empty for none
	next     time.Time      // due date of the order that it makes or pays; zero for none
	memory   []audit.Change // for touched; begins with those of the commands before
}

func (e *effect) begin() {
	*e = effect{touched: e.memory[len(e.memory):], memory: e.memory}
}

// keep keeps what was touched as it is: an entry has it.
func (e *effect) keep() {
	if n := len(e.touched); n > 0 && cap(e.memory) >= len(e.memory)+n { // it is in there
		e.memory = e.memory[:len(e.memory)+n]
	}
}

// A tally counts over all commands of a transaction.
type tally struct {
	moved   atm.Amount // sum of all changes of balances
	replays int        // commands that were answered before
	decided int        // commands, each with those that follow it
	broken  []error    // why commands were answered INTERNAL
}

// Account returns the account as this transaction sees it. One that does not
// exist has version 0.
func (b *Books) Account(n Name) Account {
	if a, known := b.accounts.Get(n); known {
		return a
	}
	return Account{Name: n}
}

// put stores a as the next version of its account. A rule that moves money
// uses move instead.
func (b *Books) put(a Account) {
	before := b.Account(a.Name)
	a.Version = before.Version + 1
	if !b.accounts.Put(a.Name, a) {
		return
	}
	b.tally.moved += a.Balance - before.Balance
	b.effect.touched = append(b.effect.touched, audit.Change{
		Account: string(a.Name), Version: a.Version, Before: before.Balance, After: a.Balance,
	})
}

// errAmount reports a movement of nothing, or of less: a mistake in a rule.
var errAmount = errors.New("a rule moves an amount that is not positive")

// move takes amount, which must be positive, from one account and gives it to the other.
// The caller has checked that both may take part and that neither balance leaves its
// bounds.
func (b *Books) move(from, to Account, amount atm.Amount) {
	if amount <= 0 {
		b.Fail(fmt.Errorf("%w: %s from %s to %s", errAmount, amount, from.Name, to.Name))
		return
	}
	from.Balance -= amount
	to.Balance += amount
	b.put(from)
	b.put(to)
}

// Hold returns a hold as this transaction sees it.
func (b *Books) Hold(id HoldID) (Hold, bool) { return b.holds.Get(id) }

// putHold stores a hold: one that was asked for, or the new one of the entry that the
// command being decided will have.
func (b *Books) putHold(h Hold) {
	if h.ID == HoldID(b.next()) {
		b.holds.Add(h.ID, h)
	} else {
		b.holds.Put(h.ID, h)
	}
}

// Grant returns a grant as this transaction sees it.
func (b *Books) Grant(id string) (Grant, bool) { return b.grants.Get(id) }

// Mandate returns a mandate as this transaction sees it.
func (b *Books) Mandate(id MandateID) (Mandate, bool) { return b.mandates.Get(id) }

// Order returns a standing order as this transaction sees it.
func (b *Books) Order(id OrderID) (Order, bool) { return b.orders.Get(id) }

// Reversal returns what was given back of what an entry moved, as this transaction sees it.
func (b *Books) Reversal(of JournalIndex) (Reversal, bool) { return b.reversals.Get(of) }

func (b *Books) putGrant(g Grant) { b.grants.Put(g.ID, g) }

// ErrNoVersion reports a version of an account that no entry made which the journal has.
var ErrNoVersion = errors.New("is in no entry")

// Change returns the entry that made a version of an account, of this
// transaction or of an earlier one.
func (b *Books) Change(n Name, version uint64) (index JournalIndex, leaf []byte, err error) {
	if !b.accounts.Asked(n) {
		return 0, nil, b.Failed()
	}
	for i := len(b.entries) - 1; i >= 0; i-- {
		for _, c := range b.entries[i].Touched {
			if Name(c.Account) == n && c.Version == version {
				return b.first() + JournalIndex(i), b.entries[i].Leaf, nil
			}
		}
	}
	found := false
	err = b.history(n, version, func(v uint64, i JournalIndex, l []byte) bool {
		if v == version {
			index, leaf, found = i, l, true
		}
		return false
	})
	if err == nil && !found {
		err = fmt.Errorf("version %d of account %s %w", version, n, ErrNoVersion)
	}
	return index, leaf, err
}

// remember makes the entry at index the answer to every later call with the
// same request id.
func (b *Books) remember(key requestid.Key, index JournalIndex, leaf []byte) {
	b.requests.Add(key, Remembered{Index: index, Leaf: leaf})
}

// Expect makes space for the entries of so many commands.
func (b *Books) Expect(commands int) {
	b.entries = slices.Grow(b.entries, commands)
	b.leaves = make([]byte, 0, (commands+1)*usualLeaf)
	b.effect.memory = make([]audit.Change, 0, commands*usualTouched)
}

// What most entries need at most. There is more where one needs more.
const (
	usualLeaf    = 768 // bytes
	usualTouched = 2   // accounts
)

// errUnbalanced reports a bug: money appeared or vanished.
var errUnbalanced = errors.New("the changes of this commit do not sum to zero")

// Finish checks the whole, extends the tree by the new leaves and signs it. Without a new entry
// there is nothing to write: what was decided was counted, or was nothing.
func (b *Books) Finish(signer *checkpoint.Signer) error {
	if len(b.entries) == 0 {
		return nil
	}
	if b.tally.moved != 0 {
		return errUnbalanced
	}
	hashes := make([]merkle.Hash, len(b.entries))
	for i := range b.entries {
		hashes[i] = b.entries[i].Hash
	}
	c := &b.changes
	for _, kind := range b.kinds {
		kind.Collect()
	}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		if a.Balance < 0 && !a.Name.Internal() {
			return fmt.Errorf("account %s would hold %s", a.Name, a.Balance)
		}
		before := uint64(0)
		if was := b.accounts.Before(a.Name); was != nil {
			before = was.Version
		}
		c.Before = append(c.Before, before)
	}
	for key, first := range b.requests.Changed() {
		c.Requests = append(c.Requests, AnsweredRequest{key, first.Index})
	}
	c.Commands = b.tally.decided
	c.First, c.Entries, c.Head = b.first(), b.entries, b.Head.Append(hashes...)
	var err error
	c.Checkpoint, err = signer.Sign(b.Checkpoint, b.Head, c.Head)
	return err
}

// Changes returns what the transaction has to write; nil when decide changed
// nothing.
func (b *Books) Changes() *Changes {
	if b.changes.Checkpoint == nil {
		return nil
	}
	return &b.changes
}

// unreadable answers a command that needs a record which is damaged, or whose rule has a
// mistake. No entry holds it, and nothing was changed: other commands go on, and the operator
// has something to mend.
func (b *Books) unreadable(err error) atm.Status {
	b.tally.broken = append(b.tally.broken, err)
	return refuse(atm.Internal, ReasonOf(err))
}

// Mistaken reports whether an operation failed because of a mistake in its rule.
func Mistaken(err error) bool {
	return errors.Is(err, record.ErrNotAsked) || errors.Is(err, errAmount) ||
		errors.Is(err, audit.ErrEntryTooLong)
}

// ReasonOf is what a caller is told of an operation that failed because of err.
func ReasonOf(err error) string {
	if Mistaken(err) {
		return reasonMistake
	}
	return reasonDamaged
}

const (
	reasonDamaged = "A record that this needs cannot be read; the operator has been told"
	reasonMistake = "The server has a mistake in this operation; nothing was done, and the " +
		"operator has been told"
)

// Replays is how many commands were answered before.
func (b *Books) Replays() int { return b.tally.replays }

// Broken says why commands were answered INTERNAL.
func (b *Books) Broken() []error { return b.tally.broken }
