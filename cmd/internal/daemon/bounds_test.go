//go:build unix

package daemon_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// asks reports whether an inquiry over conn is answered.
func asks(t testing.TB, conn net.Conn) bool {
	t.Helper()
	inquiry := daemontest.Call("inquiry", "100")
	if _, err := fmt.Fprintf(conn, "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
		"text/xml\r\n"+
		"Content-Length: %d\r\n\r\n%s", len(inquiry), inquiry); err != nil {
		return false
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// TestSilentConnectionsMakeWayForOthers opens more silent connections than the limit of all
// connections. Other clients are served nevertheless, and a connection in use stays open.
func TestSilentConnectionsMakeWayForOthers(t *testing.T) {
	daemontest.Single(t, "the bound is that of one server")
	h := daemontest.Start(t, func(o *daemon.Options) {
		o.Server.MaxConnections, o.Server.MaxPerAddress = 32, 16
	})
	used, err := h.DialFrom(t, "127.0.0.1", "")
	if err != nil || !asks(t, used) {
		t.Fatal(err)
	}
	for i := range 64 {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i/16))}}).
			DialContext(context.Background(), "tcp", h.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	for range 20 {
		fresh, err := h.DialFrom(t, "127.0.0.9", "")
		if err != nil || !asks(t, fresh) {
			t.Fatalf("beside silent connections: %v", err)
		}
		fresh.Close()
	}
	if !asks(t, used) {
		t.Error("the connection that was in use was dropped")
	}
}

// TestConnectionsOfOneAddressAreBounded opens one more connection from an address than allowed.
func TestConnectionsOfOneAddressAreBounded(t *testing.T) {
	daemontest.Single(t, "the bound is that of one server")
	h := daemontest.Start(t, func(o *daemon.Options) { o.Server.MaxPerAddress = 4 })
	var first *tls.Conn
	for i := range 4 {
		conn, err := h.DialFrom(t, "127.0.0.2", "")
		if err != nil || !asks(t, conn) {
			t.Fatalf("connection %d: %v", i, err)
		}
		if i == 0 {
			first = conn
		}
	}
	if conn, err := h.DialFrom(t, "127.0.0.2", ""); err == nil && asks(t, conn) {
		t.Error("a fifth connection from the same address")
	}
	if conn, err := h.DialFrom(t, "127.0.0.3", ""); err != nil || !asks(t, conn) {
		t.Errorf("from another address: %v", err)
	}
	first.Close()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := h.DialFrom(t, "127.0.0.2", ""); err == nil && asks(t, conn) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("there is no space after one has ended")
		}
	}
}

// TestBalancerMayHaveMoreConnections connects through a load balancer. Connections count for
// the addresses of its clients.
func TestBalancerMayHaveMoreConnections(t *testing.T) {
	daemontest.Single(t, "the bound is that of one server")
	h := daemontest.Start(t, func(o *daemon.Options) {
		o.Server.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
		o.Server.MaxPerAddress = 2
	})
	header := func(client string) string {
		return "PROXY TCP4 " + client + " 127.0.0.1 12345 9000\r\n"
	}
	for i := range 6 {
		conn, err := h.DialFrom(t, "127.0.0.2", header(fmt.Sprintf("192.0.2.%d", i/2)))
		if err != nil || !asks(t, conn) {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	if conn, err := h.DialFrom(t, "127.0.0.2", header("192.0.2.1")); err == nil && asks(t, conn) {
		t.Error("a third connection of one client")
	}
}

// TestStrangersLargeHeadsAreBounded begins large heads that never end over too many connections
// from one address. The last ones are closed. Connections that have signed in do not count.
func TestStrangersLargeHeadsAreBounded(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "the bound is that of one server")
	h := daemontest.Start(t, func(o *daemon.Options) { o.Server.HeaderTimeout = time.Minute })
	head := "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("X: y\r\n", 1200)
	known, err := h.DialFrom(t, "127.0.0.2", "")
	if err != nil || !asks(t, known) {
		t.Fatal(err)
	}
	const most = 64
	for range most {
		conn, err := h.DialFrom(t, "127.0.0.2", "")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, head)
	}
	closed := func() bool {
		conn, err := h.DialFrom(t, "127.0.0.2", "")
		if err != nil {
			return true
		}
		io.WriteString(conn, head)
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err = conn.Read(make([]byte, 1))
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}
	for end := time.Now().Add(time.Minute); !closed(); {
		if time.Now().After(end) {
			t.Fatal("there is no bound")
		}
	}
	for range 20 {
		if !asks(t, known) {
			t.Fatal("who has signed in is not served")
		}
	}
	if conn, err := h.DialFrom(t, "127.0.0.2", ""); err != nil || !asks(t, conn) {
		t.Errorf("a small request from the same address: %v", err)
	}
}

// TestBodiesOfOneCallerAreBounded begins as many large calls as one caller may have in transit,
// without their last bytes. Another large call is refused. Small calls and calls of other
// callers are not.
func TestBodiesOfOneCallerAreBounded(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "the bound is that of one server")
	h := daemontest.Start(t, func(o *daemon.Options) { o.Server.RequestTimeout = time.Minute })
	large := strings.Replace(daemontest.Call("inquiry", "100"), "<params>",
		strings.Repeat(" ", 255<<10)+
			"<params>", 1)
	const most = 16 << 20 / (255 << 10)
	for range most {
		conn, err := h.DialFrom(t, "127.0.0.2", "")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
			"text/xml\r\nContent-Length: %d\r\n\r\n%s",
			len(large), large[:len(large)-1])
	}
	demo := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	for end := time.Now().Add(30 * time.Second); ; { // the last ones may not have been counted yet
		if resp, _ := h.Post(t, demo, large,
			nil); resp.StatusCode == http.StatusServiceUnavailable {
			break
		}
		if time.Now().After(end) {
			t.Fatal("there is no bound")
		}
	}
	if resp, text := h.Post(t, demo, daemontest.Call("inquiry", "100"),
		nil); resp.StatusCode != http.StatusOK {
		t.Errorf("a small call: %s %s", resp.Status, text)
	}
	if resp, text := h.Post(t, daemontest.HTTPClient(t, h.TLS(t, "operator")), large,
		nil); resp.StatusCode != http.StatusOK {
		t.Errorf("a large call of somebody else: %s %s", resp.Status, text)
	}
}
