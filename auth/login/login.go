// Package login signs people in by OpenID Connect: the authorization code flow of OpenID
// Connect Core 1.0, section 3.1, with PKCE (RFC 7636).
//
// Begin returns the URL to which the browser goes, the provider sends the browser back, and
// Finish asks the provider for the person who has signed in. The state of a sign-in in between
// is an Attempt. Providers seals it for the browser that began it, so the server keeps nothing,
// and any replica finishes it.
package login

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"example.com/atm/auth"
	"example.com/atm/auth/login/bounded"
	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	timeout  = 5 * time.Second  // of a request to a provider
	askEvery = time.Hour        // what a provider offers
	tryAgain = 10 * time.Second // after discovery has failed
)

// A Provider signs people in for an issuer.
type Provider struct {
	issuer   *auth.Issuer
	redirect string
	client   *http.Client
	now      func() time.Time

	mu      sync.Mutex
	offers  *oidc.Provider // guarded by mu; nil until discovery has succeeded
	asked   time.Time      // guarded by mu; when it has
	failure error          // guarded by mu; of the last failed discovery
	failed  time.Time      // guarded by mu
}

// New returns the provider of an issuer that has a Login. redirect is the URL to which the
// provider sends browsers back. It must be registered with the provider.
func New(issuer *auth.Issuer, redirect string, now func() time.Time) *Provider {
	return &Provider{issuer: issuer, redirect: redirect, now: now, client: &http.Client{
		Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
		Transport: bounded.Transport{RoundTripper: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: issuer.Roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true,

			MaxResponseHeaderBytes: bounded.Bytes,
		}},
	}}
}

// Name is the provider's name for people: its host.
func (p *Provider) Name() string {
	u, err := url.Parse(p.issuer.Name)
	if err != nil {
		return p.issuer.Name
	}
	return u.Host
}

// Issuer is the iss of its tokens.
func (p *Provider) Issuer() string { return p.issuer.Name }

// An Attempt is a sign-in that a browser has begun. Its fields are secrets.
type Attempt struct {
	Issuer   string `json:"issuer"`
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // RFC 7636
	Next     string `json:"next"`     // what the browser asked for
	Until    int64  `json:"until"`    // in seconds since 1970
}

// A Person is a person that the provider has signed in.
type Person struct {
	auth.Person
	ID string // sub, the provider's id of the person
}

// An Error is the reason why a person was not signed in, in words for that person. There are few
// different reasons. The detail is what the provider says.
type Error struct{ Reason, Detail string }

func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Reason
	}
	return e.Reason + ": " + e.Detail
}

// Begin returns the URL to which the browser goes to sign in.
func (p *Provider) Begin(ctx context.Context) (to string, a Attempt, err error) {
	cfg, _, err := p.config(ctx)
	if err != nil {
		return "", Attempt{}, err
	}
	a = Attempt{
		Issuer: p.issuer.Name, State: rand.Text(), Nonce: rand.Text(),
		Verifier: oauth2.GenerateVerifier(),
	}
	return cfg.AuthCodeURL(a.State, oidc.Nonce(a.Nonce),
		oauth2.S256ChallengeOption(a.Verifier)), a, nil
}

// Finish returns the person who has signed in, when the browser comes back from the provider
// with query. A refusal is an *Error. Other errors mean that the provider could not be asked.
func (p *Provider) Finish(ctx context.Context, a Attempt, query url.Values) (*Person, error) {
	if err := p.check(a, query); err != nil {
		return nil, err
	}
	cfg, offers, err := p.config(ctx)
	if err != nil {
		return nil, err
	}
	var says struct {
		NamesItself bool `json:"authorization_response_iss_parameter_supported"`
	}
	if err := offers.Claims(&says); err != nil {
		return nil, fmt.Errorf("%s: %w", p.issuer.Name, err)
	}
	if says.NamesItself && !query.Has("iss") {
		return nil, &Error{Reason: "the answer is of another provider"}
	}
	raw, err := p.exchange(oidc.ClientContext(ctx, p.client), cfg, a, query.Get("code"))
	if err != nil {
		return nil, err
	}
	return p.person(ctx, offers, a, raw)
}

// check refuses an answer that is not the one of the provider to an attempt.
func (p *Provider) check(a Attempt, query url.Values) error {
	for _, name := range []string{"state", "iss", "error", "code"} {
		if len(query[name]) > 1 { // RFC 6749, section 3.1
			return &Error{Reason: "the answer says something twice"}
		}
	}
	switch {
	case a.Issuer != p.issuer.Name || a.State == "" ||
		subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(a.State)) != 1:
		return &Error{Reason: "the answer is not to a sign-in of this browser"}
	case query.Has("iss") && query.Get("iss") != p.issuer.Name: // RFC 9207
		return &Error{Reason: "the answer is of another provider"}
	case query.Get("error") != "":
		return &Error{"the provider refused", bounded.Text(query.Get("error"))}
	case query.Get("code") == "":
		return &Error{Reason: "the answer has no code"}
	}
	return nil
}

