package vault

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
)

// Keys name the records that a transaction reads and may change.
type Keys struct {
	Accounts []Name
	Users    []string
	Requests []RequestKey
	Holds    []HoldID // each stands for its account, too
	Grants   []string

	Revocations []string // by name
}

func (k *Keys) accounts(names ...Name)     { k.Accounts = append(k.Accounts, names...) }
func (k *Keys) users(subjects ...string)   { k.Users = append(k.Users, subjects...) }
func (k *Keys) revocations(name ...string) { k.Revocations = append(k.Revocations, name...) }

// Books are the records that one transaction has loaded, and the changes made
// to them. A Store fills them, hands them to decide, and then writes what
// Changes returns. They belong to one goroutine.
//
// Books refuse every record that was not asked for: what was not loaded would look as if
// it did not exist, and a change would overwrite what is there. While a command is decided
// only its own keys count, whatever others in the transaction need.
type Books struct {
	// Now is the time of the commit, in UTC, to the microsecond. The ledger
	// sets it before it decides, when the store has no clock.
	Now time.Time

	// Head is the tree of the current audit log as it was when the
	// transaction began, and Checkpoint the note that signs it; nil for the
	// empty tree.
	Head       audit.Head
	Checkpoint []byte

	accounts map[Name]*Account
	users    map[string]*User
	requests map[RequestKey]Remembered
	holds    map[HoldID]*Hold
	grants   map[string]*Grant
	before   map[string]*Revocation // of earlier transactions
	history  History
	logs     []int64

	asked    *Keys           // of the command being decided, or else of the transaction
	command  Keys            // memory for asked
	wrote    bool            // the command being decided has changed something
	touched  []audit.Change  // by the command being decided
	expires  time.Time       // of the hold that the command being decided makes
	moved    atm.Amount      // sum of all changes of balances since the books were opened
	changed  map[Name]uint64 // the versions that were loaded
	enrolled map[string]bool
	noted    []AnsweredRequest
	held     map[HoldID]bool
	revoked  []Revocation
	issued   []Certificate
	granted  map[string]bool
	entries  []Entry
	leaves   []byte         // memory for leaves
	changes  []audit.Change // memory for touched
	entry    audit.Entry    // memory for the one that is being written
	answer   atm.Status     // that it has
	replays  int            // commands that were answered before
	err      error          // why the command being decided cannot be
	damaged  Damaged        // records that cannot be read
	broken   []error        // why commands were answered INTERNAL
	finished *Changes
}

// A History yields the entries that made the versions of an account, from
// version from, or the newest when that is older, downwards, until yield
// returns false. An account that does not exist has none.
type History func(account Name, from uint64, yield func(version uint64, index int64,
	leaf []byte) bool) error

// An Entry is a new journal entry and the accounts whose records it changes.
type Entry struct {
	Leaf    []byte
	Hash    audit.Hash // of the leaf
	Touched []audit.Change
}

// Remembered is the entry that first answered a request id.
type Remembered struct {
	Index int64 // in the journal
	Leaf  []byte
}

// An AnsweredRequest is a request id and the index in the journal of the entry that
// answered it.
type AnsweredRequest struct {
	Key   RequestKey
	Index int64
}

// Changes are what a transaction writes.
type Changes struct {
	Accounts []Account
	Before   []uint64 // the versions that Accounts were changed from, in their order
	Users    []User

	// Entries are new in the journal; the first has index First there.
	First   int64
	Entries []Entry

	Holds       []Hold
	Revocations []Revocation
	Issued      []Certificate
	Grants      []Grant

	// Requests are the request ids that were answered first, in the order of the
	// entries that answered them.
	Requests []AnsweredRequest

	Head       audit.Head
	Checkpoint []byte
}

// Loaded is what a store found for the keys of a transaction. A key that it
// found nothing for is absent.
type Loaded struct {
	Head       audit.Head
	Checkpoint []byte
	Accounts   map[Name]*Account
	Users      map[string]*User
	Requests   map[RequestKey]Remembered
	Holds      map[HoldID]*Hold
	Grants     map[string]*Grant
	Revoked    map[string]*Revocation
	History    History // of what was committed before

	// Damaged are records among the keys that are there and cannot be read. What needs
	// one of them is answered INTERNAL.
	Damaged Damaged

	// Now is the time by the clock that all writers of the store share; zero when
	// there is none.
	Now time.Time

	// Logs are the indexes in the journal at which an audit log began, the
	// oldest first; nil for the one log that began with the journal. A journal
	// has more than one when an audit log had to be given up (audit recover).
	Logs []int64
}

// NewBooks returns books for one transaction, with what was loaded for its keys.
func NewBooks(keys Keys, l Loaded) *Books {
	return &Books{
		asked:      &keys,
		Head:       l.Head,
		Checkpoint: l.Checkpoint,
		accounts:   l.Accounts,
		users:      l.Users,
		requests:   l.Requests,
		holds:      l.Holds,
		grants:     l.Grants,
		before:     l.Revoked,
		granted:    make(map[string]bool),
		history:    l.History,
		damaged:    l.Damaged,
		Now:        l.Now,
		logs:       l.Logs,
		changed:    make(map[Name]uint64),
		enrolled:   make(map[string]bool),
		held:       make(map[HoldID]bool),
	}
}

