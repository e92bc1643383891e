package auth

import (
	"crypto/hmac"
	"net/http"
	"slices"
	"strings"

	"example.com/atm"
)

// LoginKey is the atm.Credential.Key of a person whom an issuer names by the value of a claim, and
// whose groups let them act in some roles; nil for all.
func LoginKey(claim string, p Person) string {
	key := claim + " " + p.Value
	for _, role := range p.Roles {
		key += "\n" + string(role)
	}
	return key
}

// Logins returns the issuers in force by which people sign in to the console, in order of name.
func (s *Issuers) Logins() (list []*Issuer) {
	if s == nil || s.list.Load() == nil {
		return nil
	}
	for _, keys := range *s.list.Load() {
		if keys.Login != nil {
			list = append(list, &keys.Issuer)
		}
	}
	slices.SortFunc(list, func(a, b *Issuer) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// login returns an issuer by which people sign in now, or nil.
func (s *Issuers) login(name string) *issuerKeys {
	if s == nil || s.list.Load() == nil {
		return nil
	}
	if keys := (*s.list.Load())[name]; keys != nil && keys.Login != nil {
		return keys
	}
	return nil
}

// operations is the scope of what the issuer vouches for; nil for all.
func (i *Issuer) operations() (scope []atm.Operation) {
	for _, method := range i.Scope {
		scope = append(scope, atm.Operation(method))
	}
	return scope
}

// inSession is the scope of a person who has signed in by the issuer. Everybody may see and end
// their own session.
func (i *Issuer) inSession() []atm.Operation {
	if i.Scope == nil {
		return nil
	}
	return append(i.operations(), atm.PasskeyList, atm.SessionList, atm.SessionEnd)
}

// bound returns the person to whom a session of a subject is bound with the secret of its cookie.
// It is false if the issuer does not name the subject so anymore, or no group has these roles. The
// roles are tried out, as the values are: the record of a session has neither.
func (k *issuerKeys) bound(to []byte, cookie, subject string) (Person, bool) {
	for _, value := range k.values[subject] {
		for _, roles := range k.sets {
			person := Person{subject, value, roles}
			if hmac.Equal(to, BindSecret(cookie, LoginKey(k.Claim, person))) {
				return person, true
			}
		}
	}
	return Person{}, false
}

// Login returns the user whom an OpenID provider has just signed in, or an *Error. id is the sub of
// the user there.
func (a *Authenticator) Login(r *http.Request, issuer, id string, person Person) (*atm.Caller,
	error,
) {
	member, known := a.member(r, person.Subject)
	from := a.cfg.Issuers.login(issuer)
	if !known || from == nil {
		return nil, &Error{"login of nobody known"}
	}
	roles, err := person.among(member.Roles)
	if err != nil {
		return nil, err
	}
	return &atm.Caller{
		Principal: atm.Principal{Subject: person.Subject, Roles: roles, Scope: from.inSession()},
		Credential: atm.Credential{
			Method: "oidc", Issuer: issuer, ID: id, Key: LoginKey(from.Claim, person),
		},
		IP: Address(r.RemoteAddr).String(),
	}, nil
}

// member returns what is known of a subject, also what another server has just learned.
func (a *Authenticator) member(r *http.Request, subject string) (Member, bool) {
	member, known := a.cfg.Directory.Member(subject)
	if !known && a.refreshed(r.Context(), &Error{"nobody known"}) {
		return a.cfg.Directory.Member(subject)
	}
	return member, known
}
