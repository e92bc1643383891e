//go:build unix

package attack_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// attackCombinations presents several credentials at once, or none of the three kinds.
func (a *arena) attackCombinations(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("alice:" + daemontest.AliceSecret))
	a.run(t, []attack{
		{name: "nothing", want: 401, says: "Www-Authenticate: Digest "},
		{name: "Basic", header: []string{"Authorization: Basic " + basic}, want: 401},
		{name: "Negotiate", header: []string{"Authorization: Negotiate YII="}, want: 401},
		{
			name: "an empty header beside a certificate", by: a.demo,
			header: []string{"Authorization: "}, want: 401,
		},
		{name: "Basic beside a certificate", by: a.demo, header: []string{"Authorization: Basic " +
			basic}, want: 401},
		{
			name: "a bad token beside a certificate", by: a.demo,
			header: []string{"Authorization: Bearer x.y.z"}, want: 401,
		},
		{
			name: "a bad digest beside a certificate", by: a.demo,
			header: []string{a.digestHeader(digestFields{}, "x")}, want: 401,
		},
		{
			name: "two headers beside a certificate", by: a.demo,
			header: []string{"Authorization: Bearer x", "Authorization: Bearer y"}, want: 400,
		},
		{name: "headers of two schemes", header: []string{
			"Authorization: Bearer x",
			a.digestHeader(digestFields{}, "x"),
		}, want: 400},
		{name: "a certificate in a header", header: []string{
			"X-SSL-Client-Cert: " +
				base64.StdEncoding.EncodeToString(a.demo.Certificate[0]),
			"X-SSL-Client-Verify: SUCCESS",
		}, want: 401},
		{name: "a name in a header", header: []string{
			"X-Forwarded-User: demo",
			"X-Remote-User: demo", "X-SSL-Client-S-DN: CN=user/demo",
		}, want: 401},
		{name: "an address in a header", header: []string{
			"X-Forwarded-For: 127.0.0.1",
			"Forwarded: for=127.0.0.1", "X-Real-IP: 127.0.0.1",
		}, want: 401},
		{name: "a certificate in the header of RFC 9440", header: []string{"Client-Cert: :" +
			base64.StdEncoding.EncodeToString(a.demo.Certificate[0]) + ":"}, want: 401},
	})
	t.Run("of two subjects", func(t *testing.T) {
		from := a.address(t.Name())
		at := attack{header: []string{a.digestHeader(digestFields{}, a.nonce(t, from))}}
		if code, answer := a.exchange(t, from, a.demo, at.bytes()); code != 401 {
			t.Errorf("%d %s", code, answer)
		}
	})
}

