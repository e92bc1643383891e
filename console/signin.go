package console

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/console/internal/passkey"
	"example.com/atm/console/internal/words"
	"example.com/atm/teller"
	"example.com/atm/teller/sessions"
)

// An Access signs people in and out. It is the server, which records what fails, and makes an
// address wait from which much has failed.
type Access interface {
	Passkey(ctx context.Context, id string) (*sessions.Passkey, error)
	Passkeys(ctx context.Context, subject string) ([]sessions.Passkey, error)
	AddPasskey(ctx context.Context, caller *atm.Caller, p sessions.Passkey) (atm.Status, error)

	// Wait says how long the sender of r has to wait before the next try to sign in as user,
	// and Failed notes that a try by a method failed.
	Wait(r *http.Request, method, user string) time.Duration
	Failed(r *http.Request, method, user, reason string)

	// These return ErrRefused, which they have noted, or another error when nobody can tell at
	// the moment; EnrollPasskey a sessions.MalformedError, too.
	ByPassword(r *http.Request, name, password string) (*atm.Caller, error)
	ByPasskey(r *http.Request, subject, id string) (*atm.Caller, error)
	Invited(r *http.Request, code string) (teller.Invitation, error)
	EnrollPasskey(r *http.Request, i teller.Invitation, p sessions.Passkey) error

	// Providers are the OpenID providers by which people sign in. BeginLogin begins a sign-in
	// with one, which the browser keeps in a cookie, and returns the URL at which it goes on;
	// FinishLogin ends it when the browser comes back. They return a LoginRefused, which they
	// have noted, or another error when the provider could not be asked.
	Providers() []Provider
	BeginLogin(w http.ResponseWriter, r *http.Request, issuer, next string) (to string, err error)
	FinishLogin(w http.ResponseWriter, r *http.Request) (Login, error)

	// Begin begins a session and gives the browser its cookie, or notes that it was refused.
	Begin(w http.ResponseWriter, r *http.Request, caller *atm.Caller, b sessions.Beginning,
	) atm.Status

	// Leave takes the cookie of a session from the browser.
	Leave(w http.ResponseWriter)
}

// ErrRefused reports somebody who did not sign in.
var ErrRefused = errors.New("not signed in")

// Paths of pages for those who have not signed in.
const (
	signInPath = Prefix + "sign-in"
	invitePath = Prefix + "invite/"
)

// beforeAct is the page that leads to an act which was sent in no session: that which says what
// would happen, with what the address of the act says. Other acts begin again.
func beforeAct(act *url.URL) string {
	path, is := strings.CutSuffix(act.EscapedPath(), "/act")
	if !is || act.RawQuery == "" {
		return Prefix
	}
	return path + "/review?" + act.RawQuery
}

// SignInPage is the page that leads to r once its sender has signed in; to the start when r is
// a form, which is not sent again.
func SignInPage(r *http.Request) string {
	next := r.URL.RequestURI()
	if r.Method != http.MethodGet {
		next = beforeAct(r.URL)
	}
	return signInPath + "?" + url.Values{"next": {next}}.Encode()
}

// IsOpen reports whether a page needs no sign-in.
func IsOpen(path string) bool {
	return path == signInPath || strings.HasPrefix(path, invitePath) || isLogin(path)
}

// A stranger is a visit of somebody who has not signed in.
type stranger struct{ *visit }

// ServeStranger answers a request for a page that IsOpen. The body of r has been read.
func (c *Console) ServeStranger(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	v := stranger{&visit{Console: c, w: w, r: r, caller: &atm.Caller{}}}
	code, invited := strings.CutPrefix(r.URL.Path, invitePath)
	posted := r.Method == http.MethodPost
	switch {
	case isLogin(r.URL.Path):
		v.login()
	case !posted && r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", reads+", "+acts)
		v.refuse(http.StatusMethodNotAllowed, "This page does not take "+r.Method+".")
	case invited:
		v.invitation(code, posted)
	case posted:
		v.signIn()
	default:
		v.showSignIn(http.StatusOK, signInForm{Done: done[r.URL.Query().Get("done")]})
	}
}

