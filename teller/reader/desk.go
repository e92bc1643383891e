package reader

import (
	"context"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/teller/lookup"
	"example.com/atm/vault"
	"example.com/atm/vault/query"
)

// A Holding is an account as it is found at a desk.
type Holding struct{ Account, Owner, Holder, Standing string }

// maxFound bounds the accounts that Find returns.
const maxFound = 50

// Find returns accounts of a holder, in order of number, and reports whether there may be more.
// It looks for a subject, the name of a user, or a part of the name of a holder, and for as far
// as one page of account.list does. It finds nothing for callers who are no tellers:
// auditors ask for every account, and not for names.
func (r *Reader) Find(ctx context.Context, caller *atm.Caller, holder string) (found []Holding,
	more bool, err error,
) {
	if holder == "" || caller.Grant != "" || r.Reach(caller, atm.Deposit) != atm.Everywhere {
		return nil, false, nil
	}
	part := strings.ToLower(holder)
	_, more, err = r.Scan(ctx, 0, 500, func(a *vault.Account) (bool, error) {
		if a.Owner != holder && a.Owner != "user:"+holder &&
			!strings.Contains(strings.ToLower(a.Holder), part) {
			return true, nil
		}
		if len(found) == maxFound {
			return false, nil
		}
		found = append(found, Holding{
			string(a.Name), a.Owner, a.Holder, a.Standing.String(),
		})
		return true, nil
	})
	return found, more, err
}

// Till counts what the caller moved since a time. It is no operation: it tells callers nothing
// that their receipts did not.
func (r *Reader) Till(ctx context.Context, caller *atm.Caller, since time.Time) (*lookup.Till,
	error,
) {
	return lookup.TillOf(ctx, r.store, r.index, caller.Subject, since)
}

// Held is what pending holds set aside of an account that the caller may ask for, with the
// records of the first of them; nothing of any other account. Owners may use the holds on their
// accounts, so they are shown them.
func (r *Reader) Held(ctx context.Context, caller *atm.Caller, number string) (held atm.Amount,
	holds []atm.Record, err error,
) {
	a, err := r.seen(ctx, caller, atm.Inquiry, number)
	if err != nil || a == nil {
		return 0, nil, err
	}
	now := time.Now()
	holds, _, _ = query.PendingAfter(a, 0, maxFound, now)
	return a.Balance - a.Available(now), holds, nil
}

// Agreed reports whether an account that the caller may ask for has mandates, and standing orders,
// which may be over. It is no operation: what they are is told by mandate.list and order.list.
func (r *Reader) Agreed(ctx context.Context, caller *atm.Caller, number string) (mandates,
	orders bool, err error,
) {
	a, err := r.seen(ctx, caller, atm.Inquiry, number)
	if err != nil || a == nil {
		return false, false, err
	}
	for _, g := range a.Agreements {
		mandates, orders = mandates || g.Creditor != "", orders || g.Creditor == ""
	}
	return mandates, orders, nil
}

// Holder is the name of an account's holder, for callers who may have a certificate of the
// account, which has it too; "" for others. It is no operation.
func (r *Reader) Holder(ctx context.Context, caller *atm.Caller, number string) (string, error) {
	a, err := r.seen(ctx, caller, atm.Certificate, number)
	if err != nil || a == nil {
		return "", err
	}
	return a.Holder, nil
}

// seen is an account that op shows the caller; nil for any other one.
func (r *Reader) seen(ctx context.Context, caller *atm.Caller, op atm.Operation, number string) (
	*vault.Account, error,
) {
	reach := r.Reach(caller, op)
	id, ok := atm.ParseAccountID(number)
	if caller.Grant != "" || reach == atm.Nowhere || !ok {
		return nil, nil
	}
	a, err := r.store.Account(ctx, vault.Numbered(id))
	if err != nil || reach == atm.Owned && a.Owner != caller.Subject {
		return nil, err
	}
	return &a, nil
}
