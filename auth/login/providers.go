package login

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"sync"
	"time"

	"example.com/atm/auth"
)

const (
	// Life is how long a person may take at a provider.
	Life = 10 * time.Minute

	maxNext  = 1 << 10 // bytes of what a browser asked for, so that its cookie is not too long
	maxQuery = 8 << 10 // bytes of a provider's answer
)

// sealed is what an Attempt is sealed for. The key is that of other things too, and nothing else
// is sealed for this.
var sealed = []byte("atm login")

// Providers are the providers of the issuers in force by which people sign in.
type Providers struct {
	issuers  *auth.Issuers
	redirect string
	now      func() time.Time
	aead     cipher.AEAD

	mu   sync.Mutex
	made map[*auth.Issuer]*Provider // guarded by mu
}

// NewProviders returns the providers of issuers, which send browsers back to redirect. Attempts
// are sealed with key, of 32 bytes.
func NewProviders(issuers *auth.Issuers, redirect string, key []byte, now func() time.Time,
) (*Providers, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Providers{issuers: issuers, redirect: redirect, now: now, aead: aead}, nil
}

// List returns the providers, in order of their issuers. What one has offered is asked for again
// when the issuers are replaced.
func (p *Providers) List() []*Provider {
	logins := p.issuers.Logins()
	list, made := make([]*Provider, len(logins)), make(map[*auth.Issuer]*Provider, len(logins))
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, issuer := range logins {
		if list[i] = p.made[issuer]; list[i] == nil {
			list[i] = New(issuer, p.redirect, p.now)
		}
		made[issuer] = list[i]
	}
	p.made = made
	return list
}

// of returns the provider of an issuer.
func (p *Providers) of(issuer string) (*Provider, error) {
	for _, provider := range p.List() {
		if provider.Issuer() == issuer {
			return provider, nil
		}
	}
	return nil, &Error{Reason: "nobody signs in here by this provider"}
}

// Begin begins a sign-in by an issuer. The browser keeps what is kept, and goes to a URL. next is
// what it asked for. A refusal is an *Error; other errors mean that the provider could not be
// asked.
func (p *Providers) Begin(ctx context.Context, issuer, next string) (to, kept string, err error) {
	provider, err := p.of(issuer)
	if err != nil {
		return "", "", err
	}
	to, a, err := provider.Begin(ctx)
	if err != nil {
		return "", "", err
	}
	if len(next) <= maxNext {
		a.Next = next
	}
	a.Until = p.now().Add(Life).Unix()
	text, err := json.Marshal(a)
	if err != nil {
		return "", "", err
	}
	return to, base64.RawURLEncoding.EncodeToString(p.aead.Seal(nil, nil, text, sealed)), nil
}

// Open returns the attempt that a browser has kept, or an *Error.
func (p *Providers) Open(kept string) (a Attempt, err error) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(kept)
	if err == nil {
		text, err = p.aead.Open(nil, nil, text, sealed)
	}
	if err != nil || json.Unmarshal(text, &a) != nil {
		return Attempt{}, &Error{Reason: "this browser has begun no sign-in"}
	}
	if p.now().Unix() >= a.Until {
		return Attempt{}, &Error{Reason: "the sign-in took too long"}
	}
	return a, nil
}

// Finish returns the person whom a provider has signed in; see Provider.Finish. query is what the
// browser brings.
func (p *Providers) Finish(ctx context.Context, a Attempt, query string) (*Person, error) {
	values, err := url.ParseQuery(query)
	if err != nil || len(query) > maxQuery {
		return nil, &Error{Reason: "the answer cannot be read"}
	}
	provider, err := p.of(a.Issuer)
	if err != nil {
		return nil, err
	}
	return provider.Finish(ctx, a, values)
}
