package boltstore

import (
	"fmt"
	"slices"

	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/chunk"
)

// A spine is where the next version of an account leads to.
type spine struct {
	version uint64 // the newest; 0 for an account that does not exist
	places  chunk.Spine
}

// grow makes the next version, and returns its link.
func (s spine) grow(version uint64, at chunk.Place) (spine, chunk.Link) {
	places, link := s.places.Grow(version, at)
	return spine{version, places}, link
}

// spines are those of the accounts that a transaction is about.
type spines map[vault.Name]spine

// grow returns the links of an entry, reusing the memory of links, and adds its place to
// the spines of the accounts that it changes.
func (s spines) grow(index vault.JournalIndex, touched []audit.Change,
	links []chunk.Link,
) []chunk.Link {
	links = slices.Grow(links[:0], len(touched))[:len(touched)]
	for slot, change := range touched {
		name := vault.Name(change.Account)
		s[name], links[slot] = s[name].grow(change.Version, chunk.Place{
			Index: int64(index), Slot: slot,
		})
	}
	return links
}

// history is a vault.History.
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
		e, err := journal.at(index)
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
