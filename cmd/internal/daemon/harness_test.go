//go:build unix

package daemon_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
)

// testServer is a whole server on a new data folder, over real TLS.
type testServer struct {
	data  string
	name  string
	addr  string // host:port of HTTPS
	admin string // URL of the admin endpoints
	log   *lockedBuffer
	stop  func() error // a clean stop; may be called more than once
}

// lockedBuffer is a log that a test may read while the server writes it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start starts a server. change may alter its options.
func start(t testing.TB, change func(*daemon.Options)) *testServer {
	t.Helper()
	return startIn(t, filepath.Join(t.TempDir(), "atm-data"), change)
}

func startIn(t testing.TB, data string, change func(*daemon.Options)) *testServer {
	t.Helper()
	if replicas > 0 {
		return startReplicas(t, data, change)
	}
	return startOne(t, data, change)
}

func startOne(t testing.TB, data string, change func(*daemon.Options)) *testServer {
	t.Helper()
	listen, err := daemon.Addresses("localhost:0", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &testServer{
		data: data, log: &lockedBuffer{}, addr: listen.RPC.Addr().String(),
		admin: "http://" + listen.Admin.Addr().String(),
	}
	opts := daemon.Options{
		Data: data, Version: "test",
		Log: slog.New(slog.NewTextHandler(h.log, nil)), Grace: 10 * time.Second,
	}
	if change != nil {
		change(&opts)
	}
	open, err := daemon.Open(t.Context(), opts)
	if err != nil {
		listen.Close()
		t.Fatal(err)
	}
	h.name = open.Name()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- open.Serve(ctx, listen) }()
	h.stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// tls are the credentials of a user that init made.
func (h *testServer) tls(t testing.TB, user string) *tls.Config {
	t.Helper()
	cfg, err := client.InFolder(filepath.Join(h.data, "clients", user)).TLS()
	if err != nil {
		t.Fatal(err)
	}
	cfg.ServerName = "localhost"
	return cfg
}

// as returns a client with the credentials of a user.
func (h *testServer) as(t testing.TB, user string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Server: "https://" + h.addr, TLS: h.tls(t, user)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// httpClient returns a plain HTTP client over this TLS configuration.
func httpClient(t testing.TB, cfg *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: cfg}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// post sends a call, with headers changed by change.
func (h *testServer) post(t testing.TB, c *http.Client, body string,
	change func(*http.Request),
) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+h.addr+"/RPC2",
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/xml")
	if change != nil {
		change(req)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// raw sends bytes over TLS and returns all that comes back until the server
// closes.
func (h *testServer) raw(t testing.TB, user, request string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", h.addr, h.tls(t, user))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		t.Fatal(err)
	}
	return string(answer)
}

// get reads an admin endpoint.
func (h *testServer) get(t testing.TB, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(h.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// entries stops the server, verifies its log and returns what is in it.
func (h *testServer) entries(t *testing.T) []*audit.Entry {
	t.Helper()
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	files := audit.Dir(filepath.Join(h.data, "audit"))
	report, err := audit.Verify(t.Context(), files, audit.VerifyOptions{})
	if err != nil || !report.OK() {
		t.Fatalf("the log: %+v, %v", report, err)
	}
	log, err := audit.OpenLog(t.Context(), files, report.Key)
	if err != nil {
		t.Fatal(err)
	}
	var all []*audit.Entry
	err = log.Entries(t.Context(), 0, log.Size, func(index int64, leaf []byte, _ audit.Hash) error {
		e, err := audit.ParseEntry(leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		all = append(all, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// count counts the entries that fit.
func count(entries []*audit.Entry, fits func(*audit.Entry) bool) int {
	n := 0
	for _, e := range entries {
		if fits(e) {
			n++
		}
	}
	return n
}

// call is the body of a call with string arguments.
func call(method string, args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<methodCall><methodName>%s</methodName><params>", method)
	for _, arg := range args {
		fmt.Fprintf(&b, "<param><value><string>%s</string></value></param>", arg)
	}
	b.WriteString("</params></methodCall>")
	return b.String()
}

// multicall is the body of a multicall of calls with string arguments.
func multicall(calls ...[]string) string {
	var b strings.Builder
	b.WriteString(
		"<methodCall><methodName>system.multicall</methodName><params><param><value><array><data>")
	for _, c := range calls {
		fmt.Fprintf(&b,
			"<value><struct><member><name>methodName</name><value>%s</value></member><member><name>params</name><value><array><data>", c[0])
		for _, arg := range c[1:] {
			fmt.Fprintf(&b, "<value><string>%s</string></value>", arg)
		}
		b.WriteString("</data></array></value></member></struct></value>")
	}
	b.WriteString("</data></array></value></param></params></methodCall>")
	return b.String()
}

// must returns a function that fails the test unless an operation was carried
// out.
func must(t testing.TB) func(*client.Answer, error) *client.Answer {
	return func(a *client.Answer, err error) *client.Answer {
		t.Helper()
		if err != nil || !a.OK() {
			t.Fatalf("%+v, %v", a, err)
		}
		return a
	}
}

const account atm.AccountID = 100

var discard = slog.New(slog.DiscardHandler)