// ErrNotAsked reports a record that a rule uses and does not name in its Keys: a mistake in
// the rule.
var ErrNotAsked = errors.New("a rule uses a record that it did not ask for")

// errAmount reports a movement of nothing, or of less: a mistake in a rule.
var errAmount = errors.New("a rule moves an amount that is not positive")

// begin begins to decide a command, whose keys it may use.
func (b *Books) begin(keys func(*Keys)) {
	k := &b.command
	k.Accounts, k.Users, k.Requests, k.Holds = k.Accounts[:0], k.Users[:0], k.Requests[:0],
		k.Holds[:0]
	k.Grants, k.Revocations = k.Grants[:0], k.Revocations[:0]
	keys(k)
	b.asked, b.wrote = k, false
	b.touched, b.expires = b.changes[len(b.changes):], time.Time{}
}

// fail keeps the command being decided from being carried out. Nothing is written after it.
func (b *Books) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// ask reports whether a record was asked for, and otherwise fails.
func (b *Books) ask(asked bool, r func() Record) bool {
	if !asked {
		name := r()
		b.fail(fmt.Errorf("%w: %s %s", ErrNotAsked, name.Kind, name.Key))
	}
	return asked
}

func (b *Books) askAccount(n Name) bool {
	asked := slices.Contains(b.asked.Accounts, n) || slices.ContainsFunc(b.asked.Holds,
		func(id HoldID) bool {
			h := b.holds[id]
			return h != nil && h.Account == n
		})
	return b.ask(asked, func() Record { return AccountRecord(n) })
}

func (b *Books) askUser(subject string) bool {
	return b.ask(slices.Contains(b.asked.Users, subject), func() Record {
		return UserRecord(subject)
	})
}

func (b *Books) askHold(id HoldID) bool {
	return b.ask(slices.Contains(b.asked.Holds, id), func() Record { return HoldRecord(id) })
}

func (b *Books) askGrant(id string) bool {
	return b.ask(slices.Contains(b.asked.Grants, id), func() Record { return GrantRecord(id) })
}

// writes reports whether the command being decided may write a record that it has asked
// for.
func (b *Books) writes(asked bool) bool {
	b.wrote = b.wrote || asked && b.err == nil
	return asked && b.err == nil
}

// Account returns the account as this transaction sees it. One that does not
// exist has version 0.
func (b *Books) Account(n Name) Account {
	if a := b.accounts[n]; b.askAccount(n) && a != nil {
		return *a
	}
	return Account{Name: n}
}

// put stores a as the next version of its account. A rule that moves money
// uses move instead.
func (b *Books) put(a Account) {
	before := b.Account(a.Name)
	if !b.writes(b.askAccount(a.Name)) {
		return
	}
	a.Version = before.Version + 1
	if _, is := b.changed[a.Name]; !is { // what was loaded stays as it was: the store may compare
		b.accounts[a.Name] = new(Account)
		b.changed[a.Name] = before.Version
	}
	*b.accounts[a.Name] = a
	b.moved += a.Balance - before.Balance
	b.touched = append(b.touched, audit.Change{
		Account: string(a.Name), Version: a.Version, Before: before.Balance, After: a.Balance,
	})
}

// move takes amount, which must be positive, from one account and gives it to the other.
// The caller has checked that both may take part and that neither balance leaves its
// bounds.
func (b *Books) move(from, to Account, amount atm.Amount) {
	if amount <= 0 {
		b.fail(fmt.Errorf("%w: %s from %s to %s", errAmount, amount, from.Name, to.Name))
		return
	}
	from.Balance -= amount
	to.Balance += amount
	b.put(from)
	b.put(to)
}

// User returns what is known of subject.
func (b *Books) User(subject string) (User, bool) {
	if u := b.users[subject]; b.askUser(subject) && u != nil {
		return *u, true
	}
	return User{}, false
}

// putUser stores u in place of what is known of its subject.
func (b *Books) putUser(u User) {
	if b.writes(b.askUser(u.Subject)) {
		b.users[u.Subject] = &u
		b.enrolled[u.Subject] = true
	}
}

// Hold returns a hold as this transaction sees it.
func (b *Books) Hold(id HoldID) (Hold, bool) {
	if h := b.holds[id]; b.askHold(id) && h != nil {
		return *h, true
	}
	return Hold{}, false
}

// putHold stores a hold: one that was asked for, or the new one of the entry that the
// command being decided will have.
func (b *Books) putHold(h Hold) {
	if b.writes(h.ID == HoldID(b.next()) || b.askHold(h.ID)) {
		b.holds[h.ID] = &h
		b.held[h.ID] = true
	}
}

// Grant returns a grant as this transaction sees it.
func (b *Books) Grant(id string) (Grant, bool) {
	if g := b.grants[id]; b.askGrant(id) && g != nil {
		return *g, true
	}
	return Grant{}, false
}

