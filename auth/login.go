package auth

import (
	"crypto/hmac"
	"net/http"
	"slices"
	"strings"

	"example.com/atm"
)

// LoginKey is the atm.Credential.Key of a person whom an issuer names by the value of a claim.
func LoginKey(claim, value string) string { return claim + " " + value }

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

// bound returns the LoginKey to which a session of a subject is bound with the secret of its
// cookie, or "" if the issuer does not name the subject so anymore.
func (k *issuerKeys) bound(to []byte, cookie, subject string) string {
	for _, value := range k.values[subject] {
		if key := LoginKey(k.Claim, value); hmac.Equal(to, BindSecret(cookie, key)) {
			return key
		}
	}
	return ""
}

// Login returns the user whom an OpenID provider has just signed in, or an *Error. person is the
// sub of the user there, and key the LoginKey.
func (a *Authenticator) Login(r *http.Request, issuer, person, subject, key string) (*atm.Caller,
	error,
) {
	member, known := a.member(r, subject)
	from := a.cfg.Issuers.login(issuer)
	if !known || from == nil {
		return nil, &Error{"login of nobody known"}
	}
	return &atm.Caller{
		Principal: atm.Principal{Subject: subject, Roles: member.Roles, Scope: from.inSession()},
		Credential: atm.Credential{
			Method: "oidc", Issuer: issuer, ID: person, Key: key,
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
