package check

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"example.com/atm/audit"
	"example.com/atm/vault"
)

// Scrub compares customers' accounts with numbers above after, up to limit of them, with the
// entries that made their newest versions, and tells report what differs. It returns the
// number to go on after; 0 at the end. It is for a store that is in use: an account that
// changes meanwhile is looked at again, and one whose newest version was trimmed cannot be
// compared.
func Scrub(ctx context.Context, store vault.Store, after uint64, limit int,
	report func(problem string),
) (next uint64, err error) {
	accounts, err := store.Accounts(ctx, after, limit)
	if err != nil {
		return after, err
	}
	for i := range accounts {
		if err := scrubAccount(ctx, store, accounts[i], report); err != nil {
			return after, err
		}
	}
	if len(accounts) < limit {
		return 0, nil
	}
	return strconv.ParseUint(string(accounts[len(accounts)-1].Name), 10, 64)
}

// scrubTries bounds how often an account is looked at that changes all the time.
const scrubTries = 3

func scrubAccount(ctx context.Context, store vault.Store, a vault.Account,
	report func(string),
) error {
	for range scrubTries {
		problem, found := "", false
		err := store.History(ctx, a.Name, a.Version, func(version uint64, index vault.JournalIndex,
			leaf []byte,
		) bool {
			problem, found = compareNewest(a, version, index, leaf), true
			return false
		})
		if errors.Is(err, vault.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		switch {
		case err != nil:
			problem = err.Error()
		case !found:
			if problem, err = absent(ctx, store); err != nil {
				return err
			}
		}
		if problem == "" {
			return nil
		}
		now, err := store.Account(ctx, a.Name)
		if err != nil {
			return err
		}
		if now.Equal(a) {
			report(fmt.Sprintf("account %s: %s", a.Name, problem))
			return nil
		}
		a = now
	}
	return nil
}

// absent says what it means that the journal does not have the newest version of an account.
func absent(ctx context.Context, store vault.Store) (problem string, err error) {
	base, err := store.Base(ctx)
	if err != nil || base.Index > 0 { // it may have been trimmed
		return "", err
	}
	return "no entry made its newest version", nil
}

// compareNewest says how an account differs from the entry of its newest version; "" when it
// does not.
func compareNewest(a vault.Account, version uint64, index vault.JournalIndex, leaf []byte) string {
	entry, err := audit.ParseEntry(leaf)
	if err != nil {
		return err.Error()
	}
	for _, c := range entry.State {
		if vault.Name(c.Account) != a.Name {
			continue
		}
		switch {
		case version != a.Version || c.Version != a.Version:
			return fmt.Sprintf("it has version %d, and entry %d made version %d", a.Version, index,
				c.Version)
		case c.After != a.Balance:
			return fmt.Sprintf("it holds %s, and entry %d left %s", a.Balance, index, c.After)
		}
		return ""
	}
	return fmt.Sprintf("entry %d, which made its version %d, does not name it", index, a.Version)
}
