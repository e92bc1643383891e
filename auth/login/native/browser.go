package native

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"example.com/atm/auth/login/bounded"
	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	callback   = "/callback"
	maxQuery   = 8 << 10         // bytes of the answer of a provider
	pageWithin = 5 * time.Second // how long a browser may take to ask and to read
)

// A Browser is where a person signs in.
type Browser struct {
	// Port is the port of the loopback address that the browser comes back to; 0 for any that is
	// free, which providers of native apps accept (RFC 8252, section 7.3).
	Port int

	// Show shows the URL to which the person goes.
	Show func(link string)
}

// In signs a person in who goes to a URL in a browser of this machine.
//
// The listener is at 127.0.0.1 and not at localhost, which others may listen at. It takes one
// answer with the state of this sign-in, and goes on waiting after all else, so no other program of
// the machine can end the sign-in; nor can it use the code, which PKCE protects.
func (p *Provider) In(ctx context.Context, b Browser) (*Tokens, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4",
		net.JoinHostPort("127.0.0.1", strconv.Itoa(b.Port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("another program of this machine listens at port %d, to which the "+
			"browser would come back: nothing was sent", b.Port)
	}
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	back := "http://" + listener.Addr().String() + callback
	cfg := p.config(back)
	if cfg.Endpoint.AuthURL == "" {
		return nil, refusef("%s has no sign-in in a browser", p.Host())
	}
	a := attempt{
		issuer: p.client.Issuer, namesItself: p.says.NamesItself, state: rand.Text(),
		host: listener.Addr().String(), answers: make(chan url.Values, 1),
	}
	nonce, verifier := rand.Text(), oauth2.GenerateVerifier()
	more := []oauth2.AuthCodeOption{oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)}
	for _, scope := range cfg.Scopes {
		if scope == oidc.ScopeOfflineAccess { // OpenID Connect Core, section 11
			more = append(more, oauth2.SetAuthURLParam("prompt", "consent"))
		}
	}
	b.Show(cfg.AuthCodeURL(a.state, p.asked(more...)...))
	answer, err := a.wait(ctx, listener)
	if err != nil {
		return nil, err
	}
	if text := answer.Get("error"); text != "" {
		return nil, refusef("%s refused: %s", p.Host(), bounded.Text(text))
	}
	given, err := cfg.Exchange(p.with(ctx), answer.Get("code"),
		p.asked(oauth2.VerifierOption(verifier))...)
	if err != nil {
		return nil, p.explain("nobody is signed in", err)
	}
	return p.tokens(ctx, given, nonce, "")
}

// An attempt waits for the browser of one sign-in.
type attempt struct {
	issuer      string
	namesItself bool // answers have to say the issuer (RFC 9207)
	state       string
	host        string // of the listener
	answers     chan url.Values
}

// wait returns the answer of the provider.
func (a *attempt) wait(ctx context.Context, listener net.Listener) (url.Values, error) {
	server := &http.Server{
		Handler: a, ReadTimeout: pageWithin, WriteTimeout: pageWithin, MaxHeaderBytes: 2 * maxQuery,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	// The page is sent before the program goes on.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pageWithin)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
	}()
	select {
	case answer := <-a.answers:
		return answer, nil
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, refusef("nobody signed in in time")
		}
		return nil, ctx.Err()
	}
}

// ServeHTTP implements http.Handler.
func (a *attempt) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Connection", "close")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	query, err := url.ParseQuery(r.URL.RawQuery)
	switch {
	case r.URL.Path != callback || r.Method != http.MethodGet || r.Host != a.host:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, "There is nothing here.")
		return
	case err != nil || len(r.URL.RawQuery) > maxQuery || !a.isAnswer(query):
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintln(w, "This is no answer to the sign-in that was begun.")
		return
	}
	select {
	case a.answers <- query:
		fmt.Fprintln(w, "The command goes on. You can close this page.")
	default: // it has one already
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintln(w, "This sign-in is over.")
	}
}

// isAnswer reports whether query is an answer of the provider to this sign-in.
func (a *attempt) isAnswer(query url.Values) bool {
	for _, name := range []string{"state", "iss", "error", "code"} {
		if len(query[name]) > 1 { // RFC 6749, section 3.1
			return false
		}
	}
	if query.Has("iss") && query.Get("iss") != a.issuer || a.namesItself && !query.Has("iss") {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(a.state)) == 1 &&
		query.Has("code") != query.Has("error")
}
