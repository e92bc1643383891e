package boltstore

import (
	"context"
	"fmt"

	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/chunk"
	"example.com/atm/vault/codec"
	"example.com/atm/vault/history"
)

// spines are where the versions of accounts lead to.
type spines = history.Spines

// history is a vault.History. It ends where the journal begins.
func (v view) history(account vault.Name, from uint64, yield func(uint64, vault.JournalIndex,
	[]byte) bool,
) error {
	a, spine, err := v.account(account)
	if err != nil {
		return err
	}
	return history.Walk(account, a.Version, spine, v.engine.base.Load().Index, from,
		v.journal().At, yield)
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
			again.Add(int64(index), history.Links(spines, index, parsed.State, nil), e.Leaf)
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
