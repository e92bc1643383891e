//go:build unix

package daemon_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemontest"
)

// TestSecretGetsTokensAlone has a user whose secret gets tokens and does not sign in otherwise.
func TestSecretGetsTokensAlone(t *testing.T) {
	t.Parallel()
	const secret = "my mare ate 7 green apples"
	h := daemontest.Start(t, nil)
	operator := h.As(t, "operator")
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", "user:alice", "customer",
		secret, "token"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "200", "user:alice", "50"))
	nobody := h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	c := daemontest.HTTPClient(t, nobody)
	form := func(id, secret string) url.Values {
		return url.Values{
			"grant_type": {"client_credentials"}, "client_id": {id},
			"client_secret": {secret},
		}
	}

	resp, answer := h.Token(t, c, form("user:alice", secret), nil)
	text, _ := answer["access_token"].(string)
	if resp.StatusCode != http.StatusOK || text == "" {
		t.Fatalf("%s %v", resp.Status, answer)
	}
	if resp, text := h.Post(t, c, daemontest.Call("inquiry", "200"), func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+text)
	}); !strings.Contains(text, "50.00") {
		t.Errorf("with the token: %s %s", resp.Status, text)
	}
	if resp, _ := h.Token(t, c, form("alice", secret), nil); resp.StatusCode != http.StatusOK {
		t.Errorf("by name alone: %s", resp.Status)
	}

	// Every wrong secret gets the same answer.
	want := ""
	for name, f := range map[string]url.Values{
		"wrong secret":        form("user:alice", "my mare ate 8 green apples"),
		"empty secret":        form("user:alice", ""),
		"somebody unknown":    form("user:bob", secret),
		"a user of Digest":    form("user:operator", secret),
		"no name":             form("", secret),
		"no possible name":    form("user:a\x00b", secret),
		"a very long secret":  form("user:alice", strings.Repeat("x", 5000)),
		"another's kind":      form("service:alice", secret),
		"a name with a space": form("user:alice ", secret),
	} {
		resp, answer := h.Token(t, c, f, nil)
		if resp.StatusCode != http.StatusUnauthorized || answer["error"] != "invalid_client" {
			t.Errorf("%s: %s %v", name, resp.Status, answer)
		}
		resp.Header.Del("Date")
		resp.Header.Del("WWW-Authenticate") // contains a nonce
		var b strings.Builder
		if err := resp.Header.Write(&b); err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = b.String()
		}
		if b.String() != want {
			t.Errorf("%s: headers\n%s, not\n%s", name, b.String(), want)
		}
	}

	// Only one credential at a time is accepted, and the secret does not work for Digest.
	if resp, answer := h.Token(t, daemontest.HTTPClient(t, h.TLS(t, "demo")),
		form("user:alice", secret),
		nil); resp.StatusCode != http.StatusBadRequest || answer["error"] != "invalid_request" {
		t.Errorf("with a certificate as well: %s %v", resp.Status, answer)
	}
	challenge, _ := h.Post(t, c, daemontest.Call("inquiry", "200"), nil)
	if resp, _ := h.Post(t, c, daemontest.Call("inquiry", "200"), func(r *http.Request) {
		r.Header.Set("Authorization", digestOf(t, challenge, 1))
	}); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("by Digest: %s", resp.Status)
	}

	// The secret stops working when the user is disabled, or gets a new password for Digest.
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.disable", "user:alice"))
	daemontest.AwaitReplicas()
	if resp, _ := h.Token(t, c, form("alice", secret),
		nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("disabled: %s", resp.Status)
	}
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.enable", "user:alice"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", "user:alice", "customer",
		daemontest.AliceSecret))
	daemontest.AwaitReplicas()
	if resp, _ := h.Token(t, c, form("alice", secret),
		nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("after another password: %s", resp.Status)
	}
	challenge, _ = h.Post(t, c, daemontest.Call("inquiry", "200"), nil)
	if resp, _ := h.Post(t, c, daemontest.Call("inquiry", "200"), func(r *http.Request) {
		r.Header.Set("Authorization", digestOf(t, challenge, 1))
	}); resp.StatusCode != http.StatusOK {
		t.Errorf("by Digest with another password: %s", resp.Status)
	}

	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	if n := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Caller != nil && e.Caller.Method == "secret" && e.Caller.User == "user:alice"
	}); n != 2 {
		t.Errorf("%d entries of tokens by secret, not 2", n)
	}
}

// TestPasswordInARefusedURLIsInNoEntry has callers name URLs with a password, which are refused in
// every way. An address with the same sign in its path is recorded as it is.
func TestPasswordInARefusedURLIsInNoEntry(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	h := daemontest.Start(t, nil)
	demo, operator := h.As(t, "demo"), h.As(t, "operator")
	mine := map[string]any{"account": "100"}
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", "user:till", "teller",
		daemontest.AliceSecret))
	for _, url := range []string{
		"https://books:" + secret + "@books.example/atm", "https://" + secret + "@books.example",
		"https://books:" + secret + "/x@books.example/@me", "books:" + secret + "@books.example",
	} {
		if a, err := demo.Call(t.Context(), "feed.add", "books", url, mine); err != nil || a.OK() {
			t.Errorf("%s: %+v, %v", url, a, err)
		}
		a, err := byPassword(t, h, "till").Call(t.Context(), "feed.add", "books", url)
		if err != nil || a.Code != atm.PermissionDenied {
			t.Errorf("a teller: %+v, %v", a, err)
		}
		if _, err := demo.Call(t.Context(), "feed.add", "books", url, "mine"); err == nil {
			t.Error("a parameter of another kind is no fault")
		}
	}
	const path = "https://books.example/@atm"
	daemontest.Must(t)(demo.Call(t.Context(), "feed.add", "books", path, mine))
	refused, made := 0, 0
	for _, e := range h.Entries(t) {
		if e.Operation != "feed.add" {
			continue
		}
		for _, arg := range e.Args {
			if strings.Contains(arg.Value, secret) {
				t.Errorf("an entry has %s=%s", arg.Name, arg.Value)
			}
			if arg.Name == "url" && strings.HasPrefix(arg.Value, "…@books.example") {
				refused++
			}
			if arg.Value == path {
				made++
			}
		}
	}
	if refused != 9 || made != 1 {
		t.Errorf("%d refused and %d made are recorded as they are to be", refused, made)
	}
}
