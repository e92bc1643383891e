//go:build unix

package cmd_test

import (
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/internal/needs"
)

// A lossy is a network between clients and a server that loses the answer to the first request:
// it cuts the connection when the server has carried the request out.
type lossy struct {
	url         string
	connections atomic.Int64
	server      string // address
	done        func() bool
}

// loseFirstAnswer puts such a network before s. done says that the request was carried out.
func loseFirstAnswer(t *testing.T, s *server, done func() bool) *lossy {
	t.Helper()
	at, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n := &lossy{url: "https://localhost:" + port, server: at.Host, done: done}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go n.pass(c, n.connections.Add(1) == 1)
		}
	}()
	return n
}

// pass passes a connection on. One that loses its answer passes the first flight of the server,
// which ends its side of the handshake, and nothing that the server sends after the next flight of
// the client.
func (n *lossy) pass(c net.Conn, loses bool) {
	defer c.Close()
	up, err := net.Dial("tcp", n.server)
	if err != nil {
		return
	}
	defer up.Close()
	var spoken, silent atomic.Bool
	go func() {
		io.Copy(writer(func(b []byte) (int, error) {
			if loses && spoken.Load() && !silent.Swap(true) {
				go n.cut(c)
			}
			return up.Write(b)
		}), c)
		up.Close()
	}()
	io.Copy(writer(func(b []byte) (int, error) {
		if silent.Load() {
			return len(b), nil
		}
		spoken.Store(true)
		return c.Write(b)
	}), up)
}

// cut cuts a connection when the request was carried out.
func (n *lossy) cut(c net.Conn) {
	for range 1000 {
		if n.done() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Close()
}

// A writer is a function that writes.
type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// losesNothing has a program deposit over such a network: the answer to the first try is lost, the
// program asks again by the same request id, and the money has moved once.
func losesNothing(t *testing.T, s *server, dir, program string, args ...string) {
	t.Helper()
	folder := filepath.Join(s.dir, "atm-data", "clients", "demo")
	settings, err := client.InFolder(folder).TLS()
	if err != nil {
		t.Fatal(err)
	}
	direct, err := client.New(client.Config{Server: s.url, TLS: settings})
	if err != nil {
		t.Fatal(err)
	}
	const after = openingBalance + 12_50
	network := loseFirstAnswer(t, s, func() bool {
		answer, err := direct.Inquiry(t.Context(), 100)
		return err == nil && answer.Text() == atm.Amount(after).String()
	})
	cmd := in(dir, program, append(args, network.url, folder)...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stdout.String() != "1012.50\n1012.50\n" {
		t.Errorf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	if got := network.connections.Load(); got < 2 {
		t.Errorf("it connected %d times: no answer was lost", got)
	}
	s.stop(t)
	s.verify(t)
}

func TestPythonClientMovesMoneyOnceWhenAnAnswerIsLost(t *testing.T) {
	t.Parallel()
	python := needs.Program(t, "python3")
	dir, err := filepath.Abs("../clients/python")
	if err != nil {
		t.Fatal(err)
	}
	losesNothing(t, startServer(t), dir, python, "-B", "-W", "error", "-c", "import runpy, sys\n"+
		"sys.path.insert(0, 'src')\nrunpy.run_path('tests/lost.py')")
}
