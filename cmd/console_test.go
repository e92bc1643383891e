//go:build unix

package cmd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/internal/needs"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// openConsole runs "atmctl console" with the credentials of a user, and returns the link that
// it prints.
func (s *server) openConsole(t *testing.T, user string) string {
	t.Helper()
	cmd := s.command("atmctl", "console", "--no-browser", "--as", user)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(os.Interrupt); cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	_, link, found := strings.Cut(strings.TrimSpace(line), ": ")
	if err != nil || !found {
		t.Fatalf("%q, %v", line, err)
	}
	return link
}

// A browser is Chromium with a page, in which everything that is done may take as long as
// programs take here.
type browser struct {
	context.Context
	t *testing.T
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	return openBrowserAt(t, t.TempDir())
}

// openBrowserAt is openBrowser for somebody whose home is a folder, where Chromium looks for
// the authorities that they trust.
func openBrowserAt(t *testing.T, home string) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.Env("HOME="+home),
		chromedp.ExecPath(needs.Program(t, "chromium-headless-shell")),
		chromedp.NoSandbox, // it refuses root, and the pages are ours
		chromedp.WSURLReadTimeout(endsWithin))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // starts it, to run as long as ctx does
		t.Fatal(err)
	}
	return &browser{ctx, t}
}

// hasChanged reports that a page was replaced by another one while a node of it was looked for.
func hasChanged(err error) bool { return strings.Contains(err.Error(), "node with given id") }

// do carries actions out.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for _, action := range actions {
		b.act(action)
	}
}

// act carries an action out, again when the page has changed under it.
func (b *browser) act(action chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b, endsWithin)
	defer cancel()
	for {
		err := chromedp.Do(ctx, action)
		if err == nil {
			return
		}
		if !hasChanged(err) {
			where, _ := chromedp.Run(b, chromedp.Location())
			page, _ := chromedp.Run(b, chromedp.Text("body"))
			b.t.Fatalf("%v\nat %s:\n%s", err, where, page)
		}
	}
}

// result is what an action returns, which reads the page that is shown when another one is loaded.
func result[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b, endsWithin)
	defer cancel()
	for {
		found, err := chromedp.Run(ctx, action)
		if err == nil {
			return found
		}
		if !hasChanged(err) && !strings.Contains(err.Error(), "target navigated or closed") {
			b.t.Fatal(err)
		}
	}
}

// text is what an element shows.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return strings.Join(strings.Fields(result(b, chromedp.Text(selector))), " ")
}

// leave clicks on what leads to another page, again if a page that was just loading lost it.
func (b *browser) leave(selector string) {
	b.t.Helper()
	here := result(b, chromedp.Location())
	for deadline := time.Now().Add(endsWithin); time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(b, endsWithin/10)
		// or it is tried again
		chromedp.Do(ctx, chromedp.Click(selector), chromedp.Sleep(time.Second/2))
		cancel()
		if result(b, chromedp.Location()) != here {
			return
		}
	}
	b.t.Fatalf("%s does not lead from %s", selector, here)
}

// accessible fails for every violation that axe-core finds on the page, if it is installed.
func (b *browser) accessible() {
	b.t.Helper()
	axe, err := os.ReadFile("../console/testdata/node_modules/axe-core/axe.min.js")
	if err != nil {
		needs.Skip(b.t, "axe-core is not installed")
	}
	result(b, chromedp.Evaluate[int](string(axe)+"; 0"))
	for _, violation := range result(b, chromedp.Evaluate[[]string](`axe.run().then(
		r => r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.html + n.failureSummary)))`,
		chromedp.EvalAwaitPromise)) {
		b.t.Errorf("axe-core: %s", violation)
	}
}

// scheme makes pages dark or light.
func scheme(dark bool) chromedp.Action[chromedp.Void] {
	value := "light"
	if dark {
		value = "dark"
	}
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}},
		})
		return chromedp.Void{}, err
	}
}

