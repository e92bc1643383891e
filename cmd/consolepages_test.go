//go:build unix

package cmd_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"github.com/chromedp/chromedp"
)

// pageBytes bounds a page with everything that it loads.
const pageBytes = 60 << 10

// consolePages are the pages of the console that each role uses, after the prefix.
var consolePages = map[string][]string{
	"demo": {
		"", "accounts/100", "accounts/100/statement", "accounts/100/review?act=withdraw&amount=x&" +
			"request_id=r", "grants", "grants/give?request_id=r&account=100",
		"grants/give?request_id=r&account=100&cap=x&review=1", "me", "sign-in",
		"mandates?account=100", "mandates", "mandates/give?request_id=r&account=100",
		"mandates/give?request_id=r&account=100&until=x&review=1",
		"mandates/give?request_id=r&account=100&creditor=user:tina&each=5&review=1",
		"mandates/revoke?of=100&mandate=MANDATE", "orders?account=100",
		"orders/give?request_id=r&account=100", "orders/give?request_id=r&account=100&on=x&review=1",
		"orders/cancel?of=100&order=ORDER", "notices?account=100", "slips/REVERSAL",
		"slips/COLLECTED", "feed", "feed/add?request_id=r&account=100",
		"feed/add?request_id=r&account=100&url=x&proofs=2&review=1",
		"feed/add?request_id=r&account=100&name=b&url=https://books.example.com/&below=5&review=1",
		"feed/subscriptions/books", "feed/replay?name=books", "feed/secret?name=books",
		"feed/rotate?name=books", "feed/subscriptions/nothing",
	},
	"tina": {
		"", "desk", "desk?find=demo", "holds", "holds/capture?hold=HOLD", "holds/release?hold=HOLD", "accounts/100",
		"accounts/100/statement", "notices/leave?account=100", "reverse?of=100&index=PAID&amount=4.00",
		"reverse?of=100&index=PAID&amount=4.00&request_id=r&review=1",
	},
	"operator": {
		"", "admin", "admin/status", "admin/users", "admin/users/add?request_id=r",
		"admin/users/add?request_id=r&subject=x&review=1", "admin/users/disable?subject=user:tina",
		"admin/accounts", "admin/accounts?owner=nobody", "admin/accounts/limit?account=100",
		"admin/accounts/freeze?account=100", "admin/certificates", "admin/certificates/issue",
		"admin/tokens", "admin/sessions",
		"admin/sessions?subject=user:demo", "admin/passkeys?subject=user:demo", "log", "log?account=100&status=OK", "log?since=soon", "log?follow=1",
		"log/verify", "log/reconcile", "log/3", "feed", "feed/add?request_id=r", "admin/feed",
		"admin/feed?owner=nobody", "feed/subscriptions/books?owner=user:demo",
		"admin/feed/remove?name=books&owner=user:demo", "admin/feed/sources",
		"admin/feed/sources/add?request_id=r&owner=x&review=1",
		"admin/feed/sources/secret?name=notices&owner=service:gas",
	},
}

// widePages are those whose tables have to fit on a screen that is no phone's.
var widePages = []string{"accounts/100", "feed", "admin/feed", "admin/feed/sources"}

// asideOfTables names the tables of which a part is out of sight.
const asideOfTables = `[...document.querySelectorAll(".scroll")]
	.filter(e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel).join()`