func (b *Books) putGrant(g Grant) {
	if b.writes(b.askGrant(g.ID)) {
		b.grants[g.ID] = &g
		b.granted[g.ID] = true
	}
}

// Revoked returns when the revocation of this name was made last, in this
// transaction or before.
func (b *Books) Revoked(name string) (at time.Time, is bool) {
	if !b.ask(slices.Contains(b.asked.Revocations, name), func() Record {
		return RevocationRecord(name)
	}) {
		return time.Time{}, false
	}
	for _, r := range slices.Backward(b.revoked) {
		if r.Name == name {
			return r.At, true
		}
	}
	if r := b.before[name]; r != nil {
		return r.At, true
	}
	return time.Time{}, false
}

// revoke makes a revocation now. It needs no asking: the new one counts whatever there was
// before, even where that cannot be read.
func (b *Books) revoke(name string) {
	if b.writes(true) {
		b.revoked = append(b.revoked, Revocation{name, b.Now})
	}
}

// first is the index in the journal of the first entry of this transaction.
func (b *Books) first() int64 {
	if len(b.logs) == 0 {
		return b.Head.Size
	}
	return b.logs[len(b.logs)-1] + b.Head.Size
}

// next is the index in the journal of the entry of the command being decided.
func (b *Books) next() int64 { return b.first() + int64(len(b.entries)) }

// inLog is the index that an entry of the journal has in the audit log that it
// is in.
func (b *Books) inLog(index int64) int64 { return InLog(b.logs, index) }

// InLog turns an index in the journal into the one in the audit log that the
// entry is in, when logs began at these indexes.
func InLog(logs []int64, index int64) int64 {
	for _, begin := range slices.Backward(logs) {
		if index >= begin {
			return index - begin
		}
	}
	return index
}

// append adds a leaf to the journal and returns its index there and its hash.
func (b *Books) append(leaf []byte) (int64, audit.Hash) {
	index, hash := b.next(), audit.LeafHash(leaf)
	b.entries = append(b.entries, Entry{leaf, hash, b.touched})
	return index, hash
}

// change returns the entry that made a version of an account, of this
// transaction or of an earlier one.
func (b *Books) change(n Name, version uint64) (index int64, leaf []byte, err error) {
	if !b.askAccount(n) {
		return 0, nil, b.err
	}
	for i := len(b.entries) - 1; i >= 0; i-- {
		for _, c := range b.entries[i].Touched {
			if Name(c.Account) == n && c.Version == version {
				return b.first() + int64(i), b.entries[i].Leaf, nil
			}
		}
	}
	found := false
	err = b.history(n, version, func(v uint64, i int64, l []byte) bool {
		if v == version {
			index, leaf, found = i, l, true
		}
		return false
	})
	if err == nil && !found {
		err = fmt.Errorf("version %d of account %s is in no entry", version, n)
	}
	return index, leaf, err
}

// remember makes the entry at index the answer to every later call with the
// same request id.
func (b *Books) remember(key RequestKey, index int64, leaf []byte) {
	b.requests[key] = Remembered{Index: index, Leaf: leaf}
	b.noted = append(b.noted, AnsweredRequest{key, index})
}

// errUnbalanced reports a bug: money appeared or vanished.
var errUnbalanced = errors.New("the changes of this commit do not sum to zero")

// expect makes space for the entries of so many commands.
func (b *Books) expect(commands int) {
	b.entries = slices.Grow(b.entries, commands)
	b.leaves = make([]byte, 0, (commands+1)*usualLeaf)
	b.changes = make([]audit.Change, 0, commands*usualTouched)
}

// What most entries need at most. There is more where one needs more.
const (
	usualLeaf    = 768 // bytes
	usualTouched = 2   // accounts
)

// finish checks the whole, extends the tree by the new leaves and signs it.
func (b *Books) finish(signer *audit.Signer) error {
	if b.moved != 0 {
		return errUnbalanced
	}
	for name := range b.changed {
		if a := b.accounts[name]; a.Balance < 0 && !name.Internal() {
			return fmt.Errorf("account %s would hold %s", name, a.Balance)
		}
	}
	hashes := make([]audit.Hash, len(b.entries))
	for i := range b.entries {
		hashes[i] = b.entries[i].Hash
	}
	c := &Changes{First: b.first(), Entries: b.entries, Head: b.Head.Append(hashes...)}
	var err error
	if c.Checkpoint, err = signer.Sign(b.Checkpoint, b.Head, c.Head); err != nil {
		return err
	}
	for name, before := range b.changed {
		c.Accounts, c.Before = append(c.Accounts, *b.accounts[name]), append(c.Before, before)
	}
	c.Revocations, c.Issued = b.revoked, b.issued
	for id := range b.granted {
		c.Grants = append(c.Grants, *b.grants[id])
	}
	for id := range b.held {
		c.Holds = append(c.Holds, *b.holds[id])
	}
	for subject := range b.enrolled {
		c.Users = append(c.Users, *b.users[subject])
	}
	c.Requests = b.noted
	b.finished = c
	return nil
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

// Changes returns what the transaction has to write; nil when decide changed
// nothing.
func (b *Books) Changes() *Changes { return b.finished }
