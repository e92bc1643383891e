//go:build unix

package daemon_test

import (
	"encoding/csv"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// A visitor is a person in a browser without scripts.
type visitor struct {
	t *testing.T
	h *daemontest.Server
	c *http.Client
}

// consoleServer starts a server with a console.
func consoleServer(t *testing.T) *daemontest.Server {
	return daemontest.Start(t, func(o *daemon.Options) { o.Server.Console = true })
}

// visitorAs is a visitor with the certificate that init made for a user.
func visitorAs(t *testing.T, h *daemontest.Server, user string) *visitor {
	return &visitor{t, h, consoleClient(t, h.TLS(t, user))}
}

// visitorWith makes a user with a role, and is a visitor with a certificate of theirs.
func visitorWith(t *testing.T, h *daemontest.Server, subject, role string) *visitor {
	t.Helper()
	operator := h.As(t, "operator")
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", subject, role))
	return &visitor{t, h, consoleClient(t, h.Issue(t, subject))}
}

// see returns the text of a page, which must be answered with code.
func (v *visitor) see(code int, path string) string {
	v.t.Helper()
	got, text := page(v.t, v.h, v.c, path, "", nil)
	if got != code {
		v.t.Fatalf("%s is answered with %d, want %d\n%s", path, got, code, text)
	}
	return text
}

// follow is see for a path that leads to another one.
func (v *visitor) follow(path string) (to, text string) {
	v.t.Helper()
	r, err := v.c.Get("https://" + v.h.Addr + path)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Body.Close()
	to = r.Header.Get("Location")
	if r.StatusCode != http.StatusSeeOther || to == "" {
		v.t.Fatalf("%s is answered with %d and leads to %q", path, r.StatusCode, to)
	}
	return to, v.see(http.StatusOK, to)
}

// send sends a form, which must be answered with code.
func (v *visitor) send(code int, path string, form url.Values) string {
	v.t.Helper()
	got, text := page(v.t, v.h, v.c, path, form.Encode(), nil)
	if got != code {
		v.t.Fatalf("%s with %v is answered with %d, want %d\n%s", path, form, got, code, text)
	}
	return text
}

// shows fails for each text that a page does not have.
func shows(t *testing.T, text string, want ...string) {
	t.Helper()
	plain := html.UnescapeString(text)
	for _, w := range want {
		if !strings.Contains(plain, w) {
			t.Errorf("the page does not have %q:\n%s", w, plain)
		}
	}
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// formOf are the hidden fields of the form that a page sends by POST.
func formOf(text string) url.Values {
	_, text, _ = strings.Cut(text, `method="post"`)
	text, _, _ = strings.Cut(text, "</form>")
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(text, -1) {
		form.Set(m[1], html.UnescapeString(m[2]))
	}
	return form
}

// TestOperatorWorksInTheConsole goes through the forms of an operator as a browser without
// scripts does. Each says what would happen before it happens.
func TestOperatorWorksInTheConsole(t *testing.T) {
	t.Parallel()
	h := consoleServer(t)
	v := visitorWith(t, h, "user:olga", "operator") // no auditor: sees no slips
	for _, step := range []struct {
		path  string
		typed url.Values
		line  string // of the page before
		after string // path of the list that shows it
		shows string
	}{
		{
			"admin/users/add",
			url.Values{"subject": {"user:alice"}, "roles": {"customer", "teller"}},
			"Make user:alice known as customer and teller.", "admin/users", "user:alice",
		},
		{
			"admin/accounts/open",
			url.Values{
				"account": {"200"}, "owner": {"user:alice"}, "opening": {"$1200.50"},
				"name": {"Alice <b>Smith</b>"},
			},
			"Open account 200 of user:alice, held by Alice <b>Smith</b>, with $1,200.50 posted",
			"admin/accounts?owner=user:alice", "$1,200.50",
		},
		{
			"admin/accounts/freeze?account=200", nil,
			"Freeze account 200 of user:alice, which holds $1,200.50: no money leaves it",
			"admin/accounts?standing=frozen", "200",
		},
		{
			"admin/accounts/unfreeze?account=200", nil, "Unfreeze account 200 of user:alice",
			"admin/accounts?standing=open", "Alice <b>Smith</b>",
		},
		{
			"admin/accounts/limit?account=200",
			url.Values{
				"per_operation": {"50"}, "daily_count": {"3"},
			},
			"dollars at once 50, times a day 3,", "admin/accounts",
			"$50.00 at once, 3 times a day",
		},
		{
			"admin/accounts/limit?account=200",
			url.Values{"per_operation": {"none"}},
			"dollars at once none,", "admin/accounts", "3 times a day",
		},
		{
			"admin/accounts/set?account=200",
			url.Values{"owner": {"user:demo"}},
			"its owner is user:demo", "admin/accounts?owner=user:demo", "200",
		},
		{
			"admin/users/disable?subject=user:alice", nil, "Disable user:alice: it cannot sign in",
			"admin/users", "Enable",
		},
		{
			"admin/users/enable?subject=user:alice", nil, "Enable user:alice", "admin/users",
			"Invite",
		},
		{
			"admin/users/revoke?subject=user:alice", nil, "every certificate and token",
			"admin/users", "user:alice",
		},
	} {
		to, text := v.follow("/console/" + step.path)
		if step.typed != nil {
			text = v.see(http.StatusOK, to+"&review=1&"+step.typed.Encode())
		}
		shows(t, text, step.line, "The same at a command line: <code>atmctl ")
		form := formOf(text)
		path, _, _ := strings.Cut("/console/"+step.path, "?")
		shows(t, v.send(http.StatusOK, path, form), ": done.", " of the audit log")
		again := v.send(http.StatusOK, path, form)
		shows(t, again, ": done.")
		shows(t, v.see(http.StatusOK, "/console/"+step.after), step.shows)
	}
	acts := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Request != "" && e.ReplayOf < 0
	})
	if acts != 10 {
		t.Errorf("10 forms that were sent twice made %d acts", acts)
	}
}

