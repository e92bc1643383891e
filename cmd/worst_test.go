//go:build unix

package cmd_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm/internal/needs"
)

// worstMemory is how much memory the server may have with 4,096 connections that each send
// the worst request, in MiB. The worst is the largest of these, on top of 40 MiB of a server
// without connections; a collector that lets the heap double makes twice as much of each.
//
//   - small heads that never end: 40 KiB for TLS and net/http, and 4 KiB of a head, of which
//     net/http makes up to twenty times as much: 4,096 × 120 KiB = 480 MiB
//   - large heads: 256 of 16 KiB, twenty times as much, and the rest as above: 480 + 80 MiB
//   - bodies of nobody: 4,096 × 70 KiB and 128 × 256 KiB: 280 + 32 MiB
//   - bodies of customers: 4,096 × (70 + 16) KiB and 64 MiB, which may double as they
//     grow: 344 + 128 MiB
//   - answers that nobody reads: 4,096 × (70 + 16) KiB, 32 MiB of answers, and the values
//     that they are made from, four times as much: 344 + 160 MiB
const worstMemory = 40 + 2*(480+80)

// TestMemoryIsBoundedUnderTheWorstRequests opens many connections from four addresses, which
// send the requests that take the most memory, or nothing at all. The server's memory stays
// below its bound, and a customer at another address is answered.
func TestMemoryIsBoundedUnderTheWorstRequests(t *testing.T) {
	needs.Unraced(t) // the detector has memory of its own
	connections := soak(128, 4096)
	head := "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: " +
		"%d\r\n%s\r\n"
	statement := "<value><struct><member><name>methodName</name><value>statement</value></member><member><name>params</name><value><array><data>" +
		"<value>100</value><value><struct><member><name>limit</name><value><int>500</int></value></member></struct></value></data></array></value></member></struct></value>"
	multicall := "<methodCall><methodName>system.multicall</methodName><params><param><value><array><data>" +
		strings.Repeat(statement, 54) + "</data></array></value></param></params></methodCall>"
	body := strings.Repeat(" ", 256<<10)
	digest := "Authorization: Digest username=\"alice\", realm=\"%s\", nonce=\"%s\", " +
		"uri=\"/RPC2\", response=\"" + strings.Repeat("0", 64) +
		"\", algorithm=SHA-256, qop=auth-int, nc=00000001, cnonce=\"c\"\r\n"
	for name, request := range map[string]func(s *server) string{
		"statements that nobody reads": func(*server) string {
			return fmt.Sprintf(head, len(multicall), "") + multicall
		},
		"bodies that a digest is over": func(s *server) string {
			if out, err := s.command("atmctl", "user", "add", "alice", "--secret-out",
				"alice.secret").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			realm, nonce := challengeOf(t, s)
			return fmt.Sprintf(head, len(body), fmt.Sprintf(digest, realm, nonce)) + body[1:]
		},
		"bodies of a customer that never end": func(*server) string {
			return fmt.Sprintf(head, len(body), "") + body[1:]
		},
		"large heads that never end": func(*server) string { return endless(16 << 10) },
		"small heads that never end": func(*server) string { return endless(3900) },
		"silence":                    func(*server) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			deposits(t, s, 600)
			before := s.peakMemory(t)
			text := request(s)
			config := credentials(t, s)
			if strings.HasPrefix(name, "bodies that a digest") || strings.Contains(name, "heads") {
				config.GetClientCertificate, config.Certificates = nil, nil
			}
			var opened sync.WaitGroup
			var mu sync.Mutex
			var conns []net.Conn
			next := make(chan int)
			for range 32 {
				opened.Go(func() {
					for n := range next {
						conn, err := silentFrom(t, s, config, byte(2+n%4), text)
						if err != nil {
							continue // it was dropped for another connection, or refused
						}
						mu.Lock()
						conns = append(conns, conn)
						mu.Unlock()
					}
				})
			}
			honest, slowest, calls := s.demo(t, 4), time.Duration(0), 0
			asked := make(chan struct{})
			done := make(chan struct{})
			go func() {
				defer close(asked)
				for {
					begun := time.Now()
					if a, err := honest.Inquiry(t.Context(), 100); err != nil || !a.OK() {
						t.Error(a, err)
					}
					slowest, calls = max(slowest, time.Since(begun)), calls+1
					select {
					case <-done:
						return
					case <-time.After(20 * time.Millisecond):
					}
				}
			}()
			for n := range connections {
				next <- n
			}
			close(next)
			opened.Wait()
			close(done)
			<-asked
			peak := s.peakMemory(t)
			t.Logf("%d connections: %.0f MiB before, %.0f MiB at most; %d calls of an honest "+
				"customer, the slowest in %v",
				len(conns), before, peak, calls, slowest.Round(time.Millisecond))
			if peak > worstMemory {
				t.Errorf("the server had %.0f MiB, more than %d", peak, worstMemory)
			}
			for _, c := range conns {
				c.Close()
			}
		})
	}
}

// endless is the beginning of a head of this many bytes, with as many fields as possible.
func endless(bytes int) string {
	head := []byte("POST /RPC2 HTTP/1.1\nHost: localhost\n")
	for i := 0; len(head) < bytes; i++ {
		head = fmt.Appendf(head, "%x:\n", i)
	}
	return string(head)
}

// silentFrom connects from an address of the loopback network, sends a text and reads nothing.
func silentFrom(t testing.TB, s *server, config *tls.Config, address byte, text string) (net.Conn,
	error,
) {
	dialer := &net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, address)},
		Timeout:   patience,
	}
	raw, err := dialer.DialContext(t.Context(), "tcp4", "127.0.0.1:"+lookUp(s.env, "PORT"))
	if err != nil {
		return nil, err
	}
	if text == "" {
		return raw, nil
	}
	raw.(*net.TCPConn).SetReadBuffer(4 << 10)
	own := config.Clone()
	own.ServerName = "localhost"
	conn := tls.Client(raw, own)
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

var challenge = regexp.MustCompile(`Digest realm="([^"]+)".*nonce="([^"]+)"`)

// challengeOf requests a challenge, and returns its realm and nonce.
func challengeOf(t testing.TB, s *server) (realm, nonce string) {
	t.Helper()
	config := credentials(t, s)
	config.GetClientCertificate, config.Certificates = nil, nil
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Post(s.url+"/RPC2", "text/xml",
		strings.NewReader("<methodCall/>"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	found := challenge.FindStringSubmatch(strings.Join(resp.Header["Www-Authenticate"], "\n"))
	if found == nil {
		t.Fatalf("no challenge: %v", resp.Header)
	}
	return found[1], found[2]
}
