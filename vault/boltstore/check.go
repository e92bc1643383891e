package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	bolt "go.etcd.io/bbolt"
)

// ErrDamaged reports a file in which Check found something wrong.
var ErrDamaged = errors.New("the vault is damaged")

// maxProblems bounds what Check tells before it gives up.
const maxProblems = 100

// Check looks at everything in the file: its pages, that every value opens and
// has its form, that the journal is whole and the signed tree is of it, that
// the versions of every account form one chain that ends in its record, that
// every movement sums to zero, and that holds and request ids point to where
// they should. It tells report each problem, and returns ErrDamaged when there
// was one.
func (s *Store) Check(ctx context.Context, report func(problem string)) error {
	c := &checker{store: s, report: report, chains: make(map[vault.Name]*chain)}
	err := s.db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			c.problem("pages: %v", err)
		}
		if c.problems > 0 {
			return nil // nothing above the pages means anything then
		}
		return errors.Join(c.journal(ctx, tx), c.accounts(tx), c.holds(tx), c.requests(tx), c.users(tx), c.opens(tx, bucketRevoked), c.opens(tx, bucketIssued), c.grants(tx))
	})
	if err == nil && c.problems > 0 {
		err = ErrDamaged
	}
	return err
}

type checker struct {
	store    *Store
	report   func(string)
	problems int

	size   int64 // of the journal
	chains map[vault.Name]*chain
}

// A chain is the versions of one account, as far as the journal has been read.
type chain struct {
	version uint64
	balance atm.Amount
	spine   spine
	seen    bool // its record has been found
}

func (c *checker) problem(format string, args ...any) {
	c.problems++
	switch {
	case c.problems < maxProblems:
		c.report(fmt.Sprintf(format, args...))
	case c.problems == maxProblems:
		c.report("there are more problems")
	}
}

// journal reads all entries, and holds the tree that was signed against them.
func (c *checker) journal(ctx context.Context, tx *bolt.Tx) error {
	checkpoint, head, err := c.store.readHead(tx)
	if err != nil {
		c.problem("head of the audit tree: %v", err)
	}
	logs, err := c.store.readLogs(tx)
	if err != nil {
		c.problem("beginnings of audit logs: %v", err)
		logs = []int64{0}
	}
	begin := logs[len(logs)-1] // of the current log
	var rebuilt audit.Head
	var hashes []audit.Hash // of the entries since rebuilt
	journal := c.store.shelf(tx, bucketJournal)
	err = journal.bucket.ForEach(func(k, v []byte) error {
		if c.size%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if !bytes.Equal(k, journalKey(c.size)) {
			c.problem("journal: key %x where entry %d should be", k, c.size)
			return nil
		}
		index := c.size
		c.size++
		links, leaf, err := journal.entry(k, v)
		if err != nil {
			c.problem("journal entry %d: %v", index, err)
			return nil
		}
		if index >= begin {
			hashes = append(hashes, audit.LeafHash(leaf))
		}
		if len(hashes) == 4096 {
			rebuilt, hashes = rebuilt.Append(hashes...), hashes[:0]
		}
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			c.problem("journal entry %d: %v", index, err)
			return nil
		}
		c.entry(index, entry, links)
		return nil
	})
	if err != nil {
		return err
	}
	rebuilt = rebuilt.Append(hashes...)
	switch {
	case begin+head.Size != c.size:
		c.problem("the signed tree has %d entries, the journal %d", head.Size, c.size-begin)
	case !slices.Equal(head.Edge, rebuilt.Edge):
		c.problem("the signed tree is not that of the journal")
	}
	if (len(checkpoint) > 0) != (head.Size > 0) {
		c.problem("the checkpoint is missing")
	}
	return nil
}

// entry carries the chains on by what an entry changed.
func (c *checker) entry(index int64, entry *audit.Entry, links []relativeLink) {
	if len(links) != len(entry.State) {
		c.problem("journal entry %d touches %d accounts and has links for %d", index, len(entry.State), len(links))
		return
	}
	var sum atm.Amount
	for slot, change := range entry.State {
		sum += change.After - change.Before
		name := vault.Name(change.Account)
		have := c.chains[name]
		if have == nil {
			have = &chain{}
			c.chains[name] = have
		}
		if change.Version != have.version+1 || change.Before != have.balance {
			c.problem("journal entry %d makes version %d of account %s out of %s, after version %d with %s",
				index, change.Version, name, change.Before, have.version, have.balance)
		}
		if change.After < 0 && !name.Internal() {
			c.problem("journal entry %d leaves account %s at %s", index, name, change.After)
		}
		var want link
		if change.Version == 1 || len(have.spine) > 0 {
			have.spine, want = have.spine.grow(change.Version, place{index, slot})
		}
		if links[slot].from(index) != want {
			c.problem("journal entry %d: the links of account %s lead astray", index, name)
		}
		have.version, have.balance = change.Version, change.After
	}
	if sum != 0 {
		c.problem("journal entry %d makes %s out of nothing", index, sum)
	}
}

