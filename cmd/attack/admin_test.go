//go:build unix

package attack_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// attackAdmin sends the operator's endpoints, which need no sign-in, requests that a web page
// could cause in a browser on the operator's machine. By DNS rebinding such a page could read
// the answer, but Host then has the page's own name.
func (a *arena) attackAdmin(t *testing.T) {
	addr := strings.TrimPrefix(a.Admin, "http://")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(t *testing.T, lines ...string) (int, string) {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(conn, strings.Join(append(lines, "Connection: close"), "\r\n")+"\r\n\r\n")
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		return status(answer), string(answer)
	}
	for name, lines := range map[string][]string{
		"another Host":                     {"Host: evil.example:" + port},
		"another Host without a port":      {"Host: evil.example"},
		"a Host that begins like loopback": {"Host: localhost.evil.example:" + port},
		"a Host that ends like loopback":   {"Host: evil-127.0.0.1:" + port},
		"another address":                  {"Host: 192.0.2.1:" + port},
		"any address":                      {"Host: 0.0.0.0:" + port},
		"loopback as one number":           {"Host: 2130706433:" + port},
		"an empty Host":                    {"Host:"},
		"the server's own name":            {"Host: " + a.domain},
		"Origin of another site": {
			"Host: localhost:" + port,
			"Origin: https://evil.example",
		},
		"Origin of no site": {"Host: localhost:" + port, "Origin: null"},
		"Origin of itself": {
			"Host: localhost:" + port,
			"Origin: http://localhost:" + port,
		},
		"an empty Origin": {"Host: localhost:" + port, "Origin:"},
		"an image on another site's page": {
			"Host: localhost:" + port,
			"Sec-Fetch-Site: cross-site",
		},
		"a page on another port": {
			"Host: localhost:" + port,
			"Sec-Fetch-Site: same-site",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{
				"/debug/pprof/cmdline", "/debug/pprof/", "/metrics",
				"/readyz", "/healthz", "/nothing",
			} {
				if code, answer := ask(t, append([]string{"GET " + path + " HTTP/1.1"},
					lines...)...); code != http.StatusForbidden {
					t.Errorf("%s: %d %.200s", path, code, answer)
				}
			}
		})
	}
	if code, answer := ask(t, "GET http://evil.example/metrics HTTP/1.1",
		"Host: localhost"); code != http.StatusForbidden {
		t.Errorf("another Host in the target: %d %.200s", code, answer)
	}
	for _, host := range []string{
		"localhost:" + port, "localhost", "LOCALHOST:" + port, "localhost.", "127.0.0.1:" + port,
		"127.0.0.1:1", "127.0.0.1", "[::1]:" + port, "[::1]", addr,
	} {
		for _, more := range []string{"Accept: */*", "Sec-Fetch-Site: none"} {
			if code, answer := ask(t, "GET /metrics HTTP/1.1", "Host: "+host,
				more); code != http.StatusOK {
				t.Errorf("Host %s: %d %.200s", host, code, answer)
			}
		}
	}
}
