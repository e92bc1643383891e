//go:build unix

package daemon_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"github.com/icholy/digest"
)

// digestOf answers the challenge in a response as alice.
func digestOf(t testing.TB, resp *http.Response, count int) string {
	t.Helper()
	challenge, err := digest.FindChallenge(resp.Header)
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := digest.Digest(challenge, digest.Options{
		Method: "POST", URI: "/RPC2", Username: "alice", Password: daemontest.AliceSecret,
		Count:   count,
		GetBody: nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	return credentials.String()
}

// TestCertificateAndHeaderAreOfOneSubject presents a certificate and a header, of one subject
// and of two, with a good header and a bad one.
func TestCertificateAndHeaderAreOfOneSubject(t *testing.T) {
	h := daemontest.Start(t, nil)
	daemontest.WithAlice(t, h)
	nobody := h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	header := func(count int) string {
		resp, _ := h.Post(t, daemontest.HTTPClient(t, nobody), daemontest.Call("inquiry",
			"200"), nil)
		if resp.StatusCode != http.StatusUnauthorized {
			t.Fatal(resp.Status)
		}
		return digestOf(t, resp, count)
	}
	with := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Authorization"] = values }
	}
	good := header(1)
	for _, tt := range []struct {
		name   string
		tls    *tls.Config
		header []string
		code   int
		want   string
	}{
		{"header alone", nobody, []string{good}, 200, "<string>50.00</string>"},
		{"the same again", nobody, []string{good}, 401, ""},
		{"certificate and header of two subjects", h.TLS(t, "demo"), []string{header(1)}, 401, ""},
		{
			"good certificate, bad header", h.TLS(t, "demo"),
			[]string{strings.Replace(header(1), "response=\"", "response=\"0", 1)},
			401, "",
		},
		{
			"good certificate, header of another scheme", h.TLS(t, "demo"),
			[]string{"Basic ZGVtbzpkZW1v"},
			401, "",
		},
		{"two headers", nobody, []string{header(1), header(1)}, 400, ""},
		{"nothing", nobody, nil, 401, ""},
	} {
		resp, text := h.Post(t, daemontest.HTTPClient(t, tt.tls), daemontest.Call("inquiry", "200"),
			with(tt.header...))
		if resp.StatusCode != tt.code || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %s %s", tt.name, resp.Status, text)
		}
		if tt.code == 401 && resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no challenge", tt.name)
		}
	}
	entries := h.Entries(t)
	for _, reason := range []string{
		"certificate and header of two subjects",
		"digest that was used before",
	} {
		if daemontest.Count(entries, func(e *audit.Entry) bool { return e.Reason == reason }) == 0 {
			t.Errorf("no entry says %q", reason)
		}
	}
}

// TestNonceEndsAfterItsLife answers an expired challenge. The server's answer says that only
// the nonce was stale.
func TestNonceEndsAfterItsLife(t *testing.T) {
	h := daemontest.Start(t, func(o *daemon.Options) { o.NonceTTL = time.Nanosecond })
	daemontest.WithAlice(t, h)
	nobody := h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	c := daemontest.HTTPClient(t, nobody)
	challenge, _ := h.Post(t, c, daemontest.Call("inquiry", "200"), nil)
	resp, _ := h.Post(t, c, daemontest.Call("inquiry", "200"), func(r *http.Request) {
		r.Header.Set("Authorization", digestOf(t, challenge, 1))
	})
	if resp.StatusCode != 401 || !strings.Contains(resp.Header.Get("WWW-Authenticate"),
		"stale=true") {
		t.Errorf("%s %s", resp.Status, resp.Header.Get("WWW-Authenticate"))
	}
}

