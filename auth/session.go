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

// SessionCookie is the cookie that holds the secret of a session. A browser takes a cookie with
// this prefix from the server itself alone, over TLS, and for all of its paths.
const SessionCookie = "__Host-atm"

// A Session is a browser in which a user has signed in.
type Session struct {
	Subject     string
	Method      string // by which it began
	Passkey     string // its id; empty for another method
	Agent       string // Agent of the browser
	Bound       []byte // BindSecret of a session that began with a secret
	Begun, Ends time.Time
}

// SessionID is what a session is known by, whose cookie has a secret. It tells nothing of it.
func SessionID(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// BindSecret binds a session to the secret that its user signed in with, of which verifier is the
// atm.Credential.Verifier. It ends when they get another one. The key is the secret of the cookie,
// which is stored nowhere, so that nobody can guess passwords by what is.
func BindSecret(cookie, verifier string) []byte {
	mac := hmac.New(sha256.New, []byte(cookie))
	mac.Write([]byte(verifier))
	return mac.Sum(nil)
}

// maxAgent bounds what is kept of the name of a browser, so that an entry holds it whole.
const maxAgent = 200 // bytes

// Agent is what the browser that sent r calls itself, made safe to show.
func Agent(r *http.Request) string {
	agent := printable.Text(r.Header.Get("User-Agent"))
	if len(agent) > maxAgent {
		agent = strings.ToValidUTF8(agent[:maxAgent], "")
	}
	return agent
}

// HasSession reports whether r comes with the cookie of a session.
func HasSession(r *http.Request) bool {
	_, err := r.Cookie(SessionCookie)
	return err == nil
}

// ErrNoSession reports a session that is over, or was none. It is no failure: sessions end.
var ErrNoSession = &Error{"session that is over"}

// Session returns the user whose session the cookie of r is of; ErrNoSession, ErrUnavailable, or
// another *Error.
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
	// A cookie that was copied to another browser is of no use there, at no cost to anybody but
	// a user whose browser was just updated. It stops nobody who copies the name as well.
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
	if s.Method == "secret" {
		credential.User = s.Subject
		credential.Verifier = boundTo(s.Bound, cookie.Value, member)
		if credential.Verifier == "" {
			return nil, ErrNoSession
		}
	}
	return &atm.Caller{
		Principal:  atm.Principal{Subject: s.Subject, Roles: member.Roles},
		Credential: credential, IP: Address(r.RemoteAddr).String(), Session: id,
	}, nil
}

// boundTo returns the verifier of the secret that a session is bound to; empty when the member
// has another one now.
func boundTo(bound []byte, cookie string, member Member) string {
	for _, stored := range []string{member.HA1, member.Slow} {
		verifier := verifierOf(stored)
		if verifier != "" && hmac.Equal(bound, BindSecret(cookie, verifier)) {
			return verifier
		}
	}
	return ""
}

// Passkey returns the user who has just shown a passkey of theirs in r, or an *Error.
func (a *Authenticator) Passkey(r *http.Request, subject, id string) (*atm.Caller, error) {
	member, known := a.cfg.Directory.Member(subject)
	if err := (&Error{"passkey of nobody known"}); !known {
		if !a.refreshed(r.Context(), err) {
			return nil, err
		}
		if member, known = a.cfg.Directory.Member(subject); !known {
			return nil, err
		}
	}
	return &atm.Caller{
		Principal:  atm.Principal{Subject: subject, Roles: member.Roles},
		Credential: atm.Credential{Method: "passkey", ID: id},
		IP:         Address(r.RemoteAddr).String(),
	}, nil
}

// Password returns the user whose name and secret were sent in a form: the password of HTTP
// Digest, or the secret for tokens. The errors are those of Secret.
//
// Each try costs what a secret for tokens costs, whatever the user has, so that the time tells
// nothing of them.
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
