//go:build unix

package attack_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/certs"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// An attack is a request that must not succeed.
type attack struct {
	name string

	by      *tls.Certificate // client certificate; nil for none
	header  []string         // header lines besides the usual ones
	body    string           // of a POST to path; if empty, an inquiry of account 100
	path    string           // if empty, /RPC2
	request string           // the whole request, in place of the fields above

	want int    // status of the answer; 0 if the connection ends without one
	says string // text in the answer
}

// arena is the server under attack and its users.
type arena struct {
	*daemontest.Server
	roots   *x509.CertPool
	own     *certs.Authority // authority of the server's clients, whose key no attacker has
	foreign *daemontest.ForeignAuthority
	domain  string

	demo, alice, mallory, auditor, operator, till, billing *tls.Certificate

	mu    sync.Mutex
	names map[string]string // guarded by mu; names of attacks by source address

	facesMu sync.Mutex
	asJSON  int // guarded by facesMu; attacks that were sent as JSON too

	consoleArena
}

// newArena starts the server. Account 100 belongs to demo and has $1000; 200 belongs to alice
// and has $60, of which $10 are held; 300 belongs to mallory and has $5.
func newArena(t *testing.T) *arena {
	t.Helper()
	a := &arena{foreign: newForeignAuthority(t), names: make(map[string]string)}
	a.expected, a.balances = make(map[string]expectation), make(map[atm.AccountID]string)
	folder := t.TempDir()
	ca, identities := filepath.Join(folder, "ca.crt"), filepath.Join(folder, "identities.toml")
	a.issuers = filepath.Join(folder, "issuers.toml")
	for path, text := range map[string][]byte{
		ca:         certs.EncodeCertificate(a.foreign.Cert),
		identities: a.foreign.Identities(t),
		a.issuers:  nil, // until there is a provider
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.Server = daemontest.Start(t, func(o *daemon.Options) {
		o.ClientCA, o.Identities = ca, identities
		o.Server.HeaderTimeout, o.Server.RequestTimeout = time.Second, 2*time.Second
		o.Server.MaxPerAddress = arenaPerAddress
		o.Server.Console, o.Server.PublicURL = true, bankOrigin
		o.Issuers = a.issuers
	})
	a.domain = a.Name
	a.roots = a.TLS(t, "demo").RootCAs
	var err error
	if a.own, err = certs.LoadAuthority(filepath.Join(a.Data, "ca/clients.crt"),
		filepath.Join(a.Data, "ca/clients.key")); err != nil {
		t.Fatal(err)
	}
	operator := a.As(t, "operator")
	a.office = operator
	for subject, role := range map[string]string{
		"user:alice": "customer", "user:mallory": "customer", "user:audra": "auditor",
		"user:dave": "customer", "user:rita": "customer",
		"service:till": "teller", "service:billing": "service", "user:nina": "customer",
	} {
		args := []any{subject, role}
		if subject != "user:nina" && subject != "service:billing" {
			args = append(args, daemontest.AliceSecret)
		}
		daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", args...))
	}
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.disable", "user:dave"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "200", "user:alice", "60"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "300", "user:mallory", "5"))
	a.balances[100], a.balances[200], a.balances[300] = "1000.00", "60.00", "5.00"
	a.demo, a.operator = a.shown(t, "demo"), a.shown(t, "operator")
	a.alice, a.mallory, a.auditor = a.of(t, "/user/alice"), a.of(t, "/user/mallory"),
		a.of(t, "/user/audra")
	a.till, a.billing = a.of(t, "/service/till"), a.of(t, "/service/billing")
	a.teller = a.client(t, a.till)
	daemontest.Must(t)(a.client(t, a.alice).Authorize(t.Context(), 200, 1000, time.Hour, "a hold"))
	return a
}

func (a *arena) shown(t *testing.T, user string) *tls.Certificate {
	t.Helper()
	cert, err := a.TLS(t, user).GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (a *arena) client(t *testing.T, cert *tls.Certificate) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Server: "https://" + a.Addr, TLS: a.config(cert)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (a *arena) config(cert *tls.Certificate) *tls.Config {
	cfg := &tls.Config{RootCAs: a.roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}
	if cert != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return cert, nil
		}
	}
	return cfg
}

// of is a good certificate whose identity has this path.
func (a *arena) of(t *testing.T, path string) *tls.Certificate {
	t.Helper()
	return a.issued(t, func(*x509.Certificate) {}, "spiffe://"+a.domain+path)
}

// issued is a certificate of the server's own authority for clients. change makes it differ
// from a good one.
func (a *arena) issued(t *testing.T, change func(*x509.Certificate),
	uris ...string,
) *tls.Certificate {
	t.Helper()
	key := daemontest.NewKey(t)
	template := daemontest.GoodTemplate(t, uris...)
	change(template)
	return &tls.Certificate{Certificate: [][]byte{daemontest.Signed(t, template, a.own.Certificate,
		key.Public(), a.clientsKey(t))}, PrivateKey: key}
}

// clientsKey is the key of the authority, which no attacker has.
func (a *arena) clientsKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	return readKey(t, filepath.Join(a.Data, "ca/clients.key"))
}

func readKey(t *testing.T, path string) *ecdsa.PrivateKey {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key, err := certs.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PrivateKey)
}

// address is an address of the loopback network from which only the attack of this name comes.
// So failures of one attack do not throttle the next one, and each log entry shows its attack.
func (a *arena) address(name string) *net.TCPAddr {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.names) + 1
	// A network of its own: failures of one network with one reason share entries.
	ip := net.IPv4(127, byte(1+n>>8), byte(n), 1).To4()
	a.names[ip.String()] = name
	return &net.TCPAddr{IP: ip}
}

