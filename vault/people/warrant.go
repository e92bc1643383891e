package people

import (
	"crypto/sha256"
	"time"

	"example.com/atm"
)

// A Warrant is what a command rests on beside its arguments: that somebody is known, is not
// disabled, has the roles for it, and that what they showed was not taken back.
//
// All of that was looked at when the request arrived. The transaction looks once more,
// because what was taken back in between would live on in what the command makes. A warrant
// is no part of the rule, so a replay of the journal needs none.
type Warrant struct {
	Subject string

	// Permits reports whether these roles are enough; nil when any are. It depends on
	// nothing else.
	Permits func(roles []atm.Role) bool

	// Revocation is the name of the revocation of what was shown, "" for none. Issued is
	// the earliest that it can have been issued, zero when it has no date. Verifier is
	// the VerifierOf a password, "" for anything else.
	Revocation string
	Issued     time.Time
	Verifier   string

	// Named is set for somebody who was named, and showed nothing: the caller is told what
	// is wrong with them. Stranger is set when they need not be known.
	Named, Stranger bool
}

// VerifierOf is the SHA-256 of what a password is checked by, "" for none.
func VerifierOf(stored []byte) string {
	if len(stored) == 0 {
		return ""
	}
	sum := sha256.Sum256(stored)
	return string(sum[:])
}

// Keys adds what w needs to k.
func (w *Warrant) Keys(k *Keys) {
	k.Users = append(k.Users, w.Subject)
	k.Revocations = append(k.Revocations, ofSubject(w.Subject))
	if w.Revocation != "" {
		k.Revocations = append(k.Revocations, w.Revocation)
	}
}

// Refused reports whether w is untrue in the books, and answers so.
func (w *Warrant) Refused(b *Books) (atm.Status, bool) {
	u, known := b.User(w.Subject)
	at, all := b.Revoked(ofSubject(w.Subject))
	all = all && !w.Issued.IsZero() && !w.Issued.After(at)
	revoked := false
	if w.Revocation != "" {
		_, revoked = b.Revoked(w.Revocation)
	}
	changed := w.Verifier != "" && w.Verifier != VerifierOf(u.HA1) &&
		w.Verifier != VerifierOf(u.Slow)
	switch {
	case w.Stranger && !known:
		return atm.Status{}, false
	case w.Named && !known:
		return noSubject(w.Subject), true
	case w.Named && u.Disabled:
		return refuse(atm.PermissionDenied, w.Subject+" is disabled"), true
	case w.Named && all:
		return refuse(atm.PermissionDenied, "Everything of "+w.Subject+" was revoked a moment "+
			"ago: ask again in a few seconds"), true
	case !known, u.Disabled, all, revoked, changed, w.Permits != nil && !w.Permits(u.Roles):
		return notAllowed, true
	}
	return atm.Status{}, false
}
