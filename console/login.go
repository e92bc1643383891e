package console

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/teller/sessions"
)

// Paths of a sign-in with an OpenID provider: the form that begins it, and where the provider
// sends the browser back to.
const (
	loginPath = Prefix + "login/"
	loginHere = loginPath + "begin"
	LoginBack = loginPath + "back"
)

// A Provider is an OpenID provider by which people sign in.
type Provider struct{ Issuer, Host string }

// A Login is a person who comes back from a provider.
type Login struct {
	Caller    *atm.Caller
	Challenge string // what the provider answered to, which begins one session
	Next      string // what the person asked for; also if they were refused
}

// LoginRefused reports somebody whom a provider did not sign in, in words for that person.
type LoginRefused string

// Error implements error.
func (e LoginRefused) Error() string { return string(e) }

// login answers a request for one of the pages of a sign-in with a provider.
func (v stranger) login() {
	get, post := v.r.Method == http.MethodGet, v.r.Method == http.MethodPost
	switch path := v.r.URL.Path; {
	case path == loginHere && post:
		v.beginLogin()
	case path == LoginBack && get:
		v.finishLogin()
	case path == loginHere && get: // opened again
		http.Redirect(v.w, v.r, signInPath, http.StatusSeeOther)
	case path != loginHere && path != LoginBack:
		v.refuse(http.StatusNotFound, "There is no such page.")
	default:
		allowed := http.MethodGet
		if path == loginHere {
			allowed += ", " + http.MethodPost
		}
		v.w.Header().Set("Allow", allowed)
		v.refuse(http.StatusMethodNotAllowed, "This page does not take "+v.r.Method+".")
	}
}

// An onwardPage leads to another page, by itself or by a link.
type onwardPage struct {
	Line, Problem string
	To, Label     string
}

// onward shows a page that leads to another one.
func (v stranger) onward(status int, title string, page onwardPage) {
	if page.Problem == "" {
		v.w.Header().Set("Refresh", "0;url="+page.To)
	}
	v.show(status, "onward.html", title, "", page)
}

// beginLogin begins a sign-in with a provider.
//
// It answers a page that goes on to the provider, and no redirect: browsers hold a redirect of a
// form against form-action, too, so every page with the form would need the origins of providers
// in its policy, and ask for them before it is shown. A form of our own can go nowhere but here.
func (v stranger) beginLogin() {
	next := inside(v.r.PostForm.Get("next"))
	if v.loginSlowed(next) {
		return
	}
	to, err := v.cfg.Access.BeginLogin(v.w, v.r, v.r.PostForm.Get("issuer"), next)
	if err != nil {
		v.loginFailed(err, next)
		return
	}
	host := to
	if u, err := url.Parse(to); err == nil {
		host = u.Host
	}
	v.onward(http.StatusOK, "Sign in", onwardPage{
		Line: "You sign in at " + host + ".", To: to, Label: "Go on to " + host,
	})
}

// finishLogin begins the session of a person who comes back from a provider.
func (v stranger) finishLogin() {
	// A page of another site can make browsers load this as an image. That is nobody's sign-in.
	if to := v.r.Header.Get("Sec-Fetch-Dest"); to != "" && to != "document" {
		v.refuse(http.StatusForbidden, "This page is for people who sign in.")
		return
	}
	if v.loginSlowed("") {
		return
	}
	done, err := v.cfg.Access.FinishLogin(v.w, v.r)
	next := inside(done.Next)
	if err != nil {
		v.loginFailed(err, next)
		return
	}
	status := v.cfg.Access.Begin(v.w, v.r, done.Caller, sessions.Beginning{
		Challenge: done.Challenge,
	})
	switch status.Code {
	case atm.OK:
		// The browser sends the cookie of the session, which is SameSite=Strict, only where a page
		// of ours has led it. A redirect would still come from the page of the provider.
		v.onward(http.StatusOK, "Signed in", onwardPage{
			Line: "You are signed in as " + done.Caller.Subject + ".", To: next, Label: "Go on",
		})
	case atm.Unavailable, atm.OutcomeUnknown, atm.Internal:
		v.loginFailed(errors.New(status.Reason), next)
	default:
		v.notLoggedIn(http.StatusUnauthorized, "This sign-in was not accepted.", next)
	}
}

// loginSlowed answers and returns true where too much has failed.
func (v stranger) loginSlowed(next string) bool {
	problem := v.mustWait("oidc", "")
	if problem == "" {
		return false
	}
	v.notLoggedIn(http.StatusTooManyRequests, problem, next)
	return true
}

func (v stranger) loginFailed(err error, next string) {
	var refused LoginRefused
	if errors.As(err, &refused) {
		v.notLoggedIn(http.StatusUnauthorized, "You are not signed in: "+string(refused)+".", next)
		return
	}
	v.cfg.Log.WarnContext(v.r.Context(), "a sign-in with an OpenID provider failed",
		slog.Any("error", err))
	v.w.Header().Set("Retry-After", strconv.Itoa(int(loginAgain/time.Second)))
	v.notLoggedIn(http.StatusServiceUnavailable, "The provider cannot be asked at the moment. Try "+
		"again in a moment, or sign in in another way.", next)
}

// loginAgain is when a provider may be asked again that could not be asked.
const loginAgain = 10 * time.Second

func (v stranger) notLoggedIn(status int, problem, next string) {
	to := signInPath
	if next != "" && next != Prefix {
		to += "?" + url.Values{"next": {next}}.Encode()
	}
	v.onward(status, "Not signed in", onwardPage{
		Problem: problem, To: to, Label: "Sign in again",
	})
}

// isLogin reports whether a page is one of a sign-in with a provider.
func isLogin(path string) bool { return strings.HasPrefix(path, loginPath) }