// dial connects from an address with a client certificate.
func (a *arena) dial(t *testing.T, from *net.TCPAddr, cert *tls.Certificate) (net.Conn, error) {
	t.Helper()
	dialer := &tls.Dialer{
		NetDialer: &net.Dialer{LocalAddr: from, Timeout: 10 * time.Second},
		Config:    a.config(cert),
	}
	conn, err := dialer.DialContext(t.Context(), "tcp4", a.Addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn, nil
}

// exchange sends bytes over a new connection and returns the status and everything received
// until the server closes. The status is 0 if there is no answer.
func (a *arena) exchange(t *testing.T, from *net.TCPAddr, cert *tls.Certificate,
	request string,
) (int, string) {
	t.Helper()
	conn, err := a.dial(t, from, cert)
	if err != nil {
		return 0, err.Error()
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return 0, err.Error()
	}
	answer, err := io.ReadAll(conn)
	if len(answer) == 0 {
		return 0, fmt.Sprint(err)
	}
	return status(answer), string(answer)
}

func status(answer []byte) int {
	fields := strings.Fields(string(answer[:min(len(answer), 64)]))
	if len(fields) < 2 {
		return -1
	}
	code, err := strconv.Atoi(fields[1])
	if err != nil {
		return -1
	}
	return code
}

// bytes is the request of an attack.
func (at *attack) bytes() string {
	if at.request != "" {
		return at.request
	}
	body, path := at.body, at.path
	if body == "" {
		body = daemontest.Call("inquiry", "100")
	}
	if path == "" {
		path = "/RPC2"
	}
	media := "text/xml"
	if strings.HasPrefix(path, "/token") {
		media = "application/x-www-form-urlencoded"
	}
	lines := append([]string{
		"POST " + path + " HTTP/1.1", "Host: localhost", "Connection: close", "Content-Type: " +
			media, fmt.Sprintf("Content-Length: %d", len(body)),
	}, at.header...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// run sends attacks and checks each answer.
func (a *arena) run(t *testing.T, attacks []attack) {
	t.Helper()
	for _, at := range attacks {
		t.Run(at.name, func(t *testing.T) {
			code, answer := a.try(t, t.Name(), at.by, &at)
			if code != at.want || !strings.Contains(answer, at.says) {
				t.Errorf("answered %d %.700q, not %d %q", code, answer, at.want, at.says)
			}
			if at.want < 500 && strings.Contains(answer, "HTTP/1.1 5") {
				t.Errorf("answered %.300q", answer)
			}
		})
	}
}

// TestAttacksAreRefused sends every attack that has a name to one server. Each is refused as
// promised, and none is answered 5xx except by net/http for a feature that it does not
// implement. In the end the balances are unchanged, and no successful operation came from the
// address of an attack, except for the few listed by name.
func TestAttacksAreRefused(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	t.Run("certificate", a.attackCertificates)
	t.Run("digest", a.attackDigest)
	t.Run("token", a.attackTokens)
	t.Run("combination", a.attackCombinations)
	t.Run("signature", a.attackSignatures)
	t.Run("http", a.attackHTTP)
	t.Run("permission", a.attackPermissions)
	t.Run("memo", a.attackMemos)
	t.Run("payment", a.attackPayments)
	t.Run("memory", a.attackMemory)
	t.Run("secret", a.attackSecrets)
	t.Run("admin", a.attackAdmin)
	t.Run("file", a.attackFiles)
	t.Run("derived", a.attackDerived)
	t.Run("browser", a.attackBrowsers)
	t.Run("form", a.attackForms)
	t.Run("session", a.attackSessions)
	t.Run("passkey", a.attackPasskeys)
	t.Run("confirmation", a.attackConfirmations)
	t.Run("console payment", a.attackConsolePayments)
	t.Run("console feed", a.attackConsoleFeed)
	t.Run("oidc", a.attackProviders)

	a.unmoved(t)
	entries := a.Entries(t)
	a.checkExpected(t, entries)
	a.checkEnded(t, entries)
	for index, e := range entries {
		if e.Caller == nil || e.Status == nil || e.Status.Code != atm.OK || a.onlyLooked(e) {
			continue
		}
		if name := a.names[e.Caller.IP]; name != "" && !strings.Contains(name, harmless) {
			t.Errorf("%s: %s was carried out: entry %d", name, e.Operation, index)
		}
	}
	if n := len(a.names); (n < 1700 || a.asJSON < 400) &&
		!strings.Contains(flag.Lookup("test.run").Value.String(), "/") {
		t.Errorf("%d attacks, %d of them as JSON", n, a.asJSON)
	}
}

// harmless is a part of the names of attacks in which an operation succeeds that the caller is
// allowed to do.
const harmless = "by_right"

// kept is a connection for several requests.
type kept struct {
	conn net.Conn
	r    *bufio.Reader
}

func newKept(conn net.Conn) *kept { return &kept{conn, bufio.NewReader(conn)} }

// ask posts a call with these header lines.
func (k *kept) ask(t *testing.T, body string, header ...string) (int, []byte) {
	t.Helper()
	lines := append([]string{
		"POST /RPC2 HTTP/1.1", "Host: localhost", "Content-Type: text/xml",
		fmt.Sprintf("Content-Length: %d", len(body)),
	}, header...)
	if _, err := io.WriteString(k.conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+body); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(k.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func readPEM(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certs.ParseCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Raw
}

// get asks for a page with these header lines.
func (k *kept) get(path string, header ...string) (int, http.Header, error) {
	lines := append([]string{"GET " + path + " HTTP/1.1", "Host: localhost"}, header...)
	if _, err := io.WriteString(k.conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(k.r, nil)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header, err
}
