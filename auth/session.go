package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/internal/printable"
)

// SessionCookie is the cookie with the secret of a session. A browser accepts a cookie with
// this prefix only from the server itself, over TLS, and for all paths.
const SessionCookie = "__Host-atm"

// A Session is a sign-in of a user in a browser.
type Session struct {
	Subject     string
	Method      string // how the user signed in
	Passkey     string // its id; empty for another method
	Issuer      string // the OpenID provider; empty for another method
	Person      string // the sub of the user there
	Agent       string // Agent of the browser
	Bound       []byte // BindSecret of a session that began with a secret or a provider
	Begun, Ends time.Time
}

// SessionID is the id of the session whose cookie has a secret. It does not reveal the secret.
func SessionID(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// BindSecret binds a session to the secret with which its user signed in, by the
// atm.Credential.Verifier of that secret, or to what an OpenID provider calls the user, by the
// LoginKey. The session ends when either changes. The key is the secret of the cookie, which is
// not stored, so a reader of the store cannot guess passwords, nor email addresses.
func BindSecret(cookie, verifier string) []byte {
	mac := hmac.New(sha256.New, []byte(cookie))
	mac.Write([]byte(verifier))
	return mac.Sum(nil)
}

// maxAgent bounds the stored name of a browser, so that an entry of the log has all of it.
const maxAgent = 200 // bytes

// Agent is the name that the browser in r gives itself, made safe to show.
func Agent(r *http.Request) string {
	agent := printable.Text(r.Header.Get("User-Agent"))
	if len(agent) > maxAgent {
		agent = strings.ToValidUTF8(agent[:maxAgent], "")
	}
	return agent
}

// HasSession reports whether r has the cookie of a session.
func HasSession(r *http.Request) bool {
	_, err := r.Cookie(SessionCookie)
	return err == nil
}

// ErrNoSession reports a session that has ended or never existed. It is not a failure: sessions
// end.
var ErrNoSession = &Error{"session that is over"}

// Session returns the user of the session whose cookie r has, or ErrNoSession, ErrUnavailable,
// or another *Error.
func (a *Authenticator) Session(r *http.Request) (*atm.Caller, error) {
	caller, err := a.session(r)
	if err != nil && a.refreshed(r.Context(), err) {
		return a.session(r)
	}
	return caller, err
}

func (a *Authenticator) session(r *http.Request) (*atm.Caller, error) {
	cookie, err := r.Cookie(SessionCookie)
	if err != nil || a.cfg.Sessions == nil {
		return nil, ErrNoSession
	}
	id := SessionID(cookie.Value)
	s, err := a.cfg.Sessions(r.Context(), id)
	if err != nil {
		return nil, ErrUnavailable
	}
	if s == nil {
		return nil, ErrNoSession
	}
	// A cookie that was copied to another browser is refused there. An update of the browser also
	// ends the session. An attacker who copies the name of the browser as well is not stopped.
	if subtle.ConstantTimeCompare([]byte(s.Agent), []byte(Agent(r))) != 1 {
		return nil, &Error{"session in another browser"}
	}
	member, known := a.cfg.Directory.Member(s.Subject)
	if !known || a.cfg.Directory.isRevoked("", s.Subject, s.Begun) ||
		a.cfg.Directory.sessionsRevoked(s.Subject, s.Begun) {
		return nil, ErrNoSession
	}
	credential := atm.Credential{
		Method: s.Method, ID: s.Passkey, Issued: s.Begun, Expires: s.Ends,
	}
	principal := atm.Principal{Subject: s.Subject, Roles: member.Roles}
	switch s.Method {
	case "secret":
		credential.User = s.Subject
		credential.Verifier = boundTo(s.Bound, cookie.Value, member)
		if credential.Verifier == "" {
			return nil, ErrNoSession
		}
	case "oidc":
		from := a.cfg.Issuers.login(s.Issuer)
		if from == nil {
			return nil, ErrNoSession
		}
		person, bound := from.bound(s.Bound, cookie.Value, s.Subject)
		if principal.Roles, err = person.among(member.Roles); !bound || err != nil {
			return nil, ErrNoSession
		}
		credential.Issuer, credential.ID = s.Issuer, s.Person
		credential.Key = LoginKey(from.Claim, person)
		principal.Scope = from.inSession()
	}
	return &atm.Caller{
		Principal: principal, Credential: credential, IP: Address(r.RemoteAddr).String(),
		Session: id,
	}, nil
}

// boundTo returns the verifier of the secret to which a session is bound, or "" if the member
// has another secret now.
func boundTo(bound []byte, cookie string, member Member) string {
	for _, stored := range []string{member.HA1, member.Slow} {
		verifier := verifierOf(stored)
		if verifier != "" && hmac.Equal(bound, BindSecret(cookie, verifier)) {
			return verifier
		}
	}
	return ""
}

// Passkey returns the user whose passkey r has just presented, or an *Error.
func (a *Authenticator) Passkey(r *http.Request, subject, id string) (*atm.Caller, error) {
	member, known := a.member(r, subject)
	if !known {
		return nil, &Error{"passkey of nobody known"}
	}
	return &atm.Caller{
		Principal:  atm.Principal{Subject: subject, Roles: member.Roles},
		Credential: atm.Credential{Method: "passkey", ID: id},
		IP:         Address(r.RemoteAddr).String(),
	}, nil
}

// Password returns the user whose name and secret are in a form: the password of HTTP Digest,
// or the secret for tokens. The errors are those of Secret.
//
// Each try takes as long as a secret for tokens does, whatever the user has, so that the time
// reveals nothing.
func (a *Authenticator) Password(r *http.Request, id, password string) (*atm.Caller, error) {
	caller, err := a.Secret(r, id, password)
	member, known := a.cfg.Directory.Member(Claimant(id))
	_, name, _ := strings.Cut(Claimant(id), ":")
	sum := sha256.Sum256([]byte(name + ":" + a.cfg.Realm + ":" + password))
	digest := hex.EncodeToString(sum[:])
	good := known && member.HA1 != "" &&
		subtle.ConstantTimeCompare([]byte(digest), []byte(member.HA1)) == 1
	var failed *Error
	if !good || !errors.As(err, &failed) {
		return caller, err
	}
	return &atm.Caller{
		Principal: atm.Principal{Subject: Claimant(id), Roles: member.Roles},
		Credential: atm.Credential{
			Method: "secret", User: Claimant(id), Verifier: verifierOf(member.HA1),
		},
		IP: Address(r.RemoteAddr).String(),
	}, nil
}
