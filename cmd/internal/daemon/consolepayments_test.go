//go:build unix

package daemon_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// withAlice is a server with a console on which alice has account 200 with $50, as a visitor and
// as a caller of the API.
func withAlice(t *testing.T) (h *daemontest.Server, alice *visitor, calls *client.Client) {
	t.Helper()
	h = consoleServer(t)
	daemontest.WithAlice(t, h)
	cfg := h.Issue(t, "user:alice")
	calls, err := client.New(client.Config{Server: "https://" + h.Addr, TLS: cfg})
	if err != nil {
		t.Fatal(err)
	}
	return h, &visitor{t, h, consoleClient(t, cfg)}, calls
}

// fill fills the form of an action in, and returns the page that says what would happen.
func (v *visitor) fill(path string, typed url.Values) string {
	v.t.Helper()
	to, _ := v.follow("/console/" + path)
	return v.see(http.StatusOK, to+"&review=1&"+typed.Encode())
}

// TestMandateIsGivenWatchedAndRevokedInTheConsole gives a mandate as people write it, collects by
// it, and revokes it. Each form that is sent twice happens once.
func TestMandateIsGivenWatchedAndRevokedInTheConsole(t *testing.T) {
	t.Parallel()
	h, _, alice := withAlice(t)
	v := visitorAs(t, h, "demo")
	shows(t, v.see(http.StatusOK, "/console/accounts/100"), "Nobody has a mandate on this account.",
		"/console/mandates/give?account=100")

	text := v.fill("mandates/give?account=100", url.Values{
		"creditor": {"user:alice"}, "each": {"$1,000.00"}, "total": {"80"}, "period": {"month"},
		"until": {"31.12.2999"}, "memo": {"Gas & water"},
	})
	shows(t, text, "Let user:alice collect from account 100 without asking again: at most "+
		"$1,000.00 at once, $80.00 a month until 31 December 2999, for “Gas & water”. It can be "+
		"revoked before.", "atmclient SERVER PORT mandate create 100 --creditor user:alice "+
		"--each 1000.00 --total 80 --period month --until 2999-12-31 --memo 'Gas & water'",
		`<a href="/console/accounts/100">Cancel</a>`)
	form := formOf(text)
	for range 2 {
		v.send(http.StatusSeeOther, "/console/mandates/give", form)
	}
	text = v.see(http.StatusOK, "/console/accounts/100")
	mandates := regexp.MustCompile(`/console/mandates/revoke\?mandate=(m[0-9]+)&amp;of=100`).
		FindAllStringSubmatch(text, -1)
	if len(mandates) != 1 {
		t.Fatalf("a form that was sent twice gave %d mandates:\n%s", len(mandates), text)
	}
	shows(t, text, "user:alice", "$1,000.00 at once, $80.00 a month", "$0.00 this month",
		"Gas & water")

	id := mandates[0][1]
	a := daemontest.Must(t)(alice.Call(t.Context(), "collect", id, "30.00", "200"))
	shows(t, v.see(http.StatusOK, "/console/mandates?account=100"), id, "$30.00 this month")
	slip, _, _ := strings.Cut(a.Receipt, " ")
	shows(t, v.see(http.StatusOK, "/console/slips/"+slip), "Debtor",
		"user:demo, who gave the mandate", id, "−30.00")
	shows(t, v.see(http.StatusOK, "/console/accounts/100/statement"), "collect", "−30.00")

	_, text = v.follow("/console/mandates/revoke?of=100&mandate=" + id)
	shows(t, text, "Revoke mandate "+id+" of user:alice on account 100, at most $1,000.00 at "+
		"once, $80.00 a month: from now on nothing is collected by it.",
		`<a href="/console/accounts/100">Cancel</a>`)
	form = formOf(text)
	for range 2 {
		v.send(http.StatusSeeOther, "/console/mandates/revoke", form)
	}
	if refused, err := alice.Call(t.Context(), "collect", id, "1.00", "200"); err != nil ||
		refused.Code != "MANDATE_ENDED" {
		t.Errorf("collected by a mandate that was revoked: %v, %v", refused, err)
	}
	shows(t, v.see(http.StatusOK, "/console/accounts/100"), "Nobody has a mandate on this account.")
}

