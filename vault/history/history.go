// Package history finds the versions of an account through a journal of chunks: the record of the
// account has the places where its newest versions were made, and each entry has links to older
// ones. No index is kept beside the journal.
package history

import (
	"fmt"
	"slices"

	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/chunk"
)

// Spines are where the versions of accounts lead to.
type Spines = chunk.Histories[vault.Name]

// Links returns the links of an entry, reusing the memory of links, and adds its place to the
// spines of the accounts that it changes.
func Links(s Spines, index vault.JournalIndex, touched []audit.Change,
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

// Walk is a vault.History of an account, whose record has this version and this spine. It ends at
// base, where the journal begins. at reads an entry.
func Walk(account vault.Name, version uint64, spine chunk.Spine, base vault.JournalIndex,
	from uint64, at func(vault.JournalIndex) (chunk.Entry, error),
	yield func(uint64, vault.JournalIndex, []byte) bool,
) error {
	if version == 0 || from == 0 {
		return nil
	}
	if len(spine) == 0 {
		return fmt.Errorf("account %s has no history", account)
	}
	for place := spine[0]; version > 0; {
		index := vault.JournalIndex(place.Index)
		if index < base {
			return nil // older versions were trimmed
		}
		e, err := at(index)
		if err != nil {
			return err
		}
		if place.Slot >= e.Links {
			return fmt.Errorf("journal entry %d does not touch account %s", index, account)
		}
		if version <= from && !yield(version, index, e.Leaf) {
			return nil
		}
		l := e.Link(place.Index, place.Slot)
		if jump := chunk.Jump(version); jump >= from && jump > 0 {
			place, version = l.Jump, jump
		} else {
			place, version = l.Previous, version-1
		}
	}
	return nil
}
