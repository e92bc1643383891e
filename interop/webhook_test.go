package interop

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/certs"
	"example.com/atm/feed/webhook"
	"example.com/atm/internal/needs"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// A delivery is a webhook as a receiver has it, and the key with which it is verified.
type delivery struct {
	Key     string            `json:"key"`
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"` // names in lower case
}

// TestVerifiersOfOthersAcceptWhatWeSend sends webhooks over TLS, signed by one key and by two,
// and shows what arrived to verifiers that are not ours.
func TestVerifiersOfOthersAcceptWhatWeSend(t *testing.T) {
	older := webhook.NewKey([32]byte{1}, [32]byte{2})
	newer := webhook.NewKey([32]byte{3}, [32]byte{4})
	send := sender(t)
	one, two := send(older), send(newer, older)
	for _, tt := range []struct {
		verifier string
		key      func(webhook.Key) string
		verify   func(t *testing.T, deliveries []delivery) (refused []bool)
	}{
		{"the library for Go", webhook.Key.Secret, goLibrary},
		{"standardwebhooks of npm", webhook.Key.Secret, node("standardwebhooks")},
		{"svix of npm", webhook.Key.Secret, node("svix")},
		{"Node.js by itself", webhook.Key.Public, node("crypto")},
		{"openssl", webhook.Key.Public, openssl},
	} {
		t.Run(tt.verifier, func(t *testing.T) {
			cases := []struct {
				name    string
				sent    delivery
				key     webhook.Key
				alter   func(*delivery)
				refused bool
			}{
				{"one key", one, older, nil, false},
				{"two keys, by the older", two, older, nil, false},
				{"two keys, by the newer", two, newer, nil, false},
				{"another key", one, newer, nil, true},
				{"another body", two, older, func(d *delivery) {
					d.Body = strings.Replace(d.Body, "12.50", "92.50", 1)
				}, true},
				{"another id", two, newer, func(d *delivery) {
					d.Headers["webhook-id"] = "f4711.24"
				}, true},
			}
			deliveries := make([]delivery, len(cases))
			for i, c := range cases {
				deliveries[i] = c.sent.clone()
				deliveries[i].Key = tt.key(c.key)
				if c.alter != nil {
					c.alter(&deliveries[i])
				}
			}
			for i, refused := range tt.verify(t, deliveries) {
				if refused != cases[i].refused {
					t.Errorf("%s: refused %v, want %v", cases[i].name, refused, cases[i].refused)
				}
			}
		})
	}
}

func (d delivery) clone() delivery {
	d.Headers = maps.Clone(d.Headers)
	return d
}

// sender returns a function that sends a webhook to a receiver, and returns what arrived.
func sender(t *testing.T) func(keys ...webhook.Key) delivery {
	t.Helper()
	arrived := make(chan delivery, 1)
	receiver := httptest.NewUnstartedServer(http.HandlerFunc(
		func(_ http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			d := delivery{Body: string(body), Headers: make(map[string]string)}
			for name := range r.Header {
				d.Headers[strings.ToLower(name)] = r.Header.Get(name)
			}
			arrived <- d
		}))
	authority, err := certs.NewAuthority("receivers", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	issued, err := authority.IssueServer(key.Public(), []string{"127.0.0.1"}, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	receiver.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{issued.Raw}, PrivateKey: key}},
	}
	receiver.StartTLS()
	t.Cleanup(receiver.Close)
	c := webhook.Config{
		Roots: x509.NewCertPool(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	}
	c.Roots.AddCert(authority.Certificate)
	s := webhook.NewSender(c)
	t.Cleanup(s.Close)
	return func(keys ...webhook.Key) delivery {
		m := webhook.Message{
			ID: "f4711.23", Time: time.Now(),
			Body: []byte(`{"specversion":"1.0","id":"23","amount":"12.50","memo":"Zoë → 東京"}`),
		}
		if _, err := s.Send(t.Context(), receiver.URL+"/hook", m, keys...); err != nil {
			t.Fatal(err)
		}
		return <-arrived
	}
}

// goLibrary is github.com/standard-webhooks/standard-webhooks.
func goLibrary(t *testing.T, deliveries []delivery) (refused []bool) {
	t.Helper()
	for _, d := range deliveries {
		v, err := standardwebhooks.NewWebhook(d.Key)
		if err != nil {
			t.Fatal(err)
		}
		h := make(http.Header)
		for name, value := range d.Headers {
			h.Set(name, value)
		}
		refused = append(refused, v.Verify([]byte(d.Body), h) != nil)
	}
	return refused
}

// node runs a verifier in Node.js: a package of npm, or its own crypto.
func node(name string) func(*testing.T, []delivery) []bool {
	return func(t *testing.T, deliveries []delivery) (refused []bool) {
		t.Helper()
		program := needs.Program(t, "node")
		if _, err := os.Stat("testdata/node_modules/" + name); err != nil && name != "crypto" {
			needs.Skip(t, "npm's "+name+" is not installed")
		}
		input, err := json.Marshal(deliveries)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "testdata/webhook.mjs", name)
		cmd.Stdin, cmd.Stderr = strings.NewReader(string(input)), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var verdicts []string
		if err := json.Unmarshal(out, &verdicts); err != nil || len(verdicts) != len(deliveries) {
			t.Fatalf("%v, %s", err, out)
		}
		for _, verdict := range verdicts {
			refused = append(refused, verdict != "")
		}
		return refused
	}
}

// openssl verifies v1a on the command line.
func openssl(t *testing.T, deliveries []delivery) (refused []bool) {
	t.Helper()
	program, folder := needs.Program(t, "openssl"), t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, d := range deliveries {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(d.Key, "whpk_"))
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(raw))
		if err != nil {
			t.Fatal(err)
		}
		key := file("key", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		content := file("content", []byte(d.Headers["webhook-id"]+"."+
			d.Headers["webhook-timestamp"]+"."+d.Body))
		good := false
		for signature := range strings.FieldsSeq(d.Headers["webhook-signature"]) {
			text, isEd25519 := strings.CutPrefix(signature, "v1a,")
			if !isEd25519 {
				continue
			}
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(program, "pkeyutl", "-verify", "-pubin", "-inkey", key,
				"-rawin", "-in", content, "-sigfile", file("signature", raw)).CombinedOutput()
			if err == nil {
				good = true
			} else if !strings.Contains(string(out), "Signature Verification Failure") {
				t.Fatalf("%v: %s", err, out)
			}
		}
		refused = append(refused, !good)
	}
	return refused
}
