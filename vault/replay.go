package vault

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"example.com/atm/audit"
	"example.com/atm/vault/holder"
	"example.com/atm/vault/record"
)

// A Replayer decides again what the entries of a journal say was decided, on
// books of its own that begin empty. It needs nothing but the journal and the
// rules, so the accounts it ends with show whether those of a store are what
// the journal says.
type Replayer struct {
	books *Books
	logs  []JournalIndex       // where audit logs began
	made  map[HoldID]time.Time // when each hold was authorized
}

// NewReplayer returns a replayer at the beginning of a journal, in which audit logs began at
// these indexes.
func NewReplayer(logs []JournalIndex) *Replayer {
	return &Replayer{
		made: make(map[HoldID]time.Time), books: NewBooks(Keys{}, Loaded{}), logs: logs,
	}
}

// Begin adds records as they were where the journal begins: those of a snapshot. The names of
// their holders are hashed as in entries; they are left out where holders is nil.
func (r *Replayer) Begin(records *Records, holders *holder.Hasher) {
	b := r.books
	for _, a := range records.Accounts {
		if holders == nil {
			a.Holder = ""
		} else {
			a.Holder = holders.Hash(string(a.Name), a.Holder)
		}
		b.accounts.Add(a.Name, a)
	}
	for _, h := range records.Holds {
		b.holds.Add(h.ID, h)
	}
	for _, m := range records.Mandates {
		b.mandates.Add(m.ID, m)
	}
	for _, o := range records.Orders {
		b.orders.Add(o.ID, o)
	}
	for _, v := range records.Reversals {
		b.reversals.Add(v.Of, v)
	}
}

// Replay decides the rule of an entry that changed records, and reports
// whether it has the same answer and makes the same changes as the entry says.
// Entries that changed nothing need not be replayed.
func (r *Replayer) Replay(index JournalIndex, entry *audit.Entry, rule Rule) error {
	b := r.books
	b.Now = entry.Time
	b.logs = append(slices.Clone(r.logs[:logsUntil(r.logs, index)]), index) // what first returns
	b.begin(rule.Keys)
	status := rule.Decide(b)
	if id := HoldID(index); b.holds.Peek(id) != nil { // a hold has the index of its entry
		r.made[id] = entry.Time
	}
	switch {
	case b.Failed() != nil:
		return fmt.Errorf("entry %d: the rule of %s: %w", index, entry.Operation, b.Failed())
	case status.Code == "":
		return fmt.Errorf("entry %d: the rule of %s has nothing to do", index, entry.Operation)
	case entry.Status == nil || status.Code != entry.Status.Code:
		return fmt.Errorf("entry %d: the rule of %s answers %s: %s", index, entry.Operation,
			status.Code, status.Reason)
	case !slices.Equal(b.effect.touched, entry.State):
		return fmt.Errorf("entry %d: the rule of %s changes %v, the entry says %v", index,
			entry.Operation, b.effect.touched, entry.State)
	case b.effect.reverses != entry.Reverses || b.effect.debtor != entry.Debtor:
		return fmt.Errorf("entry %d: it reverses entry %d and collects from %q, the entry says "+
			"%d and %q", index, b.effect.reverses, b.effect.debtor, entry.Reverses, entry.Debtor)
	case !b.effect.next.Equal(entry.Next):
		return fmt.Errorf("entry %d: the standing order is due on %v next, the entry says %v",
			index, b.effect.next, entry.Next)
	case !b.effect.expires.Equal(entry.Expires):
		return fmt.Errorf("entry %d: the hold ends at %v, the entry says %v", index,
			b.effect.expires,
			entry.Expires)
	}
	return nil
}

// Account returns an account as it is after the entries that were replayed; one that does not
// exist has version 0. In place of the name of its holder it has what the entries have.
func (r *Replayer) Account(n Name) Account {
	if a := r.books.accounts.Peek(n); a != nil {
		return *a
	}
	return Account{Name: n}
}

// Hold returns a hold as it is after the entries that were replayed.
func (r *Replayer) Hold(id HoldID) (Hold, bool) {
	if h := r.books.holds.Peek(id); h != nil {
		return *h, true
	}
	return Hold{}, false
}

// Mandate returns a mandate as it is after the entries that were replayed.
func (r *Replayer) Mandate(id MandateID) (Mandate, bool) {
	if m := r.books.mandates.Peek(id); m != nil {
		return *m, true
	}
	return Mandate{}, false
}

// Order returns a standing order as it is after the entries that were replayed.
func (r *Replayer) Order(id OrderID) (Order, bool) {
	if o := r.books.orders.Peek(id); o != nil {
		return *o, true
	}
	return Order{}, false
}