// TestFailuresOfAnAddressAreThrottled fails too many sign-ins and gets 429 with Retry-After. A
// certificate from the same address still works, and so does the user from another address.
func TestFailuresOfAnAddressAreThrottled(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	daemontest.WithAlice(t, h)
	nobody := h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	c := daemontest.HTTPClient(t, nobody)
	resp, _ := h.Post(t, c, daemontest.Call("inquiry", "200"), nil)
	wrong := strings.Replace(digestOf(t, resp, 1), "response=\"", "response=\"0", 1)
	wrong = regexp.MustCompile(`response="0([0-9a-f]{63})[0-9a-f]`).ReplaceAllString(wrong,
		`response="0$1`)
	throttled := 0
	for range 150 {
		resp, _ := h.Post(t, c, daemontest.Call("inquiry", "200"), func(r *http.Request) {
			r.Header.Set("Authorization", wrong)
		})
		switch resp.StatusCode {
		case http.StatusTooManyRequests:
			if throttled++; resp.Header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
		case http.StatusUnauthorized:
		default:
			t.Fatal(resp.Status)
		}
	}
	if throttled < 20 {
		t.Errorf("%d of 150 failures were throttled", throttled)
	}
	daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(), daemontest.Account))
	resp, _ = h.Post(t, c, daemontest.Call("inquiry", "200"), nil)
	elsewhere := &http.Transport{
		TLSClientConfig: nobody,
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0,
			2)}}).DialContext,
	}
	defer elsewhere.CloseIdleConnections()
	resp, text := h.Post(t, &http.Client{Transport: elsewhere}, daemontest.Call("inquiry", "200"),
		func(r *http.Request) {
			r.Header.Set("Authorization", digestOf(t, resp, 1))
		})
	if resp.StatusCode != 200 || !strings.Contains(text, "50.00") {
		t.Errorf("alice from elsewhere: %s %s", resp.Status, text)
	}
}

// TestBadCertificatesAreThrottled presents bad certificates until it gets 429. A good
// certificate from the same address still works.
func TestBadCertificatesAreThrottled(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "a failed sign-in waits for the database, and gets some of the failures "+
		"back "+
		"meanwhile")
	h := daemontest.Start(t, nil)
	other := daemontest.Start(t, nil)
	stranger := h.TLS(t, "demo")
	stranger.GetClientCertificate = other.TLS(t, "demo").GetClientCertificate
	c := daemontest.HTTPClient(t, stranger)
	refused, status := 0, http.StatusUnauthorized
	for ; status == http.StatusUnauthorized && refused < 20_000; refused++ {
		resp, _ := h.Post(t, c, daemontest.Call("inquiry", "100"), nil)
		status = resp.StatusCode
	}
	if status != http.StatusTooManyRequests || refused <= 1000 {
		t.Errorf("request %d was answered %d", refused, status)
	}
	daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(), daemontest.Account))
}

// TestRevokedInALoopKeepsNobodyWaiting presents a revoked certificate, alone and with a token,
// until its address is throttled. A good certificate from the same address never has to wait:
// alone, with a token, or with a token that is bound to it.
func TestRevokedInALoopKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	daemontest.WithAlice(t, h)
	revoked := h.Issue(t, "user:alice")
	good := daemontest.HTTPClient(t, h.Issue(t, "user:alice"))
	pair, err := revoked.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.cert.revoke",
		leaf.SerialNumber.Text(16)))
	daemontest.AwaitReplicas()
	_, answer := h.Token(t, good, url.Values{"grant_type": {"client_credentials"}}, nil)
	_, bound := h.Token(t, good, url.Values{
		"grant_type": {"client_credentials"},
		"bind":       {"certificate"},
	}, nil)
	with := func(token any) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", fmt.Sprint("Bearer ", token)) }
	}
	bad := daemontest.HTTPClient(t, revoked)
	slowed := false
	for i := 0; i < 5000 && !slowed; i++ {
		resp, _ := h.Post(t, bad, daemontest.Call("inquiry", "200"), nil)
		slowed = resp.StatusCode == http.StatusTooManyRequests
	}
	if !slowed {
		t.Fatal("5000 failures of one address, and it has not to wait")
	}
	for name, change := range map[string]func(*http.Request){"alone": nil, "with a token": with(answer["access_token"]), "with a bound token": with(bound["access_token"])} {
		if resp, text := h.Post(t, good, daemontest.Call("inquiry", "200"),
			change); resp.StatusCode != http.StatusOK {
			t.Errorf("a good certificate %s: %s %s", name, resp.Status, text)
		}
	}
	for _, bind := range []url.Values{
		{"grant_type": {"client_credentials"}},
		{"grant_type": {"client_credentials"}, "bind": {"certificate"}},
	} {
		if resp, answer := h.Token(t, good, bind, nil); resp.StatusCode != http.StatusOK {
			t.Errorf("at the token endpoint: %s %v", resp.Status, answer)
		}
	}
}