// attackHTTP sends requests that two programs could interpret differently, and requests that
// are invalid.
func (a *arena) attackHTTP(t *testing.T) {
	body := daemontest.Call("inquiry", "100")
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	head := "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: " +
		"text/xml\r\n"
	inner := "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\n" +
		fmt.Sprintf("Content-Length: %d\r\n\r\n", len(daemontest.Call("withdraw", "100", "1"))) +
		daemontest.Call("withdraw", "100", "1")
	chunked := "0\r\n\r\n" + inner
	raw := func(name, request string, want int) attack {
		return attack{name: name, request: request, want: want}
	}
	a.run(t, []attack{
		raw("length and coding", head+fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: "+
			"chunked\r\n\r\n", len(chunked))+chunked, 411),
		raw("coding and length", head+fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: "+
			"%d\r\n\r\n", len(chunked))+chunked, 411),
		raw("a coding of two", head+"Transfer-Encoding: chunked, identity\r\n\r\n"+chunked, 501),
		raw("a coding with a tab", head+length+"Transfer-Encoding:\tchunked\r\n\r\n"+chunked, 411),
		raw("a coding with a vertical tab", head+length+"Transfer-Encoding: \x0bchunked\r\n\r\n"+
			chunked, 400),
		raw("a coding before a space", head+length+"Transfer-Encoding : chunked\r\n\r\n"+
			chunked, 400),
		raw("a coding that is folded into a value", head+length+"X: x\r\n Transfer-Encoding: "+
			"chunked\r\n\r\n"+chunked, 401),
		raw("an unknown coding", head+length+"Transfer-Encoding: x\r\n\r\n"+body, 501),
		raw("a coding at the token endpoint", "POST /token HTTP/1.1\r\nHost: "+
			"localhost\r\nConnection: close\r\n"+
			"Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n"+
			chunked, 411),
		raw("two lengths", head+length+"Content-Length: 0\r\n\r\n"+body, 400),
		raw("two lengths in one", head+fmt.Sprintf("Content-Length: %d, 0\r\n\r\n", len(body))+
			body, 400),
		raw("a length with a sign", head+fmt.Sprintf("Content-Length: +%d\r\n\r\n", len(body))+
			body, 400),
		raw("a negative length", head+"Content-Length: -1\r\n\r\n"+body, 400),
		raw("a hexadecimal length", head+"Content-Length: 0x10\r\n\r\n"+body, 400),
		raw("a length of 100 digits", head+"Content-Length: "+strings.Repeat("9", 100)+"\r\n\r\n"+
			body, 400),
		raw("10 GiB", head+"Content-Length: 10737418240\r\n\r\n", 413),
		raw("no length", head+"\r\n"+body, 411),
		raw("a NUL in a header", head+length+"X: a\x00b\r\n\r\n"+body, 400),
		raw("a bare CR in a header", head+length+"X: a\rAuthorization: x\r\n\r\n"+body, 400),
		raw("a header without a name", head+length+": x\r\n\r\n"+body, 400),
		raw("a header name with a space", head+length+"X Y: x\r\n\r\n"+body, 400),
		raw("no Host", "POST /RPC2 HTTP/1.1\r\nConnection: close\r\nContent-Type: text/xml\r\n"+
			length+"\r\n"+body, 400),
		raw("two Hosts", head+"Host: evil.example\r\n"+length+"\r\n"+body, 400),
		raw("HTTP/2 without a word", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404),
		raw("HTTP/0.9", "GET /RPC2\r\n\r\n", 400),
		raw("HTTP/9.9", strings.Replace(head, "HTTP/1.1", "HTTP/9.9", 1)+length+"\r\n"+body, 505),
		raw("large headers", head+length+"X: "+strings.Repeat("x", 40<<10)+"\r\n\r\n"+body, 431),
		raw("5,000 headers", head+length+strings.Repeat("X: x\r\n", 5000)+"\r\n"+body, 431),
		raw("a long target", "POST /"+strings.Repeat("x", 40<<10)+
			" HTTP/1.1\r\nHost: localhost\r\n"+length+"\r\n"+body, 431),
		raw("OPTIONS of everything", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: "+
			"close\r\n\r\n", 404),
		raw("TRACE", "TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
		raw("CONNECT", "CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\nConnection: "+
			"close\r\n\r\n", 404),
		raw("PUT", strings.Replace(head, "POST", "PUT", 1)+length+"\r\n"+body, 405),
		raw("a method that stands for another", strings.Replace(head, "POST", "DELETE", 1)+
			"X-HTTP-Method-Override: POST\r\n"+length+"\r\n"+body, 405),
		raw("compressed", head+length+"Content-Encoding: gzip\r\n\r\n"+body, 415),
		raw("no media type", strings.Replace(head, "Content-Type: text/xml\r\n", "", 1)+length+
			"\r\n"+body, 415),
		raw("a form", strings.Replace(head, "text/xml", "application/x-www-form-urlencoded", 1)+
			length+"\r\n"+body, 415),
		raw("a second request behind one that nobody sent", strings.Replace(head,
			"Connection: close\r\n", "", 1)+"Content-Length: 9999999\r\n\r\n"+inner, 413),
		{
			name: "another site's page", by: a.demo, header: []string{"Sec-Fetch-Site: cross-site"},
			want: 403,
		},
		{
			name: "another site's page, of an old browser", by: a.demo,
			header: []string{"Origin: https://evil.example"}, want: 403,
		},
		{name: "a page of no site", by: a.demo, header: []string{"Origin: null"}, want: 403},
		{
			name: "another site's page at the token endpoint", by: a.demo, path: "/token",
			body: "grant_type=client_credentials", header: []string{"Origin: https://evil.example"},
			want: 403,
		},
		{name: "two slashes", by: a.demo, path: "//RPC2", want: 404},
		{name: "a slash behind", by: a.demo, path: "/RPC2/", want: 404},
		{name: "lower case", by: a.demo, path: "/rpc2", want: 404},
		{name: "dot segments", by: a.demo, path: "/x/../RPC2", want: 404},
		{name: "two Idempotency-Keys", by: a.demo, header: []string{
			"Idempotency-Key: a",
			"Idempotency-Key: b",
		}, want: 400},
		{
			name: "an empty Idempotency-Key", by: a.demo, body: daemontest.Call("deposit",
				"100", "1"),
			header: []string{"Idempotency-Key:"}, want: 400,
		},
		{
			name: "an Idempotency-Key of spaces", by: a.demo, body: daemontest.Call("deposit",
				"100", "1"),
			header: []string{"Idempotency-Key:   "}, want: 400,
		},
		raw("the audit log, as nobody", "GET /audit/checkpoint HTTP/1.1\r\nHost: "+
			"localhost\r\nConnection: close\r\n\r\n", 401),
		{name: "the audit log, as a customer", by: a.demo, request: "GET /audit/checkpoint " +
			"HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", want: 403},
		{
			name: "above the audit log, " + harmless, by: a.auditor,
			request: "GET /audit/../keys/audit.key HTTP/1.1\r\nHost: localhost\r\nConnection: " +
				"close\r\n\r\n", want: 404,
		},
		{
			name: "above the audit log, escaped, " + harmless, by: a.auditor,
			request: "GET /audit/..%2fkeys%2faudit.key HTTP/1.1\r\nHost: " +
				"localhost\r\nConnection: close\r\n\r\n", want: 404,
		},
		{
			name: "above the audit log, twice escaped, " + harmless, by: a.auditor,
			request: "GET /audit/%252e%252e/keys/audit.key HTTP/1.1\r\nHost: " +
				"localhost\r\nConnection: close\r\n\r\n", want: 404,
		},
		raw("a backup, as nobody", "POST /admin/backup HTTP/1.1\r\nHost: "+
			"localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 401),
		{
			name: "a backup, as a customer", by: a.demo,
			request: "POST /admin/backup HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
				"0\r\nConnection: close\r\n\r\n", want: 403,
		},
		{
			name: "a backup, as an auditor", by: a.auditor,
			request: "POST /admin/backup HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
				"0\r\nConnection: close\r\n\r\n", want: 403,
		},
		{name: "metrics from outside", by: a.demo, request: "GET /metrics HTTP/1.1\r\nHost: " +
			"localhost\r\nConnection: close\r\n\r\n", want: 404},
		{
			name: "profiles from outside", by: a.demo,
			request: "GET /debug/pprof/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
			want:    404,
		},
	})
	for name, sent := range map[string]string{
		"plain HTTP":                head + length + "\r\n" + body,
		"a PROXY header of nobody":  "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + head,
		"a PROXY header, version 2": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x02",
		"SSL 2":                     "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
		"nothing but zeros":         strings.Repeat("\x00", 500),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := (&net.Dialer{LocalAddr: a.address(t.Name())}).DialContext(t.Context(),
				"tcp4", a.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if answer := afterSending(t, conn, sent); strings.Contains(answer, " 200 ") ||
				strings.Contains(answer, "HTTP/1.1 5") {
				t.Errorf("answered %q", answer)
			}
		})
	}
	for name, sent := range map[string]string{
		"a header that never ends": head + "X: ",
		"a body that never comes":  head + length + "\r\n" + body[:10],
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := a.dial(t, a.address(t.Name()), a.demo)
			if err != nil {
				t.Fatal(err)
			}
			if answer := afterSending(t, conn, sent); strings.Contains(answer, " 200 ") ||
				strings.Contains(answer, "HTTP/1.1 5") {
				t.Errorf("answered %q", answer)
			}
		})
	}
}