// exchange returns the ID token that the provider gives for a code.
func (p *Provider) exchange(ctx context.Context, cfg *oauth2.Config, a Attempt,
	code string,
) (string, error) {
	token, err := cfg.Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if refused := (*oauth2.RetrieveError)(nil); errors.As(err, &refused) &&
		(refused.ErrorCode == "invalid_grant" || refused.ErrorCode == "invalid_request") {
		return "", &Error{Reason: "the provider refused the code, or it was used before"}
	}
	if err != nil { // also a provider that refuses this server, such as its secret
		return "", fmt.Errorf("%s: %w", p.issuer.Name, err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return "", &Error{Reason: "the provider did not say whom it signed in"}
	}
	return raw, nil
}

// person returns the person whom an ID token is about (OpenID Connect Core, section 3.1.3.7).
func (p *Provider) person(ctx context.Context, offers *oidc.Provider, a Attempt,
	raw string,
) (*Person, error) {
	client := p.issuer.Login.ClientID
	// The keys are fetched each time, so that one that was withdrawn is not good here.
	said, err := offers.VerifierContext(oidc.ClientContext(ctx, p.client), &oidc.Config{
		ClientID: client, SupportedSigningAlgs: []string{p.issuer.Algorithm}, Now: p.now,
	}).Verify(ctx, raw)
	switch {
	case err != nil && strings.Contains(err.Error(), "fetching keys"): // the library has no type
		return nil, fmt.Errorf("%s: %w", p.issuer.Name, err)
	case err != nil:
		return nil, &Error{"the ID token is not good", bounded.Text(err.Error())}
	case subtle.ConstantTimeCompare([]byte(said.Nonce), []byte(a.Nonce)) != 1:
		return nil, &Error{Reason: "the ID token is for another sign-in"}
	case !isSubject(said.Subject):
		return nil, &Error{Reason: "the ID token names nobody"}
	}
	var claims map[string]json.RawMessage
	var party struct {
		Authorised string `json:"azp"`
	}
	if said.Claims(&claims) != nil || said.Claims(&party) != nil {
		return nil, &Error{Reason: "the ID token is not good"}
	}
	if party.Authorised != client && (party.Authorised != "" || len(said.Audience) > 1) {
		return nil, &Error{Reason: "the ID token is for another client"}
	}
	person, err := p.issuer.Person(claims)
	switch {
	case errors.Is(err, auth.ErrUnverified):
		return nil, &Error{Reason: "the provider has not verified the email address"}
	case err != nil:
		return nil, Refusal(err)
	}
	return &Person{person, said.Subject}, nil
}

// Refusal says why somebody whom the provider has signed in is not let in, by an error of package
// auth.
func Refusal(err error) *Error {
	if errors.Is(err, auth.ErrNoRole) {
		return &Error{Reason: "none of your groups has a role here"}
	}
	return &Error{Reason: "nobody here is known by this login"}
}

// isSubject reports whether text is a sub: at most 255 ASCII characters (OpenID Connect Core,
// section 2), here those that print.
func isSubject(text string) bool {
	return text != "" && len(text) <= 255 && !strings.ContainsFunc(text, func(c rune) bool {
		return c <= ' ' || c > '~'
	})
}

// config returns the configuration for requests to the provider.
func (p *Provider) config(ctx context.Context) (*oauth2.Config, *oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.offers == nil || p.now().Sub(p.asked) >= askEvery {
		// What the provider offered before is good until it offers something else.
		if err := p.discover(ctx); err != nil && p.offers == nil {
			return nil, nil, err
		}
	}
	scopes := []string{oidc.ScopeOpenID}
	if p.issuer.Claim == "email" {
		scopes = append(scopes, "email")
	}
	return &oauth2.Config{
		ClientID: p.issuer.Login.ClientID, ClientSecret: p.issuer.Login.Secret,
		Endpoint: p.offers.Endpoint(), RedirectURL: p.redirect, Scopes: scopes,
	}, p.offers, nil
}

// discover asks the provider what it offers (OpenID Connect Discovery 1.0), unless it has just
// failed to say so. The caller holds p.mu.
func (p *Provider) discover(ctx context.Context) error {
	if p.failure != nil && p.now().Sub(p.failed) < tryAgain {
		return p.failure
	}
	// The discovery goes on if this browser disconnects, because others wait for it.
	ctx = oidc.ClientContext(context.WithoutCancel(ctx), p.client)
	offers, err := oidc.NewProvider(ctx, p.issuer.Name)
	if err != nil {
		p.failure, p.failed = fmt.Errorf("%s: %w", p.issuer.Name, err), p.now()
		return p.failure
	}
	p.offers, p.asked, p.failure = offers, p.now(), nil
	return nil
}
