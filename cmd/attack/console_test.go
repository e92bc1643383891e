//go:build unix

package attack_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"html"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// bankOrigin is that of the console's pages, as its public URL says.
const bankOrigin = "https://localhost:4711"

// Pages of the console.
const (
	signInPage = "/console/sign-in"
	mePage     = "/console/me"
)

// sessionCookie is the name of the cookie with the secret of a session.
const sessionCookie = "__Host-atm"

// consoleArena is what attacks on the console need to know. It is guarded by arena.mu.
type consoleArena struct {
	expected map[string]expectation // by the source address of an attack
	balances map[atm.AccountID]string
	teller   *client.Client // may see every balance
	office   *client.Client // of the operator
	issuers  string         // file of them
}

// An expectation is what the audit log must say of an attack in the end.
type expectation struct {
	entry string // as said of an entry; empty for anything
	times int
}

// looks are operations that a page does to show something to a caller who may see it. Their
// success is no success of an attack.
var looks = []atm.Operation{
	atm.Inquiry, atm.Statement, atm.PasskeyList, atm.SessionList, atm.MandateList, atm.OrderList,
	atm.OrderShow, atm.Notices, atm.FeedShow, atm.FeedList,
}

// said is an entry in few words, such as "transfer NOT_CONFIRMED".
func said(e *audit.Entry) string {
	if e.Event == audit.EventAuthFail {
		return "auth.fail " + e.Reason
	}
	if e.Status == nil {
		return string(e.Event)
	}
	return string(e.Operation) + " " + string(e.Status.Code)
}

// expect demands that the log has so many entries from an address that say this, and none of an
// operation with an effect.
func (a *arena) expect(from *net.TCPAddr, entry string, times int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expected[from.IP.String()] = expectation{entry, times}
}

// checkExpected holds the entries of the log against what is expected of each attack.
func (a *arena) checkExpected(t *testing.T, entries []*audit.Entry) {
	t.Helper()
	found := make(map[string]int)
	for _, e := range entries {
		from := e.Source
		if e.Caller != nil {
			from = e.Caller.IP
		}
		if want, is := a.expected[from]; is && said(e) == want.entry {
			found[from]++
		}
	}
	for from, want := range a.expected {
		if want.entry != "" && found[from] != want.times {
			var all []string
			for _, e := range entries {
				if e.Source == from || e.Caller != nil && e.Caller.IP == from {
					all = append(all, said(e))
				}
			}
			t.Errorf("%s: %d entries say %q, want %d: %.40q", a.names[from], found[from],
				want.entry, want.times, all)
		}
	}
}

// onlyLooked reports whether an entry of an attack on the console says only that a page was shown
// to its owner.
func (a *arena) onlyLooked(e *audit.Entry) bool {
	_, console := a.expected[e.Caller.IP]
	return console && len(e.State) == 0 && (slices.Contains(looks, e.Operation) ||
		e.Event == audit.EventAuditRead)
}

// unmoved requires that no account of the arena has another balance than before, or than the last
// attack that moved money left.
func (a *arena) unmoved(t *testing.T) {
	t.Helper()
	for id, want := range a.balances {
		if got := daemontest.Must(t)(a.teller.Inquiry(t.Context(), id)); got.Text() != want {
			t.Errorf("account %v holds %s, not %s", id, got.Text(), want)
			a.balances[id] = got.Text()
		}
	}
}

// An authenticator is a device with a passkey.
type authenticator = daemontest.Authenticator

// A tab is a browser, or an attacker who has what a browser has. It follows no redirect.
type tab struct {
	*arena
	subject string // of the user who signs in here
	device  *authenticator
	agent   string
	cookies map[string]string
	from    *net.TCPAddr
	account string // of subject, if there is one
}

// stranger is a new browser of somebody who has not signed in.
func (a *arena) stranger() *tab {
	return &tab{
		arena: a, agent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
		cookies: make(map[string]string), from: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1).To4()},
	}
}

// at is the same browser, with the same cookies, at another address.
func (b *tab) at(from *net.TCPAddr) *tab {
	other := *b
	other.from, other.cookies = from, maps.Clone(b.cookies)
	return &other
}

