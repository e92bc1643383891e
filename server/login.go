package server

import (
	"errors"
	"net/http"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/auth/login"
	"example.com/atm/console"
	"example.com/atm/teller/sessions"
)

// newProviders returns the OpenID providers by which people sign in to the console.
func newProviders(cfg *Config) (*login.Providers, error) {
	issuers := cfg.Issuers
	if cfg.PublicURL == "" { // to which they send browsers back
		issuers = nil
	}
	return login.NewProviders(issuers, cfg.PublicURL+console.LoginBack, cfg.CookieKey,
		time.Now)
}

// loginCookie is the cookie of a sign-in that goes by way of a provider.
const loginCookie = "__Host-atm-login"

// setLogin gives a browser the cookie of a sign-in, or takes it back.
//
// It is not SameSite=Strict as the others are: the browser comes back from a page of the provider,
// and would not send it. Lax sends it when a person opens a page, and never with a form of another
// site.
func setLogin(w http.ResponseWriter, kept string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: loginCookie, Value: kept, Path: "/", MaxAge: seconds, Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	})
}

// Providers implements console.Access.
func (a access) Providers() []console.Provider {
	all := a.providers.List()
	list := make([]console.Provider, len(all))
	for i, p := range all {
		list[i] = console.Provider{Issuer: p.Issuer(), Host: p.Name()}
	}
	return list
}

// BeginLogin implements console.Access.
func (a access) BeginLogin(w http.ResponseWriter, r *http.Request, issuer, next string) (string,
	error,
) {
	to, kept, err := a.providers.Begin(r.Context(), issuer, next)
	if err != nil {
		return "", a.loginRefused(r, err)
	}
	setLogin(w, kept, int(login.Life/time.Second))
	return to, nil
}

// FinishLogin implements console.Access.
func (a access) FinishLogin(w http.ResponseWriter, r *http.Request) (done console.Login,
	err error,
) {
	kept := ""
	if cookie, err := r.Cookie(loginCookie); err == nil {
		kept = cookie.Value
		setLogin(w, "", -1) // whatever becomes of it, it is over
	}
	attempt, err := a.providers.Open(kept)
	if err != nil {
		return done, a.loginRefused(r, err)
	}
	done.Next, done.Challenge = attempt.Next, attempt.State
	person, err := a.providers.Finish(r.Context(), attempt, r.URL.RawQuery)
	if err != nil {
		return done, a.loginRefused(r, err)
	}
	done.Caller, err = a.cfg.Authenticator.Login(r, attempt.Issuer, person.ID, person.Person)
	if err != nil {
		return done, a.loginRefused(r, login.Refusal(err))
	}
	return done, nil
}

// loginRefused notes a sign-in that was refused, and returns it for the person. It returns the
// error of a provider that could not be asked.
func (a access) loginRefused(r *http.Request, err error) error {
	var refused *login.Error
	if !errors.As(err, &refused) {
		a.cfg.Metrics.SignIn(byProvider, "unavailable")
		return err
	}
	// What the provider says is not in the log: failures are counted by reason.
	a.Failed(r, byProvider, "", byProvider+": "+refused.Reason)
	return console.LoginRefused(refused.Error())
}

// byProvider is the atm.Credential.Method of people who sign in with a provider.
const byProvider = "oidc"

// identify says in a beginning session how its caller signed in.
func identify(s *sessions.Session, caller *atm.Caller, secret string) {
	switch {
	case caller.Method == byProvider:
		s.Issuer, s.Person = caller.Issuer, caller.ID
		s.Bound = auth.BindSecret(secret, caller.Key)
	case caller.Verifier != "":
		s.Bound = auth.BindSecret(secret, caller.Verifier)
	default:
		s.Passkey = caller.ID
	}
}
