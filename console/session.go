package console

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
	"example.com/atm/console/internal/passkey"
	"example.com/atm/console/internal/words"
	"example.com/atm/teller/sessions"
)

// A mePage shows what the caller signs in by.
type mePage struct {
	Passkeys []passkeyRow
	Sessions []sessionRow
	Method   string // by which the caller signed in
	Inside   bool   // a session, which can be left
	May      bool   // add passkeys
	Name     string // of the passkey that is being added
	Problem  string
	Passkey  ceremony
}

type passkeyRow struct {
	ID, Name string
	Added    time.Time
	Synced   bool
}

type sessionRow struct {
	ID, Agent, Method string
	Begun, Seen       time.Time
	Current           bool
}

// me shows the caller's own passkeys and sessions.
func me(v *visit) { v.showMe(http.StatusOK, mePage{Name: "My device"}) }

func (v *visit) showMe(status int, page mePage) {
	passkeys, ok := v.do(atm.PasskeyList)
	if !ok {
		return
	}
	open, ok := v.do(atm.SessionList)
	if !ok {
		return
	}
	if passkeys.Code != atm.OK || open.Code != atm.OK {
		v.refuse(http.StatusForbidden, words.Sentence(passkeys.Reason+open.Reason))
		return
	}
	for _, row := range rowsOf(passkeys, "passkeys") {
		page.Passkeys = append(page.Passkeys, passkeyRow{
			ID: word(row, "id"), Name: word(row, "name"), Added: instant(row, "added"),
			Synced: row.Get("synced") == true,
		})
	}
	for _, row := range rowsOf(open, "sessions") {
		page.Sessions = append(page.Sessions, sessionRow{
			ID: word(row, "id"), Agent: forms.BrowserName(word(row, "agent")),
			Method: methodNames[word(row, "method")], Begun: instant(row, "begun"),
			Seen: instant(row, "seen"), Current: row.Get("current") == true,
		})
	}
	page.Method, page.Inside = methodNames[v.caller.Method], v.caller.Session != ""
	page.May = !v.caller.Derived() && v.caller.Actor == "" && v.caller.InScope("*")
	if page.May {
		page.Passkey = v.toAdd()
	}
	v.show(status, "me.html", "You", "", page)
}

// methodNames are how people call what they sign in by.
var methodNames = map[string]string{
	"passkey": "a passkey", "secret": "a name and a secret", "mtls": "a certificate",
	"digest": "a name and a password", "jwt": "a token", "oidc": "a company login",
}

// toAdd makes the ceremony of another passkey.
func (v *visit) toAdd() ceremony {
	site, err := v.site()
	var made passkey.Challenge
	if err == nil {
		var have []sessions.Passkey
		if have, err = v.cfg.Access.Passkeys(v.r.Context(), v.caller.Subject); err == nil {
			made, err = site.Create(v.purpose(toAdd+v.caller.Subject), v.caller.Subject, have)
		}
	}
	return v.challenge(site, made, err)
}

func addPasskey(v *visit) {
	page := mePage{Name: strings.TrimSpace(v.r.PostForm.Get("name"))}
	made, problem := v.created(toAdd+v.caller.Subject, v.caller.Subject, page.Name)
	if page.Problem = problem; problem != "" {
		v.showMe(http.StatusUnprocessableEntity, page)
		return
	}
	status, err := v.cfg.Access.AddPasskey(v.r.Context(), v.caller, made)
	var bad sessions.MalformedError
	switch {
	case errors.As(err, &bad), errors.Is(err, sessions.ErrTooMany):
		page.Problem = words.Sentence(err.Error())
		v.showMe(http.StatusUnprocessableEntity, page)
	case err != nil:
		v.refuse(http.StatusServiceUnavailable, "The bank cannot do this at the moment.")
	case status.Code != atm.OK:
		page.Problem = words.Sentence(status.Reason)
		v.showMe(statusOf(status.Code), page)
	default:
		http.Redirect(v.w, v.r, Prefix+"me", http.StatusSeeOther)
	}
}

// signOut ends the session that the caller is in, or all of the caller's.
func signOut(v *visit) {
	session, how := v.caller.Session, "out"
	if v.r.PostForm.Get("everywhere") != "" {
		session, how = "*", "all"
	}
	if session == "" {
		v.refuse(http.StatusUnprocessableEntity, "You are in no session: the browser signs you in "+
			"by itself.")
		return
	}
	status, ok := v.do(atm.SessionEnd, text(session))
	if !ok {
		return
	}
	if status.Code != atm.OK {
		v.refuse(statusOf(status.Code), words.Sentence(status.Reason))
		return
	}
	v.cfg.Access.Leave(v.w)
	http.Redirect(v.w, v.r, signInPath+"?done="+how, http.StatusSeeOther)
}

func rowsOf(s atm.Status, member string) []atm.Record {
	record, _ := s.Result.(atm.Record)
	rows, _ := record.Get(member).([]atm.Record)
	return rows
}

func word(row atm.Record, name string) string {
	value, _ := row.Get(name).(string)
	return value
}

func instant(row atm.Record, name string) time.Time {
	t, err := time.Parse(time.RFC3339, word(row, name))
	if err != nil {
		return time.Time{}
	}
	return t
}