// TestEachPageIsAccessibleAndFits visits the pages of each role through atmctl console. axe-core
// finds nothing, in the dark or in the light; no page and no table is wider than a phone, none has
// more bytes than it may, and none offers what works at the address of the server alone.
func TestEachPageIsAccessibleAndFits(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	s := startServer(t)
	hold, err := s.demo(t, 1).Authorize(t.Context(), 100, 3000, time.Hour,
		atm.RequestID("hold-for-the-page"))
	if err != nil {
		t.Fatal(err)
	}
	for range 60 { // so that lists are full
		if _, err := s.demo(t, 1).Deposit(t.Context(), 100, 1,
			atm.RequestID(atm.NewUUID(time.Now()))); err != nil {
			t.Fatal(err)
		}
	}
	tina := s.command("atmctl", "cert", "issue", "user:tina", "--role", "teller", "--out",
		"atm-data/clients/tina")
	if out, err := tina.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	about := strings.NewReplacer(append(agreed(t, s), "HOLD", hold.Text())...)
	for role, paths := range consolePages {
		link, err := url.Parse(s.openConsole(t, role))
		if err != nil {
			t.Fatal(err)
		}
		b.do(chromedp.EmulateViewport(360, 740), chromedp.Navigate(link.String()),
			chromedp.WaitVisible("footer"))
		for _, path := range paths {
			path = about.Replace(path)
			b.do(chromedp.Navigate(link.Scheme+"://"+link.Host+"/console/"+path),
				chromedp.WaitVisible("footer"))
			got := b.text("h1")
			if strings.HasSuffix(path, "/nothing") != (got == "Not Found") || got == "Forbidden" {
				t.Errorf("%s, %s: %s", role, path, got)
			}
			if strings.HasPrefix(path, "feed/secret") { // what its form leads to has the secret
				b.leave("main form button")
				b.do(chromedp.WaitVisible("dl code"))
			}
			for _, dark := range []bool{true, false} {
				b.do(scheme(dark))
				b.accessible()
			}
			if role == "demo" && path == "accounts/100" {
				b.do(chromedp.EmulateViewport(1080, 640))
				result(b, chromedp.Evaluate[int](`[...document.querySelectorAll("h2")].find(
					e => e.textContent === "Mandates").scrollIntoView(); 0`))
				b.picture("console-payments.png", 1080, 640, false)
				b.do(chromedp.EmulateViewport(360, 740))
			}
			if slices.Contains(widePages, path) {
				b.do(chromedp.EmulateViewport(1080, 640))
				if aside := result(b, chromedp.Evaluate[string](asideOfTables)); aside != "" {
					t.Errorf("%s, %s: a wide page shows a part of this table alone: %s", role, path,
						aside)
				}
				b.do(chromedp.EmulateViewport(360, 740))
			}
			if result(b, chromedp.Evaluate[bool](`[...document.querySelectorAll(
				"form[data-passkey] button")].some(e => e.checkVisibility())`)) {
				t.Errorf("%s, %s has a button for a passkey", role, path)
			}
			wide := result(b, chromedp.Evaluate[int](`document.documentElement.scrollWidth`))
			if wide > 360 {
				t.Errorf("%s, %s is %d pixels wide on a phone", role, path, wide)
			}
			aside := result(b, chromedp.Evaluate[string](asideOfTables))
			if aside != "" {
				t.Errorf("%s, %s: a phone shows a part of this table alone: %s", role, path, aside)
			}
			size := result(b, chromedp.Evaluate[int](
				`performance.getEntries().reduce((n, e) => n + (e.encodedBodySize ?? 0), 0)`))
			if size == 0 || size > pageBytes {
				t.Errorf("%s, %s has %d bytes", role, path, size)
			}
		}
	}
}

// agreed makes a mandate, a collection, a standing order, a notice, a transfer and its reversal on
// account 100, and returns what pages about them have in their paths.
func agreed(t *testing.T, s *server) []string {
	t.Helper()
	s.atmctl(t, "HOME="+s.dir, "cert", "issue", "service:gas", "--role", "service", "--out",
		"atm-data/clients/gas")
	s.atmctl(t, "HOME="+s.dir, "account", "open", "300", "--owner", "service:gas", "--opening", "50")
	demo, tina := s.demo(t, 1), s.as(t, "tina", 1)
	must := func(a *client.Answer, err error) *client.Answer {
		t.Helper()
		if err != nil || !a.OK() {
			t.Fatalf("%v, %v", a, err)
		}
		return a
	}
	indexOf := func(a *client.Answer) string {
		index, _, _ := strings.Cut(a.Receipt, " ")
		return index
	}
	const memo = "Gas & water, the flat in the old mill"
	mandate := must(demo.CreateMandate(t.Context(), 100, client.MandateTerms{
		Creditor: "service:gas", Each: 5000, Total: 8000, Period: "month", Until: "2999-12-31",
		Memo: memo,
	}, "mandate")).Text()
	order := must(demo.CreateOrder(t.Context(), 100, client.OrderTerms{
		To: 300, Amount: 2500, Every: "month", On: "31", At: "06:30",
		Zone: "America/Argentina/Buenos_Aires", Memo: "Rent",
	}, "order")).Text()
	collected := must(s.as(t, "gas", 1).Collect(t.Context(), mandate, 3000, 300, "collected"))
	must(tina.Note(t.Context(), 100, "Your meter is read on Monday between eight and ten.", "note"))
	paid := indexOf(must(demo.Transfer(t.Context(), 100, 300, 500, "paid", client.Memo(memo))))
	reversal := must(tina.Reverse(t.Context(), paid, 100, "reversed"))
	must(demo.Call(t.Context(), "feed.add", "books",
		"https://a-long-name-of-a-receiver.books.example.com/atm/events/of/the/account/100",
		map[string]any{"account": "100", "operation": "transfer", "below": "100", "proofs": 1}))
	must(demo.Call(t.Context(), "feed.test", "books"))
	must(s.as(t, "operator", 1).Call(t.Context(), "feed.source.add", "notices", "service:gas"))
	return []string{
		"MANDATE", mandate, "ORDER", order, "PAID", paid, "COLLECTED", indexOf(collected),
		"REVERSAL", indexOf(reversal),
	}
}

