package server

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/auth/login"
	"example.com/atm/console"
	"example.com/atm/teller"
	"example.com/atm/teller/sessions"
	"example.com/atm/xmlrpc"
)

// access signs people in to the console, as every other caller is signed in: what fails is
// counted, recorded, and makes its address wait.
type access struct {
	*senders
	calls     *rpc
	providers *login.Providers
}

// Passkey implements console.Access.
func (a access) Passkey(ctx context.Context, id string) (*sessions.Passkey, error) {
	return a.cfg.Teller.Passkey(ctx, id)
}

// Passkeys implements console.Access.
func (a access) Passkeys(ctx context.Context, subject string) ([]sessions.Passkey, error) {
	return a.cfg.Teller.Passkeys(ctx, subject)
}

// AddPasskey implements console.Access.
func (a access) AddPasskey(ctx context.Context, caller *atm.Caller, p sessions.Passkey) (atm.Status,
	error,
) {
	return a.cfg.Teller.AddPasskey(ctx, caller, p)
}

// Wait implements console.Access.
func (a access) Wait(r *http.Request, method, user string) time.Duration {
	wait := a.cfg.Throttle.Wait(auth.Address(r.RemoteAddr), claimed(user))
	if wait > 0 {
		a.cfg.Metrics.SignIn(method, "throttled")
	}
	return wait
}

// claimed is the subject that a name in a form claims to be; empty for none.
func claimed(user string) string {
	if user == "" {
		return ""
	}
	return auth.Claimant(user)
}

// Failed implements console.Access.
func (a access) Failed(r *http.Request, method, user, reason string) {
	a.failed(r, method, claimed(user), reason)
}

// refused notes a sign-in that failed and returns console.ErrRefused; or the error that keeps it
// from being checked.
func (a access) refused(r *http.Request, method, user string, err error) error {
	var failure *auth.Error
	if !errors.As(err, &failure) {
		a.cfg.Metrics.SignIn(method, "unavailable")
		return err
	}
	a.Failed(r, method, user, failure.Reason)
	return console.ErrRefused
}

// ByPassword implements console.Access.
func (a access) ByPassword(r *http.Request, name, password string) (*atm.Caller, error) {
	caller, err := a.cfg.Authenticator.Password(r, name, password)
	if err != nil {
		return nil, a.refused(r, "secret", name, err)
	}
	return caller, nil
}

// ByPasskey implements console.Access.
func (a access) ByPasskey(r *http.Request, subject, id string) (*atm.Caller, error) {
	caller, err := a.cfg.Authenticator.Passkey(r, subject, id)
	if err != nil {
		return nil, a.refused(r, "passkey", "", err)
	}
	return caller, nil
}

// Invited implements console.Access.
func (a access) Invited(r *http.Request, code string) (teller.Invitation, error) {
	i, err := a.cfg.Authenticator.Invited(code)
	if err != nil {
		return teller.Invitation{}, a.refused(r, "invitation", "", err)
	}
	return teller.Invitation(i), nil
}

// EnrollPasskey implements console.Access.
func (a access) EnrollPasskey(r *http.Request, i teller.Invitation, p sessions.Passkey) error {
	err := a.cfg.Teller.EnrollPasskey(r.Context(), i, p, auth.Address(r.RemoteAddr).String())
	if errors.Is(err, teller.ErrUsed) {
		a.Failed(r, "invitation", "", err.Error())
		return console.ErrRefused
	}
	if err == nil {
		a.cfg.Metrics.SignIn("invitation", "ok")
	}
	return err
}

// Begin implements console.Access.
func (a access) Begin(w http.ResponseWriter, r *http.Request, caller *atm.Caller,
	b sessions.Beginning,
) atm.Status {
	secret := rand.Text() + rand.Text()
	b.Session = sessions.Session{
		ID: auth.SessionID(secret), Subject: caller.Subject, Method: caller.Method,
		Agent: auth.Agent(r),
	}
	identify(&b.Session, caller, secret)
	status := a.cfg.Teller.BeginSession(r.Context(), caller, &b)
	switch {
	case status.Code == atm.OK:
		a.cfg.Metrics.SignIn(caller.Method, "ok")
		signedIn(r)
		a.endBefore(r)
		setSession(w, secret)
	case status.Receipt != "" || status.Code == atm.PermissionDenied:
		a.Failed(r, caller.Method, caller.User, "session that was refused")
	}
	return status
}

// endBefore ends the session that the browser was in before it began another one: its cookie is
// about to be lost.
func (a access) endBefore(r *http.Request) {
	before, err := a.cfg.Authenticator.Session(r)
	if err != nil {
		return
	}
	end := teller.Call{
		Operation: atm.SessionEnd, Args: []atm.Arg{{Kind: atm.String, Text: before.Session}},
	}
	if reply, err := a.calls.begin(r.Context(), &session{caller: before}, end); err == nil {
		reply()
	}
}

// Leave implements console.Access.
func (access) Leave(w http.ResponseWriter) { setSession(w, "") }

// setSession gives a browser the cookie of a session, which it forgets when it is closed; or takes
// it back when there is no secret.
func setSession(w http.ResponseWriter, secret string) {
	cookie := &http.Cookie{
		Name: auth.SessionCookie, Value: secret, Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteStrictMode,
	}
	if secret == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}

// signInBrowser returns the sender of r, who may be in a session, or answers and returns nil. A
// person who is in none is shown the page of signing in.
//
// A session is for pages alone: no program is in one, and RPC takes no cookie.
func (s *senders) signInBrowser(w http.ResponseWriter, r *http.Request) *atm.Caller {
	if !auth.HasSession(r) || r.Header.Get("Authorization") != "" {
		if presentsNothing(r) && r.Header.Get("Sec-Fetch-Mode") != "" {
			leadToSignIn(w, r)
			return nil
		}
		return s.signIn(w, r)
	}
	caller, err := s.cfg.Authenticator.Session(r)
	if err != nil {
		s.endSession(w, r, err)
		return nil
	}
	s.cfg.Metrics.SignIn(caller.Method, "ok")
	signedIn(r)
	return caller
}

// endSession answers a request in a session that is over, or of another browser.
func (s *senders) endSession(w http.ResponseWriter, r *http.Request, err error) {
	var failure *auth.Error
	switch {
	case !errors.As(err, &failure):
		w.Header().Set("Retry-After", "1")
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "The server cannot check a session at "+
			"the moment.")
		return
	case !errors.Is(err, auth.ErrNoSession):
		s.failed(r, "session", "", failure.Reason)
	}
	setSession(w, "")
	leadToSignIn(w, r)
}

// leadToSignIn shows the page of signing in to a person who opens a page, and refuses anything
// else. A challenge would make a browser show a window of its own, also for a script that reads
// the log.
func leadToSignIn(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Sec-Fetch-Mode") == "navigate" {
		http.Redirect(w, r, console.SignInPage(r), http.StatusSeeOther)
		return
	}
	http.Error(w, "Sign in at /console/sign-in.", http.StatusUnauthorized)
}

// presentsNothing reports whether r comes without any credential.
func presentsNothing(r *http.Request) bool {
	return r.Header.Get("Authorization") == "" && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0)
}