// TestCodeOfAnInvitationIsShownOnce sends the form of an invitation twice, and enrols by the
// code of the first time.
func TestCodeOfAnInvitationIsShownOnce(t *testing.T) {
	t.Parallel()
	h := consoleServer(t)
	v := visitorAs(t, h, "operator")
	form := url.Values{"subject": {"user:bob"}, "roles": {"teller"}, "request_id": {"one"}}
	first := v.send(http.StatusOK, "/console/admin/users/invite", form)
	shows(t, first, "Keep the link now", "<dt>Code</dt>", "<dt>Id</dt>",
		"https://"+h.Addr+"/console/invite/")
	again := v.send(http.StatusOK, "/console/admin/users/invite", form)
	shows(t, again, "and the link was shown then")
	if strings.Contains(again, "<dt>") {
		t.Errorf("the code is shown again:\n%s", again)
	}
	form.Set("roles", "operator")
	shows(t, v.send(http.StatusUnprocessableEntity, "/console/admin/users/invite", form),
		"The request id was used for another request.", `value="operator" checked`)
	tokens := v.see(http.StatusOK, "/console/admin/tokens")
	shows(t, tokens, "user:bob", `<td data-label="May do">invitation</td>`, "Revoke")
	issued := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == atm.CertInvite && e.ReplayOf < 0 && e.Status.Code == atm.OK
	})
	if issued != 1 {
		t.Errorf("%d invitations were made", issued)
	}
}