// attacker is the address of an attack, which must have no effect.
func (a *arena) attacker(t *testing.T) *net.TCPAddr {
	from := a.address(t.Name())
	a.expect(from, "", 0)
	return from
}

// An answer is what a server has sent.
type answer struct {
	code   int // 0 for none
	header http.Header
	page   string
}

// write writes a request. Each header line takes the place of the usual ones of its name.
func (b *tab) write(method, path, body string, header ...string) string {
	lines := []string{"Host: localhost", "Connection: close", "User-Agent: " + b.agent}
	var cookies []string
	for _, name := range slices.Sorted(maps.Keys(b.cookies)) {
		cookies = append(cookies, name+"="+b.cookies[name])
	}
	if cookies != nil {
		lines = append(lines, "Cookie: "+strings.Join(cookies, "; "))
	}
	if body != "" || method == http.MethodPost {
		lines = append(lines, "Content-Type: application/x-www-form-urlencoded",
			fmt.Sprintf("Content-Length: %d", len(body)))
	}
	lines = slices.DeleteFunc(lines, func(line string) bool {
		name, _, _ := strings.Cut(line, ":")
		return slices.ContainsFunc(header, func(other string) bool {
			return strings.HasPrefix(strings.ToLower(other), strings.ToLower(name)+":")
		})
	})
	return method + " " + path + " HTTP/1.1\r\n" + strings.Join(append(lines, header...), "\r\n") +
		"\r\n\r\n" + body[:min(len(body), sent)]
}

// sent is how much of a large body is sent: more than a form may have. A server that read all of
// it would wait for the rest.
const sent = 9 << 10

// send sends a request.
func (b *tab) send(t *testing.T, request string) answer {
	t.Helper()
	code, text := b.exchange(t, b.from, nil, request)
	return parsed(t, code, text, request)
}

func parsed(t *testing.T, code int, text, request string) answer {
	t.Helper()
	if code <= 0 {
		return answer{code: code, page: text}
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)),
		&http.Request{Method: method})
	if err != nil {
		t.Fatalf("the answer %.300q: %v", text, err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("the answer %.300q: %v", text, err)
	}
	return answer{resp.StatusCode, resp.Header, string(page)}
}

// get asks for a page and post sends a form, as a browser does, and both keep its cookies.
func (b *tab) get(t *testing.T, path string) answer {
	t.Helper()
	return b.keep(b.send(t, b.write(http.MethodGet, path, "")))
}

func (b *tab) post(t *testing.T, path string, form url.Values) answer {
	t.Helper()
	return b.keep(b.send(t, b.write(http.MethodPost, path, form.Encode())))
}

func (b *tab) keep(got answer) answer {
	for _, cookie := range (&http.Response{Header: got.header}).Cookies() {
		if b.cookies[cookie.Name] = cookie.Value; cookie.MaxAge < 0 {
			delete(b.cookies, cookie.Name)
		}
	}
	return got
}

// must is got, which has to have this code.
func must(t *testing.T, got answer, code int) answer {
	t.Helper()
	if got.code != code {
		t.Fatalf("answered %d, not %d: %.700s", got.code, code, got.page)
	}
	return got
}

var (
	askedFor = regexp.MustCompile(`data-options="([^"]*)"`)
	stateOf  = regexp.MustCompile(`name="state" value="([^"]*)"`)
)

// ceremony opens a page, and returns what it asks a passkey for, and the sealed challenge as a
// form.
func (b *tab) ceremony(t *testing.T, path string) (asked string, form url.Values) {
	t.Helper()
	page := b.get(t, path)
	options, state := askedFor.FindStringSubmatch(page.page), stateOf.FindStringSubmatch(page.page)
	if options == nil || state == nil {
		t.Fatalf("%s asks for no passkey: %d %.900s", path, page.code, page.page)
	}
	return html.UnescapeString(options[1]), url.Values{"state": {state[1]}}
}

// newDevice is a device with a passkey for the bank, which has none yet.
func newDevice(t *testing.T) *authenticator {
	t.Helper()
	return daemontest.NewAuthenticator(t, bankOrigin, "localhost")
}

