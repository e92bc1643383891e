package vault

import (
	"context"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault/requestid"
)

// A Part is a part of what a store holds. Parts with entries of the journal, and nothing else, come
// first and in order, then those with records.
type Part struct {
	First  JournalIndex // index in the journal of the first leaf
	Leaves [][]byte

	Records
	Requests []KeptRequest
}

// A KeptRequest is a request id that has its answer.
type KeptRequest struct {
	Key   requestid.Key
	Index JournalIndex // of the answer in the journal
	Day   int64        // of the answer, since 1970 in UTC
}

// A Trail is the state of the audit log in a journal.
type Trail struct {
	Head       merkle.Head
	Checkpoint []byte
	Logs       []JournalIndex // where audit logs began
	Base       Base
}

// Size is how many entries the journal has.
func (t *Trail) Size() JournalIndex { return JournalEnd(t.Logs, t.Head) }

// A Backend is a Store that can be checked, repaired and moved. What a server
// needs of a store is Store alone.
type Backend interface {
	Store

	// Check looks at everything in the store, tells report what is wrong, and
	// returns ErrDamaged when there was something.
	Check(ctx context.Context, report func(problem string)) error

	// All returns all records of the kinds that a replay of the journal makes again:
	// every account, the bank's own too, and every hold.
	All(ctx context.Context) (*Records, error)

	// Rebuild puts the records that replay returns in the place of all of those kinds that
	// are there, and makes the history of each account anew from the journal. What replay
	// reads of the journal it is given is what the same transaction then writes over.
	Rebuild(ctx context.Context, replay func(journal Store) (*Records, error)) error

	// BeginLog begins another audit log after the entries that are there: its
	// tree is empty, and nothing of it has been signed.
	BeginLog(ctx context.Context) error

	// Trim makes the journal begin at a base, which it notes first, and removes what was before
	// in small steps, while commits go on. It may be called again with the same base, to go on
	// with what was interrupted.
	Trim(ctx context.Context, base Base) error

	// Dump calls yield with everything in the store, as it is at one moment. A
	// part is good only until yield returns. An error of yield ends the dump and is returned.
	Dump(ctx context.Context, yield func(*Part) error) (*Trail, error)

	// DumpFrom is Dump with the journal from a base on alone, behind that of the store.
	DumpFrom(ctx context.Context, base Base, yield func(*Part) error) (*Trail, error)

	// Fill puts everything that dump yields into the store, which must be empty.
	// If it fails, the store is of no use.
	Fill(ctx context.Context, dump func(ctx context.Context, yield func(*Part) error) (*Trail,
		error)) error
}