// done are what was done before the page of signing in is shown.
var done = map[string]string{
	"out":      "You are signed out.",
	"all":      "You are signed out everywhere.",
	"removed":  "Your passkey is removed, and with it this session.",
	"enrolled": "Your passkey is ready. Sign in with it.",
}

// A ceremony is a form that a passkey completes. Its fields are empty where that cannot be.
type ceremony struct {
	passkey.Challenge
	Origin string // of the pages on which it works
	Why    string // it cannot be
}

// challenge makes a ceremony. A failure leaves the rest of the page in use.
func (v *visit) challenge(site *passkey.Site, made passkey.Challenge, err error) ceremony {
	switch {
	case errors.Is(err, passkey.ErrName):
		return ceremony{Why: "Passkeys work where the server is reached by its name."}
	case err != nil:
		v.cfg.Log.ErrorContext(v.r.Context(), "challenge for a passkey could not be made",
			slog.Any("error", err))
		return ceremony{Why: "Passkeys cannot be used at the moment."}
	}
	return ceremony{Challenge: made, Origin: site.Origin()}
}

// site is the server as passkeys know it.
func (v *visit) site() (*passkey.Site, error) {
	return passkey.New(v.cfg.At(v.r), v.cfg.Name, v.cfg.Key)
}

// browserCookie is known to this browser alone, so that no other one completes its ceremonies.
const browserCookie = "__Host-atm-browser"

// purpose is that of a ceremony in this browser, which is given a secret of its own when it has
// none.
func (v *visit) purpose(act string) passkey.Purpose {
	if cookie, err := v.r.Cookie(browserCookie); err == nil && len(cookie.Value) >= 26 {
		return passkey.Purpose{Act: act, Browser: cookie.Value}
	}
	secret := rand.Text()
	if v.r.Method != http.MethodPost { // what is posted belongs to a page from before
		http.SetCookie(v.w, &http.Cookie{
			Name: browserCookie, Value: secret, Path: "/", Secure: true, HttpOnly: true,
			SameSite: http.SameSiteStrictMode,
		})
	}
	return passkey.Purpose{Act: act, Browser: secret}
}

// What challenges are for.
const (
	toSignIn = "sign in"
	toAdd    = "add to "
	toFollow = "follow "
)

// A signInForm is what was filled in, and what is wrong with it.
type signInForm struct {
	Done                              string
	Problem, NameProblem, PassProblem string
	Name, Next                        string
	Certificate                       bool
	Passkey                           ceremony
	Providers                         []Provider
}

func (v stranger) showSignIn(status int, f signInForm) {
	f.Next, f.Providers = inside(v.r.FormValue("next")), v.cfg.Access.Providers()
	f.Certificate = v.r.TLS != nil && len(v.r.TLS.PeerCertificates) > 0
	site, err := v.site()
	var made passkey.Challenge
	if err == nil {
		made, err = site.Request(v.purpose(toSignIn), nil)
	}
	f.Passkey = v.challenge(site, made, err)
	v.show(status, "signin.html", "Sign in", "", f)
}

// inside is a URL of the console, and the start for any other.
func inside(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(u.Path, Prefix) ||
		strings.Contains(u.Path, "/.") || // it would lead up, and out of the console
		strings.ContainsAny(to, "\\\r\n") || IsOpen(u.Path) {
		return Prefix
	}
	return u.RequestURI()
}

