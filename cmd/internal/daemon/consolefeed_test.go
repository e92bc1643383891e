//go:build unix

package daemon_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/feed/webhook"
)

// A program is where events are sent to, over TLS. It takes them unless it is broken.
type program struct {
	*httptest.Server
	t      *testing.T
	events chan sentEvent
	broken atomic.Bool

	answers sync.RWMutex // held by a test to keep the program from answering
}

// A sentEvent is a webhook that a program was sent.
type sentEvent struct {
	ID, Type string
	header   http.Header
	body     []byte
}

// feedServer starts a server with a console, and a program that it may send events to.
func feedServer(t *testing.T) (*daemontest.Server, *program) {
	t.Helper()
	p := &program{t: t, events: make(chan sentEvent, 1000)}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	ca := filepath.Join(t.TempDir(), "receiver.crt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return daemontest.Start(t, func(o *daemon.Options) {
		o.Server.Console = true
		o.Feed.AllowNet, o.Feed.CA = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, ca
	}), p
}

// ServeHTTP implements http.Handler.
func (p *program) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	e := sentEvent{header: r.Header, body: body}
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		p.t.Errorf("event: %v", err)
	}
	p.answers.RLock()
	defer p.answers.RUnlock()
	if p.broken.Load() {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	if e.Type != "atm.checkpoint" {
		p.events <- e
	}
	w.WriteHeader(http.StatusNoContent)
}

// takes returns the next event, which must be of a type and signed with each of the keys.
func (p *program) takes(kind string, keys ...string) sentEvent {
	p.t.Helper()
	select {
	case e := <-p.events:
		if e.Type != kind {
			p.t.Fatalf("an event is %s, want %s: %s", e.Type, kind, e.body)
		}
		for _, key := range keys {
			v, err := webhook.ParseVerifier(key)
			if err == nil {
				_, err = webhook.Verify(e.header, e.body, time.Now(), v)
			}
			if err != nil {
				p.t.Errorf("%s is not signed with what the console told: %v", kind, err)
			}
		}
		return e
	case <-time.After(time.Minute):
		p.t.Fatalf("no %s arrives", kind)
		return sentEvent{}
	}
}

// secrets are the secret and the public key that a page tells.
func secrets(t *testing.T, text string) []string {
	t.Helper()
	keys := regexp.MustCompile(`wh(sec|pk)_[A-Za-z0-9+/=]+`).FindAllString(
		html.UnescapeString(text), -1)
	if len(keys) == 0 {
		t.Fatalf("the page tells no secret:\n%s", text)
	}
	return keys
}

// does carries out an action of a form that asks for nothing more, or for what is typed, and
// returns the page before and the page after.
func (v *visitor) does(code int, path string, typed url.Values) (before, after string) {
	v.t.Helper()
	if typed == nil {
		_, before = v.follow("/console/" + path)
	} else {
		before = v.fill(path, typed)
	}
	path, _, _ = strings.Cut(path, "?")
	return before, v.send(code, "/console/"+path, formOf(before))
}

// waits looks at a page until it has a text.
func (v *visitor) waits(path, want string) string {
	v.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		text := v.see(http.StatusOK, path)
		if strings.Contains(text, want) {
			return text
		}
		if time.Now().After(end) {
			v.t.Fatalf("%s does not get to %q:\n%s", path, want, text)
		}
	}
}

// booksPage is the page of the subscription books.
const booksPage = "/console/feed/subscriptions/books"

// subscribes subscribes a program to deposits on account 100, under the name books.
func (v *visitor) subscribes(p *program) (before, after string) {
	v.t.Helper()
	return v.does(http.StatusOK, "feed/add?account=100", url.Values{
		"name": {"books"}, "url": {p.URL + "/atm"}, "operation": {"deposit"},
	})
}