// TestRevokedCertificateEndsOnOpenConnections revokes certificates whose connections are open.
func TestRevokedCertificateEndsOnOpenConnections(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	daemontest.WithAlice(t, h)
	operator := h.As(t, "operator")
	demo := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	status := func(c *http.Client) int {
		resp, _ := h.Post(t, c, daemontest.Call("inquiry", "100"), nil)
		return resp.StatusCode
	}
	if got := status(demo); got != 200 {
		t.Fatal(got)
	}
	cert, err := h.TLS(t, "demo").GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	daemontest.Must(t)(operator.Call(t.Context(), "admin.cert.revoke",
		strings.ToUpper(leaf.SerialNumber.Text(16))))
	daemontest.AwaitReplicas()
	begin := time.Now()
	if got := status(demo); got != 401 { // over the same connection
		t.Errorf("a revoked certificate on an open connection: %d", got)
	}
	t.Logf("a certificate was refused on an open connection %v after the answer", time.Since(begin))

	// Revoke a token, and everything of alice from before now.
	nobody := h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	alice := daemontest.HTTPClient(t, nobody)
	withToken := func(token string) int {
		resp, _ := h.Post(t, alice, daemontest.Call("inquiry", "200"), func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+token)
		})
		return resp.StatusCode
	}
	var texts, ids []string
	for range 2 {
		issued, _ := daemontest.Must(t)(operator.Call(t.Context(), "admin.token.issue",
			"user:alice", "*",
			"600")).Result.(map[string]any)
		texts, ids = append(texts, fmt.Sprint(issued["token"])),
			append(ids, fmt.Sprint(issued["jti"]))
		if got := withToken(texts[len(texts)-1]); got != 200 {
			t.Fatal(got)
		}
	}
	for i, revoke := range []func() (*client.Answer, error){
		func() (*client.Answer, error) {
			return operator.Call(t.Context(), "admin.token.revoke", ids[0])
		},
		func() (*client.Answer, error) {
			return operator.Call(t.Context(), "admin.user.revoke", "user:alice")
		},
	} {
		daemontest.Must(t)(revoke())
		daemontest.AwaitReplicas()
		begin := time.Now()
		if got := withToken(texts[i]); got != 401 {
			t.Errorf("token %d on an open connection: %d", i, got)
		}
		t.Logf("%s was refused on an open connection %v after the answer",
			[]string{"a token", "everything of alice"}[i], time.Since(begin))
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = daemontest.StartIn(t, h.Data, nil)
	if got := status(daemontest.HTTPClient(t, h.TLS(t, "demo"))); got != 401 {
		t.Errorf("a revoked certificate after a restart: %d", got)
	}
	operator = h.As(t, "operator")
	for _, bad := range []string{"xyz", "", "-5", "0"} {
		if a, err := operator.Call(t.Context(), "admin.cert.revoke", bad); err == nil && a.OK() {
			t.Errorf("serial %q was revoked", bad)
		}
	}
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.revoke", "user:operator"))
	if _, err := operator.Call(t.Context(), "whoami"); !errors.Is(err, client.ErrNotAuthenticated) {
		t.Errorf("everything of operator before now: %v", err)
	}
}

