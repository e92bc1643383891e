package native_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm/auth/login/logintest"
	"example.com/atm/auth/login/native"
)

func trusting(roots *x509.CertPool) http.RoundTripper {
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
}

// discover asks the certified provider, as its command lines.
func discover(t *testing.T, there *logintest.Provider, change func(*native.Client),
) *native.Provider {
	t.Helper()
	c := native.Client{Issuer: there.Name, ClientID: "atm-cli", Token: "id"}
	if change != nil {
		change(&c)
	}
	p, err := native.Discover(t.Context(), c, trusting(there.Roots), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// inBrowser signs a person in in a browser.
func inBrowser(t *testing.T, there *logintest.Provider, p *native.Provider, name string,
) *native.Tokens {
	t.Helper()
	var browser sync.WaitGroup
	defer browser.Wait()
	tokens, err := p.In(t.Context(), native.Browser{Show: func(link string) {
		browser.Go(func() {
			if at, err := there.Enter(link, name, ""); err != nil || at.Hostname() != "127.0.0.1" ||
				at.Path != "/callback" {
				t.Errorf("the browser is at %v, %v", at, err)
			}
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestPersonSignsInInABrowserUntilTheTokenIsRevoked(t *testing.T) {
	there := logintest.Start(t, "https://atm.example/console/login/back")
	p := discover(t, there, nil)
	first := inBrowser(t, there, p, "alice")
	if first.Subject != "alice" || first.Refresh == "" || strings.Count(first.Bearer, ".") != 2 ||
		time.Until(first.Expires) < 50*time.Minute || !first.Renew.Before(first.Expires) {
		t.Fatalf("she has %+v", first)
	}
	second, err := p.Renew(t.Context(), first)
	if err != nil || second.Subject != "alice" || second.Bearer == first.Bearer ||
		second.Refresh == "" {
		t.Fatalf("renewed: %+v, %v", second, err)
	}
	if can, err := p.Revoke(t.Context(), second); !can || err != nil {
		t.Errorf("revoked: %v, %v", can, err)
	}
	var refused *native.RefusedError
	if third, err := p.Renew(t.Context(), second); !errors.As(err, &refused) ||
		!strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("after it was revoked: %+v, %v", third, err)
	}
}

func TestPersonSignsInOnAnotherDevice(t *testing.T) {
	there := logintest.Start(t, "https://atm.example/console/login/back")
	p := discover(t, there, nil)
	tokens, err := p.OnDevice(t.Context(), func(c native.Code) {
		if time.Until(c.Until) < time.Minute {
			t.Errorf("the code is good until %v", c.Until)
		}
		if _, err := there.Enter(c.URL, "alice", c.User); err != nil {
			t.Error(err)
		}
	})
	if err != nil || tokens.Subject != "alice" || tokens.Refresh == "" {
		t.Errorf("%+v, %v", tokens, err)
	}
}

// TestAccessTokenIsForTheResource asks for the token of RFC 8707 where the server takes one.
func TestAccessTokenIsForTheResource(t *testing.T) {
	there := logintest.Start(t, "https://atm.example/console/login/back")
	p := discover(t, there, func(c *native.Client) {
		c.Token, c.Resource = "access", "https://atm.example/RPC2"
		c.Scope = "openid offline_access"
	})
	first := inBrowser(t, there, p, "alice")
	second, err := p.Renew(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	for _, tokens := range []*native.Tokens{first, second} {
		if got := claimsOf(t, tokens.Bearer); got["aud"] != "atm" || got["sub"] != "alice" {
			t.Errorf("the access token says %v", got)
		}
	}
}

// TestStraysDoNotEndASignIn has other programs of the machine ask the listener before the browser
// comes back.
func TestStraysDoNotEndASignIn(t *testing.T) {
	p := startOdd(t)
	from := p.discover(t)
	var strays sync.WaitGroup
	defer strays.Wait()
	tokens, err := from.In(t.Context(), native.Browser{Show: func(link string) {
		query := parse(t, link).Query()
		back := query.Get("redirect_uri")
		good := url.Values{"state": {query.Get("state")}, "code": {query.Get("nonce")}}
		strays.Go(func() {
			for _, tt := range []struct {
				name, method, host, path string
				change                   func(url.Values)
				want                     int
			}{
				{"another state", "GET", "", back, set("state", "S"), 400},
				{"no state", "GET", "", back, del("state"), 400},
				{"no code", "GET", "", back, del("code"), 400},
				{"another issuer", "GET", "", back, set("iss", "https://other.example"), 400},
				{"two codes", "GET", "", back, func(q url.Values) { q.Add("code", "C") }, 400},
				{"code and error", "GET", "", back, set("error", "access_denied"), 400},
				{"without end", "GET", "", back, set("more", strings.Repeat("a", 9000)), 400},
				{"of another name", "GET", "localhost", back, nil, 404},
				{"another path", "GET", "", back + "/x", nil, 404},
				{"a form", "POST", "", back, nil, 404},
				{"the answer", "GET", "", back, nil, 200},
			} {
				q := url.Values{}
				for name := range good {
					q.Set(name, good.Get(name))
				}
				if tt.change != nil {
					tt.change(q)
				}
				r, err := http.NewRequest(tt.method, tt.path+"?"+q.Encode(), nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.Host = tt.host
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				answer.Body.Close()
				if answer.StatusCode != tt.want {
					t.Errorf("%s: %s", tt.name, answer.Status)
				}
			}
		})
	}})
	if err != nil || tokens.Subject != "alice" {
		t.Errorf("%+v, %v", tokens, err)
	}
}

func TestPortThatAnotherProgramHasIsAnErrorBeforeAnythingIsSent(t *testing.T) {
	squatter, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	p := startOdd(t)
	port := squatter.Addr().(*net.TCPAddr).Port
	tokens, err := p.discover(t).In(t.Context(), native.Browser{Port: port, Show: func(string) {
		t.Error("a person was sent there")
	}})
	if err == nil || !strings.Contains(err.Error(), strconv.Itoa(port)) {
		t.Errorf("%v, %v", tokens, err)
	}
}

func TestRefusalOfThePersonEndsTheSignIn(t *testing.T) {
	p := startOdd(t)
	_, err := p.discover(t).In(t.Context(), native.Browser{Show: func(link string) {
		query := parse(t, link).Query()
		go http.Get(query.Get("redirect_uri") + "?error=access_denied&state=" + query.Get("state"))
	}})
	if refused := (*native.RefusedError)(nil); !errors.As(err, &refused) ||
		!strings.Contains(err.Error(), "access_denied") {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := p.discover(t).In(ctx, native.Browser{Show: func(string) {}}); err == nil ||
		!strings.Contains(err.Error(), "in time") {
		t.Errorf("nobody comes: %v", err)
	}
}

// TestProviderOfAnotherKindIsAnError asks what is no provider, and one that is down.
func TestProviderOfAnotherKindIsAnError(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"nothing":        http.NotFound,
		"no JSON":        func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) },
		"another issuer": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"issuer":"x"}`)) },
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
		there := httptest.NewTLSServer(answer)
		c := native.Client{Issuer: there.URL, ClientID: "atm-cli", Token: "id"}
		if _, err := native.Discover(t.Context(), c, there.Client().Transport,
			time.Now); err == nil || len(err.Error()) > 400 {
			t.Errorf("%s: %v", name, err)
		}
		there.Close()
		if _, err := native.Discover(t.Context(), c, nil, time.Now); !errors.Is(err,
			native.ErrUnreachable) {
			t.Errorf("%s, down: %v", name, err)
		}
	}
	for name, c := range map[string]native.Client{
		"plain HTTP":       {Issuer: "http://login.example", ClientID: "atm-cli", Token: "id"},
		"no client":        {Issuer: "https://login.example", Token: "id"},
		"no kind of token": {Issuer: "https://login.example", ClientID: "atm-cli"},
	} {
		var refused *native.RefusedError
		if _, err := native.Discover(t.Context(), c, nil, time.Now); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
