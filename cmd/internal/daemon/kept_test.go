package daemon_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A drawer draws requests at random. Most have the fields of the one before, with
// other values.
type drawer struct {
	random *rand.Rand
	token  string
	start  string // of the request, its line
	fields []string
}

func (d *drawer) of(choices ...string) string { return choices[d.random.IntN(len(choices))] }

func (d *drawer) chance(percent int) bool { return d.random.IntN(100) < percent }

// shape draws the line of a request, and its fields.
func (d *drawer) shape() {
	d.start = d.of("POST", "POST", "POST", "POST", "POST", "PUT") + " " + d.of("/RPC2", "/RPC2", "/RPC2", "/", "/nothing") + " HTTP/1.1"
	d.fields = []string{"Host", "Content-Type", "Content-Length"}
	for _, field := range []string{"Authorization", "Traceparent", "Idempotency-Key", "X"} {
		if d.chance(25) {
			d.fields = append(d.fields, field)
		}
	}
	d.random.Shuffle(len(d.fields), func(i, j int) { d.fields[i], d.fields[j] = d.fields[j], d.fields[i] })
}

// next draws a request that changes nothing.
func (d *drawer) next() string {
	if d.start == "" || d.chance(25) {
		d.shape()
	}
	body := d.of(call("inquiry", "100"), call("inquiry", "7"), call("whoami"), call("nosuch"), call("withdraw", "100", "99999999"),
		call("inquiry", strings.Repeat("x", 3000)), multicall([]string{"whoami"}, []string{"inquiry", "100"}), "no XML", "")
	lines := []string{d.start}
	for _, field := range d.fields {
		value := ""
		switch field {
		case "Host":
			value = "localhost"
		case "Content-Type":
			if value = "text/xml"; d.chance(5) {
				value = d.of("text/plain", "application/xml")
			}
		case "Content-Length":
			value = strconv.Itoa(len(body))
		case "Authorization":
			value = d.of("Bearer "+d.token, "Bearer "+d.token, "Bearer "+d.token, "Bearer "+d.token, "")
		case "Traceparent":
			value = d.of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "none", "")
		case "Idempotency-Key":
			value = d.of("", " ", "k", "k", strings.Repeat("k", 129))
		case "X":
			value = strings.Repeat("x", []int{1, 3000, 12 << 10, 18 << 10}[d.random.IntN(4)]) // the last is too much
		}
		lines = append(lines, field+": "+value)
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// receipts are what differs between two answers to the same call.
var receipts = regexp.MustCompile(`[0-9]+ [0-9A-Za-z+/]{43}=`)

// answerOf reads a response, and says in words what the server has to say.
func answerOf(t *testing.T, r *bufio.Reader) (said string, last bool) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %q %q %s", resp.StatusCode, resp.Header.Get("Content-Type"), resp.Header.Get("Cache-Control"),
		receipts.ReplaceAllString(string(body), "INDEX HASH")), resp.Close
}

// TestKeptLikeFresh sends requests on kept connections, several at once and cut
// anywhere, and each of them on a connection of its own: they are answered alike.
func TestKeptLikeFresh(t *testing.T) {
	h := start(t, nil)
	_, answer := h.token(t, httpClient(t, h.tls(t, "demo")), url.Values{"grant_type": {"client_credentials"}}, nil)
	token, _ := answer["access_token"].(string)
	settings := h.tls(t, "demo")
	dial := func() *tls.Conn {
		conn, err := tls.Dial("tcp", h.addr, settings)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(time.Minute))
		return conn
	}
	d := &drawer{random: rand.New(rand.NewPCG(7, 11)), token: token}
	conn := dial()
	answers := bufio.NewReader(conn)
	for range 500 {
		sent := []string{d.next()}
		for d.chance(20) {
			sent = append(sent, d.next())
		}
		for rest := strings.Join(sent, ""); rest != ""; {
			n := len(rest)
			if d.chance(30) {
				n = 1 + d.random.IntN(n)
			}
			io.WriteString(conn, rest[:n]) // the server may have closed after the first of several
			rest = rest[n:]
		}
		for _, request := range sent {
			got, last := answerOf(t, answers)
			alone := dial()
			io.WriteString(alone, strings.Replace(request, "Host:", "Connection: close\r\nHost:", 1))
			want, _ := answerOf(t, bufio.NewReader(alone))
			alone.Close()
			if got != want {
				t.Fatalf("%.300q on a kept connection: %.500s\nalone: %.500s", request, got, want)
			}
			if last {
				conn.Close()
				conn = dial()
				answers = bufio.NewReader(conn)
				break
			}
		}
	}
}