// TestStatementIsVerifiedAsAWholeInABrowser verifies a statement in the page, and changes an
// amount in it: the row and the sum turn red.
func TestStatementIsVerifiedAsAWholeInABrowser(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	s := startServer(t)
	c := s.demo(t, 1)
	var last *client.Answer
	for range 3 {
		var err error
		if last, err = c.Withdraw(t.Context(), 100, 1250, atm.RequestID(atm.NewUUID(time.Now())),
			client.Memo(`<b>"Rent" & water</b>`)); err != nil {
			t.Fatal(err)
		}
	}
	s.atmctl(t, "HOME="+s.dir, "cert", "issue", "user:tina", "--role", "teller", "--out",
		"atm-data/clients/tina")
	index, _, _ := strings.Cut(last.Receipt, " ")
	if _, err := s.as(t, "tina", 1).Reverse(t.Context(), index, 250, "back"); err != nil {
		t.Fatal(err)
	}
	link, err := url.Parse(s.openConsole(t, "operator")) // also an auditor
	if err != nil {
		t.Fatal(err)
	}
	at := link.Scheme + "://" + link.Host + "/console/accounts/100/statement"
	b.do(chromedp.Navigate(link.String()), chromedp.WaitVisible("footer"),
		chromedp.Navigate(at), chromedp.Click("#statement-verdict button"), // which offers a key
		chromedp.WaitVisible("#statement-verdict code"),
		chromedp.Click("#statement-verdict button"),
		chromedp.WaitVisible("#statement-verdict[data-state=right]"))
	if got, want := b.text("#statement-verdict"), "Verified in this browser: 5 of 5 movements. "+
		"Each balance follows from the one before."; got != want {
		t.Errorf("the statement: %s", got)
	}
	b.accessible()
	for what, change := range map[string]string{
		"an amount":  `document.querySelector("tr[data-index]").dataset.amount = "-12.51"; 0`,
		"a movement": `document.querySelectorAll("tr[data-index]")[1].remove(); 0`,
		"a memo":     `document.querySelector("#statement .memo").textContent += "."; 0`,
		"a reversal": `document.querySelector("[data-reverses]").dataset.reverses = "1"; 0`,
	} {
		b.do(chromedp.Navigate(at), chromedp.WaitVisible("#statement-verdict button"))
		result(b, chromedp.Evaluate[int](change))
		b.do(chromedp.Click("#statement-verdict button"),
			chromedp.WaitVisible("#statement-verdict[data-state=wrong]"))
		if got := b.text("#statement-verdict"); !strings.Contains(got, "entry ") {
			t.Errorf("after %s was changed: %s", what, got)
		}
	}
	b.do(chromedp.Navigate(at+"?print=1"), chromedp.WaitVisible("#statement"))
	if shown := result(b, chromedp.Evaluate[int](`[...document.querySelectorAll(
		"nav, form, footer, button")].filter(e => e.checkVisibility()).length`)); shown != 0 {
		t.Errorf("the print view shows %d parts of a screen", shown)
	}
	b.accessible()
}