// signIn begins a session by a passkey, or by a name and a secret.
func (v stranger) signIn() {
	name := strings.TrimSpace(v.r.PostForm.Get("name"))
	if !v.r.PostForm.Has("name") {
		v.signInByPasskey()
		return
	}
	f := signInForm{Name: name}
	password := v.r.PostForm.Get("secret")
	if name == "" {
		f.NameProblem = "The name is missing."
	}
	if password == "" {
		f.PassProblem = "The secret is missing."
	}
	if f.NameProblem+f.PassProblem != "" {
		v.showSignIn(http.StatusUnprocessableEntity, f)
		return
	}
	if v.slowed("secret", name, f) {
		return
	}
	caller, err := v.cfg.Access.ByPassword(v.r, name, password)
	switch {
	case errors.Is(err, ErrRefused):
		f.PassProblem = "The name or the secret is wrong."
		v.showSignIn(http.StatusUnauthorized, f)
	case err != nil:
		v.unable(f)
	default:
		v.begin(caller, sessions.Beginning{}, f)
	}
}

// mustWait says in a sentence how long somebody has to wait before the next try to sign in by a
// method, as user, and tells the browser; it is empty for no time.
func (v stranger) mustWait(method, user string) string {
	wait := v.cfg.Access.Wait(v.r, method, user)
	if wait == 0 {
		return ""
	}
	seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
	v.w.Header().Set("Retry-After", seconds)
	return "Too many sign-ins from your address have failed. Try again in " + seconds + " seconds."
}

// slowed answers and returns true where too much has failed.
func (v stranger) slowed(method, user string, f signInForm) bool {
	if f.Problem = v.mustWait(method, user); f.Problem == "" {
		return false
	}
	v.showSignIn(http.StatusTooManyRequests, f)
	return true
}

func (v stranger) unable(f signInForm) {
	v.w.Header().Set("Retry-After", "1")
	f.Problem = "The server cannot check a sign-in at the moment. Try again."
	v.showSignIn(http.StatusServiceUnavailable, f)
}

func (v stranger) signInByPasskey() {
	var f signInForm
	response := v.r.PostForm.Get("response")
	if response == "" {
		f.Problem = "This browser sent no passkey. Passkeys need scripts: allow them, or sign in " +
			"in another way."
		v.showSignIn(http.StatusUnprocessableEntity, f)
		return
	}
	if v.slowed("passkey", "", f) {
		return
	}
	asserted, err := v.asserted(v.r.PostForm.Get("state"), response)
	var notRead *passkey.StoreError
	switch {
	case errors.Is(err, passkey.ErrLate):
		f.Problem = "This page was open for too long. Try again."
		v.showSignIn(http.StatusUnprocessableEntity, f)
		return
	case errors.As(err, &notRead):
		v.unable(f)
		return
	case err != nil:
		v.cfg.Access.Failed(v.r, "passkey", "", reason(err))
		f.Problem = "This passkey was not accepted. Try again, or sign in in another way."
		v.showSignIn(http.StatusUnauthorized, f)
		return
	}
	caller, err := v.cfg.Access.ByPasskey(v.r, asserted.Subject, asserted.Passkey)
	if err != nil {
		f.Problem = "This passkey was not accepted. Try again, or sign in in another way."
		v.showSignIn(http.StatusUnauthorized, f)
		return
	}
	v.begin(caller, sessions.Beginning{
		Count: asserted.Count, Flags: asserted.Flags, Challenge: asserted.Challenge,
	}, f)
}

func (v stranger) asserted(state, response string) (*passkey.Assertion, error) {
	site, err := v.site()
	if err != nil {
		return nil, err
	}
	return site.Asserted(v.purpose(toSignIn), state, response,
		func(id string) (*sessions.Passkey, error) {
			return v.cfg.Access.Passkey(v.r.Context(), id)
		})
}

// reason is an error for the audit log, which keeps few different ones apart.
func reason(err error) string {
	switch {
	case errors.Is(err, passkey.ErrForeign):
		return "passkey for a challenge of another browser, or of nobody"
	case errors.Is(err, passkey.ErrOrigin):
		return "passkey on a page of another site"
	case errors.Is(err, passkey.ErrUnknown):
		return "passkey of nobody"
	}
	return "passkey that is not good"
}