// picture writes the page as an image into docs/ when ATM_UPDATE is set.
func (b *browser) picture(name string, width, height int64, dark bool) {
	b.t.Helper()
	if os.Getenv("ATM_UPDATE") == "" {
		return
	}
	b.do(chromedp.EmulateViewport(width, height), scheme(dark))
	image := result(b, chromedp.CaptureScreenshot())
	if err := os.WriteFile("../docs/"+name, image, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// TestCustomerWithdrawsAndVerifiesInABrowser does what README's first minutes say.
func TestCustomerWithdrawsAndVerifiesInABrowser(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	s := startServer(t)
	b.do(chromedp.Navigate(s.openConsole(t, "demo")),
		chromedp.WaitVisible(".accounts a"))
	b.accessible()
	b.do(chromedp.Click(".accounts a"),
		chromedp.WaitVisible("#amount"))
	b.accessible()

	// Keys alone: the amount has the focus, Enter is the first button, and Enter again.
	b.do(chromedp.KeyEvent("5"), chromedp.KeyEvent(kb.Enter),
		chromedp.WaitVisible(".line"))
	if got := b.text(".line"); got != "Deposit $5.00 to account 100. Balance after: $1,005.00." {
		t.Errorf("before it happens: %s", got)
	}
	b.accessible()
	b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#verify button"))
	if got := b.text(".outcome"); got != "Deposit: done." {
		t.Errorf("after it: %s", got)
	}
	b.accessible()
	b.do(chromedp.Click("#verify button"),
		chromedp.WaitVisible(".verdict[data-state=right]"))
	if got := b.text(".verdict"); !strings.HasPrefix(got, "Verified in this browser: entry ") {
		t.Errorf("verified: %s", got)
	}
	b.accessible()

	// The form that was sent is sent again, and leads to the same slip.
	slip := result(b, chromedp.Location())
	b.do(chromedp.NavigateBack(), chromedp.WaitVisible(".line"))
	b.leave("main form button")
	b.do(chromedp.WaitVisible(".verdict[data-state=right]"))
	again := result(b, chromedp.Location())
	if slip+"?again=1" != again {
		t.Errorf("sent again, the form leads from %s to %s", slip, again)
	}
	if got := b.text(".again"); !strings.HasPrefix(got, "Already done at ") {
		t.Errorf("the slip says %s", got)
	}
	b.do(chromedp.Navigate(strings.Split(slip, "/slips/")[0]+"/accounts/100"),
		chromedp.WaitVisible(".balance"))
	if got := b.text(".balance"); got != "$1,005.00" {
		t.Errorf("the balance is %s", got)
	}
	b.picture("console.png", 1080, 1100, false)
	b.picture("console-dark.png", 1080, 1100, true)
	b.picture("console-phone.png", 360, 740, false)

	// More than is there is refused, with what is available.
	b.do(chromedp.SetValue("#amount", "5000"),
		chromedp.Click("button[value=withdraw]"),
		chromedp.WaitVisible(".problem"))
	if got := b.text(".problem"); got != "Insufficient Funds: $1,005.00 available." {
		t.Errorf("too much: %s", got)
	}
	if buttons := result(b, chromedp.Evaluate[int](
		`document.querySelectorAll("main button").length`)); buttons != 0 {
		t.Errorf("there are %d buttons for what cannot be", buttons)
	}
	b.leave("main a")
	b.do(chromedp.WaitVisible("#amount"))
}

// TestAuditorFindsAChangedCentInABrowser verifies the log in a page, changes a cent in a bundle
// that is published, and verifies it again: the page names the entry.
func TestAuditorFindsAChangedCentInABrowser(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	s := startServer(t)
	c := s.demo(t, 1)
	for range 300 { // so that the first bundle is full, and never written again
		if _, err := c.Deposit(t.Context(), 100, 1,
			atm.RequestID(atm.NewUUID(time.Now()))); err != nil {
			t.Fatal(err)
		}
	}
	link, err := url.Parse(s.openConsole(t, "operator"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(path string) string { return link.Scheme + "://" + link.Host + path }
	b.do(chromedp.Navigate(link.String()), chromedp.WaitVisible("main ul a"),
		chromedp.Navigate(at("/console/log?account=100")),
		chromedp.WaitVisible("#rows-verdict button"),
		chromedp.Click("#rows-verdict button"),
		chromedp.WaitVisible("#rows-verdict[data-state=right]"))
	b.accessible()
	b.picture("console-log.png", 1080, 900, false)

	whole := func(state string) string {
		t.Helper()
		b.do(chromedp.Navigate(at("/console/log/verify")),
			chromedp.WaitVisible("#start"),
			chromedp.Click("#start"),
			chromedp.WaitVisible("#verdict[data-state="+state+"]"))
		return b.text("#verdict")
	}
	if got := whole("right"); !strings.HasPrefix(got, "Verified in this browser: ") {
		t.Errorf("verified: %s", got)
	}
	b.accessible()

	const index = 100
	bundle := filepath.Join(s.dir, "atm-data", "audit", "tile", "entries", "000")
	text, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	from := 0
	for range index {
		from += 2 + int(text[from])<<8 + int(text[from+1])
	}
	i := strings.Index(string(text[from:]), `"amount":"0.01"`)
	text[from+i+len(`"amount":"0.0`)] = '2'
	if err := os.WriteFile(bundle, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := whole("wrong"), fmt.Sprintf("entry %d differs: tile/entries/000, bytes %d to ",
		index, from); !strings.HasPrefix(got, want) {
		t.Errorf("after a changed cent: %s, want %s…", got, want)
	}
}

// TestSavedSlipsAreVerifiedFromTheDisk saves slips and the page that verifies them, and opens them
// without a server.
func TestSavedSlipsAreVerifiedFromTheDisk(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	s := startServer(t)
	index, newest := "", ""
	for _, cents := range []atm.Amount{1250, 300, 75} {
		answer, err := s.demo(t, 1).Deposit(t.Context(), 100, cents,
			atm.RequestID(atm.NewUUID(time.Now())))
		if err != nil {
			t.Fatal(err)
		}
		newest, _, _ = strings.Cut(answer.Receipt, " ")
		if index == "" {
			index = newest
		}
	}
	// Once the newest is published, so are all: each time that a statement is asked for is one
	// more entry, also when it is too early.
	s.published(t, "demo", "/console/slips/"+newest+"/file")
	slip := s.published(t, "demo", "/console/slips/"+index+"/file")
	own := s.published(t, "demo", "/console/accounts/100/statement.json")
	statement := s.published(t, "operator", "/console/accounts/100/statement.json")
	part := s.published(t, "operator", "/console/log/proven?account=100")
	page := s.published(t, "demo", "/console/verify.html")
	key := strings.TrimSpace(s.published(t, "demo", "/console/log.vkey"))
	s.stop(t)
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	b.do(chromedp.Navigate("file://"+file("verify.html", page)), chromedp.SetValue("#key", key))
	for i, tt := range []struct{ text, state, says string }{
		{slip, "right", "Verified: entry " + index},
		{strings.Replace(slip, `\"12.50\"`, `\"12.60\"`, 1), "wrong", "entry " + index + " is not the one in the log."},
		{page, "unknown", "This file is not one that the console saved with proofs."},
		{`{"answer":42}`, "unknown", "This file is not one that the console saved with proofs."},
		{"null", "unknown", "This file is not one that the console saved with proofs."},
		{own, "unknown", "3 of 4 movements of account 100 are verified, and of 1 that"},
		{statement, "right", "Verified: 4 movements of account 100. Each balance follows"},
		{strings.Replace(statement, `\"12.50\"`, `\"12.60\"`, 1), "wrong", "entry " + index + " is not the one"},
		{without(t, statement, 2), "wrong", "the balance at entry"},
		{without(t, statement, 3), "wrong", "the closing balance does not follow"},
		{part, "right", "Verified: 6 entries."},
		{
			strings.Replace(part, `\"op\":\"deposit`, `\"op\":\"inquiry`, 1), "wrong",
			"entry " + index + " is not the one",
		},
	} {
		b.do(chromedp.SetUploadFiles("#slip", []string{file(strconv.Itoa(i)+".json", tt.text)}),
			chromedp.Click("#form button"),
			chromedp.WaitVisible("#verdict[data-state="+tt.state+"]"))
		eventually(t, "the file is verified", func() bool {
			return b.text("#verdict") != "Not verified yet."
		})
		if got := b.text("#verdict"); !strings.HasPrefix(got, tt.says) {
			t.Errorf("%d: %s", i, got)
		}
		b.do(chromedp.Reload(), chromedp.SetValue("#key", key))
	}
	b.accessible()
}

// without is a saved statement without one of its slips.
func without(t *testing.T, statement string, i int) string {
	t.Helper()
	var file map[string]any
	if err := json.Unmarshal([]byte(statement), &file); err != nil {
		t.Fatal(err)
	}
	file["slips"] = slices.Delete(file["slips"].([]any), i, i+1)
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// published gets what a user may save, once what it is about is published.
func (s *server) published(t *testing.T, user, path string) string {
	t.Helper()
	tls, err := clientFiles(s, user)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: tls, DisableKeepAlives: true}}
	for {
		answer, err := c.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		switch {
		case err != nil:
			t.Fatal(err)
		case answer.StatusCode == http.StatusOK:
			return string(text)
		case answer.StatusCode != http.StatusServiceUnavailable:
			t.Fatalf("%s: %s\n%s", path, answer.Status, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestConsoleLinkWorksOnceAndForItsOwnPageAlone asks the listener of "atmctl console" as a page
// of somebody else would.
func TestConsoleLinkWorksOnceAndForItsOwnPageAlone(t *testing.T) {
	s := startServer(t)
	link, err := url.Parse(s.openConsole(t, "demo"))
	if err != nil {
		t.Fatal(err)
	}
	var cookie *http.Cookie
	ask := func(method, path, body string, change func(*http.Request)) (int, http.Header) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+link.Host+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if cookie != nil {
			r.AddCookie(cookie)
		}
		if change != nil {
			change(r)
		}
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode, answer.Header
	}
	refused := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s was answered with %d, want %d", what, got, want)
		}
	}
	code, _ := ask("GET", "/console/", "", nil)
	refused("a page before the code", code, 403)
	code, _ = ask("GET", "/audit/checkpoint", "", nil)
	refused("the log before the code", code, 403)
	code, _ = ask("POST", "/open", "code=WRONG", nil)
	refused("a wrong code", code, 403)
	code, _ = ask("POST", "/open", "code="+link.Fragment, func(r *http.Request) {
		r.Header.Set("Origin", "http://elsewhere.example")
	})
	refused("the code from another origin", code, 403)
	code, header := ask("POST", "/open", "code="+link.Fragment, nil)
	refused("the code", code, 303)
	answer := http.Response{Header: header}
	if len(answer.Cookies()) != 1 {
		t.Fatalf("the code was answered with %v", header)
	}
	got := answer.Cookies()[0]
	if !got.HttpOnly || !got.Secure || got.SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookie is %s", got.Raw)
	}
	code, _ = ask("POST", "/open", "code="+link.Fragment, nil)
	refused("the code again", code, 403)
	cookie = &http.Cookie{Name: got.Name, Value: got.Value}
	code, _ = ask("GET", "/console/", "", nil)
	refused("a page with the cookie", code, 200)
	code, _ = ask("GET", "/console/", "", func(r *http.Request) { r.Host = "elsewhere.example" })
	refused("another Host", code, 421)
	code, _ = ask("POST", "/console/accounts/100/act", "act=withdraw&amount=1&request_id=x",
		func(r *http.Request) { r.Header.Set("Origin", "http://elsewhere.example") })
	refused("a form of another origin", code, 403)
	code, _ = ask("POST", "/console/accounts/100/act", "act=withdraw&amount=1&request_id=x",
		func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	refused("a form of another site", code, 403)
	for _, path := range []string{
		"/RPC2", "/admin/backup", "/token", "/enroll", "/readyz", "/metrics", "/console/../RPC2",
	} {
		code, _ = ask("GET", path, "", nil)
		if code != 404 && code != 403 {
			t.Errorf("%s was answered with %d", path, code)
		}
		code, _ = ask("POST", path, "x=y", nil)
		if code != 404 && code != 403 && code != 405 {
			t.Errorf("POST %s was answered with %d", path, code)
		}
	}
	code, _ = ask("POST", "/console/accounts/100/act", strings.Repeat("x", 10<<20), nil)
	refused("a form of 10 MB", code, 400)
}