// TestStandingOrderIsGivenAndCancelledInTheConsole gives orders with days, times and zones as
// people write them, and cancels one.
func TestStandingOrderIsGivenAndCancelledInTheConsole(t *testing.T) {
	t.Parallel()
	h, _, _ := withAlice(t)
	v := visitorAs(t, h, "demo")
	for _, tt := range []struct {
		typed      url.Values
		line, list string
	}{
		{
			url.Values{
				"every": {"month"}, "on": {"last day"}, "at": {"6:30 pm"},
				"zone": {"europe/zurich"},
				"from": {"1 January 2998"}, "until": {"Dec 31, 2999"}, "memo": {"Rent"},
			},
			"Pay $25.00 from account 100 to account 200 on the last day of every month at 18:30 " +
				"in Europe/Zurich from 1 January 2998 until 31 December 2999, for “Rent”. It can " +
				"be cancelled before.",
			"On the last day of every month at 18:30 in Europe/Zurich until 31 December 2999",
		},
		{
			url.Values{"every": {"week"}, "on": {"Mon"}, "at": {"06:30"}},
			"to account 200 every Monday at 06:30. It goes on until it is cancelled.",
			"Every Monday at 06:30 in UTC",
		},
		{
			url.Values{"every": {"day"}, "zone": {"america/new york"}},
			"to account 200 every day in America/New_York. It goes on",
			"Every day at 00:00 in America/New_York",
		},
		{
			url.Values{"every": {"month"}, "on": {"2nd"}},
			"to account 200 on day 2 of every month. It goes on", "On day 2 of every month",
		},
	} {
		tt.typed.Set("to", "200")
		tt.typed.Set("amount", "$25.00")
		text := v.fill("orders/give?account=100", tt.typed)
		shows(t, text, tt.line, "atmclient SERVER PORT order create 100 --to 200 --amount 25.00")
		form := formOf(text)
		for range 2 {
			v.send(http.StatusSeeOther, "/console/orders/give", form)
		}
		shows(t, v.see(http.StatusOK, "/console/accounts/100"), tt.list, "active")
	}
	text := v.see(http.StatusOK, "/console/orders?account=100")
	links := regexp.MustCompile(`/console/orders/cancel\?of=100&amp;order=(o[0-9]+)`).
		FindAllStringSubmatch(text, -1)
	if len(links) != 4 {
		t.Fatalf("4 forms that were sent twice gave %d orders:\n%s", len(links), text)
	}
	id := links[0][1]
	_, text = v.follow("/console/orders/cancel?of=100&order=" + id)
	shows(t, text, "Cancel standing order "+id+" of $25.00 from account 100 to account 200 on the "+
		"last day of every month: nothing more is paid by it.")
	v.send(http.StatusSeeOther, "/console/orders/cancel", formOf(text))
	if text = v.see(http.StatusOK, "/console/accounts/100"); strings.Contains(text, id) {
		t.Errorf("an order that was cancelled goes on:\n%s", text)
	}
}

// TestFormOfAnAgreementSaysWhatIsWrong mistypes terms of mandates and orders. The problem stands
// beside the field, what was typed is kept, and nothing is given.
func TestFormOfAnAgreementSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	h, _, _ := withAlice(t)
	v := visitorAs(t, h, "demo")
	mandate := "account=100&creditor=user:alice&"
	order := "account=100&to=200&amount=5&every=month&on=1&"
	for _, tt := range []struct{ path, typed, field, problem string }{
		{"mandates/give", mandate, "each", "Say how much may be collected at once, or in a period"},
		{"mandates/give", mandate + "total=5", "period", "Say in which period"},
		{"mandates/give", mandate + "each=1&period=week", "total", "may be collected in a week"},
		{"mandates/give", mandate + "each=1.234", "each", "at most two digits"},
		{"mandates/give", mandate + "each=99999999999999999", "each", "An amount is at most $"},
		{"mandates/give", mandate + "each=1&until=1/2/2027", "until", "A day is written like"},
		{"mandates/give", mandate + "each=1&from=31.2.2999", "from", "A day is written like"},
		{
			"mandates/give", mandate + "each=1&from=2999-02-01&until=2999-01-31", "until",
			"The last day is before the first one.",
		},
		{"mandates/give", "account=100&creditor=alice&each=1", "creditor", "Write it as user:NAME"},
		{"mandates/give", mandate + "each=1&memo=%E2%80%AEx", "memo", "A memo has at most"},
		{"orders/give", order + "at=25:00", "at", "A time of the day is written like"},
		{"orders/give", order + "zone=Berlin!", "zone", "A time zone is named like"},
		{"orders/give", "account=100&to=200&amount=5&every=day&on=1", "on", "it is every day"},
		{"orders/give", "account=100&to=200&amount=5&every=week&on=15", "on", "Monday to Sunday"},
		{"orders/give", "account=100&to=200&amount=5&every=week", "on", "which day of the week"},
		{"orders/give", "account=100&to=200&amount=5&every=month", "on", "which day of the month"},
		{"orders/give", "account=100&to=200&amount=5&every=month&on=mon", "on", "is 1 to 31"},
		{"orders/give", "account=100&to=200&amount=5&every=month&on=32", "on", "1 to 31, or of"},
		{"orders/give", "account=100&to=100&amount=5&every=day", "to", "on that account already"},
		{"notices/leave", "account=100&text=", "text", "Notice is missing."},
	} {
		text := v.see(http.StatusUnprocessableEntity,
			"/console/"+tt.path+"?request_id=r&review=1&"+tt.typed)
		shows(t, text, tt.problem, `id="p-`+tt.field+`"`, `name="account" value="100"`)
	}
	// What only the bank can tell leads back to the form as well.
	for _, tt := range []struct {
		path, typed, problem string
	}{
		{"mandates/give", "account=100&creditor=user:demo&each=1", "somebody else than the owner"},
		{"mandates/give", mandate + "each=1&until=2001-01-01", "would have ended already"},
		{"orders/give", order + "zone=Europe/Nowhere", "no time zone"},
		{"orders/give", order + "until=2001-01-01", "would never be due"},
		{"orders/give", "account=100&to=999&amount=5&every=day", "Account 999 was not found"},
	} {
		form, err := url.ParseQuery(tt.typed + "&request_id=" + url.QueryEscape(tt.typed))
		if err != nil {
			t.Fatal(err)
		}
		want := http.StatusUnprocessableEntity
		if strings.Contains(tt.problem, "not found") {
			want = http.StatusNotFound
		}
		text := v.send(want, "/console/"+tt.path, form)
		shows(t, text, tt.problem, `role="alert"`, `name="account" value="100"`)
	}
	shows(t, v.see(http.StatusOK, "/console/accounts/100"), "Nobody has a mandate on this account.",
		"No standing order pays from this account.")
}