func (v stranger) begin(caller *atm.Caller, b sessions.Beginning, f signInForm) {
	status := v.cfg.Access.Begin(v.w, v.r, caller, b)
	switch status.Code {
	case atm.OK:
		http.Redirect(v.w, v.r, inside(v.r.PostForm.Get("next")), http.StatusSeeOther)
	case atm.Unavailable, atm.OutcomeUnknown, atm.Internal:
		v.unable(f)
	default:
		f.Problem = "This sign-in was not accepted. Try again."
		if b.Challenge != "" && status.Code == atm.PermissionDenied {
			f.Problem = words.Sentence(status.Reason)
		}
		v.showSignIn(http.StatusUnauthorized, f)
	}
}

// An invitationPage says what a code makes its reader.
type invitationPage struct {
	Action, Subject, Roles string
	Name, Problem          string
	Passkey                ceremony
}

// invitation shows an invitation, or follows it.
func (v stranger) invitation(code string, follow bool) {
	if wait := v.cfg.Access.Wait(v.r, "invitation", ""); wait > 0 {
		v.w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		v.refuse(http.StatusTooManyRequests, "Too much from your address has failed. Try again "+
			"later.")
		return
	}
	i, err := v.cfg.Access.Invited(v.r, code)
	if err != nil {
		v.refuse(http.StatusUnauthorized, notInvited)
		return
	}
	page := invitationPage{
		Action: v.r.URL.EscapedPath(), Subject: i.Subject, Roles: i.Roles, Name: "My device",
	}
	if !i.Until.IsZero() {
		v.refuse(http.StatusForbidden, "This invitation is for a certificate alone: atmctl enroll.")
		return
	}
	if follow {
		v.follow(i, page)
		return
	}
	v.showInvitation(http.StatusOK, i, page)
}

const notInvited = "This invitation is none, is over, or was used before. Ask for another one."

func (v stranger) showInvitation(status int, i teller.Invitation, page invitationPage) {
	site, err := v.site()
	var made passkey.Challenge
	if err == nil {
		made, err = site.Create(v.purpose(toFollow+i.ID), i.Subject, nil)
	}
	page.Passkey = v.challenge(site, made, err)
	v.show(status, "invite.html", "You are invited", "atmctl enroll", page)
}

func (v stranger) follow(i teller.Invitation, page invitationPage) {
	page.Name = strings.TrimSpace(v.r.PostForm.Get("name"))
	made, problem := v.created(toFollow+i.ID, i.Subject, page.Name)
	if problem != "" {
		page.Problem = problem
		v.showInvitation(http.StatusUnprocessableEntity, i, page)
		return
	}
	err := v.cfg.Access.EnrollPasskey(v.r, i, made)
	var bad sessions.MalformedError
	switch {
	case err == nil:
		http.Redirect(v.w, v.r, signInPath+"?done=enrolled", http.StatusSeeOther)
	case errors.As(err, &bad):
		page.Problem = words.Sentence(bad.Error())
		v.showInvitation(http.StatusUnprocessableEntity, i, page)
	case errors.Is(err, ErrRefused):
		v.refuse(http.StatusUnauthorized, notInvited)
	default:
		v.refuse(http.StatusServiceUnavailable, "The bank cannot do this at the moment.")
	}
}

// created is the passkey that a form brings, or a sentence on what is wrong with it.
func (v *visit) created(act, subject, name string) (made sessions.Passkey, problem string) {
	response := v.r.PostForm.Get("response")
	if response == "" {
		return made, "This browser sent no passkey. Passkeys need scripts: allow them."
	}
	site, err := v.site()
	if err == nil {
		made, err = site.Created(v.purpose(act), subject, v.r.PostForm.Get("state"), response)
	}
	switch {
	case errors.Is(err, passkey.ErrLate):
		return made, "This page was open for too long. Try again."
	case err != nil:
		v.cfg.Log.InfoContext(v.r.Context(), "passkey was not accepted", slog.Any("error", err))
		return made, "This passkey was not accepted. Try again."
	}
	made.Name = name
	return made, ""
}
