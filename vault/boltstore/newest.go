package boltstore

import (
	"errors"
	"fmt"

	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/journal"
)

// newestLooked is how many of the newest entries are held against the accounts when a
// server opens a vault, which takes about ten milliseconds.
const newestLooked = 1024

// checkNewest makes sure that the journal ends with the entry that was signed last, and
// that no account is older than the newest entries say. A disk that lost a write gives
// back the older page, which is whole, and whose seals are good.
//
// An entry or an account that does not open is left to the operation that asks for it.
func (r *reader) checkNewest() error {
	last := r.signed.Load()
	begin := max(last.logs[len(last.logs)-1], r.engine.base.Load().Index)
	size := vault.JournalEnd(last.logs, last.head)
	return r.engine.snapshot(func(v view) error {
		entries, seen := v.journal(), make(map[vault.Name]bool)
		if _, err := entries.At(size); err == nil {
			return fmt.Errorf("%w: journal entry %d comes after the signed tree",
				vault.ErrDamaged, size)
		}
		for index := size - 1; index >= max(begin, size-newestLooked); index-- {
			e, err := entries.At(index)
			if errors.Is(err, journal.ErrNoEntry) {
				return fmt.Errorf("%w: %w", vault.ErrDamaged, err)
			}
			if err != nil {
				continue
			}
			entry, err := audit.ParseEntry(e.Leaf)
			if err != nil {
				continue
			}
			for _, change := range entry.State {
				name := vault.Name(change.Account)
				if seen[name] {
					continue
				}
				seen[name] = true
				a, _, err := v.account(name)
				if err != nil {
					continue
				}
				if a.Version != change.Version {
					return fmt.Errorf("%w: account %s is in version %d, and entry %d made "+
						"version %d", vault.ErrDamaged, name, a.Version, index, change.Version)
				}
			}
		}
		return nil
	})
}