// TestAuditorFollowsReconcilesAndExportsInABrowser opens the log, sees an entry come and turn
// green by itself, and works the balances out. A balance that the page was told wrong is found.
func TestAuditorFollowsReconcilesAndExportsInABrowser(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	s := startServer(t)
	link, err := url.Parse(s.openConsole(t, "operator"))
	if err != nil {
		t.Fatal(err)
	}
	c, id := s.demo(t, 1), atm.RequestID(atm.NewUUID(time.Now()))
	for range 2 { // the second is a replay
		if a, err := c.Withdraw(t.Context(), 100, 99_999_999, id); err != nil ||
			a.Code != atm.InsufficientFunds {
			t.Fatalf("more than there is: %v, %v", a.Code, err)
		}
	}
	at := func(path string) string { return link.Scheme + "://" + link.Host + "/console/" + path }
	b.do(chromedp.Navigate(link.String()), chromedp.WaitVisible("footer"),
		chromedp.Navigate(at("log?follow=1&account=100")),
		chromedp.WaitVisible("#rows-verdict button"), chromedp.Click("#rows-verdict button"),
		chromedp.WaitVisible("#rows-verdict[data-state=right]"))
	if got := b.text("#rows tbody"); !strings.Contains(got, "(repeated: the answer of entry ") {
		t.Errorf("a replay is shown as %s", got)
	}
	answer, err := c.Deposit(t.Context(), 100, 777,
		atm.RequestID(atm.NewUUID(time.Now())))
	if err != nil {
		t.Fatal(err)
	}
	index, _, _ := strings.Cut(answer.Receipt, " ")
	b.do(chromedp.WaitVisible(`#rows tr[data-index="` + index + `"][data-state=right]`))
	if got := b.text(`#rows tr[data-index="` + index + `"]`); !strings.Contains(got, "+7.77") {
		t.Errorf("the new row says %s", got)
	}
	rows := result(b, chromedp.Evaluate[int](`document.querySelectorAll("#rows tr[data-index]").length`))
	result(b, chromedp.Poll[bool](fmt.Sprintf(`document.getElementById("rows-verdict").textContent
		.startsWith("%d of %[1]d rows are verified in this browser, in a log of ")`, rows)))
	b.accessible()
	state := result(b, chromedp.Evaluate[string](`(async () => {
		const row = document.querySelector("#rows tr[data-index]"), index = Number(row.dataset.index);
		row.cells[3].textContent = "user:mallory";
		const { verifyRow } = await import("/console/assets/page.mjs");
		const rows = await fetch("/console/log/rows?before=" + (index + 1) + "&after=" + (index - 1));
		await verifyRow(row, (await rows.json())[0].Leaf);
		return row.dataset.state + ": " + row.querySelector(".mark").textContent;
	})()`, chromedp.EvalAwaitPromise))
	if want := "wrong: the row does not show what entry " + index + " says."; state != want {
		t.Errorf("a row that names another caller is %s", state)
	}

	b.do(chromedp.Navigate(at("log")), chromedp.WaitVisible("#rows-verdict[data-state=right]"),
		chromedp.Navigate(at("log/reconcile")), chromedp.WaitVisible("#start"),
		chromedp.Click("#start"), chromedp.WaitVisible("#verdict[data-state=right]"))
	if got := b.text("#verdict"); !strings.HasPrefix(got, "Reconciled in this browser: ") {
		t.Errorf("reconciled: %s", got)
	}
	b.accessible()
	b.do(chromedp.Navigate(at("log/reconcile")), chromedp.WaitVisible("#start"))
	result(b, chromedp.Evaluate[int](`document.getElementById("whole").dataset.hash =
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; 0`))
	b.do(chromedp.Click("#start"), chromedp.WaitVisible("#verdict[data-state=wrong]"))
	if got := b.text("#verdict"); !strings.HasPrefix(got, "the balances of the bank are not") {
		t.Errorf("another balance: %s", got)
	}

	b.do(chromedp.Navigate(at("log/"+index)), chromedp.WaitVisible("svg.path"))
	if got := result(b, chromedp.Evaluate[string](
		`document.querySelector("svg.path text:last-of-type").textContent`)); got != "entry "+index {
		t.Errorf("the path begins at %s", got)
	}
}
