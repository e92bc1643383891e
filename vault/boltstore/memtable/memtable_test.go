package memtable

import (
	"testing"

	"example.com/atm/vault/codec"
)

// TestMemtableIsDueWhenEntriesShareAccounts looks at which memtables are worth flushing.
func TestMemtableIsDueWhenEntriesShareAccounts(t *testing.T) {
	memtable := func(entries, accounts int) *Table {
		m := New(4).Active()
		m.bytes = entries << 10
		m.leaves = make([][]byte, entries)
		for i := range accounts {
			m.values[codec.NumberAccounts][string(codec.NumberKey(uint64(i)))] = nil
		}
		return m
	}
	if memtable(100, 1).Due() {
		t.Error("a memtable of 100 KiB is due")
	}
	if !memtable(4096, 100).Due() {
		t.Error("4,096 entries of 100 accounts are not due")
	}
	if memtable(4096, 4096).Due() {
		t.Error("4,096 entries of as many accounts are due, a page for each")
	}
}
