package replay

import (
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/bookings"
	"example.com/atm/teller/methods"
	"example.com/atm/vault/people"
)

// callers holds each caller against what the entries before say of them. A server looks at all
// of it in the transaction that writes the entry, so none of it can be late.
type callers struct {
	records *records
	add     func(format string, args ...any)
	first   map[string]time.Time // when each certificate was used first
	grants  map[string]*spending // by the id of the grant
}

// A spending is what was done under one grant. Its id is in no entry that made a grant, so the
// grant is one of those that allow all of it.
type spending struct {
	fits  []*given
	spent atm.Amount
}

// entry looks at the caller of an entry. The records are as they were before it.
func (c *callers) entry(e *audit.Entry) {
	by := e.Caller
	if by == nil || e.Operation == "" || e.Status == nil || e.Status.Code != atm.OK {
		return
	}
	system := strings.HasPrefix(by.Subject, "system:")
	switch {
	case (e.Operation == atm.OrderPay) != (by.Subject == bookings.SystemOrders),
		system && e.Operation != atm.OrderPay && bookings.Of(e.Operation) != nil &&
			e.Operation != atm.AccountOpen:
		c.add("%s of %s, which never does that", e.Operation, by.Subject)
		return
	case methods.Of(e.Operation) != nil &&
		c.records.rules.Permit(by.Principal, e.Operation) == atm.Nowhere:
		c.add("%s of %s, who is %v, which may not do it", e.Operation, by.Subject, by.Roles)
		return
	}
	// Readers of the log are looked at when they ask, and not once more when that is recorded.
	if system || e.Event == audit.EventAuditRead {
		return
	}
	c.known(e)
	c.credential(e)
	c.session(e)
	if by.Actor != "" && e.ReplayOf < 0 {
		c.grant(e)
	}
}

// known looks whether the caller, and who acts for them, may sign in, and has roles that allow
// the operation.
func (c *callers) known(e *audit.Entry) {
	by := e.Caller
	for _, subject := range []string{by.Subject, by.Actor} {
		p := c.records.users[subject]
		switch {
		case subject == "":
		case p == nil && e.Operation != atm.CertEnroll:
			c.add("%s of %s, whom nobody had made known", e.Operation, subject)
		case p == nil && len(c.records.invited[subject]) == 0:
			c.add("%s of %s, whom nobody had invited", e.Operation, subject)
		case p == nil:
		case p.disabled:
			c.add("%s of %s, who is disabled", e.Operation, subject)
		case subject == by.Subject && !p.unclear && methods.Of(e.Operation) != nil &&
			!slices.ContainsFunc(p.roles, func(roles []atm.Role) bool {
				now := by.Principal
				now.Roles = roles
				return c.records.rules.Permit(now, e.Operation) != atm.Nowhere
			}):
			c.add("%s of %s, whose roles do not allow it any more", e.Operation, subject)
		case subject == by.Subject && !p.unclear && e.Time.Sub(p.since) > slack:
			c.former(e, p)
		}
	}
}

// former looks whether the caller acts in a role that was theirs before.
func (c *callers) former(e *audit.Entry, p *person) {
	for _, role := range e.Caller.Roles {
		if p.ever[role] && !slices.ContainsFunc(p.roles, func(roles []atm.Role) bool {
			return slices.Contains(roles, role)
		}) {
			c.add("%s acted as %s, which they were not any more", e.Caller.Subject, role)
		}
	}
}

// credential looks whether what the caller signed in by was taken back.
func (c *callers) credential(e *audit.Entry) {
	by, name := e.Caller, ""
	switch by.Method {
	case "mtls":
		name = people.CertRevocation(by.Serial)
	case "jwt":
		issuer := by.Issuer
		if issuer == c.records.rules.Issuer {
			issuer = ""
		}
		name = people.TokenRevocation(issuer, by.ID)
	case "passkey":
		p := c.records.browsers.passkeys[by.ID]
		if p == nil || p.Subject != by.Subject || !p.Removed.IsZero() {
			c.add("%s of %s by a passkey that is not theirs", e.Operation, by.Subject)
		}
	}
	if _, revoked := c.records.revoked.at[name]; revoked {
		c.add("%s of %s by what was revoked", e.Operation, by.Subject)
	}
	if by.Method != "mtls" {
		return
	}
	name += " " + by.Subject // authorities of others may have serials of their own
	first, used := c.first[name]
	if !used {
		c.first[name] = e.Time
	}
	all, revoked := c.records.revoked.at["subject:"+by.Subject]
	if used && revoked && first.Before(all) {
		c.add("%s of %s by what was revoked with everything of theirs", e.Operation, by.Subject)
	}
}

// session looks whether the session of the caller is theirs, and lasts.
func (c *callers) session(e *audit.Entry) {
	by := e.Caller
	if by.Session == "" {
		return
	}
	s := c.records.browsers.sessions[by.Session]
	if s == nil || s.Subject != by.Subject || s.Over(e.Time) {
		c.add("%s of %s in a session that is over, or is not theirs", e.Operation, by.Subject)
		return
	}
	for _, name := range []string{"subject:" + by.Subject, people.SessionsRevocation(by.Subject)} {
		if at, revoked := c.records.revoked.at[name]; revoked && !s.Begun.After(at) {
			c.add("%s of %s in a session that was ended", e.Operation, by.Subject)
			return
		}
	}
}

// grant looks whether there is a grant that allows what is done under its id.
func (c *callers) grant(e *audit.Entry) {
	u := useOf(0, e, argsOf(e))
	g := c.grants[e.Caller.ID]
	if g == nil {
		g = &spending{fits: slices.Clone(c.records.grants.made)}
		c.grants[e.Caller.ID] = g
	}
	g.spent += u.amount
	g.fits = slices.DeleteFunc(g.fits, func(made *given) bool {
		return !made.allows(&u, e.Time) || g.spent > made.grant.Cap ||
			made.id != "" && made.id != e.Caller.ID
	})
	switch len(g.fits) {
	case 0:
		c.add("%s of %s on account %s is not what any grant of %s is for", u.op, u.actor,
			u.account, u.subject)
	case 1:
		g.fits[0].id = e.Caller.ID
	}
}