// TestFormKeepsWhatWasTyped leaves out and mistypes fields of forms: the problem stands beside
// the field, and what was typed is there.
func TestFormKeepsWhatWasTyped(t *testing.T) {
	t.Parallel()
	h := consoleServer(t)
	v := visitorAs(t, h, "operator")
	for _, tt := range []struct{ path, typed, problem, kept string }{
		{
			"admin/users/add", "subject=alice&roles=teller", `id="p-subject"`,
			`name="subject" value="alice"`,
		},
		{"admin/users/add", "subject=user:a&roles=king", `id="p-roles"`, `value="user:a"`},
		{"admin/accounts/open", "account=0", `id="p-account"`, `value="0"`},
		{"admin/accounts/open", "account=7&opening=1.234", "at most two digits", `value="1.234"`},
		{
			"admin/accounts/limit", "account=100&daily_count=often", `id="p-daily_count"`,
			`value="often"`,
		},
		{"admin/certificates/issue", "subject=user:a", `id="p-request"`, `value="user:a"`},
	} {
		text := v.see(http.StatusUnprocessableEntity,
			"/console/"+tt.path+"?request_id=r&review=1&"+tt.typed)
		shows(t, text, tt.problem, tt.kept, `class="problem" role="alert"`)
	}
	// What only the bank can tell leads back to the form as well.
	form := url.Values{
		"account": {"100"}, "owner": {"user:demo"}, "request_id": {"taken"},
	}
	shows(t, v.send(http.StatusUnprocessableEntity, "/console/admin/accounts/open", form),
		`role="alert"`, `value="user:demo"`)
	form.Set("request_id", "")
	v.send(http.StatusUnprocessableEntity, "/console/admin/accounts/open", form)
	// So do the forms that only look.
	shows(t, v.see(http.StatusUnprocessableEntity, "/console/account?number=x1"),
		`id="problem"`, `value="x1"`)
	shows(t, v.see(http.StatusUnprocessableEntity,
		"/console/accounts/100/statement?from=2026-02-01&to=2026-01-01"),
		`id="problem"`, `value="2026-02-01"`, "From is after to.")
	shows(t, v.see(http.StatusUnprocessableEntity, "/console/admin/accounts?owner=demo"),
		`role="alert"`, `value="demo"`)
}

// TestHoldsAndGrantsAreTakenBackInTheConsole lists a hold and a grant, and takes each back.
func TestHoldsAndGrantsAreTakenBackInTheConsole(t *testing.T) {
	t.Parallel()
	h := consoleServer(t)
	demo := h.As(t, "demo")
	hold := daemontest.Must(t)(demo.Call(t.Context(), "authorize", 100, "30.00", "", "a1")).Text()
	other := daemontest.Must(t)(demo.Call(t.Context(), "authorize", 100, "12.00", "", "a2")).Text()
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.user.add", "user:bob",
		"customer"))
	teller := visitorWith(t, h, "user:tina", "teller")
	customer := visitorAs(t, h, "demo")

	for _, v := range []*visitor{teller, customer} {
		shows(t, v.see(http.StatusOK, "/console/accounts/100"), "held $42.00 · available $958.00",
			hold, "/console/holds/release?hold="+hold, "/console/holds/capture?hold="+other)
		shows(t, v.see(http.StatusOK, "/console/accounts/100/review?act=withdraw&amount=990&"+
			"request_id=r"), "Insufficient Funds: $958.00 available.")
	}
	_, text := customer.follow("/console/holds/release?hold=" + hold)
	shows(t, text, `<a href="/console/">Cancel</a>`) // the list of holds is not for customers
	shows(t, teller.see(http.StatusOK, "/console/holds?account=100"), hold, other, "$30.00")
	_, text = teller.follow("/console/holds/release?hold=" + hold)
	shows(t, text, "Release hold "+hold+" of $30.00 on account 100: the money can be used again")
	form := formOf(text)
	for range 2 {
		teller.send(http.StatusSeeOther, "/console/holds/release", form)
	}
	to, _ := teller.follow("/console/holds/capture?hold=" + other)
	text = teller.see(http.StatusOK, to+"&amount=10&review=1")
	shows(t, text, "Capture hold "+other+" of $12.00 on account 100: take $10.00, and free")
	teller.send(http.StatusSeeOther, "/console/holds/capture", formOf(text))
	shows(t, teller.see(http.StatusOK, "/console/holds"), "No money is held.")

	to, _ = customer.follow("/console/grants/give?account=100")
	text = customer.see(http.StatusOK, to+
		"&operations=withdraw&operations=inquiry&cap=50&to=user:bob&review=1")
	shows(t, text, "Let user:bob use account 100 for withdraw inquiry, up to $50.00 in all, for")
	shows(t, customer.send(http.StatusOK, "/console/grants/give", formOf(text)),
		"Keep the token now", "<dt>Token</dt>")
	text = customer.see(http.StatusOK, "/console/grants")
	shows(t, text, "user:bob", "$50.00", "Take back")
	link := regexp.MustCompile(`/console/grants/revoke\?grant=[^"]*`).FindString(text)
	_, text = customer.follow(link)
	customer.send(http.StatusSeeOther, "/console/grants/revoke", formOf(text))
	if text = customer.see(http.StatusOK, "/console/grants"); strings.Contains(text, "Take back") {
		t.Errorf("the grant can be taken back again:\n%s", text)
	}
}