// TestReceivedTransferIsGivenBackInTheConsole gives a transfer back in two parts, by the link
// beside it. The customer who paid it has no such link.
func TestReceivedTransferIsGivenBackInTheConsole(t *testing.T) {
	t.Parallel()
	h, alice, _ := withAlice(t)
	demo := visitorAs(t, h, "demo")
	paid := daemontest.Must(t)(h.As(t, "demo").Transfer(t.Context(), 100, 200, 2000, "rent"))
	index, _, _ := strings.Cut(paid.Receipt, " ")
	const of = "/console/accounts/200"

	if text := demo.see(http.StatusOK, "/console/accounts/100"); strings.Contains(text,
		"/console/reverse") {
		t.Errorf("a transfer can be given back by the customer who paid it:\n%s", text)
	}
	shows(t, alice.see(http.StatusOK, "/console/slips/"+index), "/console/reverse?index="+index)
	link := "/console/reverse?amount=20.00&index=" + index + "&of=200"
	for _, page := range []string{of, of + "/statement"} {
		shows(t, alice.see(http.StatusOK, page), link)
	}
	to, text := alice.follow(link)
	shows(t, text, `name="amount" value="20.00"`, `<a href="`+of+`">Cancel</a>`)
	to = strings.Replace(to, "amount=20.00", "amount=12.50", 1)
	text = alice.see(http.StatusOK, to+"&review=1&memo=too+much")
	shows(t, text, "Give back $12.50 of entry "+index+", a transfer of $20.00 from account 100 to "+
		"account 200, for “too much”. It goes back where it came from",
		"atmclient SERVER PORT reverse "+index+" 12.50 --memo 'too much'")
	form := formOf(text)
	for range 2 {
		alice.send(http.StatusSeeOther, "/console/reverse", form)
	}
	text = alice.see(http.StatusOK, of+"/statement")
	shows(t, text, `">reversed $12.50</a>`, `reverses <a href="/console/slips/`+index+`">`, "too much",
		"/console/reverse?amount=7.50&index="+index+"&of=200")
	back := regexp.MustCompile(`data-index="([0-9]+)"[^>]* data-reverses="` + index + `"`).
		FindStringSubmatch(text)
	if back == nil {
		t.Fatalf("the statement has no reversal:\n%s", text)
	}
	for _, v := range []*visitor{alice, demo} { // one of them made it
		shows(t, v.see(http.StatusOK, "/console/slips/"+back[1]), "<dt>Reverses</dt><dd>entry "+
			`<a href="/console/slips/`+index+`">`+index)
	}

	form = url.Values{"index": {index}, "amount": {"7.51"}, "request_id": {"more"}}
	shows(t, alice.send(http.StatusUnprocessableEntity, "/console/reverse", form),
		"7.50 can be reversed", `name="amount" value="7.51"`)
	form = url.Values{"index": {index}, "amount": {""}, "request_id": {"rest"}}
	alice.send(http.StatusSeeOther, "/console/reverse", form)
	text = alice.see(http.StatusOK, of)
	shows(t, text, "$50.00", "reversed $20.00")
	if strings.Contains(text, "/console/reverse?") {
		t.Errorf("what was given back can be given back again:\n%s", text)
	}
	rows, err := csv.NewReader(strings.NewReader(
		alice.see(http.StatusOK, of+"/statement.csv"))).ReadAll()
	if err != nil || len(rows) != 5 || rows[2][8] != "20.00" || rows[3][7] != index ||
		rows[0][7] != "reverses" || rows[0][8] != "reversed" {
		t.Errorf("the file has %q, %v", rows, err)
	}
}

