package teller

import (
	"context"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/teller/lookup"
	"example.com/atm/teller/methods"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/query"
)

// pageLimit reads the argument at position i: how many rows a page has.
func (in *input) pageLimit(i int) (int, error) {
	arg := in.Args[i]
	if !arg.Given() {
		return methods.DefaultRows, nil
	}
	n, ok := wholeNumber(arg.Text, methods.MaxRows)
	if !ok {
		return 0, malformed("limit is a number from 1 to %d", methods.MaxRows)
	}
	return int(n), nil
}

var foreignCursor = vault.Refuse(atm.CursorInvalid, "The cursor is none of this server's")

// A holdCursor says where a page of holds begins: with holds above hold of the account
// within, unless there is none, and then with accounts above one.
type holdCursor struct {
	above  uint64
	within vault.Name
	hold   vault.HoldID
}

// parseHoldCursor reads the number of an account, all of whose holds were listed, or that
// number, a space, and the last hold of it that was.
func parseHoldCursor(text string) (c holdCursor, ok bool) {
	number, last, within := strings.Cut(text, " ")
	id, ok := atm.ParseAccountID(number)
	c.above = uint64(id)
	if within && ok {
		c.above, c.within = c.above-1, vault.Numbered(id)
		c.hold, ok = vault.ParseHoldID(last)
	}
	return c, ok
}

func listHolds(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	limit, err := in.pageLimit(1)
	if err != nil {
		return nil, err
	}
	var cursor holdCursor
	if arg := in.Args[0]; arg.Given() {
		var ok bool
		if cursor, ok = parseHoldCursor(arg.Text); !ok {
			return foreignCursor, nil
		}
	}
	holds, next, now := []atm.Record{}, "", time.Now()
	// list adds the holds of an account, and reports whether all of them are on the page.
	list := func(a *vault.Account) bool {
		from := vault.HoldID(0)
		if a.Name == cursor.within {
			from = cursor.hold
		}
		found, last, more := query.PendingAfter(a, from, limit-len(holds), now)
		holds = append(holds, found...)
		if more {
			next = string(a.Name) + " " + max(last, from).String()
		}
		return !more
	}
	if in.Args[2].Given() {
		name, refusal := in.Account(2, vault.NotFound)
		if refusal != nil {
			return refusal, nil
		}
		a, err := t.cfg.Store.Account(ctx, name)
		if err != nil {
			return nil, err
		}
		if a.Version == 0 {
			return vault.Refusal(vault.NotFound(string(name))), nil
		}
		list(&a)
	} else {
		last, more, err := t.Scan(ctx, cursor.above, methods.MaxRows, func(a *vault.Account) (bool,
			error,
		) {
			return list(a), nil
		})
		if err != nil {
			return nil, err
		}
		if more && next == "" {
			next = strconv.FormatUint(last, 10)
		}
	}
	return vault.Report{Result: atm.Record{
		{Name: "holds", Value: holds},
		{Name: "next", Value: next},
	}}, nil
}

func showHold(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	hold, refusal := in.Hold()
	if refusal != nil {
		return refusal, nil
	}
	return query.ShowHold{Party: in.Party(), Hold: hold}, nil
}

func listTokens(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	limit, err := in.pageLimit(1)
	if err != nil {
		return nil, err
	}
	page, next, err := lookup.Tokens(ctx, t.cfg.Store, in.Args[0].Text, limit,
		func(*people.Certificate) bool { return true })
	if err != nil {
		return nil, err
	}
	revoked, err := lookup.Revoked(ctx, t.cfg.Store)
	if err != nil {
		return nil, err
	}
	tokens := make([]atm.Record, len(page))
	for i := range page {
		c := &page[i]
		issued := ""
		if !c.Issued.IsZero() {
			issued = c.Issued.Format(time.RFC3339)
		}
		tokens[i] = atm.Record{
			{Name: "jti", Value: lookup.TokenID(c)},
			{Name: "subject", Value: c.Subject},
			{Name: "actor", Value: c.Actor},
			{Name: "scope", Value: c.Scope},
			{Name: "issued", Value: issued},
			{Name: "expires", Value: c.NotAfter.Format(time.RFC3339)},
			{Name: "revoked", Value: lookup.TakenBack(c, revoked)},
		}
	}
	return vault.Report{Result: atm.Record{
		{Name: "tokens", Value: tokens},
		{Name: "next", Value: next},
	}}, nil
}

func listGrants(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	limit, err := in.pageLimit(1)
	if err != nil {
		return nil, err
	}
	r := query.ListGrants{Party: in.Party(), Revoked: make(map[string]bool)}
	if in.Args[2].Given() {
		var refusal vault.Rule
		if r.Account, refusal = in.Account(2, vault.NotFound); refusal != nil {
			return refusal, nil
		}
	}
	var page []people.Certificate
	mine := func(c *people.Certificate) bool {
		return c.Actor != "" && (in.Reach == atm.Everywhere || c.Subject == in.Caller.Subject)
	}
	page, r.Next, err = lookup.Tokens(ctx, t.cfg.Store, in.Args[0].Text, limit, mine)
	if err != nil {
		return nil, err
	}
	revoked, err := lookup.Revoked(ctx, t.cfg.Store)
	if err != nil {
		return nil, err
	}
	for i := range page {
		id := lookup.TokenID(&page[i])
		r.IDs = append(r.IDs, id)
		r.Revoked[id] = lookup.TakenBack(&page[i], revoked)
	}
	return r, nil
}

func revokeGrant(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	id := in.Args[0].Text
	if len(id) > 128 || id == "" {
		return nil, malformed("the id of a grant has 1 to 128 characters")
	}
	return vault.RevokeGrant{Party: in.Party(), Grant: id}, nil
}
