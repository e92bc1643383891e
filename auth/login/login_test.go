package login_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/atm/auth"
	"example.com/atm/auth/login"
	"example.com/atm/auth/login/logintest"
)

const redirect = "https://atm.example/console/login/back"

// start returns a provider that signs alice in as user:alice.
func start(t *testing.T) (*logintest.Provider, *login.Provider) {
	t.Helper()
	there := logintest.Start(t, redirect)
	there.Subjects = map[string]string{
		"alice@example.com": "user:alice", "newcomer@example.com": "user:alice",
	}
	return there, login.New(&there.Issuer, redirect, time.Now)
}

// begin begins a sign-in.
func begin(t *testing.T, p *login.Provider) (string, login.Attempt) {
	t.Helper()
	to, attempt, err := p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return to, attempt
}

func TestProviderSignsInWhomItIsMappedTo(t *testing.T) {
	there, p := start(t)
	to, attempt := begin(t, p)
	person, err := p.Finish(t.Context(), attempt, there.SignIn(t, to, "alice"))
	if err != nil || person.ID != "alice" || person.Subject != "user:alice" ||
		person.Value != "alice@example.com" || person.Roles != nil {
		t.Errorf("%+v, %v", person, err)
	}
}

func TestSignInsThatAreNotWhatTheyShouldBeAreRefused(t *testing.T) {
	there, p := start(t)
	refused := func(name string, attempt login.Attempt, query url.Values, reason string) {
		t.Helper()
		_, err := p.Finish(t.Context(), attempt, query)
		if refusal := (*login.Error)(nil); !errors.As(err, &refusal) ||
			!strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", name, err)
		}
	}
	to, attempt := begin(t, p)
	query := there.SignIn(t, to, "alice")
	changed := func(name, value string) url.Values {
		q := url.Values{}
		for key, values := range query {
			q[key] = values
		}
		q.Set(name, value)
		return q
	}
	_, other := begin(t, p)
	without := func(name string) url.Values {
		q := changed(name, "")
		q.Del(name)
		return q
	}
	refused("of another browser", other, query, "not to a sign-in of this browser")
	refused("an issuer left out", attempt, without("iss"), "another provider")
	for _, name := range []string{"state", "code", "iss", "error"} {
		q := changed(name, "a")
		q[name] = append(query[name], "b", "c")
		refused("two of "+name, attempt, q, "something twice")
	}
	refused("without an attempt", login.Attempt{}, query, "not to a sign-in of this browser")
	refused("without a state", login.Attempt{Issuer: there.Name}, changed("state", ""), "not to a")
	refused("of another issuer", attempt, changed("iss", "https://other.example"), "another provider")
	refused("an error", attempt, changed("error", "access_denied"), "access_denied")
	refused("no code", attempt, changed("code", ""), "no code")
	stolen := attempt
	stolen.Verifier = other.Verifier // PKCE: the code is of no use to others
	refused("another verifier", stolen, query, "refused the code")
	if _, err := p.Finish(t.Context(), attempt, query); err != nil {
		t.Fatalf("the code of this browser: %v", err)
	}
	refused("a code that was used", attempt, query, "refused the code")

	to, attempt = begin(t, p)
	query = there.SignIn(t, to, "alice")
	nonce := attempt
	nonce.Nonce = other.Nonce
	refused("another nonce", nonce, query, "for another sign-in")

	to, attempt = begin(t, p)
	refused("nobody here", attempt, there.SignIn(t, to, "mallory"), "nobody here")
	to, attempt = begin(t, p)
	refused("an address that nobody has checked", attempt, there.SignIn(t, to, "newcomer"),
		"not verified the email address")
}

func TestProviderOfAnotherKindIsAnError(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"nothing": http.NotFound,
		"another issuer": func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`{"issuer":"https://other.example"}`))
		},
		"an answer that never ends": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			there := httptest.NewTLSServer(answer)
			defer there.Close()
			p := login.New(&auth.Issuer{
				Name: there.URL, Algorithm: "ES256", Login: &auth.Login{ClientID: "atm"},
				Roots: there.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
			}, redirect, time.Now)
			if _, _, err := p.Begin(t.Context()); err == nil {
				t.Error("a sign-in has begun")
			}
		})
	}
}

func TestProviderThatComesBackIsAskedAgain(t *testing.T) {
	there := logintest.Start(t, redirect)
	now := time.Now()
	issuer := there.Issuer
	issuer.Roots = nil // so that its certificate is that of a stranger
	p := login.New(&issuer, redirect, func() time.Time { return now })
	_, _, first := p.Begin(t.Context())
	_, _, second := p.Begin(t.Context())
	if first == nil || second != first {
		t.Errorf("%v, then %v", first, second)
	}
	now = now.Add(time.Minute)
	if _, _, third := p.Begin(t.Context()); third == nil || third == first {
		t.Errorf("asked again: %v", third)
	}
}