// TestCustomerSubscribesInTheConsoleAndIsSentEvents adds a subscription to an account, which the
// pages lead to, and verifies the events that come with the secret that the console told. A form
// that is sent twice subscribes once.
func TestCustomerSubscribesInTheConsoleAndIsSentEvents(t *testing.T) {
	t.Parallel()
	h, p := feedServer(t)
	v := visitorAs(t, h, "demo")
	shows(t, v.see(http.StatusOK, "/console/"), `<a href="/console/feed">Feed</a>`,
		`<a href="/console/feed">Send what happens on them to a program</a>`)
	shows(t, v.see(http.StatusOK, "/console/accounts/100"), "/console/feed/add?account=100")
	shows(t, v.see(http.StatusOK, "/console/feed"), "You have no subscription.", "/console/feed/add",
		"atmctl feed list")

	_, form := v.follow("/console/feed/add?account=100")
	shows(t, form, `<select id="f-account" name="account" required>`,
		"<option selected>100</option></select>")
	for _, field := range []string{"owner", "subject"} {
		if strings.Contains(form, `name="`+field+`"`) {
			t.Errorf("a customer is asked for the %s:\n%s", field, form)
		}
	}
	before, after := v.subscribes(p)
	shows(t, before, "Send to "+p.URL+"/atm entries of account 100, of the operation deposit. The "+
		"subscription is called books.", "atmctl feed add books --url "+p.URL+"/atm --account 100 "+
		"--operation deposit")
	keys := secrets(t, after)
	shows(t, after, ": done.", "<dt>Secret</dt>", "<dt>Public key</dt>", "You can see it again")
	again := v.send(http.StatusOK, "/console/feed/add", formOf(before))
	if told := secrets(t, again); len(keys) != 2 || told[0] != keys[0] || told[1] != keys[1] {
		t.Errorf("the form that was sent again tells %d others", len(told))
	}
	text := v.see(http.StatusOK, "/console/feed")
	shows(t, text, `<a href="`+booksPage+`">books</a>`,
		"Entries of account 100, of the operation deposit", "active", "/console/feed/pause?name=books")
	if strings.Count(text, "/console/feed/pause") != 1 {
		t.Errorf("a form that was sent twice subscribed otherwise than once:\n%s", text)
	}
	daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), 100, 500, "books"))
	p.takes("atm.deposit", keys...)
	shows(t, v.waits(booksPage, "<dt>Last entry</dt>"), "<dt>State</dt><dd>active</dd>", p.URL+"/atm",
		"<dt>Last delivery</dt>", "<dt>Secret</dt><dd>the first one</dd>")

	_, shown := v.does(http.StatusOK, "feed/secret?name=books", nil)
	if told := secrets(t, shown); told[0] != keys[0] || told[1] != keys[1] {
		t.Error("the secret that is shown again is another one")
	}
}

// TestOwnerPausesTestsRotatesReplaysAndRemovesInTheConsole does with a subscription what its page
// leads to.
func TestOwnerPausesTestsRotatesReplaysAndRemovesInTheConsole(t *testing.T) {
	t.Parallel()
	h, p := feedServer(t)
	v, demo := visitorAs(t, h, "demo"), h.As(t, "demo")
	_, after := v.subscribes(p)
	keys := secrets(t, after)
	before, _ := v.does(http.StatusSeeOther, "feed/pause?name=books", nil)
	shows(t, before, "Pause the subscription books, which sends to "+p.URL+"/atm entries of "+
		"account 100, of the operation deposit: nothing is sent until it is resumed.",
		"atmctl feed pause books", `<a href="`+booksPage+`">Cancel</a>`)
	shows(t, v.see(http.StatusOK, booksPage), "<dd>paused</dd>", "/console/feed/resume?name=books")
	p.answers.Lock()
	v.does(http.StatusSeeOther, "feed/test?name=books", nil) // which is sent all the same
	shows(t, v.see(http.StatusOK, booksPage), "Test event 1 is on its way.",
		`<a href="`+booksPage+`">Look again</a>`)
	p.answers.Unlock()
	shows(t, v.waits(booksPage, "arrive"), "Test event 1 arrived.")
	p.takes("atm.test", keys...)
	daemontest.Must(t)(demo.Deposit(t.Context(), 100, 500, "paused"))
	v.does(http.StatusSeeOther, "feed/resume?name=books", nil)
	first := p.takes("atm.deposit", keys...)

	p.broken.Store(true)
	v.does(http.StatusSeeOther, "feed/test?name=books", nil)
	shows(t, v.waits(booksPage, "arrive"), "Test event 2 did not arrive: ", "418")
	p.broken.Store(false)

	before, after = v.does(http.StatusOK, "feed/rotate?name=books", nil)
	shows(t, before, "Replace the secret of the subscription books", "for 24 hours the one before",
		"atmctl feed rotate-secret books")
	other := secrets(t, after)
	if other[0] == keys[0] || other[1] == keys[1] {
		t.Error("the secret is the one before")
	}
	shows(t, v.see(http.StatusOK, booksPage), "replaced <time")
	before, _ = v.does(http.StatusSeeOther, "feed/replay?name=books", url.Values{"from": {"0"}})
	shows(t, before, "Send again from entry 0 on, to the subscription books",
		"atmctl feed replay books --from 0")
	if e := p.takes("atm.deposit", append(keys, other...)...); e.ID != first.ID {
		t.Errorf("event %s is sent again as %s", first.ID, e.ID)
	}
	before, _ = v.does(http.StatusSeeOther, "feed/remove?name=books", nil)
	shows(t, before, "Remove the subscription books", "nothing more is sent", `href="/console/feed"`)
	shows(t, v.see(http.StatusOK, "/console/feed"), "You have no subscription.")
	shows(t, v.see(http.StatusNotFound, booksPage), "There is no subscription books.")
	v.send(http.StatusNotFound, "/console/feed/test", url.Values{
		"name": {"books"}, "request_id": {"late"},
	})
	for _, e := range h.Entries(t) {
		if strings.Contains(string(e.Operation), "feed.") && e.Status != nil &&
			strings.Contains(fmt.Sprint(e.Status.Result), "whsec_") {
			t.Errorf("an entry of %s has a secret", e.Operation)
		}
	}
}