// TestPageOfAnotherRoleIsRefusedAsItsMethodIs asks for pages that a role may not use. Each says
// what the method says, and none is in the menu.
func TestPageOfAnotherRoleIsRefusedAsItsMethodIs(t *testing.T) {
	t.Parallel()
	h := consoleServer(t)
	visitors := map[string]*visitor{
		"customer": visitorAs(t, h, "demo"),
		"teller":   visitorWith(t, h, "user:tina", "teller"),
		"auditor":  visitorWith(t, h, "user:otto", "auditor"),
		"operator": visitorWith(t, h, "user:olga", "operator"),
	}
	for _, tt := range []struct {
		path string
		may  string // roles
	}{
		{"holds", "teller auditor operator"},
		{"holds/release?hold=h1&request_id=r", "customer teller"},
		{"grants", "customer operator"},
		{"grants/give?request_id=r", "customer"},
		{"mandates?account=100", "customer teller auditor"},
		{"mandates/give?request_id=r", "customer"},
		{"mandates/revoke?mandate=m1&request_id=r", "customer teller"},
		{"orders?account=100", "customer teller auditor"},
		{"orders/give?request_id=r", "customer"},
		{"orders/cancel?order=o1&request_id=r", "customer teller"},
		{"notices?account=100", "customer teller auditor"},
		{"notices/leave?request_id=r", "customer teller"},
		{"reverse?index=1&request_id=r", "customer teller"},
		{"admin", "operator"},
		{"admin/status", "auditor operator"},
		{"admin/users", "operator"},
		{"admin/users/add?request_id=r", "operator"},
		{"admin/users/invite?request_id=r", "operator"},
		{"admin/accounts", "operator"},
		{"admin/accounts/freeze?account=100&request_id=r", "operator"},
		{"admin/certificates", "operator"},
		{"admin/certificates/issue?request_id=r", "operator"},
		{"admin/tokens", "operator"},
		{"admin/sessions?subject=user:demo", "operator"},
		{"admin/passkeys?subject=user:demo", "operator"},
		{"admin/sessions", "operator"},
		{"log", "auditor"},
		{"log/verify", "auditor"},
	} {
		for role, v := range visitors {
			path := "/console/" + tt.path
			want := http.StatusForbidden
			if strings.Contains(tt.may, role) {
				want = http.StatusOK
			}
			text := v.see(want, path)
			if want == http.StatusForbidden && !strings.Contains(text, "You may not do this.") &&
				!strings.Contains(text, "is for auditors.") {
				t.Errorf("%s is refused to a %s:\n%s", path, role, text)
			}
			menu, _, _ := strings.Cut(text, "</nav>")
			if want == http.StatusForbidden && strings.Contains(menu, `"`+path+`"`) {
				t.Errorf("the menu of a %s has %s", role, path)
			}
		}
		form := url.Values{"request_id": {"r"}, "subject": {"user:demo"}, "account": {"100"}}
		if path, _, acts := strings.Cut(tt.path, "?"); acts &&
			strings.HasSuffix(tt.path, "request_id=r") && tt.may == "operator" {
			form.Set("request", "-----BEGIN CERTIFICATE REQUEST-----")
			visitors["customer"].send(http.StatusForbidden, "/console/"+path, form)
		}
	}
}

