// Package record has the records that a transaction is about, each kind in a table.
//
// A Table refuses every record that was not asked for: what was not loaded would look as if
// it did not exist, and a change would overwrite what is there. What was loaded stays as it
// was, so a store can compare it with what it has when it writes.
package record

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
)

// ErrNotAsked reports a record that a rule uses and does not name in its Keys: a mistake in
// the rule.
var ErrNotAsked = errors.New("a rule uses a record that it did not ask for")

// A Tx is what the tables of one transaction share. It belongs to one goroutine.
type Tx struct {
	// Now is the time of the commit, in UTC, to the microsecond.
	Now time.Time

	wrote bool  // the command being decided has changed something
	err   error // why the command being decided cannot be carried out
}

// Begin begins to decide another command.
func (t *Tx) Begin() { t.wrote, t.err = false, nil }

// Fail keeps the command being decided from being carried out. Nothing is written after it.
func (t *Tx) Fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// Failed says why the command being decided cannot be carried out; nil while it can.
func (t *Tx) Failed() error { return t.err }

// Wrote reports whether the command being decided has changed something.
func (t *Tx) Wrote() bool { return t.wrote }

// Loaded is what a store found of one kind. A record that does not exist is in neither map.
type Loaded[K comparable, V any] struct {
	Found   map[K]*V
	Damaged map[K]error // records that are there and cannot be read
}

// Note notes that a record cannot be read.
func (l *Loaded[K, V]) Note(key K, err error) {
	if l.Damaged == nil {
		l.Damaged = make(map[K]error)
	}
	l.Damaged[key] = err
}

// A Kind is the table of any one kind.
type Kind interface {
	// Forget forgets the keys: the command that is decided next names its own.
	Forget()

	// Damaged says which record among those that were asked for cannot be read; nil when
	// all of them can.
	Damaged() error

	// Collect adds what was changed to the changes of the transaction.
	Collect()
}

// A Table has the records of one kind that a transaction has loaded, and on top of them those
// that it has changed.
type Table[K comparable, V any] struct {
	tx      *Tx
	kind    string
	asked   *[]K // by the command being decided, or before the first one by the transaction
	owned   bool // the memory of asked may be used again
	loaded  Loaded[K, V]
	put     map[K]*V
	order   []K // of put
	changes *[]V
}

// Open makes t the table of a kind, which is called that in errors. Commands name their keys
// in keys, and Collect adds to changes.
func (t *Table[K, V]) Open(tx *Tx, kind string, keys *[]K, l Loaded[K, V], changes *[]V) Kind {
	*t = Table[K, V]{tx: tx, kind: kind, asked: keys, loaded: l, changes: changes}
	return t
}

// Forget implements Kind.
func (t *Table[K, V]) Forget() {
	if !t.owned { // a store may load by the same keys again
		*t.asked, t.owned = nil, true
	}
	*t.asked = (*t.asked)[:0]
}

// Damaged implements Kind.
func (t *Table[K, V]) Damaged() error {
	if len(t.loaded.Damaged) == 0 {
		return nil
	}
	for _, key := range *t.asked {
		if err := t.loaded.Damaged[key]; err != nil {
			return fmt.Errorf("%s %v: %w", t.kind, key, err)
		}
	}
	return nil
}

// Collect implements Kind.
func (t *Table[K, V]) Collect() {
	if len(t.order) > 0 {
		*t.changes = slices.Grow(*t.changes, len(t.order))
	}
	for _, v := range t.Changed() {
		*t.changes = append(*t.changes, *v)
	}
}

// Changed yields what was changed, in the order of the first changes.
func (t *Table[K, V]) Changed() iter.Seq2[K, *V] {
	return func(yield func(K, *V) bool) {
		for _, key := range t.order {
			if !yield(key, t.put[key]) {
				return
			}
		}
	}
}

// Asked reports whether a record was asked for, and fails the command otherwise.
func (t *Table[K, V]) Asked(key K) bool {
	asked := slices.Contains(*t.asked, key)
	if !asked {
		t.tx.Fail(fmt.Errorf("%w: %s %v", ErrNotAsked, t.kind, key))
	}
	return asked
}

// Get returns a record as the transaction sees it. It must have been asked for.
func (t *Table[K, V]) Get(key K) (v V, known bool) {
	if !t.Asked(key) {
		return v, false
	}
	if now := t.Peek(key); now != nil {
		return *now, true
	}
	return v, false
}

// Peek returns a record as the transaction sees it, also one that was not asked for; nil when there
// is
// none. It must not be changed.
func (t *Table[K, V]) Peek(key K) *V {
	if v := t.put[key]; v != nil {
		return v
	}
	return t.loaded.Found[key]
}

// Before returns a record as it was loaded; nil when there was none.
func (t *Table[K, V]) Before(key K) *V { return t.loaded.Found[key] }

// Put stores a record that was asked for, and reports whether it did.
func (t *Table[K, V]) Put(key K, v V) bool { return t.Asked(key) && t.Add(key, v) }

// Add stores a record that counts whatever there was before, even where that cannot be read.
// It reports whether it did.
func (t *Table[K, V]) Add(key K, v V) bool {
	if t.tx.err != nil {
		return false
	}
	t.tx.wrote = true
	if now := t.put[key]; now != nil {
		*now = v
		return true
	}
	if t.put == nil {
		t.put = make(map[K]*V, len(t.loaded.Found)+1)
	}
	t.put[key] = &v
	t.order = append(t.order, key)
	return true
}
