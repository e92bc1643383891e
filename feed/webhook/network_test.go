package webhook_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm/certs"
	"example.com/atm/feed/webhook"
	"example.com/atm/internal/needs"
)

// receiverName resolves to whatever a test says.
const receiverName = "receiver.example"

// long is a bound that no test reaches unless a receiver hangs that should not.
const long = time.Minute

var loopback = netip.MustParseAddr("127.0.0.1")

// A network is an authority, and a DNS server on loopback.
type network struct {
	authority *certs.Authority
	resolver  *net.Resolver

	mu      sync.Mutex
	answers []netip.Addr // guarded by mu; to every name
	next    []netip.Addr // guarded by mu; from the second question on, unless nil
	asked   int          // guarded by mu; questions for an address of IPv4
}

func newNetwork(t testing.TB, answers ...netip.Addr) *network {
	t.Helper()
	authority, err := certs.NewAuthority("receivers", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{authority: authority, answers: answers}
	n.resolver = &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp4", socket.LocalAddr().String())
		},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.serveDNS(socket)
	}()
	t.Cleanup(func() { socket.Close(); <-done })
	return n
}

// resolve sets what names resolve to from now on.
func (n *network) resolve(answers ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers = answers
}

// resolveAgain sets what names resolve to from the second time on.
func (n *network) resolveAgain(answers ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next = answers
}

// questions returns how often an address of IPv4 was asked for.
func (n *network) questions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// The types of DNS records (RFC 1035, RFC 3596), and the size of the header of a message.
const (
	typeA     = 1
	typeAAAA  = 28
	classIN   = 1
	dnsHeader = 12
)

func (n *network) serveDNS(socket net.PacketConn) {
	query := make([]byte, 512)
	for {
		size, from, err := socket.ReadFrom(query)
		if err != nil {
			return
		}
		end := dnsHeader
		for end < size && query[end] != 0 {
			end += int(query[end]) + 1
		}
		end += 1 + 2 + 2 // the last label, type and class
		if end > size {
			continue
		}
		kind := binary.BigEndian.Uint16(query[end-4:])
		answer := append([]byte(nil), query[:end]...)
		copy(answer[2:], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}) // an answer, one question
		for _, addr := range n.records(kind) {
			answer[7]++
			answer = append(answer, 0xc0, dnsHeader) // the name of the question
			answer = binary.BigEndian.AppendUint16(answer, kind)
			answer = binary.BigEndian.AppendUint16(answer, classIN)
			answer = binary.BigEndian.AppendUint32(answer, 0) // may not be kept
			answer = binary.BigEndian.AppendUint16(answer, uint16(len(addr.AsSlice())))
			answer = append(answer, addr.AsSlice()...)
		}
		if _, err := socket.WriteTo(answer, from); err != nil {
			return
		}
	}
}

// records returns the answers of a type.
func (n *network) records(kind uint16) (list []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if kind == typeA {
		if n.asked++; n.asked == 2 && n.next != nil {
			n.answers = n.next
		}
	}
	for _, addr := range n.answers {
		if addr.Is4() && kind == typeA || addr.Is6() && kind == typeAAAA {
			list = append(list, addr)
		}
	}
	return list
}

// config returns what a sender needs that may send to addresses.
func (n *network) config(allow ...netip.Addr) webhook.Config {
	c := webhook.Config{Roots: x509.NewCertPool()}
	c.Roots.AddCert(n.authority.Certificate)
	for _, addr := range allow {
		c.Allow = append(c.Allow, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return c
}

func (n *network) sender(t testing.TB, c webhook.Config, within time.Duration) *webhook.Sender {
	t.Helper()
	s := webhook.NewTestSender(c, n.resolver, within)
	t.Cleanup(s.Close)
	return s
}

// certificate issues the certificate of a receiver with a name.
func (n *network) certificate(t testing.TB, name string, at time.Time) tls.Certificate {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	issued, err := n.authority.IssueServer(key.Public(), []string{name}, 24*time.Hour, at)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{issued.Raw}, PrivateKey: key}
}

// settings returns those of TLS for a receiver with a good certificate.
func (n *network) settings(t testing.TB) *tls.Config {
	t.Helper()
	return &tls.Config{
		Certificates: []tls.Certificate{n.certificate(t, receiverName, time.Now())},
	}
}

// listen listens on an address, on any port if port is 0. Linux has all of 127.0.0.0/8.
func listen(t testing.TB, addr netip.Addr, port uint16) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(addr, port).String())
	if err != nil && addr != loopback {
		needs.Skip(t, addr.String()+" is no address of this machine")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// freePort returns a port of which no other test has any address.
func freePort(t testing.TB) uint16 {
	t.Helper()
	text, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(port)
}

// hook returns the URL of a receiver with the name that the DNS server has.
func hook(port uint16) string {
	return fmt.Sprintf("https://%s:%d/hook?token=t", receiverName, port)
}

func hookOf(l net.Listener) string { return hook(uint16(l.Addr().(*net.TCPAddr).Port)) }

// serve runs net/http as the receiver, which speaks HTTP/2 as well.
func serve(t testing.TB, l net.Listener, settings *tls.Config, handler http.HandlerFunc) string {
	t.Helper()
	server := &http.Server{
		Handler: handler, TLSConfig: settings, ErrorLog: log.New(discard{}, "", 0),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.ServeTLS(l, "", "")
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return hookOf(l)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// serveRaw runs behave on each connection, beneath TLS unless settings is nil. When the test
// ends, every connection is closed.
func serveRaw(t testing.TB, l net.Listener, settings *tls.Config, behave func(net.Conn)) string {
	t.Helper()
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				if settings != nil {
					c = tls.Server(c, settings)
				}
				behave(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); cancel(); running.Wait() })
	return hookOf(l)
}

// message is a webhook of the time of the test.
func message() webhook.Message {
	return webhook.Message{ID: "f4711.23", Time: now, Body: body}
}

// saying reports whether err is a sentence of one line that contains part, if part is not empty.
func saying(err error, part string) bool {
	if part == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), part)
}
