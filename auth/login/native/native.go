// Package native signs people in by OpenID Connect on their own machine: in a browser that comes
// back to a loopback address (RFC 8252) with PKCE (RFC 7636), or on another device (RFC 8628).
//
// The client is a public one: it has no secret. An ID token is verified before anything of it is
// used. Each request is bounded in time and size, and goes to an https URL.
package native

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/atm/auth/login/bounded"
	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	timeout    = 10 * time.Second // of a request
	defaultTTL = 5 * time.Minute  // of an access token that does not say when it ends
	maxTTL     = 24 * time.Hour   // that a token is taken to live at most
)

// A Client is how a provider knows the command lines, as a server publishes it.
type Client struct {
	Issuer   string `json:"issuer"`
	ClientID string `json:"client_id"`
	Token    string `json:"token"`              // "id" or "access": which one the server takes
	Scope    string `json:"scope,omitempty"`    // empty for what is needed
	Resource string `json:"resource,omitempty"` // whose access token it is (RFC 8707)
}

// Tokens are what a sign-in gives. They are secrets.
type Tokens struct {
	Bearer  string    `json:"bearer"` // for the server
	Refresh string    `json:"refresh,omitempty"`
	Subject string    `json:"subject"` // sub, of the person
	Renew   time.Time `json:"renew"`   // from when on the bearer token is renewed
	Expires time.Time `json:"expires"` // of the bearer token, by the clock of this machine
}

// A RefusedError is the answer of a provider that does not sign somebody in, or an answer that
// cannot be trusted.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Reason }

func refusef(format string, args ...any) error {
	return &RefusedError{fmt.Sprintf(format, args...)}
}

// ErrUnreachable reports a provider that cannot be asked.
var ErrUnreachable = errors.New("the provider cannot be asked")

// A Provider signs people in. Its methods return a *RefusedError if the provider refuses, and
// ErrUnreachable if it cannot be asked.
type Provider struct {
	client Client
	http   *http.Client
	now    func() time.Time
	offers *oidc.Provider
	says   struct {
		Revocation  string   `json:"revocation_endpoint"`
		Scopes      []string `json:"scopes_supported"`
		NamesItself bool     `json:"authorization_response_iss_parameter_supported"`
	}
}

// Discover asks a provider what it offers (OpenID Connect Discovery 1.0). base makes the
// connections; nil for the default.
func Discover(ctx context.Context, c Client, base http.RoundTripper, now func() time.Time,
) (*Provider, error) {
	switch u, err := url.Parse(c.Issuer); {
	case err != nil || u.Scheme != "https" || u.Host == "" || c.ClientID == "":
		return nil, refusef("%q is no https URL of a provider", c.Issuer)
	case c.Token != "id" && c.Token != "access":
		return nil, refusef("the server takes a token of an unknown kind, %q", c.Token)
	}
	if base == nil {
		base = http.DefaultTransport
	}
	p := &Provider{client: c, now: now, http: &http.Client{
		Timeout: timeout, Transport: bounded.Transport{RoundTripper: base},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
	var err error
	if p.offers, err = oidc.NewProvider(p.with(ctx), c.Issuer); err != nil {
		return nil, p.explain("what it offers cannot be read", err)
	}
	if err := p.offers.Claims(&p.says); err != nil {
		return nil, p.explain("what it offers cannot be read", err)
	}
	return p, nil
}

// Host is the provider's name for people.
func (p *Provider) Host() string {
	u, _ := url.Parse(p.client.Issuer) // Discover has parsed it
	return u.Host
}

// with returns a context for the libraries' requests to the provider.
func (p *Provider) with(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, p.http)
}

func (p *Provider) config(redirect string) *oauth2.Config {
	scopes := strings.Fields(p.client.Scope)
	if len(scopes) == 0 {
		scopes = []string{oidc.ScopeOpenID}
		for _, scope := range []string{"email", oidc.ScopeOfflineAccess} {
			if slices.Contains(p.says.Scopes, scope) {
				scopes = append(scopes, scope)
			}
		}
	}
	endpoint := p.offers.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInParams // a public client has its id there alone
	return &oauth2.Config{
		ClientID: p.client.ClientID, Endpoint: endpoint, RedirectURL: redirect, Scopes: scopes,
	}
}

// asked are the parameters of requests for tokens.
func (p *Provider) asked(more ...oauth2.AuthCodeOption) []oauth2.AuthCodeOption {
	if p.client.Resource != "" {
		more = append(more, oauth2.SetAuthURLParam("resource", p.client.Resource))
	}
	return more
}

// A Code is what a person enters on another device.
type Code struct {
	User    string
	URL     string
	Through string // a URL that has the code in it already; empty for none
	Until   time.Time
}

// OnDevice signs a person in who enters a code on another device, which show says.
func (p *Provider) OnDevice(ctx context.Context, show func(Code)) (*Tokens, error) {
	cfg := p.config("")
	if cfg.Endpoint.DeviceAuthURL == "" {
		return nil, refusef("%s has no sign-in on another device", p.Host())
	}
	began, err := cfg.DeviceAuth(p.with(ctx), p.asked()...)
	if err != nil {
		return nil, p.explain("it gives no code for another device", err)
	}
	for _, link := range []string{began.VerificationURI, began.VerificationURIComplete} {
		if u, err := url.Parse(link); err != nil || link != "" && u.Scheme != "https" {
			return nil, refusef("%s names no https URL for the other device", p.Host())
		}
	}
	show(Code{
		User: began.UserCode, URL: began.VerificationURI, Through: began.VerificationURIComplete,
		Until: began.Expiry,
	})
	given, err := cfg.DeviceAccessToken(p.with(ctx), began, p.asked()...)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, refusef("nobody entered the code in time")
	}
	if err != nil {
		return nil, p.explain("nobody is signed in", err)
	}
	return p.tokens(ctx, given, "", "")
}

