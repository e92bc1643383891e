//go:build unix

package daemon_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// A gasworks sends webhooks from the source "notices" of service:gas, which has a mandate on
// account 100. It signs them by hand, as Standard Webhooks say.
type gasworks struct {
	*market
	t       *testing.T
	h       *daemontest.Server
	http    *http.Client
	mandate string
	source  string // id
	secret  string
}

func newGasworks(t *testing.T) *gasworks {
	t.Helper()
	h := daemontest.Start(t, nil)
	g := &gasworks{market: newMarket(t, h), t: t, h: h}
	nobody := h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	g.http = daemontest.HTTPClient(t, nobody)
	g.source = daemontest.Must(t)(g.operator[0].Call(t.Context(), "feed.source.add", "notices",
		"service:gas")).Text()
	g.secret = g.told()
	g.mandate = daemontest.Must(t)(g.demo[0].CreateMandate(t.Context(), 100, client.MandateTerms{
		Creditor: "service:gas", Total: 10_00, Period: "month",
	}, "mandate")).Text()
	daemontest.AwaitReplicas()
	return g
}

// told is the secret of the source that the server tells.
func (g *gasworks) told() string {
	g.t.Helper()
	record, _ := daemontest.Must(g.t)(g.operator[0].Call(g.t.Context(), "feed.source.secret",
		"notices", "service:gas")).Result.(map[string]any)
	secret, _ := record["secret"].(string)
	if record["path"] != "/hooks/gas/notices" || !strings.HasPrefix(secret, "whsec_") {
		g.t.Fatalf("%+v", record)
	}
	return secret
}

// A hook is a webhook.
type hook struct {
	path, id, body string
	secret         string
	age            time.Duration
	method         string
	change         func(*http.Request)
}

// good is a webhook with nothing wrong.
func (g *gasworks) good(id string) hook {
	return hook{
		path: "/hooks/gas/notices", id: id, secret: g.secret, method: http.MethodPost,
		body: `{"account": 100, "text": "Your meter is read on Monday."}`,
	}
}

func (w hook) sign(h http.Header, at time.Time) error {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(w.secret, "whsec_"))
	if err != nil {
		return err
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.%s", w.id, stamp, w.body)
	h.Set("webhook-id", w.id)
	h.Set("webhook-timestamp", stamp)
	h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return nil
}

// A hookAnswer is what a webhook is answered.
type hookAnswer struct {
	status int
	header http.Header
	text   string
	Status string
	Code   atm.Code
	// Receipt is the same for all that were answered once.
	Receipt string
}

func (g *gasworks) send(w hook) hookAnswer {
	g.t.Helper()
	a, err := g.try(w)
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

func (g *gasworks) try(w hook) (a hookAnswer, err error) {
	req, err := http.NewRequestWithContext(g.t.Context(), w.method, "https://"+g.h.Addr+w.path,
		strings.NewReader(w.body))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/json")
	if err := w.sign(req.Header, time.Now().Add(-w.age)); err != nil {
		return a, err
	}
	if w.change != nil {
		w.change(req)
	}
	resp, err := g.http.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	a.status, a.header, a.text = resp.StatusCode, resp.Header, string(text)
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		err = json.Unmarshal(text, &a)
	}
	return a, err
}

// notices are the texts of the notices on account 100, the newest first.
func (g *gasworks) notices() (texts []string) {
	g.t.Helper()
	answer := daemontest.Must(g.t)(g.demo[0].Notices(g.t.Context(), 100, 50, ""))
	page, _ := answer.Result.(map[string]any)
	list, _ := page["entries"].([]any)
	for _, row := range list {
		notice, _ := row.(map[string]any)
		text, _ := notice["text"].(string)
		texts = append(texts, text)
	}
	return texts
}

