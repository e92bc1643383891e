package vault

import (
	"cmp"
	"slices"
	"time"

	"example.com/atm"
)

// OpenAccount opens an account and posts its opening balance from Equity.
type OpenAccount struct {
	Account Name
	Owner   string
	Holder  string
	Opening atm.Amount // zero for none
}

// Keys implements Rule.
func (r OpenAccount) Keys(k *Keys) { k.accounts(r.Account, Equity) }

// Decide implements Rule.
func (r OpenAccount) Decide(b *Books) atm.Status {
	a, equity := b.Account(r.Account), b.Account(Equity)
	if a.Version > 0 {
		return refuse(atm.AccountExists, "Account "+string(r.Account)+" exists")
	}
	if !fits(a, r.Opening) || !depth(equity, r.Opening) {
		return tooLarge(r.Account)
	}
	a.Owner, a.Holder = r.Owner, r.Holder
	if r.Opening == 0 {
		b.put(a)
	} else {
		b.move(equity, a, r.Opening)
	}
	return ok(b.Account(r.Account).Record())
}

// ShowAccount answers with the record of an account.
type ShowAccount struct{ Account Name }

// Keys implements Rule.
func (r ShowAccount) Keys(k *Keys) { k.accounts(r.Account) }

// Decide implements Rule.
func (r ShowAccount) Decide(b *Books) atm.Status {
	a := b.Account(r.Account)
	if a.Version == 0 {
		return NotFound(string(r.Account))
	}
	return ok(a.Record())
}

// SetAccount gives an account another owner, and another name of its holder. What is empty
// stays as it is.
type SetAccount struct {
	Account       Name
	Owner, Holder string
}

// Keys implements Rule.
func (r SetAccount) Keys(k *Keys) { k.accounts(r.Account) }

// Decide implements Rule.
func (r SetAccount) Decide(b *Books) atm.Status {
	a := b.Account(r.Account)
	switch {
	case a.Version == 0:
		return NotFound(string(r.Account))
	case a.Standing == Closed:
		return refuse(atm.AccountClosed, "Account "+string(r.Account)+" is closed")
	}
	before := a
	a.Owner, a.Holder = cmp.Or(r.Owner, a.Owner), cmp.Or(r.Holder, a.Holder)
	if a.Owner != before.Owner || a.Holder != before.Holder {
		b.put(a)
	}
	return ok(b.Account(r.Account).Record())
}

// SetStanding freezes, unfreezes or closes an account. Giving an account the
// standing that it has changes nothing and is no error.
type SetStanding struct {
	Account  Name
	Standing Standing
}

// Keys implements Rule.
func (r SetStanding) Keys(k *Keys) { k.accounts(r.Account) }

// Decide implements Rule.
func (r SetStanding) Decide(b *Books) atm.Status {
	a := b.Account(r.Account)
	switch {
	case a.Version == 0:
		return NotFound(string(r.Account))
	case a.Standing == r.Standing:
		return ok(a.Record())
	case a.Standing == Closed:
		return refuse(atm.AccountClosed, "Account "+string(r.Account)+" is closed")
	case r.Standing == Closed && a.Balance != 0:
		return refuse(atm.AccountNotEmpty, "Account "+string(r.Account)+" is not empty")
	}
	a.Standing = r.Standing
	b.put(a)
	return ok(b.Account(r.Account).Record())
}

// Record is the account as administration sees it. Holds that have expired
// count as held until the next change of the account.
func (a Account) Record() atm.Record {
	var held atm.Amount
	for _, h := range a.Pending {
		held += h.Amount
	}
	return atm.Record{
		{Name: "account", Value: string(a.Name)},
		{Name: "owner", Value: a.Owner},
		{Name: "name", Value: a.Holder},
		{Name: "standing", Value: a.Standing.String()},
		{Name: "balance", Value: a.Balance.String()},
		{Name: "held", Value: held.String()},
		{Name: "version", Value: int64(a.Version)},
		{Name: "limits", Value: a.Limits.record()},
	}
}

// Expected is what must be true of the subject of Enrol.
type Expected string

const (
	ExpectAny   Expected = "" // known or not
	ExpectNew   Expected = "new"
	ExpectKnown Expected = "known"
)

