package vault

import (
	"errors"
	"fmt"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
)

// Keys name the records that a transaction reads and may change.
type Keys struct {
	Accounts []Name
	Users    []string
	Requests []RequestKey
}

// Books are the records that one transaction has loaded, and the changes made
// to them. A Store fills them, hands them to decide, and then writes what
// Changes returns. They belong to one goroutine.
type Books struct {
	// Now is the time of the commit, in UTC, to the microsecond. The ledger
	// sets it before it decides.
	Now time.Time

	// Head is the audit tree as it was when the transaction began, and
	// Checkpoint the note that signs it; nil for the empty tree.
	Head       audit.Head
	Checkpoint []byte

	accounts map[Name]*Account
	users    map[string]*User
	requests map[RequestKey]Remembered

	touched  []audit.Change // by the command being decided
	moved    atm.Amount     // sum of all changes of balances since the books were opened
	changed  map[Name]bool
	enrolled map[string]bool
	noted    []RequestKey
	leaves   [][]byte
	sealed   *Changes
}

// Remembered is the entry that first answered a request id.
type Remembered struct {
	Index int64
	Leaf  []byte
}

// Changes are what a transaction writes.
type Changes struct {
	Accounts []Account
	Users    []User

	// Leaves are the new journal entries; the first has index First.
	First  int64
	Leaves [][]byte

	// Requests point from request ids to the entries that answered them.
	Requests map[RequestKey]int64

	Head       audit.Head
	Checkpoint []byte
}

// NewBooks returns books for one transaction: records holds what the store
// found for the keys, and a key that it found nothing for is absent.
func NewBooks(head audit.Head, checkpoint []byte,
	accounts map[Name]*Account, users map[string]*User, requests map[RequestKey]Remembered,
) *Books {
	return &Books{
		Head:       head,
		Checkpoint: checkpoint,
		accounts:   accounts,
		users:      users,
		requests:   requests,
		changed:    make(map[Name]bool),
		enrolled:   make(map[string]bool),
	}
}

// Account returns the account as this transaction sees it. One that does not
// exist has version 0.
func (b *Books) Account(n Name) Account {
	if a := b.accounts[n]; a != nil {
		return *a
	}
	return Account{Name: n}
}

// put stores a as the next version of its account. A rule that moves money
// uses move instead.
func (b *Books) put(a Account) {
	before := b.Account(a.Name)
	a.Version = before.Version + 1
	b.accounts[a.Name] = &a
	b.changed[a.Name] = true
	b.moved += a.Balance - before.Balance
	b.touched = append(b.touched, audit.Change{
		Account: string(a.Name), Version: a.Version, Before: before.Balance, After: a.Balance,
	})
}

// move takes amount from one account and gives it to the other. The caller
// has checked that both may take part and that neither balance leaves its
// bounds.
func (b *Books) move(from, to Account, amount atm.Amount) {
	from.Balance -= amount
	to.Balance += amount
	b.put(from)
	b.put(to)
}

// putUser stores u in place of what is known of its subject.
func (b *Books) putUser(u User) {
	b.users[u.Subject] = &u
	b.enrolled[u.Subject] = true
}

// User returns what is known of subject.
func (b *Books) User(subject string) (User, bool) {
	if u := b.users[subject]; u != nil {
		return *u, true
	}
	return User{}, false
}

// append adds a leaf to the journal and returns its index.
func (b *Books) append(leaf []byte) int64 {
	b.leaves = append(b.leaves, leaf)
	return b.Head.Size + int64(len(b.leaves)) - 1
}

// remember makes the entry at index the answer to every later call with the
// same request id.
func (b *Books) remember(key RequestKey, index int64, leaf []byte) {
	b.requests[key] = Remembered{Index: index, Leaf: leaf}
	b.noted = append(b.noted, key)
}

// errUnbalanced reports a bug: money appeared or vanished.
var errUnbalanced = errors.New("the changes of this commit do not sum to zero")

// seal checks the whole, extends the tree by the new leaves and signs it.
func (b *Books) seal(signer *audit.Signer) error {
	if b.moved != 0 {
		return errUnbalanced
	}
	for name := range b.changed {
		if a := b.accounts[name]; a.Balance < 0 && !name.Internal() {
			return fmt.Errorf("account %s would hold %s", name, a.Balance)
		}
	}
	hashes := make([]audit.Hash, len(b.leaves))
	for i, leaf := range b.leaves {
		hashes[i] = audit.LeafHash(leaf)
	}
	c := &Changes{First: b.Head.Size, Leaves: b.leaves, Head: b.Head.Append(hashes...)}
	var err error
	if c.Checkpoint, err = signer.Sign(b.Checkpoint, b.Head, c.Head); err != nil {
		return err
	}
	for name := range b.changed {
		c.Accounts = append(c.Accounts, *b.accounts[name])
	}
	for subject := range b.enrolled {
		c.Users = append(c.Users, *b.users[subject])
	}
	c.Requests = make(map[RequestKey]int64, len(b.noted))
	for _, key := range b.noted {
		c.Requests[key] = b.requests[key].Index
	}
	b.sealed = c
	return nil
}

// Changes returns what the transaction has to write; nil when decide changed
// nothing.
func (b *Books) Changes() *Changes { return b.sealed }