// TestWebhookIsOneNoticeHoweverOftenItArrives sends one webhook twenty times at once, and once
// more with a new timestamp. The same id with another text is refused.
func TestWebhookIsOneNoticeHoweverOftenItArrives(t *testing.T) {
	t.Parallel()
	g := newGasworks(t)
	var wg sync.WaitGroup
	answers := make([]hookAnswer, 20)
	for i := range answers {
		wg.Go(func() {
			var err error
			if answers[i], err = g.try(g.good("msg_1")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	again := g.good("msg_1")
	again.age = time.Minute
	receipts := make(map[string]bool)
	for _, a := range append(answers, g.send(again)) {
		if a.status != http.StatusOK || a.Code != atm.OK || a.Status != "OK" {
			t.Errorf("%+v", a)
		}
		receipts[a.Receipt] = true
	}
	if len(receipts) != 1 || receipts[""] {
		t.Errorf("receipts %v", receipts)
	}
	other := g.good("msg_1")
	other.body = `{"account": 100, "text": "Another text."}`
	if a := g.send(other); a.status != http.StatusConflict || a.Code != atm.IdempotencyConflict {
		t.Errorf("the same id with another text: %+v", a)
	}
	quoted := g.good("msg_2")
	quoted.body = `{"text": "The second.", "account": "100"}`
	if a := g.send(quoted); a.status != http.StatusOK {
		t.Errorf("an account in quotation marks: %+v", a)
	}
	if got := strings.Join(g.notices(), "|"); got != "The second.|Your meter is read on Monday." {
		t.Errorf("notices %q", got)
	}
	signed := daemontest.Count(g.h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == atm.Notify && e.Status != nil && e.Status.Code == atm.OK &&
			e.ReplayOf < 0 && e.Caller.Subject == "service:gas" &&
			e.Caller.Method == "webhook" && e.Caller.ID == g.source && e.Caller.IP == "127.0.0.1"
	})
	if signed != 2 {
		t.Errorf("%d entries name the source", signed)
	}
}

// TestIDsOfWebhooksAreNobodyElses uses the id of a webhook for one of another source, and as the
// request id of a call of the service: a thief of one source alone must not be able to
// keep the service from collecting.
func TestIDsOfWebhooksAreNobodyElses(t *testing.T) {
	t.Parallel()
	g := newGasworks(t)
	daemontest.Must(t)(g.operator[0].Call(t.Context(), "feed.source.add", "meters", "service:gas"))
	record, _ := daemontest.Must(t)(g.operator[0].Call(t.Context(), "feed.source.secret",
		"meters", "service:gas")).Result.(map[string]any)
	other := g.good("invoice-1")
	other.path, other.secret = "/hooks/gas/meters", record["secret"].(string)
	other.body = `{"account": 100, "text": "From the other source."}`
	for _, w := range []hook{other, g.good("invoice-1"), g.good(strings.Repeat("~", 128))} {
		if a := g.send(w); a.status != http.StatusOK {
			t.Errorf("%s: %+v", w.path, a)
		}
	}
	a := daemontest.Must(t)(g.gas[0].Call(t.Context(), "collect", g.mandate, "1.00", "300",
		"invoice-1"))
	if !a.OK() {
		t.Errorf("the service cannot collect: %+v", a)
	}
}

// nobodysHook is all that a sender is told whose webhook is of no source.
const nobodysHook = "There is no such source, or the webhook is not signed by it, or it is more " +
	"than five minutes old.\n"

// TestWebhookThatIsNotGoodLeavesNoNotice sends what a source does not send.
func TestWebhookThatIsNotGoodLeavesNoNotice(t *testing.T) {
	t.Parallel()
	g := newGasworks(t)
	header := func(name, value string) func(*hook) {
		return func(w *hook) { w.change = func(r *http.Request) { r.Header.Set(name, value) } }
	}
	body := func(text string) func(*hook) { return func(w *hook) { w.body = text } }
	path := func(path string) func(*hook) { return func(w *hook) { w.path = path } }
	for _, tt := range []struct {
		name   string
		change func(*hook)
		want   int
	}{
		{"another secret", func(w *hook) {
			w.secret = "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
		}, 401},
		{"a signature of another text", func(w *hook) {
			w.change = func(r *http.Request) {
				text := strings.Replace(w.body, "Monday", "Friday", 1)
				r.Body = io.NopCloser(strings.NewReader(text))
			}
		}, 401},
		{"another id than was signed", header("webhook-id", "other"), 401},
		{"another time than was signed", func(w *hook) {
			w.change = func(r *http.Request) {
				signed, _ := strconv.ParseInt(r.Header.Get("webhook-timestamp"), 10, 64)
				r.Header.Set("webhook-timestamp", strconv.FormatInt(signed+1, 10))
			}
		}, 401},
		{"no signature", header("webhook-signature", ""), 401},
		{"two ids", func(w *hook) {
			w.change = func(r *http.Request) { r.Header.Add("webhook-id", w.id) }
		}, 401},
		{"an id with a space", func(w *hook) { w.id = "a b" }, 401},
		{"an id that is too long", func(w *hook) { w.id = strings.Repeat("x", 129) }, 401},
		{"six minutes old", func(w *hook) { w.age = 6 * time.Minute }, 401},
		{"of the future", func(w *hook) { w.age = -6 * time.Minute }, 401},
		{"an unknown source", path("/hooks/gas/other"), 401},
		{"an unknown service", path("/hooks/water/notices"), 401},
		{"a user", path("/hooks/demo/notices"), 401},
		{"no source", path("/hooks/gas"), 401},
		{"no service", path("/hooks/"), 401},
		{"more than a source", path("/hooks/gas/notices/more"), 401},
		{"too large", body(`{"account": 100, "text": "` + strings.Repeat("x", 8<<10) + `"}`), 413},
		{"nothing", body(""), 422},
		{"no JSON", body("account=100&text=x"), 422},
		{"an array", body(`[100, "x"]`), 422},
		{"two objects", body(`{"account": 100, "text": "x"}{"account": 100, "text": "y"}`), 422},
		{"an unknown member", body(`{"account": 100, "text": "x", "amount": "1.00"}`), 422},
		{"a member in capitals", body(`{"ACCOUNT": 100, "text": "x"}`), 422},
		{"a member twice", body(`{"account": 200, "text": "x", "account": 100}`), 422},
		{"no account", body(`{"text": "x"}`), 422},
		{"an account that is null", body(`{"account": null, "text": "x"}`), 422},
		{"an account that is a list", body(`{"account": [100], "text": "x"}`), 422},
		{"an account with a fraction", body(`{"account": 100.5, "text": "x"}`), 422},
		{"an account that is a word", body(`{"account": "till", "text": "x"}`), 422},
		{"no UTF-8", body("{\"account\": 100, \"text\": \"\xff\"}"), 422},
		{"no text", body(`{"account": 100}`), 422},
		{"a text that is a number", body(`{"account": 100, "text": 1}`), 422},
		{"a text of two lines", body(`{"account": 100, "text": "x\ny"}`), 422},
		{"a text that is too long", body(`{"account": 100, "text": "` + strings.Repeat("x", 141) +
			`"}`), 422},
		{"an account without a mandate", body(`{"account": 200, "text": "x"}`), 404},
		{"an account that is not there", body(`{"account": 999, "text": "x"}`), 404},
		{"GET", func(w *hook) { w.method = http.MethodGet }, 405},
		{"PUT", func(w *hook) { w.method = http.MethodPut }, 405},
		{"a page of another site", header("Sec-Fetch-Site", "cross-site"), 403},
		{"a page of another origin", header("Origin", "https://evil.example"), 403},
	} {
		w := g.good("bad " + tt.name)
		w.id = strings.ReplaceAll(w.id, " ", "-")
		tt.change(&w)
		a := g.send(w)
		if a.status != tt.want {
			t.Errorf("%s: %d %s, want %d", tt.name, a.status, a.text, tt.want)
		}
		if a.status == http.StatusUnauthorized && a.text != nobodysHook {
			t.Errorf("%s: a stranger is told %q", tt.name, a.text)
		}
		if a.status == http.StatusMethodNotAllowed && a.header.Get("Allow") != "POST" {
			t.Errorf("%s: %v", tt.name, a.header)
		}
	}
	if got := g.notices(); len(got) != 0 {
		t.Errorf("notices %q", got)
	}
	if a := g.send(g.good("good")); a.status != http.StatusOK {
		t.Errorf("a good one: %+v", a)
	}
}

// TestWebhooksEndWithTheirSource sends webhooks of a source whose secret is replaced, whose
// mandate ends, whose service is disabled, and which is removed.
func TestWebhooksEndWithTheirSource(t *testing.T) {
	t.Parallel()
	g := newGasworks(t)
	operate := func(method string, args ...any) *client.Answer {
		t.Helper()
		defer daemontest.AwaitReplicas()
		return daemontest.Must(t)(g.operator[0].Call(t.Context(), method, args...))
	}
	n := 0
	answered := func(what string, w hook, want int) {
		t.Helper()
		n++
		w.id = strconv.Itoa(n)
		if a := g.send(w); a.status != want {
			t.Errorf("%s: %+v, want %d", what, a, want)
		}
	}
	before := g.good("")
	answered("the first secret", before, 200)
	if generation := operate("feed.source.rotate", "notices", "service:gas").Text(); generation != "1" {
		t.Errorf("generation %s", generation)
	}
	g.secret = g.told()
	if g.secret == before.secret {
		t.Error("the secret is the same")
	}
	answered("the secret before", before, 200)
	answered("the new secret", g.good(""), 200)
	operate("feed.source.rotate", "notices", "service:gas")
	answered("the first of three secrets", before, 401)
	answered("the second of three secrets", g.good(""), 200)
	g.secret = g.told()
	answered("the third of three secrets", g.good(""), 200)

	operate("admin.user.disable", "service:gas")
	answered("a disabled service", g.good(""), 401)
	operate("admin.user.enable", "service:gas")
	answered("an enabled service", g.good(""), 200)

	operate("feed.source.remove", "notices", "service:gas")
	answered("a source that was removed", g.good(""), 401)
	operate("feed.source.add", "notices", "service:gas")
	answered("another source of the same name", g.good(""), 401)
	g.secret = g.told()
	answered("with its own secret", g.good(""), 200)

	daemontest.Must(t)(g.demo[0].RevokeMandate(t.Context(), g.mandate))
	answered("a mandate that was revoked", g.good(""), 404)
}

// TestFailedWebhooksAreThrottled sends what is of no source until the address has to wait.
func TestFailedWebhooksAreThrottled(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "each replica counts, and tells the others later")
	g := newGasworks(t)
	bad := g.good("bad")
	bad.path = "/hooks/gas/other"
	failed := 0
	for a := g.send(bad); a.status != http.StatusTooManyRequests; a = g.send(bad) {
		if failed++; a.status != http.StatusUnauthorized || failed > 100_000 {
			t.Fatalf("after %d: %+v", failed, a)
		}
	}
	if failed < 1000 {
		t.Errorf("an address waits after %d failures", failed)
	}
	if a := g.send(bad); a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	for _, want := range []string{
		`atm_sign_ins_total{method="webhook",outcome="failed"} `,
		`atm_sign_ins_total{method="webhook",outcome="throttled"} `,
	} {
		if _, text := g.h.Get(t, "/metrics"); !strings.Contains(text, want) {
			t.Errorf("no %s in /metrics", want)
		}
	}
}