// Renew gets new tokens by the refresh token of those that a person has.
func (p *Provider) Renew(ctx context.Context, have *Tokens) (*Tokens, error) {
	form := &oauth2.Token{RefreshToken: have.Refresh}
	given, err := p.config("").TokenSource(p.with(ctx), form).Token()
	if err != nil {
		return nil, p.explain("the sign-in is over", err)
	}
	renewed, err := p.tokens(ctx, given, "", have.Subject)
	if err == nil && renewed.Refresh == "" {
		renewed.Refresh = have.Refresh // it does not rotate them (RFC 6749, section 6)
	}
	return renewed, err
}

// tokens reads an answer of the token endpoint. nonce is that of the sign-in, and subject that
// of the sign-in before; both may be empty.
func (p *Provider) tokens(ctx context.Context, given *oauth2.Token, nonce, subject string) (*Tokens,
	error,
) {
	t := &Tokens{Bearer: given.AccessToken, Refresh: given.RefreshToken, Subject: subject}
	life := defaultTTL
	if given.ExpiresIn > 0 {
		life = time.Duration(min(given.ExpiresIn, int64(maxTTL/time.Second))) * time.Second
	}
	raw, has := given.Extra("id_token").(string)
	switch {
	case has:
		said, err := p.verify(ctx, raw, nonce)
		if err != nil {
			return nil, err
		}
		if subject != "" && said.Subject != subject {
			return nil, refusef("%s renewed the sign-in of somebody else", p.Host())
		}
		t.Subject = said.Subject
		if p.client.Token == "id" {
			t.Bearer, life = raw, said.Expiry.Sub(said.IssuedAt)
		}
	case p.client.Token == "id" || subject == "":
		return nil, refusef("%s did not say whom it signed in", p.Host())
	}
	if strings.ContainsFunc(t.Bearer, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, refusef("the token of %s cannot be sent", p.Host())
	}
	life = max(0, min(life, maxTTL))
	// What it says of time is by its own clock, but for how long it is.
	now := p.now()
	t.Expires = now.Add(life)
	t.Renew = t.Expires.Add(-min(time.Minute, life/2))
	return t, nil
}

// verify returns what an ID token says (OpenID Connect Core, section 3.1.3.7).
func (p *Provider) verify(ctx context.Context, raw, nonce string) (*oidc.IDToken, error) {
	id := p.client.ClientID
	said, err := p.offers.VerifierContext(p.with(ctx), &oidc.Config{
		ClientID: id, Now: p.now,
	}).Verify(ctx, raw)
	if err != nil {
		if strings.Contains(err.Error(), "fetching keys") { // the library has no type
			return nil, p.unreached(err)
		}
		return nil, refusef("the ID token of %s is not good: %s", p.Host(),
			bounded.Text(err.Error()))
	}
	var party struct {
		Authorised string `json:"azp"`
	}
	switch {
	case nonce != "" && subtle.ConstantTimeCompare([]byte(said.Nonce), []byte(nonce)) != 1:
		return nil, refusef("the ID token of %s is for another sign-in", p.Host())
	case said.Claims(&party) != nil, party.Authorised != id && (party.Authorised != "" ||
		len(said.Audience) > 1):
		return nil, refusef("the ID token of %s is for another client", p.Host())
	case said.Subject == "" || !said.Expiry.After(said.IssuedAt):
		return nil, refusef("the ID token of %s names nobody, or no time", p.Host())
	}
	return said, nil
}

// Revoke ends what a refresh token, or else the bearer token, is good for (RFC 7009). can is false
// if the provider has no endpoint for that.
func (p *Provider) Revoke(ctx context.Context, t *Tokens) (can bool, err error) {
	form := url.Values{
		"client_id": {p.client.ClientID}, "token": {t.Refresh}, "token_type_hint": {"refresh_token"},
	}
	if t.Refresh == "" {
		if p.client.Token != "access" {
			return false, nil // an ID token ends by itself
		}
		form.Set("token", t.Bearer)
		form.Set("token_type_hint", "access_token")
	}
	if p.says.Revocation == "" {
		return false, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.says.Revocation,
		strings.NewReader(form.Encode()))
	if err != nil {
		return true, p.unreached(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := p.http.Do(r)
	if err != nil {
		return true, p.unreached(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return true, refusef("%s did not revoke the token: %s", p.Host(), answer.Status)
	}
	return true, nil
}

// explain returns the error of a request: a *RefusedError if the provider refused.
func (p *Provider) explain(what string, err error) error {
	var refused *oauth2.RetrieveError
	var malformed *json.SyntaxError
	var transport *url.Error
	switch {
	case errors.As(err, &refused) && refused.ErrorCode != "" &&
		refused.Response.StatusCode < http.StatusInternalServerError:
		text := refused.ErrorCode
		if refused.ErrorDescription != "" {
			text += ": " + refused.ErrorDescription
		}
		return refusef("%s refused: %s (%s)", p.Host(), what, bounded.Text(text))
	case errors.As(err, &malformed):
		return refusef("%s is no OpenID provider: %s", p.Host(), what)
	case errors.As(err, &transport):
		return p.unreached(transport.Err)
	}
	return p.unreached(err)
}

func (p *Provider) unreached(err error) error { return &unreachedError{p.Host(), err} }

// An unreachedError is that of a provider that cannot be asked. Libraries put the whole answer into
// theirs.
type unreachedError struct {
	host string
	err  error
}

func (e *unreachedError) Error() string {
	return "the provider " + e.host + " cannot be asked: " + bounded.Text(e.err.Error())
}

func (e *unreachedError) Unwrap() []error { return []error{ErrUnreachable, e.err} }