func (c *checker) accounts(tx *bolt.Tx) error {
	shelf := c.store.shelf(tx, bucketAccounts)
	var sum atm.Amount
	err := shelf.bucket.ForEach(func(k, v []byte) error {
		a, spine, err := shelf.account(k, v)
		if err != nil {
			c.problem("account: %v", err)
			return nil
		}
		sum += a.Balance
		have := c.chains[a.Name]
		switch {
		case have == nil:
			c.problem("account %s is in no journal entry", a.Name)
			return nil
		case have.version != a.Version || have.balance != a.Balance:
			c.problem("account %s has version %d with %s; the journal says version %d with %s",
				a.Name, a.Version, a.Balance, have.version, have.balance)
		case !slices.Equal(have.spine, spine):
			c.problem("account %s: its history leads astray", a.Name)
		}
		have.seen = true
		c.pending(tx, a)
		return nil
	})
	if err != nil {
		return err
	}
	for name, have := range c.chains {
		if !have.seen {
			c.problem("account %s is in the journal and has no record", name)
		}
	}
	if sum != 0 {
		c.problem("all balances together are %s, not zero", sum)
	}
	return nil
}

// pending looks the pending holds of an account up.
func (c *checker) pending(tx *bolt.Tx, a vault.Account) {
	held := atm.Amount(0)
	for _, p := range a.Pending {
		held += p.Amount
		v, err := c.store.shelf(tx, bucketHolds).get(holdKey(p.ID))
		if err != nil || v == nil {
			c.problem("account %s: hold %s cannot be read: %v", a.Name, p.ID, err)
			continue
		}
		h, err := decodeHold(p.ID, v)
		if err != nil || h.State != vault.HoldPending || h.Account != a.Name || h.Amount != p.Amount {
			c.problem("account %s: hold %s is not as the account has it: %v", a.Name, p.ID, err)
		}
	}
	if held > a.Balance && !a.Name.Internal() {
		c.problem("account %s holds %s, and %s of it are set aside", a.Name, a.Balance, held)
	}
}

func (c *checker) holds(tx *bolt.Tx) error {
	shelf := c.store.shelf(tx, bucketHolds)
	return shelf.bucket.ForEach(func(k, v []byte) error {
		if len(k) != 8 {
			c.problem("hold: key %x", k)
			return nil
		}
		id := holdID(k)
		plain, err := shelf.open(k, v)
		if err != nil {
			c.problem("hold %s: %v", id, err)
			return nil
		}
		h, err := decodeHold(id, plain)
		if err != nil || c.chains[h.Account] == nil || int64(id) >= c.size {
			c.problem("hold %s is of nothing: %v", id, err)
		}
		return nil
	})
}

func (c *checker) requests(tx *bolt.Tx) error {
	shelf, journal := c.store.shelf(tx, bucketRequests), c.store.shelf(tx, bucketJournal)
	return shelf.bucket.ForEach(func(k, v []byte) error {
		plain, err := shelf.open(k, v)
		if err != nil || len(k) != 20 || len(plain) != 8 {
			c.problem("request id %x: %v", k, err)
			return nil
		}
		index := int64(binary.BigEndian.Uint64(plain))
		_, leaf, err := journal.entryAt(index)
		if err != nil {
			c.problem("request id %x: journal entry %d: %v", k, index, err)
			return nil
		}
		entry, err := audit.ParseEntry(leaf)
		if err != nil || entry.Request == "" || entry.ReplayOf >= 0 || dayOf(entry.Time) != binary.BigEndian.Uint32(k) {
			c.problem("request id %x: journal entry %d is not the answer to one of that day: %v", k, index, err)
		}
		return nil
	})
}

func (c *checker) users(tx *bolt.Tx) error {
	shelf := c.store.shelf(tx, bucketUsers)
	return shelf.bucket.ForEach(func(k, v []byte) error {
		if _, err := shelf.user(k, v); err != nil {
			c.problem("user %s: %v", k, err)
		}
		return nil
	})
}

// opens looks whether every value of a bucket opens.
func (c *checker) opens(tx *bolt.Tx, name []byte) error {
	shelf := c.store.shelf(tx, name)
	return shelf.bucket.ForEach(func(k, v []byte) error {
		if _, err := shelf.open(k, v); err != nil {
			c.problem("%s %s: %v", name, k, err)
		}
		return nil
	})
}

func (c *checker) grants(tx *bolt.Tx) error {
	shelf := c.store.shelf(tx, bucketGrants)
	return shelf.bucket.ForEach(func(k, v []byte) error {
		plain, err := shelf.open(k, v)
		if err != nil {
			c.problem("grant %s: %v", k, err)
			return nil
		}
		g, err := decodeGrant(string(k), plain)
		if err != nil || g.Spent < 0 || g.Spent > g.Cap {
			c.problem("grant %s has spent %s of %s: %v", k, g.Spent, g.Cap, err)
		}
		return nil
	})
}
