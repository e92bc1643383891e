// Package chain is the one order of all changes of a table: each makes the next version of one
// item, the head, and is made only if the head still has the version that the change was decided
// on. So what was read after the head of that version was read is of that version, too, and no
// other lock is needed.
//
// A change is one transaction. One that is too large for that is written beside the records first;
// the new head names it, which makes it durable, and each program that reads such a head finishes
// it before anything else.
package chain

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/replicated"
)

// HeadKey is the key of the head.
var HeadKey = table.Key{PK: "head", SK: "-"}

// A Head is the state of the books in a table.
type Head struct {
	Journal
	People vault.JournalIndex // size of the journal before users or revocations last changed
	Files  uint64             // version of the head that files which replicas share last changed

	// Recent are the ids of the last changes, the newest first.
	Recent []string

	// Turn is how long a program waits for others that make changes, too, in microseconds: as
	// long as an attempt of any of them took lately.
	Turn int64 `json:",omitempty"`

	Staged *Staged `json:",omitempty"` // what is to be finished

	Epoch     uint64    // counts how often all replicas had to be stopped
	Exclusive *Claim    `json:",omitempty"` // of a program that needs that
	Snapshot  *Snapshot `json:",omitempty"` // that is being read

	// Told is what replicas saw of a table that went back in time.
	Told []replicated.Rollback `json:",omitempty"`

	// Unfinished says what was interrupted and has to be done again before a replica starts.
	Unfinished string `json:",omitempty"`

	// Filled is what of the journal a move into the table may have written, until its end.
	Filled *Span `json:",omitempty"`
}

// A Span is the entries of the journal from From on and before To.
type Span struct{ From, To vault.JournalIndex }

// A Journal is the state of the journal.
type Journal struct {
	Size       vault.JournalIndex
	Tree       []byte // a merkle.Head
	Checkpoint []byte
	Logs       []vault.JournalIndex // where audit logs began
	Begins     vault.JournalIndex   // index of the first entry that is kept
	Removed    vault.JournalIndex   // before this there are no chunks any more
	Last       merkle.Hash          // leaf hash of the newest entry
	At         int64                // time of the newest entry, in microseconds since 1970
}

// A Staged is a change that has been written beside the records.
type Staged struct {
	ID      string
	Parts   int
	Version uint64 // of the head that made it
}

// A Claim is what a program has for a while.
type Claim struct {
	ID    string
	Until int64 // in microseconds since 1970
}

// A Snapshot is a state that is being read: what changes after Version keeps what it was.
type Snapshot struct {
	Claim
	Version uint64
}

func (c *Claim) active(now time.Time) bool { return c != nil && c.Until > now.UnixMicro() }

func (s *Snapshot) active(now time.Time) bool { return s != nil && s.Claim.active(now) }

// recent is how many ids of changes a head has.
const recent = 16

// A State is a head of one version.
type State struct {
	Head
	Version uint64 // 0 before there are any books
}

// Commit is the id of the change that made the state.
func (s *State) Commit() string {
	if len(s.Recent) == 0 {
		return ""
	}
	return s.Recent[0]
}

// Merkle reads the tree of the current audit log.
func (s *State) Merkle() (merkle.Head, error) {
	if len(s.Tree) == 0 {
		return merkle.Head{}, nil
	}
	return merkle.UnmarshalHead(s.Tree)
}

// clone copies a head that a change begins with.
func (h *Head) clone() Head {
	next := *h
	next.Recent, next.Told = slices.Clone(h.Recent), slices.Clone(h.Told)
	next.Logs = slices.Clone(h.Logs)
	return next
}

func stateOf(item *table.Item) (*State, error) {
	if item == nil {
		return &State{}, nil
	}
	s := &State{Version: item.Version}
	if err := json.Unmarshal(item.Data, &s.Head); err != nil {
		return nil, fmt.Errorf("%w: head of the journal: %w", vault.ErrDamaged, err)
	}
	return s, nil
}

func (s *State) item() (table.Item, error) {
	data, err := json.Marshal(&s.Head)
	return table.Item{Key: HeadKey, Version: s.Version, Data: data}, err
}

var (
	// ErrBusy reports a program that needs all others stopped.
	ErrBusy = errors.New("a program works on this table that needs all servers stopped")

	// ErrMoved reports a change that was not made, because another one was made first.
	ErrMoved = errors.New("another change was made first")
)
