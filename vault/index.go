package vault

import (
	"slices"

	"example.com/atm/audit/merkle"
)

// A JournalIndex is the place of an entry in the journal of a store. It counts all entries
// that the store ever had, from 0 on, and never begins anew. Request ids, the histories of
// accounts and the ids of holds are kept by it.
//
// An index in an audit log is another number: an int64, here and in package audit. It counts
// the entries of that log, and begins anew at 0 when a log had to be given up and another one
// takes its place (atmctl audit recover). Receipts, proofs and answers show it. Until then the
// two are equal, so nothing but the compiler tells one that stands for the other. InLog,
// JournalEnd and CurrentLog turn one into the other.
type JournalIndex int64

// InLog turns an index in the journal into the one in the audit log that the entry is in, when
// logs began at these indexes.
func InLog(logs []JournalIndex, index JournalIndex) int64 {
	for _, begin := range slices.Backward(logs) {
		if index >= begin {
			return int64(index - begin)
		}
	}
	return int64(index)
}

// logsUntil is how many of the logs began at an index or before it.
func logsUntil(logs []JournalIndex, index JournalIndex) int {
	n, begins := slices.BinarySearch(logs, index)
	if begins {
		n++
	}
	return n
}

// LogOf is the index in the journal at which the audit log begins that an entry is in, when logs
// began at these indexes.
func LogOf(logs []JournalIndex, index JournalIndex) JournalIndex {
	return index - JournalIndex(InLog(logs, index))
}

// JournalEnd is the index of the next entry of a journal, and so how many it has, when logs
// began at these indexes and head is the tree of the newest one.
func JournalEnd(logs []JournalIndex, head merkle.Head) JournalIndex {
	size := JournalIndex(head.Size)
	if len(logs) == 0 {
		return size
	}
	return logs[len(logs)-1] + size
}
