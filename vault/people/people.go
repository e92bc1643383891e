// Package people has the rules about people and their credentials: users, certificates,
// tokens, invitations, revocations, passkeys and sessions.
//
// It stands beside money, and knows none: a rule of this package sees the records of people, and
// neither an account nor the journal. Package vault decides it in the same
// transaction as the rules about money, and writes its entry.
//
// The rules are functions of their arguments and the books alone, as those of vault are.
package people

import (
	"time"

	"example.com/atm"
	"example.com/atm/vault/record"
)

// A User is what the bank knows of a subject.
type User struct {
	Subject  string // "user:NAME" or "service:NAME"
	Roles    []atm.Role
	Disabled bool

	// HA1 is what HTTP Digest checks a password by (RFC 7616, section 3.4.2):
	// SHA-256 of name, realm and password. Empty for a subject without a password.
	HA1 []byte

	// Slow is what a secret for tokens alone is checked by, an argon2id hash in
	// the PHC string format. Empty for a subject without one. Nobody has both.
	Slow []byte
}

// A Certificate is one that was issued to a subject, or a token or an invitation: the
// TokenRevocation of its id stands in the place of a serial number then.
type Certificate struct {
	Serial   string // hexadecimal
	Subject  string
	NotAfter time.Time // in UTC, to the second

	// Issued is when, in UTC, to the second; zero when that was not recorded.
	Issued time.Time

	// Scope is what a token is for, names of methods separated by spaces. Actor is the
	// subject that acts by the token of a grant; empty for any other.
	Scope, Actor string
}

// A Revocation is a credential that no longer counts. Its name is "cert:" and
// the serial number of a certificate in hexadecimal, "jti:" and the id of a
// token, or "subject:" and a subject, of whose credentials none from before At
// counts.
type Revocation struct {
	Name string
	At   time.Time // in UTC, to the microsecond
}

// Keys name the records that a rule reads and may change.
type Keys struct {
	Users       []string // by subject
	Revocations []string // by name
	Passkeys    []string // by id
	Sessions    []string // by id
}

// Loaded is what a store found for Keys.
type Loaded struct {
	Users       record.Loaded[string, User]
	Revocations record.Loaded[string, Revocation]
	Passkeys    record.Loaded[string, Passkey]
	Sessions    record.Loaded[string, Session]
}

// Records are records of the kinds of this package.
type Records struct {
	Users        []User
	Revocations  []Revocation
	Certificates []Certificate
	Passkeys     []Passkey
	Sessions     []Session
}

// Add adds more records.
func (r *Records) Add(more *Records) {
	r.Users = append(r.Users, more.Users...)
	r.Revocations = append(r.Revocations, more.Revocations...)
	r.Certificates = append(r.Certificates, more.Certificates...)
	r.Passkeys = append(r.Passkeys, more.Passkeys...)
	r.Sessions = append(r.Sessions, more.Sessions...)
}

// A Rule decides one operation on people. It is to this package what vault.Rule is to vault.
type Rule interface {
	Keys(k *Keys)
	Decide(b *Books) atm.Status
}

// Books are the records of people that one transaction has loaded, and the changes made to
// them.
type Books struct {
	*record.Tx
	users        record.Table[string, User]
	revocations  record.Table[string, Revocation]
	certificates record.Table[string, Certificate]
	passkeys     record.Table[string, Passkey]
	sessions     record.Table[string, Session]
}

// NewBooks returns the books of a transaction, with what was loaded for its keys, and their
// tables.
func NewBooks(tx *record.Tx, keys *Keys, l Loaded, changes *Records) (*Books, []record.Kind) {
	b := &Books{Tx: tx}
	none := new([]string) // a certificate is only ever added
	return b, []record.Kind{
		b.users.Open(tx, "user", &keys.Users, l.Users, &changes.Users),
		b.revocations.Open(tx, "revocation", &keys.Revocations, l.Revocations,
			&changes.Revocations),
		b.certificates.Open(tx, "certificate", none, record.Loaded[string, Certificate]{},
			&changes.Certificates),
		b.passkeys.Open(tx, "passkey", &keys.Passkeys, l.Passkeys, &changes.Passkeys),
		b.sessions.Open(tx, "session", &keys.Sessions, l.Sessions, &changes.Sessions),
	}
}

// User returns what is known of subject.
func (b *Books) User(subject string) (User, bool) { return b.users.Get(subject) }

// putUser stores u in place of what is known of its subject.
func (b *Books) putUser(u User) { b.users.Put(u.Subject, u) }

// Revoked returns when the revocation of this name was made last, in this transaction or
// before.
func (b *Books) Revoked(name string) (at time.Time, is bool) {
	r, is := b.revocations.Get(name)
	return r.At, is
}

// Revoke makes a revocation now.
func (b *Books) Revoke(name string) { b.revocations.Add(name, Revocation{name, b.Now}) }

// Issue notes that a certificate or a token exists: it can be listed, and a caller who revokes
// one that does not exist can be told.
func (b *Books) Issue(c Certificate) {
	c.Issued = b.Now.UTC().Truncate(time.Second)
	b.certificates.Add(c.Serial, c)
}

func ok(result any) atm.Status {
	if result == nil {
		result = "" // as it is read back from an entry
	}
	return atm.Status{Code: atm.OK, Result: result}
}

func refuse(code atm.Code, reason string) atm.Status {
	return atm.Status{Code: code, Reason: reason, Result: ""}
}

var notAllowed = refuse(atm.PermissionDenied, "You may not do this")

// noSubject answers a caller who names somebody unknown.
func noSubject(subject string) atm.Status {
	return refuse(atm.AccountNotFound, "There is no "+subject)
}
