package people

import (
	"slices"
	"time"

	"example.com/atm"
)

// Expected is what must be true of the subject of Enrol.
type Expected string

const (
	ExpectAny   Expected = "" // known or not
	ExpectNew   Expected = "new"
	ExpectKnown Expected = "known"
)

// Enrol makes Subject known and gives it Roles. When Roles is empty, a known
// subject keeps its roles and a new one gets Default. Result is the answer.
type Enrol struct {
	Subject string
	Roles   []atm.Role
	Default atm.Role
	HA1     []byte // in place of the password there is; nil leaves it
	Slow    []byte // as HA1; at most one of them is given
	Expect  Expected

	// Certificate is one that was issued with it; nil for none.
	Certificate *Certificate

	// Passkey is one that is added with it; nil for none.
	Passkey *Passkey

	Result any
}

// Keys implements Rule.
func (r Enrol) Keys(k *Keys) {
	k.Users = append(k.Users, r.Subject)
	if r.Passkey != nil {
		k.Passkeys = append(k.Passkeys, r.Passkey.ID)
	}
}

// Decide implements Rule.
func (r Enrol) Decide(b *Books) atm.Status {
	u, known := b.User(r.Subject)
	switch {
	case r.Expect == ExpectNew && known:
		return refuse(atm.AccountExists, "There is "+r.Subject+" already")
	case r.Expect == ExpectKnown && !known:
		return noSubject(r.Subject)
	}
	if r.Passkey != nil {
		if no, added := b.add(*r.Passkey); !added {
			return no
		}
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
		b.Revoke(RolesRevocation(r.Subject))
	}
	if r.Certificate != nil {
		b.Issue(*r.Certificate)
	}
	return ok(r.Result)
}

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
	k.Revocations = append(k.Revocations, ofSubject(r.Subject), RolesRevocation(r.Subject),
		TokenRevocation("", r.ID))
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
	k.Revocations = append(k.Revocations, ofSubject(r.Subject), CertRevocation(r.Serial))
}

// Decide implements Rule.
func (r Renewed) Decide(b *Books) atm.Status {
	u, known := b.User(r.Subject)
	_, revoked := b.Revoked(CertRevocation(r.Serial))
	at, all := b.Revoked(ofSubject(r.Subject))
	if !known || u.Disabled || revoked || all && !r.Issued.After(at) {
		return notAllowed
	}
	return r.Enrol.Decide(b)
}
