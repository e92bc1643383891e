package boltstore

import (
	"context"
	"fmt"
	"slices"

	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/chunk"
	"example.com/atm/vault/boltstore/codec"
)

// spines are where the versions of accounts lead to.
type spines = chunk.Histories[vault.Name]

// linksOf returns the links of an entry, reusing the memory of links, and adds its place to the
// spines of the accounts that it changes.
func linksOf(s spines, index vault.JournalIndex, touched []audit.Change,
	links []chunk.Link,
) []chunk.Link {
	links = slices.Grow(links[:0], len(touched))[:len(touched)]
	for slot, change := range touched {
		links[slot] = s.Grow(vault.Name(change.Account), change.Version, chunk.Place{
			Index: int64(index), Slot: slot,
		})
	}
	return links
}

// history is a vault.History. It ends where the journal begins.
func (v view) history(account vault.Name, from uint64, yield func(uint64, vault.JournalIndex,
	[]byte) bool,
) error {
	a, spine, err := v.account(account)
	if err != nil || a.Version == 0 || from == 0 {
		return err
	}
	if len(spine) == 0 {
		return fmt.Errorf("account %s has no history", account)
	}
	journal := v.journal()
	at, version := spine[0], a.Version
	for version > 0 {
		index := vault.JournalIndex(at.Index)
		if index < v.engine.base.Load().Index {
			return nil // older versions were trimmed
		}
		e, err := journal.At(index)
		if err != nil {
			return err
		}
		if at.Slot >= e.Links {
			return fmt.Errorf("journal entry %d does not touch account %s", at.Index, account)
		}
		if version <= from && !yield(version, index, e.Leaf) {
			return nil
		}
		l := e.Link(at.Index, at.Slot)
		if jump := chunk.Jump(version); jump >= from && jump > 0 {
			at, version = l.Jump, jump
		} else {
			at, version = l.Previous, version-1
		}
	}
	return nil
}

// relink makes the links of all journal entries anew.
func (v view) relink(ctx context.Context) (spines, error) {
	_, head, err := v.readHead()
	if err != nil {
		return nil, err
	}
	logs, err := v.readLogs()
	if err != nil {
		return nil, err
	}
	spines := make(spines)
	journal := v.journal()
	end := vault.JournalEnd(logs, head)
	for index := v.engine.base.Load().Index; index < end; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, err := journal.At(index); err != nil {
			return nil, err
		}
		index = journal.Begin // before the base, when that is in the middle of a chunk
		var again chunk.Builder
		for _, e := range journal.Entries {
			parsed, err := audit.ParseEntry(e.Leaf)
			if err != nil {
				return nil, fmt.Errorf("journal entry %d: %w", index, err)
			}
			again.Add(int64(index), linksOf(spines, index, parsed.State, nil), e.Leaf)
			index++
		}
		first, value := again.Take()
		key := codec.JournalKey(vault.JournalIndex(first))
		if err := v.shelf(bucketJournal).Put(key, value); err != nil {
			return nil, err
		}
	}
	return spines, nil
}