// Enrol makes Subject known and gives it Roles. When Roles is empty, somebody
// who is known keeps their roles and a newcomer gets Default. Result is the
// answer.
type Enrol struct {
	Subject string
	Roles   []atm.Role
	Default atm.Role
	HA1     []byte // in place of the password there is; nil leaves it
	Slow    []byte // as HA1; at most one of them is given
	Expect  Expected

	// Certificate is one that was issued with it; nil for none.
	Certificate *Certificate

	Result any
}

// Keys implements Rule.
func (r Enrol) Keys(k *Keys) { k.users(r.Subject) }

// Decide implements Rule.
func (r Enrol) Decide(b *Books) atm.Status {
	u, known := b.User(r.Subject)
	switch {
	case r.Expect == ExpectNew && known:
		return refuse(atm.AccountExists, "There is "+r.Subject+" already")
	case r.Expect == ExpectKnown && !known:
		return noSubject(r.Subject)
	}
	roles := slices.Clone(r.Roles)
	if len(roles) == 0 {
		roles = []atm.Role{r.Default}
		if known {
			roles = u.Roles
		}
	}
	slices.Sort(roles)
	roles = slices.Compact(roles)
	ha1, slow := u.HA1, u.Slow
	if r.HA1 != nil || r.Slow != nil {
		ha1, slow = r.HA1, r.Slow
	}
	if !known || !slices.Equal(roles, u.Roles) || !slices.Equal(ha1, u.HA1) ||
		!slices.Equal(slow, u.Slow) {
		b.putUser(User{
			Subject: r.Subject, Roles: roles, Disabled: u.Disabled, HA1: ha1,
			Slow: slow,
		})
	}
	if len(r.Roles) > 0 && known { // what was promised before counts no longer
		b.revoke(RolesRevocation(r.Subject))
	}
	if r.Certificate != nil {
		b.issue(*r.Certificate)
	}
	return ok(r.Result)
}

// RolesRevocation is the name of the revocation of all invitations of before that would give a
// subject a role: it is made whenever somebody sets the roles of who is known.
func RolesRevocation(subject string) string { return "roles:" + subject }

// Invited is Enrol for somebody who follows an invitation from an instant. It compares the
// invitation with what is true now: it is of no use while its subject is disabled, when it
// or all of its subject's was revoked since, and when it would give a role that somebody
// has decided otherwise about since.
//
// That was looked at before, but what was revoked in between would live on in
// the certificate, which is younger than the revocation. So the transaction
// looks once more.
type Invited struct {
	Enrol
	ID     string // of the invitation
	Issued time.Time
	Known  bool // whether the subject was known then
}

// Keys implements Rule.
func (r Invited) Keys(k *Keys) {
	r.Enrol.Keys(k)
	k.revocations(ofSubject(r.Subject), RolesRevocation(r.Subject), TokenRevocation("", r.ID))
}

// Decide implements Rule.
func (r Invited) Decide(b *Books) atm.Status {
	u, known := b.User(r.Subject)
	if known && u.Disabled {
		return refuse(atm.PermissionDenied, "Somebody who is disabled cannot enroll")
	}
	_, revoked := b.Revoked(TokenRevocation("", r.ID))
	if at, all := b.Revoked(ofSubject(r.Subject)); revoked || all && !r.Issued.After(at) {
		return refuse(atm.PermissionDenied, "The invitation was revoked")
	}
	gives := slices.ContainsFunc(r.Roles, func(role atm.Role) bool {
		return !slices.Contains(u.Roles, role)
	})
	if at, set := b.Revoked(RolesRevocation(r.Subject)); gives && known &&
		(!r.Known || set && !r.Issued.After(at)) {
		return refuse(atm.PermissionDenied, "The roles of "+r.Subject+" were set after the "+
			"invitation")
	}
	return r.Enrol.Decide(b)
}

// Renewed is Enrol for somebody who presents a certificate that was issued at
// an instant: not when that has been revoked, or its holder disabled, as for
// Invited.
type Renewed struct {
	Enrol
	Serial string // of the certificate, in hexadecimal
	Issued time.Time
}

// Keys implements Rule.
func (r Renewed) Keys(k *Keys) {
	r.Enrol.Keys(k)
	k.revocations(ofSubject(r.Subject), "cert:"+r.Serial)
}

