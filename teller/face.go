package teller

import (
	"context"
	"errors"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
)

// maxOwned bounds the accounts that Owned lists.
const maxOwned = 50

// Owned lists the numbers of accounts that caller owns, in order, and reports whether there may
// be more. It looks at as many accounts as a page of account.list does. It is no operation: it
// tells callers nothing that they could not ask account by account.
func (t *Teller) Owned(ctx context.Context, caller *atm.Caller) (numbers []string, more bool,
	err error,
) {
	if t.cfg.Permissions.Permit(caller.Principal, atm.Inquiry) == atm.Nowhere {
		return nil, false, nil
	}
	_, more, err = t.scan(ctx, 0, 500, func(a *vault.Account) (bool, error) {
		if a.Owner != caller.Subject {
			return true, nil
		}
		if len(numbers) == maxOwned {
			return false, nil
		}
		numbers = append(numbers, string(a.Name))
		return true, nil
	})
	return numbers, more, err
}

// Entry returns the entry at index of the audit log as it was hashed, if caller may ask for its
// receipt; otherwise, and for one that does not exist, nil.
func (t *Teller) Entry(ctx context.Context, caller *atm.Caller, index int64) (leaf []byte,
	err error,
) {
	reach := t.cfg.Permissions.Permit(caller.Principal, atm.Receipt)
	if reach == atm.Nowhere || index < 0 {
		return nil, nil
	}
	log, err := vault.OpenLog(ctx, t.cfg.Store)
	if err != nil {
		return nil, err
	}
	_, head, err := log.Signed(ctx)
	if err != nil || index >= head.Size {
		return nil, err
	}
	err = log.Entries(ctx, index, index+1, func(_ int64, found []byte) error {
		leaf = append(leaf, found...)
		return errFound
	})
	if !errors.Is(err, errFound) {
		return nil, err
	}
	if reach == atm.Everywhere {
		return leaf, nil
	}
	entry, err := audit.ParseEntry(leaf)
	if err != nil {
		return nil, err
	}
	if concerns, err := t.concerns(ctx, entry, caller.Subject); err != nil || !concerns {
		return nil, err
	}
	return leaf, nil
}