// TestOperatorSeesSubscriptionsOfEverybodyInTheConsole pauses, resumes and removes a subscription
// of a customer, and sees no secret of it.
func TestOperatorSeesSubscriptionsOfEverybodyInTheConsole(t *testing.T) {
	t.Parallel()
	h, p := feedServer(t)
	visitorAs(t, h, "demo").subscribes(p)
	v := visitorWith(t, h, "user:olga", "operator")
	shows(t, v.see(http.StatusOK, "/console/admin"), `<a href="/console/admin/feed">`,
		`<a href="/console/admin/feed/sources">`)
	for path, command := range map[string]string{
		"":                 "atmctl feed list --all",
		"?owner=user:demo": "atmctl feed list --owner user:demo",
	} {
		text := v.see(http.StatusOK, "/console/admin/feed"+path)
		shows(t, text, booksPage+"?owner=user%3Ademo", "user:demo", p.URL+"/atm",
			"/console/admin/feed/pause?name=books&owner=user%3Ademo", command)
	}
	shows(t, v.see(http.StatusOK, "/console/admin/feed?owner=user:tina"), "Nobody has a subscription.")
	of := booksPage + "?owner=user:demo"
	text := v.see(http.StatusOK, of)
	shows(t, text, "<dt>Owner</dt><dd>user:demo</dd>", "atmctl feed show books --owner user:demo")
	if strings.Contains(text, "/console/feed/") {
		t.Errorf("an operator is led to what owners do:\n%s", text)
	}
	for _, step := range []struct{ act, line, state string }{
		{"pause", "Pause the subscription books of user:demo, which sends to ", "paused"},
		{"resume", "Resume the subscription books of user:demo", "active"},
		{"remove", "Remove the subscription books of user:demo", ""},
	} {
		before, after := v.does(http.StatusOK,
			"admin/feed/"+step.act+"?name=books&owner=user:demo", nil)
		shows(t, before, step.line, "atmctl feed "+step.act+" books --owner user:demo")
		shows(t, after, ": done.")
		if step.state != "" {
			shows(t, v.see(http.StatusOK, of), "<dd>"+step.state+"</dd>")
		}
		shows(t, v.see(http.StatusOK, "/console/admin/status"), "<dt>Subscriptions</dt><dd>"+
			map[string]string{"pause": "1, of which 1 paused", "resume": "1", "remove": "0"}[step.act])
	}
	v.see(http.StatusNotFound, of)
	v.see(http.StatusForbidden, "/console/feed/add")
	removed := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == atm.FeedRemove && e.Caller.Subject == "user:olga" &&
			e.Status.Code == atm.OK
	})
	if removed != 1 {
		t.Errorf("%d entries say that the operator removed the subscription", removed)
	}
}

// TestOperatorKeepsSourcesOfWebhooksInTheConsole adds a source, sees its secret again, replaces it,
// and removes the source.
func TestOperatorKeepsSourcesOfWebhooksInTheConsole(t *testing.T) {
	t.Parallel()
	h, _ := feedServer(t)
	v := visitorWith(t, h, "user:olga", "operator")
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.user.add", "service:tax",
		"service"))
	shows(t, v.see(http.StatusOK, "/console/admin/feed/sources"), "There is no source.")
	before, after := v.does(http.StatusOK, "admin/feed/sources/add", url.Values{
		"name": {"notices"}, "owner": {"service:tax"},
	})
	shows(t, before, "Register the source notices of service:tax.",
		"atmctl feed source add notices --owner service:tax")
	shows(t, after, "/hooks/tax/notices", "You can see it again")
	secret := secrets(t, after)[0]
	shows(t, v.see(http.StatusOK, "/console/admin/feed/sources"), "notices", "service:tax",
		"<code>/hooks/tax/notices</code>")
	const of = "?name=notices&owner=service:tax"
	if _, text := v.does(http.StatusOK, "admin/feed/sources/secret"+of, nil); secrets(t,
		text)[0] != secret {
		t.Error("the secret that is shown again is another one")
	}
	if _, text := v.does(http.StatusOK, "admin/feed/sources/rotate"+of, nil); secrets(t,
		text)[0] == secret {
		t.Error("the secret is the one before")
	}
	v.does(http.StatusOK, "admin/feed/sources/remove"+of, nil)
	shows(t, v.see(http.StatusOK, "/console/admin/feed/sources"), "There is no source.")
}

