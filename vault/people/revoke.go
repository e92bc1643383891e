package people

import (
	"example.com/atm"
)

// CertRevocation is the name of the revocation of the certificate with this serial number.
func CertRevocation(serial string) string { return "cert:" + serial }

// TokenRevocation is the name of the revocation of the token with this id of an issuer; ""
// is this server.
func TokenRevocation(issuer, id string) string {
	if issuer == "" {
		return "jti:" + id
	}
	return "jti:" + issuer + " " + id
}

// RolesRevocation names the revocation of all earlier invitations that would give a subject a
// role. It is made whenever the roles of a known subject are set.
func RolesRevocation(subject string) string { return "roles:" + subject }

func ofSubject(subject string) string { return "subject:" + subject }

// RevokeSubject makes everything of a subject from before now count no longer. Invited is
// set when something was issued for them, although they may not be known yet.
type RevokeSubject struct {
	Subject string
	Invited bool
}

// Keys implements Rule.
func (r RevokeSubject) Keys(k *Keys) { k.Users = append(k.Users, r.Subject) }

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
	b.Revoke(r.Name)
	return ok("")
}