// TestTellerReversesWhatWasMovedAndLeavesANotice reverses a deposit from the page of the account,
// and leaves a notice from the desk, which its owner reads.
func TestTellerReversesWhatWasMovedAndLeavesANotice(t *testing.T) {
	t.Parallel()
	h, alice, calls := withAlice(t)
	teller := visitorWith(t, h, "user:tina", "teller")
	typed := daemontest.Must(t)(calls.Deposit(t.Context(), 200, 900, "typo"))
	index, _, _ := strings.Cut(typed.Receipt, " ")
	link := "/console/reverse?amount=9.00&index=" + index + "&of=200"
	shows(t, teller.see(http.StatusOK, "/console/accounts/200"), link, ">Reverse<")
	if text := alice.see(http.StatusOK, "/console/accounts/200"); strings.Contains(text, link) {
		t.Errorf("a customer is offered to take a deposit back:\n%s", text)
	}
	to, _ := teller.follow(link)
	text := teller.see(http.StatusOK, to+"&review=1")
	shows(t, text, "Give back $9.00 of entry "+index+", a deposit of $9.00 to account 200.")
	teller.send(http.StatusSeeOther, "/console/reverse", formOf(text))
	shows(t, teller.see(http.StatusOK, "/console/accounts/200"), "$50.00", "reversed $9.00")

	shows(t, teller.see(http.StatusOK, "/console/desk?find=alice"),
		"/console/notices/leave?account=200", `href="/console/notices/leave"`)
	text = teller.fill("notices/leave?account=200", url.Values{"text": {"Your card is <b>here</b>"}})
	shows(t, text, "Leave this notice for the owner of account 200: “Your card is <b>here</b>”.",
		"atmclient SERVER PORT note 200 'Your card is <b>here</b>'")
	form := formOf(text)
	for range 2 {
		teller.send(http.StatusSeeOther, "/console/notices/leave", form)
	}
	text = alice.see(http.StatusOK, "/console/accounts/200")
	shows(t, text, "Your card is <b>here</b>", "user:tina")
	if strings.Count(text, "Your card is") != 1 || strings.Contains(text, "<b>here") {
		t.Errorf("the notice is shown otherwise than it was left once:\n%s", text)
	}
}

// TestNoticesAreListedNewestFirstInPages reads more notices than a page has.
func TestNoticesAreListedNewestFirstInPages(t *testing.T) {
	t.Parallel()
	h, alice, _ := withAlice(t)
	teller := visitorWith(t, h, "user:tina", "teller")
	const all = 55
	for i := range all {
		teller.send(http.StatusSeeOther, "/console/notices/leave", url.Values{
			"account": {"200"}, "text": {fmt.Sprintf("Notice %d.", i)},
			"request_id": {fmt.Sprint("notice ", i)},
		})
	}
	text := alice.see(http.StatusOK, "/console/accounts/200")
	shows(t, text, "Notice 54.", "Notice 52.", `<a href="/console/notices?account=200">All of them`)
	if strings.Contains(text, "Notice 51.") {
		t.Error("the page of the account has more than three notices")
	}
	next := "/console/notices?account=200"
	var read []string
	for next != "" {
		text = alice.see(http.StatusOK, next)
		for _, m := range regexp.MustCompile(`Notice ([0-9]+)\.`).FindAllStringSubmatch(text, -1) {
			read = append(read, m[1])
		}
		_, next, _ = strings.Cut(text, `<p><a href="?`)
		if next, _, _ = strings.Cut(next, `"`); next != "" {
			next = "/console/notices?" + strings.ReplaceAll(next, "&amp;", "&")
		}
	}
	for i, number := range read {
		if number != fmt.Sprint(all-1-i) {
			t.Fatalf("notice %d from the top is %s", i, number)
		}
	}
	if len(read) != all {
		t.Errorf("%d of %d notices are listed", len(read), all)
	}
	shows(t, visitorAs(t, h, "demo").see(http.StatusUnprocessableEntity,
		"/console/notices?account=200"), "200")
}
