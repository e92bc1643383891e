package replay

import (
	"context"

	"example.com/atm/vault"
	"example.com/atm/vault/holder"
)

// Name puts names in place of the hashes that replayed accounts have of the names of their
// holders: those of the records that a store kept, if they fit. What is not among them is looked
// for in the store, where one record may be whole though others are not. Name returns the
// accounts whose name is lost; they have none then. Entries of earlier versions have the names
// themselves, and those stay.
func Name(ctx context.Context, store vault.Store, kept []vault.Account, holders *holder.Hasher,
	accounts []vault.Account,
) (lost []vault.Name, err error) {
	names := make(map[vault.Name]string, len(kept))
	for i := range kept {
		names[kept[i].Name] = kept[i].Holder
	}
	for i := range accounts {
		a := &accounts[i]
		hash := a.Holder
		if !holder.Hashed(hash) {
			continue
		}
		name, known := names[a.Name]
		if !known {
			if found, err := store.Account(ctx, a.Name); err == nil {
				name = found.Holder
			}
		}
		if holders.Hash(string(a.Name), name) != hash {
			name = ""
			lost = append(lost, a.Name)
		}
		a.Holder = name
	}
	return lost, ctx.Err()
}
