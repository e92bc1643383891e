package replay

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller"
	"example.com/atm/teller/words"
	"example.com/atm/vault"
	"example.com/atm/vault/check"
)

// grants are those that entries made, and what was done under them.
type grants struct {
	made   []*given
	used   map[string][]use      // by the id of the grant
	before map[string]atm.Amount // spent before the journal begins, by the id of the grant
}

// A given is a grant as the entry says that made it. The id is in the token alone.
type given struct {
	index    vault.JournalIndex
	grant    vault.Grant // Expires is when it ends at the latest
	earliest time.Time   // that it ends; zero when that is not known
	partly   bool        // not all of its accounts are in the entry
	seen     bool
	id       string // when what was done under it tells
}

// A use is what somebody did under a grant.
type use struct {
	index          vault.JournalIndex
	subject, actor string
	op             atm.Operation
	account        string
	amount         atm.Amount
}

// create notes the grant that an entry made.
func (g *grants) create(index vault.JournalIndex, e *audit.Entry, args map[string]string) {
	life := teller.GrantLife
	if n, err := strconv.ParseInt(args["seconds"], 10, 64); err == nil {
		life = time.Duration(n) * time.Second
	}
	limit, _ := atm.Arg{Kind: atm.String, Text: args["cap"]}.Amount()
	made := &given{index: index, partly: !whole(args["more"]), grant: vault.Grant{
		Grantor: e.Caller.Subject, Grantee: args["to"], Cap: limit,
		Expires: e.Time.Add(life + slack),
	}}
	if !e.Caller.Derived() { // a token can make nothing that lives longer than itself
		made.earliest = e.Time.Add(life - slack)
	}
	if accounts, err := words.Granted(vault.Name(args["account"]),
		args["more"]); err == nil {
		made.grant.Accounts = accounts
	}
	operations := strings.Fields(args["operations"])
	slices.Sort(operations)
	for _, op := range slices.Compact(operations) {
		made.grant.Operations = append(made.grant.Operations, atm.Operation(op))
	}
	g.made = append(g.made, made)
}

// use notes what somebody did under a grant.
func (g *grants) use(index vault.JournalIndex, e *audit.Entry, args map[string]string) {
	g.used[e.Caller.ID] = append(g.used[e.Caller.ID], useOf(index, e, args))
}

func useOf(index vault.JournalIndex, e *audit.Entry, args map[string]string) use {
	amount, _ := atm.Arg{Kind: atm.String, Text: args["amount"]}.Amount()
	return use{
		index, e.Caller.Subject, e.Caller.Actor, e.Operation,
		cmp.Or(args["account"], args["from"]), amount,
	}
}

// allows reports whether the grant can be for what was done at a time.
func (made *given) allows(u *use, at time.Time) bool {
	g := &made.grant
	return g.Grantor == u.subject && g.Grantee == u.actor && !at.After(g.Expires) &&
		(u.op == atm.Notify || slices.Contains(g.Operations, u.op)) &&
		(made.partly || slices.Contains(g.Accounts, vault.Name(u.account)))
}

// check holds a grant of a store against the journal.
func (g *grants) check(problems *check.Problems, row *vault.Grant) {
	var best *given
	for _, made := range g.made {
		if !made.seen && made.fits(row) && (best == nil ||
			row.Expires.Sub(made.grant.Expires).Abs() < row.Expires.Sub(best.grant.Expires).Abs()) {
			best = made
		}
	}
	if best == nil {
		problems.Add("grant %s, of %s to %s for %v on %v up to %s until %s, is not as any "+
			"journal entry made it", row.ID, row.Grantor, row.Grantee, row.Operations, row.Accounts,
			row.Cap, stamp(row.Expires))
	} else {
		best.seen = true
	}
	spent := g.before[row.ID]
	for _, u := range g.used[row.ID] {
		spent += u.amount
		if u.subject != row.Grantor || u.actor != row.Grantee ||
			u.op != atm.Notify && !slices.Contains(row.Operations, u.op) ||
			!slices.Contains(row.Accounts, vault.Name(u.account)) {
			problems.Add("entry %d: %s of %s on account %s is not what grant %s is for", u.index,
				u.op, u.actor, u.account, row.ID)
		}
	}
	if spent != row.Spent {
		problems.Add("grant %s has spent %s; its journal entries %s", row.ID, row.Spent, spent)
	}
	delete(g.used, row.ID)
}

// fits reports whether g can be what the entry made.
func (made *given) fits(g *vault.Grant) bool {
	m := &made.grant
	return m.Grantor == g.Grantor && m.Grantee == g.Grantee && m.Cap == g.Cap &&
		slices.Equal(m.Operations, g.Operations) &&
		(made.partly || slices.Equal(m.Accounts, g.Accounts)) && !g.Expires.After(m.Expires) &&
		!g.Expires.Before(made.earliest)
}

// end tells of grants that the store does not have.
func (g *grants) end(problems *check.Problems, newest time.Time) {
	for _, made := range g.made {
		if !made.seen && made.grant.Expires.After(newest) {
			problems.Add("the grant of journal entry %d, of %s to %s, has no record as it was made",
				made.index, made.grant.Grantor, made.grant.Grantee)
		}
	}
}