// TestGrantIsUsedWithinItsCap gives a service a grant of $50, which it uses for $30 ten times
// at once. One use succeeds. That does not change after a restart.
func TestGrantIsUsedWithinItsCap(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	operator, demo := h.As(t, "operator"), h.As(t, "demo")
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", "service:billing", "service"))
	grant := daemontest.Must(t)(demo.Call(t.Context(), "admin.grant.create", 100,
		"withdraw inquiry", "50.00",
		"service:billing", 600))
	token, _ := grant.Result.(map[string]any)["token"].(string)
	with := func(h *daemontest.Server) *client.Client {
		cfg := h.TLS(t, "demo")
		cfg.GetClientCertificate = nil
		c, err := client.New(client.Config{Server: "https://" + h.Addr, TLS: cfg, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	billing := with(h)
	var mu sync.Mutex
	var wg sync.WaitGroup
	codes := map[atm.Code]int{}
	for i := range 10 {
		wg.Go(func() {
			a, err := billing.Withdraw(t.Context(), 100, 3000, atm.RequestID(fmt.Sprint(i)))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			codes[a.Code]++
		})
	}
	wg.Wait()
	if codes[atm.OK] != 1 || codes[atm.GrantExceeded] != 9 {
		t.Fatalf("ten withdrawals of $30 under a grant of $50: %v", codes)
	}
	code := func(a *client.Answer, err error) atm.Code {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a.Code
	}
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "300", "user:demo", "100"))
	for what, got := range map[string]atm.Code{
		"another account":   code(billing.Withdraw(t.Context(), 300, 100, "x1")),
		"another operation": code(billing.Deposit(t.Context(), 100, 100, "x2")),
		"a statement":       code(billing.Statement(t.Context(), 100, client.Range{})),
		"a grant of a grant": code(billing.Call(t.Context(), "admin.grant.create", 100, "withdraw",
			"5", "user:demo")),
	} {
		if got != atm.PermissionDenied {
			t.Errorf("%s: %s", what, got)
		}
	}
	if a := daemontest.Must(t)(billing.Inquiry(t.Context(),
		daemontest.Account)); a.Text() != "970.00" {
		t.Errorf("balance %s", a.Text())
	}
	// The cap is for the sum over both accounts.
	both := daemontest.Must(t)(demo.Call(t.Context(), "admin.grant.create", 100, "withdraw",
		"10.00",
		"service:billing", 600, "300"))
	first := token
	token, _ = both.Result.(map[string]any)["token"].(string)
	two := with(h)
	daemontest.Must(t)(two.Withdraw(t.Context(), 300, 600, "y1"))
	if got := code(two.Withdraw(t.Context(), 100, 500, "y2")); got != atm.GrantExceeded {
		t.Errorf("more than the cap over two accounts: %s", got)
	}
	if got := code(demo.Call(t.Context(), "admin.grant.create", 100, "withdraw", "10.00",
		"service:billing", 600, "200")); got != atm.AccountNotFound {
		t.Errorf("a grant on somebody else's account as well: %s", got)
	}
	token = first
	if got := code(operator.Call(t.Context(), "admin.grant.create", 100, "withdraw", "5",
		"service:billing")); got != atm.PermissionDenied {
		t.Errorf("an operator grants: %s", got)
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = daemontest.StartIn(t, h.Data, nil)
	billing = with(h)
	if got := code(billing.Withdraw(t.Context(), 100, 2001, "after")); got != atm.GrantExceeded {
		t.Errorf("after a restart: %s", got)
	}
	daemontest.Must(t)(billing.Withdraw(t.Context(), 100, 2000, "the rest"))
	// The grantor's current permissions bound the grant.
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.user.disable", "user:demo"))
	daemontest.AwaitReplicas()
	if _, err := billing.Inquiry(t.Context(), daemontest.Account); !errors.Is(err,
		client.ErrNotAuthenticated) {
		t.Errorf("a grant of somebody disabled: %v", err)
	}
	entries := h.Entries(t)
	if got := daemontest.Count(entries, func(e *audit.Entry) bool {
		return e.Caller != nil && e.Caller.Actor == "service:billing" &&
			e.Caller.Subject == "user:demo" && e.Status.Code == atm.OK
	}); got != 4 {
		t.Errorf("%d entries of billing for demo, want 4", got)
	}
	if _, err := h.Folder().Check(t.Context(), func(p string) { t.Error(p) }); err != nil {
		t.Error(err)
	}
}

// TestProxyProtocolIsBelievedOfListedProxies connects through a load balancer that names the
// client, and sends the same header from elsewhere.
func TestProxyProtocolIsBelievedOfListedProxies(t *testing.T) {
	h := daemontest.Start(t, func(o *daemon.Options) {
		o.Server.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	})
	from := func(ip net.IP, header string) (*http.Response, error) {
		t.Helper()
		transport := &http.Transport{
			TLSClientConfig: h.TLS(t, "demo"),
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}).DialContext(ctx,
					network, addr)
				if err == nil && header != "" {
					_, err = io.WriteString(conn, header)
				}
				return conn, err
			},
		}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+h.Addr+
			"/RPC2", strings.NewReader(daemontest.Call("inquiry", "100")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "text/xml")
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return resp, err
	}
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\xc0\x00\x02\x07" + "\x7f\x00\x00\x01" +
		"\x30\x39\x23\x28"
	balancer, elsewhere := net.IPv4(127, 0, 0, 2), net.IPv4(127, 0, 0, 3)
	if resp, err := from(balancer, v2); err != nil || resp.StatusCode != 200 {
		t.Errorf("through the load balancer: %v, %v", resp, err)
	}
	if resp, err := from(balancer, ""); err == nil {
		t.Errorf("the load balancer without a header: %s", resp.Status)
	}
	if resp, err := from(elsewhere, v2); err == nil {
		t.Errorf("a header from elsewhere: %s", resp.Status)
	}
	if resp, err := from(elsewhere, ""); err != nil || resp.StatusCode != 200 {
		t.Errorf("from elsewhere: %v, %v", resp, err)
	}
	// A client without an address gets that of the load balancer.
	const signature = "\r\n\r\n\x00\r\nQUIT\n"
	unix := strings.Repeat("/run/app.sock\x00\x00\x00", 13) + "/run/app"
	nameless := []string{
		"PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
		signature + "\x20\x00\x00\x00", // LOCAL, as in a health check
		signature + "\x21\x31\x00\xd8" + unix[:108] + unix[:108], signature + "\x21\x32\x00\xd8" +
			unix[:108] + unix[:108],
		signature + "\x21\x31\x00\xd8" + strings.Repeat("\x00", 216),
	}
	for _, header := range nameless {
		if resp, err := from(balancer, header); err != nil || resp.StatusCode != 200 {
			t.Errorf("%q: %v, %v", header, resp, err)
		}
	}
	if resp, err := from(balancer, signature+"\x21\x00\x00\x00"); err == nil {
		t.Errorf("a peer of an unknown kind: %s", resp.Status)
	}
	seen := map[string]int{}
	for _, e := range h.Entries(t) {
		if e.Operation == atm.Inquiry {
			seen[e.Caller.IP]++
		}
	}
	if fmt.Sprint(seen) != fmt.Sprintf("map[127.0.0.2:%d 127.0.0.3:1 192.0.2.7:1]", len(nameless)) {
		t.Errorf("inquiries from %v", seen)
	}
}

// TestTLS12IsSpokenWhenAsked turns on TLS 1.2, which then allows only few ciphers.
func TestTLS12IsSpokenWhenAsked(t *testing.T) {
	h := daemontest.Start(t, func(o *daemon.Options) { o.TLS12 = true })
	cfg := h.TLS(t, "demo")
	cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if resp, text := h.Post(t, daemontest.HTTPClient(t, cfg), daemontest.Call("inquiry", "100"),
		nil); resp.StatusCode != 200 || !strings.Contains(text, "1000.00") {
		t.Errorf("%s %s", resp.Status, text)
	}
	cfg.CipherSuites = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	}
	if conn, err := tls.Dial("tcp", h.Addr, cfg); err == nil {
		conn.Close()
		t.Error("a cipher without AEAD was accepted")
	}
	cfg.CipherSuites, cfg.MinVersion, cfg.MaxVersion = nil, tls.VersionTLS11, tls.VersionTLS11
	if conn, err := tls.Dial("tcp", h.Addr, cfg); err == nil {
		conn.Close()
		t.Error("TLS 1.1 was accepted")
	}
}