// TestAuditorSubscribesToEverythingInTheConsole leaves every field out that selects, and then fills
// all of them in.
func TestAuditorSubscribesToEverythingInTheConsole(t *testing.T) {
	t.Parallel()
	h, p := feedServer(t)
	v := visitorWith(t, h, "user:vera", "auditor")
	shows(t, v.see(http.StatusOK, "/console/"), `<a href="/console/feed">Send entries to a program`)
	_, form := v.follow("/console/feed/add")
	shows(t, form, `<input id="f-account"`, `<input id="f-owner"`, `<input id="f-subject"`)
	shows(t, v.see(http.StatusUnprocessableEntity, "/console/feed/add?request_id=r&review=1&"+
		"name=all&url=https://a.invalid&subject=demo"), `id="p-subject"`, "Write it as user:NAME")
	before, _ := v.does(http.StatusOK, "feed/add", url.Values{
		"name": {"all"}, "url": {p.URL}, "proofs": {"1"},
	})
	shows(t, before, "Send to "+p.URL+" every entry, each with the proof that it is in the log. ")
	before, _ = v.does(http.StatusOK, "feed/add", url.Values{
		"name": {"some"}, "url": {p.URL}, "account": {"100"}, "below": {"$1,000.00"}, "above": {"5"},
		"operation": {"withdraw"}, "status": {"OK"}, "subject": {"user:demo"},
		"owner": {"user:demo"}, "from": {"0"},
	})
	const sends = "entries of account 100, of accounts of user:demo, of the operation withdraw, " +
		"that ended with OK, of what was done by user:demo, about more than $5.00, by which a " +
		"balance falls below $1,000.00"
	shows(t, before, sends+", from entry 0 on. ", "--below 1000.00 --above 5")
	shows(t, v.see(http.StatusOK, "/console/feed/subscriptions/some"), sends,
		"<dt>From entry</dt><dd>0</dd>")
	shows(t, v.see(http.StatusOK, "/console/feed"), "all", "Every entry", "some")
}

// TestFormOfASubscriptionSaysWhatIsWrong mistypes fields, and names accounts and operations that
// the bank refuses. Nothing is subscribed.
func TestFormOfASubscriptionSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	h, p := feedServer(t)
	v := visitorAs(t, h, "demo")
	good := url.Values{"name": {"books"}, "url": {p.URL}, "account": {"100"}, "request_id": {"r"}}
	with := func(field, value string) url.Values {
		form := url.Values{}
		for name := range good {
			form.Set(name, good.Get(name))
		}
		form.Set(field, value)
		form.Set("request_id", field+value)
		return form
	}
	for _, tt := range []struct{ field, value, problem string }{
		{"name", "Books", "lower-case letters"},
		{"name", "-", "lower-case letters"},
		{"name", "", "Name is missing."},
		{"url", "http://books.example.com", "Write it like https://"},
		{"url", "", "URL of the program is missing."},
		{"account", "cash:user:demo", "An account number is"},
		{"below", "0", "An amount is more than zero"},
		{"above", "1.234", "at most two digits"},
		{"status", "GOOD", "This is one of OK, ERROR."},
		{"proofs", "yes", "This is 1 or nothing."},
		{"from", "first", "This is a whole number"},
	} {
		form := with(tt.field, tt.value)
		form.Set("review", "1")
		shows(t, v.see(http.StatusUnprocessableEntity, "/console/feed/add?"+form.Encode()), tt.problem,
			`id="p-`+tt.field+`"`)
	}
	// What only the bank can tell leads back to the form as well.
	for _, tt := range []struct {
		field, value, problem string
		code                  int
	}{
		{"account", "", "Name an account of yours", http.StatusUnprocessableEntity},
		{"account", "1", "not found", http.StatusNotFound},
		{"owner", "user:demo", "names no owner", http.StatusUnprocessableEntity},
		{"operation", "dance", "There is no operation dance", http.StatusUnprocessableEntity},
		{"url", "https://user:secret@books.example.com", "", http.StatusUnprocessableEntity},
		{"url", "https://10.0.0.1/", "", http.StatusUnprocessableEntity},
		{"name", "f4711", "", http.StatusUnprocessableEntity},
		{"from", "99999", "no such entry", http.StatusUnprocessableEntity},
	} {
		text := v.send(tt.code, "/console/feed/add", with(tt.field, tt.value))
		shows(t, text, tt.problem, `role="alert"`, `<select id="f-account"`)
	}
	shows(t, v.see(http.StatusOK, "/console/feed"), "You have no subscription.")
}
