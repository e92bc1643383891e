package teller

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/lookup"
	"example.com/atm/teller/methods"
	"example.com/atm/vault"
)

// An accountFilter says which accounts to list. The zero value fits all.
type accountFilter struct {
	owner    string
	standing *vault.Standing
	limited  bool
	inactive time.Time // since when; zero for those that are in use as well
}

// accountFilter reads the members of the argument at position i.
func (in *input) accountFilter(i int) (f accountFilter, err error) {
	for _, m := range in.Args[i].Members {
		if !m.Arg.Given() {
			continue
		}
		switch value := m.Arg.Text; m.Name {
		case "owner":
			f.owner, err = value, checkSubject(value)
		case "standing":
			s, known := map[string]vault.Standing{
				"open": vault.Open, "active": vault.Open,
				"frozen": vault.Frozen, "closed": vault.Closed,
			}[value]
			if f.standing = &s; !known {
				err = malformed("a standing is open, frozen or closed, not %q", shorten(value))
			}
		case "limits":
			if f.limited = value == "any"; !f.limited {
				err = malformed("limits of the filter is any, for accounts that have some")
			}
		case "inactive_since":
			if f.inactive, err = atm.ParseTime(value); err != nil {
				err = malformed("inactive_since of the filter is %w", err)
			}
		default:
			err = malformed("a filter of accounts has no %s", shorten(m.Name))
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// fits reports whether the record of an account is one that f asks for, whenever it was used.
func (f *accountFilter) fits(a *vault.Account) bool {
	zone := vault.Limits{Zone: a.Limits.Zone} // which limits nothing by itself
	return (f.owner == "" || a.Owner == f.owner) && (f.standing == nil ||
		a.Standing == *f.standing) && (!f.limited || a.Limits != zone)
}

const (
	// historiesMost bounds the accounts whose last use one call looks for.
	historiesMost = 500

	// actsMost bounds the acts of administration that are passed over to find the last use of
	// an account. After that many, the time of the oldest of them is taken: the account was
	// last used before it.
	actsMost = 100
)

// lastUse is the time of the last operation on an account that was not one of administration,
// or else the time when the account was opened. When the entry of neither is kept any more, it is
// the time of the first one that is: the account was last used before it.
func (t *Teller) lastUse(ctx context.Context, a *vault.Account) (last time.Time, err error) {
	passed, more := 0, true
	failed := t.cfg.Store.History(ctx, a.Name, a.Version, func(version uint64,
		_ vault.JournalIndex, leaf []byte,
	) bool {
		entry, broken := audit.ParseEntry(leaf)
		if broken != nil {
			err = broken
			return false
		}
		last, passed = entry.Time, passed+1
		more = version > 1 && entry.Operation.Administrative() && passed < actsMost
		return more
	})
	if err = cmp.Or(err, failed); err == nil && more {
		return t.Since(ctx)
	}
	return last, err
}

// accountCursor reads the number of the last account on the page before; 0 for the first page.
func accountCursor(arg atm.Arg) (after uint64, ok bool) {
	if !arg.Given() {
		return 0, true
	}
	id, ok := atm.ParseAccountID(arg.Text)
	return uint64(id), ok
}

func listAccounts(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	after, ok := accountCursor(in.Args[0])
	if !ok {
		return foreignCursor, nil
	}
	limit, err := in.pageLimit(1)
	if err != nil {
		return nil, err
	}
	filter, err := in.accountFilter(2)
	if err != nil {
		return nil, err
	}
	atOnce := methods.MaxRows
	if filter == (accountFilter{}) {
		atOnce = limit + 1
	}
	accounts, histories := []atm.Record{}, 0
	last, more, err := t.Scan(ctx, after, atOnce, func(a *vault.Account) (bool, error) {
		switch {
		case !filter.fits(a):
			return true, nil
		case len(accounts) == limit || histories == historiesMost:
			return false, nil
		}
		record := a.Record()
		if !filter.inactive.IsZero() {
			histories++
			used, err := t.lastUse(ctx, a)
			if err != nil || !used.Before(filter.inactive) {
				return true, err
			}
			record = append(record, atm.Field{
				Name:  "last_use",
				Value: used.UTC().Format(time.RFC3339),
			})
		}
		accounts = append(accounts, record)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	next := ""
	if more {
		next = strconv.FormatUint(last, 10)
	}
	if filter.owner != "" && len(accounts) == 0 && !more && after == 0 {
		if known, err := lookup.Knows(ctx, t.cfg.Store, filter.owner); err != nil || !known {
			return vault.Refuse(atm.AccountNotFound, "There is no "+filter.owner), err
		}
	}
	return vault.Report{Result: atm.Record{
		{Name: "accounts", Value: accounts},
		{Name: "next", Value: next},
	}}, nil
}