// invitation is the page of a new invitation.
func (a *arena) invitation(t *testing.T, subject, roles string) string {
	t.Helper()
	record, _ := daemontest.Must(t)(a.office.Call(t.Context(), "admin.cert.invite",
		subject, roles)).Result.(map[string]any)
	return "/console/invite/" + fmt.Sprint(record["code"])
}

// person is a browser in which a new user has signed in with a passkey. The user has an account
// with $100 unless its number is empty.
func (a *arena) person(t *testing.T, name, roles, account string) *tab {
	t.Helper()
	b := a.stranger()
	b.subject, b.device, b.account = "user:"+name, newDevice(t), account
	path := a.invitation(t, b.subject, roles)
	asked, form := b.ceremony(t, path)
	form.Set("response", b.device.Create(t, asked))
	form.Set("name", "Phone")
	must(t, b.post(t, path, form), http.StatusSeeOther)
	if account != "" {
		daemontest.Must(t)(a.office.Call(t.Context(), "admin.account.open", account,
			b.subject, "100"))
		id, _ := atm.ParseAccountID(account)
		a.balances[id] = "100.00"
	}
	b.signIn(t)
	return b
}

// signIn begins a session with the passkey of the tab's user.
func (b *tab) signIn(t *testing.T) {
	t.Helper()
	asked, form := b.ceremony(t, signInPage)
	form.Set("response", b.device.Sign(t, asked))
	must(t, b.post(t, signInPage, form), http.StatusSeeOther)
}

// act is the path that acts on the account of the tab's user.
func (b *tab) act() string { return "/console/accounts/" + b.account + "/act" }

// moneyForm is a form that would move money, if it were let.
func moneyForm(act, amount string) url.Values {
	return url.Values{"act": {act}, "amount": {amount}, "request_id": {rand.Text()}}
}

// refused requires that an attack got this answer, no session, and nothing that it wrote itself.
func (a *arena) refused(t *testing.T, got answer, want int, says string) {
	t.Helper()
	if got.code != want || !strings.Contains(got.page, says) {
		t.Errorf("answered %d %.300q, not %d %q", got.code, main(got.page), want, says)
	}
	for _, cookie := range (&http.Response{Header: got.header}).Cookies() {
		if cookie.Name == sessionCookie && cookie.Value != "" {
			t.Error("a session has begun")
		}
	}
	if strings.Contains(got.page, "<script>alert") || got.header.Get("X-Evil") != "" {
		t.Errorf("the answer has what was sent: %q %q", got.header, got.page)
	}
	a.unmoved(t)
}

// A formAttack is a request to the console that must not succeed.
type formAttack struct {
	name   string
	by     *tab     // whose cookies are sent; nil for a stranger
	path   string   // if empty, an act on the account of by
	method string   // if empty, POST
	header []string // in place of the usual lines
	query  url.Values

	// form is sent, or body. If both are empty, a withdrawal by a new request id is.
	form url.Values
	body string

	want  int
	says  string // text in the page
	entry string // what exactly one entry says of it; empty for anything
}

// runForms sends attacks and checks each answer.
func (a *arena) runForms(t *testing.T, attacks []formAttack) {
	t.Helper()
	for _, at := range attacks {
		t.Run(at.name, func(t *testing.T) {
			from := a.attacker(t)
			a.expect(from, at.entry, 1)
			by := at.by
			if by == nil {
				by = a.stranger()
			}
			a.refused(t, by.at(from).send(t, at.write(by)), at.want, at.says)
		})
	}
}

// write is the request of an attack.
func (at *formAttack) write(by *tab) string {
	method, path, body := at.method, at.path, at.body
	if method == "" {
		method = http.MethodPost
	}
	if path == "" {
		path = by.act()
	}
	if at.query != nil {
		path += "?" + at.query.Encode()
	}
	switch {
	case at.form != nil:
		body = at.form.Encode()
	case body == "" && method == http.MethodPost:
		body = moneyForm("withdraw", "1.00").Encode()
	}
	return by.write(method, path, body, at.header...)
}

// main is what a page says beside its frame.
func main(page string) string {
	if _, inner, framed := strings.Cut(page, `<main id="main">`); framed {
		return inner
	}
	return page
}
