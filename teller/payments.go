package teller

import (
	"cmp"
	"context"
	"errors"
	"strconv"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/bookings"
	"example.com/atm/vault"
	"example.com/atm/vault/query"
)

// find is a bookings.Finder in the current log of the store.
func (t *Teller) find(ctx context.Context) bookings.Finder {
	return func(in *bookings.Input, text string) (m vault.Movement, no vault.Rule, err error) {
		index, ok := wholeNumber(text, 1<<62)
		if !ok {
			return m, bookings.NoSuchEntry, nil
		}
		log, err := vault.OpenLog(ctx, t.cfg.Store)
		if err != nil {
			return m, nil, err
		}
		_, head, err := log.Signed(ctx)
		if err != nil || index >= head.Size {
			return m, bookings.NoSuchEntry, err
		}
		var entry *audit.Entry
		err = log.Entries(ctx, index, index+1, func(_ int64, leaf []byte) error {
			entry, err = audit.ParseEntry(leaf)
			return err
		})
		if errors.Is(err, vault.ErrTrimmed) {
			return m, vault.Refusal(vault.NotReversible(vault.NotKept(index))), nil
		}
		if err != nil {
			return m, nil, err
		}
		m, reason := bookings.MovementOf(entry)
		m.Index = log.InJournal(index)
		switch {
		case reason == "":
			return m, nil, nil
		// Only its maker and those who see every entry learn what it is.
		case in.Reach == atm.Everywhere, entry.Caller != nil &&
			entry.Caller.Subject == in.Caller.Subject:
			return m, vault.Refusal(vault.NotReversible(reason)), nil
		}
		return m, bookings.NoSuchEntry, nil
	}
}

func showOrder(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	id, no := in.Order()
	if no != nil {
		return no, nil
	}
	return query.ShowOrder{Party: in.Party(), Order: id}, nil
}

// agreements reads an account and what its mandates and standing orders are at the moment.
func agreements(list func(vault.Party, *vault.Account) vault.Rule) func(context.Context, *Teller,
	*input) (vault.Rule, error) {
	return func(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
		name, no := in.Account(0, vault.NotFound)
		if no != nil {
			return no, nil
		}
		a, err := t.cfg.Store.Account(ctx, name)
		return list(in.Party(), &a), err
	}
}

// notices finds the notices on an account in the audit log, those of other accounts not.
func notices(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	account, no := in.Account(0, vault.NotFound)
	s, refusal, err := in.noticePage()
	switch {
	case err != nil:
		return nil, err
	case refusal != nil:
		return vault.Refusal(*refusal), nil
	case no != nil:
		return no, nil
	}
	r := query.Notices{Party: in.Party(), Account: account}
	if in.Reach != atm.Everywhere { // what is not the caller's takes as long as nothing
		if owned, err := t.Owns(ctx, in.Caller.Subject, account); err != nil || !owned {
			return r, err
		}
	}
	s.Account, s.Operation, s.Status = string(account), atm.Notify, "OK"
	page, err := t.search(ctx, &s)
	if err != nil {
		return nil, err
	}
	entries := []atm.Record{}
	for _, found := range page.Found {
		e, err := audit.ParseEntry(found.Leaf)
		if err != nil {
			return nil, err
		}
		if e.ReplayOf >= 0 || e.Caller == nil {
			continue
		}
		text := ""
		for _, arg := range e.Args {
			if arg.Name == "text" {
				text = arg.Value
			}
		}
		entries = append(entries, atm.Record{
			{Name: "index", Value: found.Index},
			{Name: "time", Value: e.Time.UTC().Format(audit.TimeFormat)},
			{Name: "by", Value: cmp.Or(e.Caller.Actor, e.Caller.Subject)},
			{Name: "text", Value: text},
		})
	}
	next := ""
	if page.Next > 0 {
		next = strconv.FormatInt(page.Next, 10)
	}
	since, err := t.keptSince(ctx)
	r.Page = atm.Record{
		{Name: "entries", Value: entries},
		{Name: "next", Value: next},
		{Name: "since", Value: since},
	}
	return r, err
}

// noticePage reads which page of notices is asked for.
func (in *input) noticePage() (s wanted, refusal *atm.Status, err error) {
	for _, m := range in.Args[1].Members {
		if m.Name != "limit" && m.Name != "cursor" {
			return s, nil, malformed("a page of notices has no %s", shorten(m.Name))
		}
	}
	return in.search(1)
}