// Decide implements Rule.
func (r Renewed) Decide(b *Books) atm.Status {
	u, known := b.User(r.Subject)
	_, revoked := b.Revoked("cert:" + r.Serial)
	at, all := b.Revoked(ofSubject(r.Subject))
	if !known || u.Disabled || revoked || all && !r.Issued.After(at) {
		return refuse(atm.PermissionDenied, "You may not do this")
	}
	return r.Enrol.Decide(b)
}

// TokenRevocation is the name of the revocation of the token with this id of an issuer; ""
// is this server.
func TokenRevocation(issuer, id string) string {
	if issuer == "" {
		return "jti:" + id
	}
	return "jti:" + issuer + " " + id
}

// noSubject answers who names somebody unknown.
func noSubject(subject string) atm.Status {
	return refuse(atm.AccountNotFound, "There is no "+subject)
}

// IssueToken answers with a token or an invitation for somebody that was made before.
type IssueToken struct {
	For    string
	ID     string
	Scope  string // names of methods, separated by spaces
	Ends   time.Time
	Result any
}

// Keys implements Rule.
func (IssueToken) Keys(*Keys) {}

// Decide implements Rule.
func (r IssueToken) Decide(b *Books) atm.Status {
	b.issue(Certificate{
		Serial: TokenRevocation("", r.ID), Subject: r.For, NotAfter: r.Ends.UTC(),
		Scope: r.Scope,
	})
	return ok(r.Result)
}

// issue notes that a certificate or a token exists: it can be listed, and whoever revokes one
// that does not exist can be told.
func (b *Books) issue(c Certificate) {
	c.Issued = b.Now.UTC().Truncate(time.Second)
	if b.writes(true) {
		b.issued = append(b.issued, c)
	}
}

// RevokeSubject makes everything of a subject from before now count no longer. Invited is
// set when something was issued for them, although they may not be known yet.
type RevokeSubject struct {
	Subject string
	Invited bool
}

// Keys implements Rule.
func (r RevokeSubject) Keys(k *Keys) { k.users(r.Subject) }

// Decide implements Rule.
func (r RevokeSubject) Decide(b *Books) atm.Status {
	if _, known := b.User(r.Subject); !known && !r.Invited {
		return noSubject(r.Subject)
	}
	return Revoke{Name: ofSubject(r.Subject)}.Decide(b)
}

// Revoke makes a credential, or all of a subject from before now, count no
// longer.
type Revoke struct{ Name string }

// Keys implements Rule.
func (Revoke) Keys(*Keys) {}

// Decide implements Rule.
func (r Revoke) Decide(b *Books) atm.Status {
	b.revoke(r.Name)
	return ok("")
}

// SetDisabled keeps somebody from signing in, in whatever way, or lets them
// again.
type SetDisabled struct {
	Subject  string
	Disabled bool
}

// Keys implements Rule.
func (r SetDisabled) Keys(k *Keys) { k.users(r.Subject) }

// Decide implements Rule.
func (r SetDisabled) Decide(b *Books) atm.Status {
	u, known := b.User(r.Subject)
	if !known {
		return noSubject(r.Subject)
	}
	if u.Disabled != r.Disabled {
		u.Disabled = r.Disabled
		b.putUser(u)
	}
	return ok(u.Record())
}

// ShowUser answers with the record of a user.
type ShowUser struct{ Subject string }

// Keys implements Rule.
func (r ShowUser) Keys(k *Keys) { k.users(r.Subject) }

// Decide implements Rule.
func (r ShowUser) Decide(b *Books) atm.Status {
	u, known := b.User(r.Subject)
	if !known {
		return noSubject(r.Subject)
	}
	return ok(u.Record())
}

// Record is the user as administration sees them.
func (u User) Record() atm.Record {
	roles := make([]string, len(u.Roles))
	for i, role := range u.Roles {
		roles[i] = string(role)
	}
	return atm.Record{
		{Name: "subject", Value: u.Subject},
		{Name: "roles", Value: roles},
		{Name: "disabled", Value: u.Disabled},
		{Name: "password", Value: len(u.HA1) > 0 || len(u.Slow) > 0},
	}
}
