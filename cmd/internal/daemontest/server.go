//go:build unix

// Package daemontest starts whole servers in the process of a test, over real TLS, and calls
// them as clients do.
//
// With ATM_REPLICAS=2 each server is two servers on one database, and connections alternate
// between them.
package daemontest

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
	"example.com/atm/audit/merkle"
	"example.com/atm/auth"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/teller/replay"
)

// A Server is a whole server on a new data folder, over real TLS.
type Server struct {
	Data  string // the data folder
	Name  string
	Addr  string // host:port of HTTPS
	Admin string // URL of the admin endpoints
	Log   *lockedBuffer
	Stop  func() error // stops cleanly; may be called more than once
}

// A lockedBuffer is a log that a test may read while the server writes it.
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

// Start starts a server on a new folder. change may modify its options.
func Start(t testing.TB, change func(*daemon.Options)) *Server {
	t.Helper()
	return StartIn(t, filepath.Join(t.TempDir(), "atm-data"), change)
}

// StartIn starts a server on a data folder, and creates the folder if necessary.
func StartIn(t testing.TB, data string, change func(*daemon.Options)) *Server {
	t.Helper()
	if Replicas > 0 {
		return startReplicas(t, data, change)
	}
	return StartOne(t, data, change)
}

// StartOne starts one server, regardless of ATM_REPLICAS.
func StartOne(t testing.TB, data string, change func(*daemon.Options)) *Server {
	t.Helper()
	listen, err := daemon.Addresses("localhost:0", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &Server{
		Data: data, Log: &lockedBuffer{}, Addr: listen.RPC.Addr().String(),
		Admin: "http://" + listen.Admin.Addr().String(),
	}
	opts := daemon.Options{
		Data: data, Version: "test",
		Log: slog.New(slog.NewTextHandler(h.Log, nil)), Grace: 10 * time.Second,
	}
	if change != nil {
		change(&opts)
	}
	open, err := daemon.Open(t.Context(), opts)
	if err != nil {
		listen.Close()
		t.Fatal(err)
	}
	h.Name = open.Name()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- open.Serve(ctx, listen) }()
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		if resp, err := http.Get(h.Admin + "/readyz"); err == nil {
			resp.Body.Close()
		}
	}()
	select {
	case <-answers: // any answer means that the server runs
	case err := <-served:
		cancel()
		listen.Close()
		t.Fatalf("the server has ended: %v", err)
	}
	h.Stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() {
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// TLS is the configuration of a client with the credentials of a user that init created.
func (h *Server) TLS(t testing.TB, user string) *tls.Config {
	t.Helper()
	cfg, err := client.InFolder(filepath.Join(h.Data, "clients", user)).TLS()
	if err != nil {
		t.Fatal(err)
	}
	cfg.ServerName = "localhost"
	return cfg
}

// As returns a client with the credentials of a user.
func (h *Server) As(t testing.TB, user string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Server: "https://" + h.Addr, TLS: h.TLS(t, user)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// HTTPClient returns an HTTP client with this TLS configuration.
func HTTPClient(t testing.TB, cfg *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: cfg}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Post sends a call. change may modify its headers.
func (h *Server) Post(t testing.TB, c *http.Client, body string,
	change func(*http.Request),
) (*http.Response, string) {
	t.Helper()
	return h.post(t, c, "/RPC2", "text/xml", body, change)
}

func (h *Server) post(t testing.TB, c *http.Client, path, media, body string,
	change func(*http.Request),
) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+h.Addr+path,
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
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

// Raw sends bytes over TLS and returns everything received until the server closes.
func (h *Server) Raw(t testing.TB, user, request string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", h.Addr, h.TLS(t, user))
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

// Get reads an admin endpoint.
func (h *Server) Get(t testing.TB, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(h.Admin + path)
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

// Entries stops the server, verifies its log, requires that a monitor finds nothing in it, and
// returns the entries.
func (h *Server) Entries(t *testing.T) []*audit.Entry {
	t.Helper()
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	files := audit.Dir(filepath.Join(h.Data, "audit"))
	report, err := audit.Verify(t.Context(), files, audit.VerifyOptions{})
	if err != nil || !report.OK() {
		t.Fatalf("the log: %+v, %v", report, err)
	}
	log, err := audit.OpenLog(t.Context(), files, report.Key)
	if err != nil {
		t.Fatal(err)
	}
	var all []*audit.Entry
	var leaves [][]byte
	name, _, _ := strings.Cut(report.Origin, "/")
	watcher := replay.NewWatcher(replay.Rules{Permit: daemon.Permit, Issuer: auth.IssuerOf(name)},
		func(_ context.Context, index int64) ([]byte, error) { return leaves[index], nil },
		func(index int64, problem string) { t.Errorf("entry %d is not right: %s", index, problem) })
	err = log.Entries(t.Context(), 0, log.Size, func(index int64, leaf []byte,
		_ merkle.Hash,
	) error {
		e, err := audit.ParseEntry(leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		all, leaves = append(all, e), append(leaves, bytes.Clone(leaf))
		return watcher.Entry(t.Context(), index, leaf)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Count counts the entries that fit.
func Count(entries []*audit.Entry, fits func(*audit.Entry) bool) int {
	n := 0
	for _, e := range entries {
		if fits(e) {
			n++
		}
	}
	return n
}

// Call is the body of a call with string arguments.
func Call(method string, args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<methodCall><methodName>%s</methodName><params>", method)
	for _, arg := range args {
		fmt.Fprintf(&b, "<param><value><string>%s</string></value></param>", arg)
	}
	b.WriteString("</params></methodCall>")
	return b.String()
}

// Multicall is the body of a multicall of calls with string arguments.
func Multicall(calls ...[]string) string {
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

// Must returns a function that fails the test unless an operation succeeded.
func Must(t testing.TB) func(*client.Answer, error) *client.Answer {
	return func(a *client.Answer, err error) *client.Answer {
		t.Helper()
		if err != nil || !a.OK() {
			t.Fatalf("%+v, %v", a, err)
		}
		return a
	}
}

const Account atm.AccountID = 100

var Discard = slog.New(slog.DiscardHandler)
