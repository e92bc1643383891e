// Package check holds what a store has against what its journal says: by Chains all of it, while
// nothing else happens, and by Scrub some accounts after the other while it is in use. It tells
// what is wrong and changes nothing.
package check

import (
	"fmt"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
)

// Problems are what a check of a store tells of.
type Problems struct {
	report func(problem string)
	n      int
}

// maxProblems bounds what is told before a check gives up telling.
const maxProblems = 100

// NewProblems returns none yet, and tells report of each.
func NewProblems(report func(problem string)) *Problems { return &Problems{report: report} }

// Add tells of a problem.
func (p *Problems) Add(format string, args ...any) {
	p.n++
	switch {
	case p.n < maxProblems:
		p.report(fmt.Sprintf(format, args...))
	case p.n == maxProblems:
		p.report("there are more problems")
	}
}

// Err is ErrDamaged when there was a problem.
func (p *Problems) Err() error {
	if p.n > 0 {
		return vault.ErrDamaged
	}
	return nil
}

// Chains are the versions of every account, as the entries of a journal make
// them: each begins where the one before it ended, no money appears, and the
// last one is the account's record. A store that checks itself shows them its
// entries in order, and then its accounts.
type Chains struct {
	problems *Problems
	trimmed  bool
	ends     map[vault.Name]*chainEnd
	sum      atm.Amount // of the balances of the records
}

type chainEnd struct {
	version uint64
	balance atm.Amount
	seen    bool // its record was shown
}

// NewChains returns chains that tell what is wrong with them. Those of a journal that was trimmed
// begin with any version.
func NewChains(problems *Problems, trimmed bool) *Chains {
	return &Chains{problems: problems, trimmed: trimmed, ends: make(map[vault.Name]*chainEnd)}
}

// Entry carries the chains on by what an entry changed.
func (c *Chains) Entry(index vault.JournalIndex, entry *audit.Entry) {
	var sum atm.Amount
	for _, change := range entry.State {
		sum += change.After - change.Before
		name := vault.Name(change.Account)
		have := c.ends[name]
		if have == nil {
			have = &chainEnd{}
			if c.trimmed {
				have.version, have.balance = change.Version-1, change.Before
			}
			c.ends[name] = have
		}
		if change.Version != have.version+1 || change.Before != have.balance {
			c.problems.Add("journal entry %d makes version %d of account %s out of %s, after "+
				"version %d with %s",
				index, change.Version, name, change.Before, have.version, have.balance)
		}
		if change.After < 0 && !name.Internal() {
			c.problems.Add("journal entry %d leaves account %s at %s", index, name, change.After)
		}
		have.version, have.balance = change.Version, change.After
	}
	if sum != 0 {
		c.problems.Add("journal entry %d makes %s out of nothing", index, sum)
	}
}

// Has reports whether an entry made the account.
func (c *Chains) Has(n vault.Name) bool { return c.ends[n] != nil }

// Account holds a record against the end of its chain, and reports whether there
// is one.
func (c *Chains) Account(a *vault.Account) bool {
	c.sum += a.Balance
	have := c.ends[a.Name]
	if have == nil && c.trimmed { // nothing has changed it since the journal begins
		have = &chainEnd{version: a.Version, balance: a.Balance}
		c.ends[a.Name] = have
	}
	if have == nil {
		c.problems.Add("account %s is in no journal entry", a.Name)
		return false
	}
	if have.version != a.Version || have.balance != a.Balance {
		c.problems.Add("account %s has version %d with %s; the journal says version %d with %s",
			a.Name, a.Version, a.Balance, have.version, have.balance)
	}
	have.seen = true
	return true
}

// End looks for what was not shown.
func (c *Chains) End() {
	for name, have := range c.ends {
		if !have.seen {
			c.problems.Add("account %s is in the journal and has no record", name)
		}
	}
	if c.sum != 0 {
		c.problems.Add("all balances together are %s, not zero", c.sum)
	}
}

// Pending holds the pending holds of an account against their own records; hold
// finds one.
func (c *Chains) Pending(a *vault.Account, hold func(vault.HoldID) (vault.Hold, error)) {
	now, held := time.Now(), atm.Amount(0)
	for _, p := range a.Pending {
		if p.Alive(now) { // the money of one that has expired may have been spent since
			held += p.Amount
		}
		switch h, err := hold(p.ID); {
		case err != nil:
			c.problems.Add("account %s: hold %s: %v", a.Name, p.ID, err)
		case h.State != vault.HoldPending || h.Account != a.Name || h.Amount != p.Amount:
			c.problems.Add("account %s: hold %s is not as the account has it", a.Name, p.ID)
		}
	}
	if held > a.Balance && !a.Name.Internal() {
		c.problems.Add("account %s holds %s, and %s of it are set aside", a.Name, a.Balance, held)
	}
}