// TestStatementIsSavedWholeAsCSV saves a statement that has several pages, and adds it up.
func TestStatementIsSavedWholeAsCSV(t *testing.T) {
	t.Parallel()
	h := consoleServer(t)
	h.ManyMovements(t, 1200)
	v := visitorAs(t, h, "demo")
	rows, err := csv.NewReader(strings.NewReader(
		v.see(http.StatusOK, "/console/accounts/100/statement.csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) < 1200 || rows[0][4] != "amount" || rows[1][2] != "admin.account.open" {
		t.Fatalf("%d rows, the first are %q", len(rows), rows[:2])
	}
	var balance atm.Amount
	for _, row := range rows[1:] {
		amount, code := atm.ParseAmount(strings.TrimPrefix(row[4], "-"))
		if code != atm.OK {
			t.Fatalf("%q: %s", row, code)
		}
		if strings.HasPrefix(row[4], "-") {
			amount = -amount
		}
		if balance += amount; balance.String() != row[5] {
			t.Fatalf("the balance is %s after %q", balance, row)
		}
	}
	text := v.see(http.StatusOK, "/console/accounts/100/statement")
	shows(t, text, "Older movements", `scope="rowgroup"`)
	v.see(http.StatusUnprocessableEntity, "/console/accounts/100/statement.csv?from=May")
	v.see(http.StatusNotFound, "/console/accounts/200/statement.csv")
	v.see(http.StatusOK, "/console/accounts/100/statement.csv?from=2020-01-01&to=2020-01-02")
}

// TestNothingHappensByLookingAtAForm looks at each form as it is before it is sent, with
// everything filled in.
func TestNothingHappensByLookingAtAForm(t *testing.T) {
	t.Parallel()
	h := consoleServer(t)
	operator, customer := visitorAs(t, h, "operator"), visitorAs(t, h, "demo")
	for _, path := range []string{
		"admin/users/add?subject=user:eve&roles=operator", "admin/users/disable?subject=user:demo",
		"admin/users/revoke?subject=user:demo", "admin/users/invite?subject=user:eve",
		"admin/accounts/open?account=7", "admin/accounts/freeze?account=100",
		"admin/accounts/limit?account=100&per_operation=1", "admin/accounts/close?account=100",
		"admin/accounts/set?account=100&owner=user:operator", "admin/tokens/revoke?jti=x",
		"admin/certificates/revoke?serial=aa",
	} {
		text := operator.see(http.StatusOK, "/console/"+path+"&review=1&request_id=r")
		shows(t, text, `method="post"`)
	}
	for _, path := range []string{
		"grants/give?account=100&operations=withdraw&cap=9&to=user:operator",
		"mandates/give?account=100&creditor=user:operator&each=9", "mandates/revoke?mandate=m1",
		"orders/give?account=100&to=200&amount=9&every=day", "orders/cancel?order=o1",
		"notices/leave?account=100&text=x", "reverse?index=1&amount=1",
	} {
		shows(t, customer.see(http.StatusOK, "/console/"+path+"&review=1&request_id=r"),
			`method="post"`)
	}
	looks := []atm.Operation{atm.AccountShow, atm.HoldShow}
	acts := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Event == audit.EventOp && e.Operation != atm.OrderShow || e.Event == audit.EventAdmin && e.Caller.Subject != "system:init" &&
			!slices.Contains(looks, e.Operation)
	})
	if acts != 0 {
		t.Errorf("looking at forms made %d acts", acts)
	}
}