// Accounts returns all accounts, the bank's own too, in order of name.
func (r *Replayer) Accounts() []Account { return inOrder(&r.books.accounts) }

// Holds returns all holds, in order of id.
func (r *Replayer) Holds() []Hold { return inOrder(&r.books.holds) }

// HoldKept is how long a hold is kept at least after it was authorized: longer than it can
// be pending. A store may forget it then, unless its account still has it as pending.
const HoldKept = 36 * 24 * time.Hour

// Records returns all records of the kinds that a replay makes again.
func (r *Replayer) Records() *Records {
	b := r.books
	return &Records{
		Accounts: r.Accounts(), Holds: r.Holds(), Mandates: inOrder(&b.mandates),
		Orders: inOrder(&b.orders), Reversals: inOrder(&b.reversals),
	}
}

// Differences says where the records that a store has of these kinds are not what the
// journal says. The names of holders are compared by their hashes; holders is nil where the key
// of those is not known, and then names are not compared.
func (r *Replayer) Differences(kept *Records, now time.Time, holders *holder.Hasher) (
	problems []string,
) {
	want := make(map[Name]Account)
	for _, a := range r.Accounts() {
		a.Holder = ""
		if holders != nil {
			a.Holder = holders.Logged(string(a.Name), r.Account(a.Name).Holder)
		}
		want[a.Name] = a
	}
	for _, a := range kept.Accounts {
		if holders == nil {
			a.Holder = ""
		} else {
			a.Holder = holders.Hash(string(a.Name), a.Holder)
		}
		if w, known := want[a.Name]; !known || !w.Equal(a) {
			problems = append(problems, fmt.Sprintf("account %s is not what the journal says: "+
				"%+v, not %+v", a.Name, a, w))
		}
		delete(want, a.Name)
	}
	for name := range want {
		problems = append(problems,
			fmt.Sprintf("account %s is in the journal and has no record", name))
	}
	holds := slices.SortedFunc(slices.Values(kept.Holds), func(a, b Hold) int {
		return cmp.Compare(a.ID, b.ID)
	})
	if !slices.Equal(r.holdsOf(kept, now), holds) {
		problems = append(problems, "the holds are not what the journal says")
	}
	return slices.Concat(problems, differ("mandate", &r.books.mandates, kept.Mandates),
		differ("standing order", &r.books.orders, kept.Orders),
		differ("reversal of entry", &r.books.reversals, kept.Reversals))
}

// differ says which records are not those of a table.
func differ[K cmp.Ordered, V interface {
	comparable
	key() K
}](kind string, table *record.Table[K, V], kept []V) (problems []string) {
	left := make(map[K]bool)
	for key := range table.Changed() {
		left[key] = true
	}
	for _, v := range kept {
		if want := table.Peek(v.key()); want == nil || *want != v {
			problems = append(problems, fmt.Sprintf("%s %v is not what the journal says: %+v",
				kind, v.key(), v))
		}
		delete(left, v.key())
	}
	for key := range left {
		problems = append(problems, fmt.Sprintf("%s %v is in the journal and has no record",
			kind, key))
	}
	return problems
}

func (m Mandate) key() MandateID     { return m.ID }
func (o Order) key() OrderID         { return o.ID }
func (r Reversal) key() JournalIndex { return r.Of }

// holdsOf returns all holds but those that a store, which has these records, may have
// forgotten and has, in order of id.
func (r *Replayer) holdsOf(kept *Records, now time.Time) []Hold {
	needed := make(map[HoldID]bool, len(kept.Holds))
	for i := range kept.Accounts {
		for _, p := range kept.Accounts[i].Pending {
			needed[p.ID] = true
		}
	}
	for i := range kept.Holds {
		needed[kept.Holds[i].ID] = true
	}
	return slices.DeleteFunc(r.Holds(), func(h Hold) bool {
		return !needed[h.ID] && now.Sub(r.made[h.ID]) > HoldKept
	})
}

// inOrder returns the records of a table in the order of their keys.
func inOrder[K cmp.Ordered, V any](t *record.Table[K, V]) []V {
	var keys []K
	for key := range t.Changed() {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	list := make([]V, len(keys))
	for i, key := range keys {
		list[i] = *t.Peek(key)
	}
	return list
}

// Equal reports whether two records of an account say the same.
func (a Account) Equal(b Account) bool {
	same := slices.Equal(a.Pending, b.Pending) && slices.Equal(a.Agreements, b.Agreements)
	return same && a.Name == b.Name && a.Owner == b.Owner && a.Holder == b.Holder &&
		a.Standing == b.Standing && a.Balance == b.Balance &&
		a.Version == b.Version && a.Limits == b.Limits && a.Spent == b.Spent
}
