package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/auth/login/native"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/internal/printable"
	"github.com/spf13/pflag"
)

const (
	loginWithin = 10 * time.Minute // that a person has for signing in
	askWithin   = 20 * time.Second // asking the server, or the provider to revoke a token
	maxMetadata = 64 << 10         // bytes
)

// LoginFlags are the flags of the commands that sign in with a provider.
type LoginFlags struct {
	issuer    string
	device    bool
	noBrowser bool
	port      uint16
}

// Add adds the flags.
func (f *LoginFlags) Add(flags *pflag.FlagSet) {
	flags.StringVar(&f.issuer, "issuer", "", "`URL` of the provider to log in with, when the "+
		"server has several")
	flags.BoolVar(&f.device, "device", false, "log in on another device, by a code")
	flags.BoolVar(&f.noBrowser, "no-browser", false, "print links, and open no browser")
	flags.Uint16Var(&f.port, "redirect-port", 0, "loopback `port` that the browser comes back to "+
		"after a login (default any that is free)")
}

// A Person is somebody who has signed in with a provider.
type Person struct {
	Subject string     `json:"subject"`
	Roles   []atm.Role `json:"roles"`
	Issuer  string     `json:"issuer"`
	Expires time.Time  `json:"expires"` // of the token
	Renewed bool       `json:"renewed"` // it is renewed before it ends

	Host string `json:"-"` // of the provider, for people
}

// String says who it is.
func (p *Person) String() string {
	roles := make([]string, len(p.Roles))
	for i, role := range p.Roles {
		roles[i] = string(role)
	}
	return fmt.Sprintf("You are %s (%s), by %s", p.Subject, strings.Join(roles, ", "), p.Host)
}

// errNoLogin reports a command that is for profiles with a login.
func (w *Way) errNoLogin() error {
	return exit.Usagef("name a profile with --profile whose login is true; see docs/commandline.md")
}

// LogIn signs a person in with a provider of the server that the profile names, and keeps the
// tokens. What the person has to do is said to stderr; open opens a browser, or is nil.
func (w *Way) LogIn(ctx context.Context, f *LoginFlags, stderr io.Writer,
	open func(string) error,
) (*Person, error) {
	l := w.login
	if l == nil {
		return nil, w.errNoLogin()
	}
	ctx, cancel := context.WithTimeout(ctx, loginWithin)
	defer cancel()
	known, err := l.provider(ctx, f.issuer)
	if err != nil {
		return nil, err
	}
	provider, err := l.discover(ctx, known)
	if err != nil {
		return nil, explain(err)
	}
	if f.noBrowser {
		open = nil
	}
	tokens, err := f.signIn(ctx, provider, stderr, open)
	if err != nil {
		return nil, explain(err)
	}
	person, err := l.whoami(ctx, tokens)
	if err != nil {
		l.revoke(provider, tokens)
		return nil, err
	}
	person.Issuer, person.Host = known.Issuer, provider.Host()
	before, err := l.replace(ctx, &kept{l.server, known, *tokens})
	if err != nil {
		l.revoke(provider, tokens)
		return nil, err
	}
	if before != nil { // nobody has its tokens anymore
		if from, err := l.discover(ctx, before.Provider); err == nil {
			l.revoke(from, &before.Tokens)
		}
	}
	return person, nil
}

// signIn signs a person in.
func (f *LoginFlags) signIn(ctx context.Context, p *native.Provider, stderr io.Writer,
	open func(string) error,
) (*native.Tokens, error) {
	if f.device {
		return p.OnDevice(ctx, func(c native.Code) {
			printable.Linef(stderr, "On any device, go to %s", c.URL)
			printable.Linef(stderr, "and enter the code %s", c.User)
		})
	}
	return p.In(ctx, native.Browser{Port: int(f.port), Show: func(link string) {
		printable.Linef(stderr, "Log in with %s in a browser of this machine: %s", p.Host(), link)
		if open != nil {
			_ = open(link) // there may be no browser; the link is printed anyway
		}
	}})
}

// provider asks the server by which provider people sign in, without signing in.
func (l *login) provider(ctx context.Context, issuer string) (c native.Client, err error) {
	trusting, err := client.Trusting(l.ca)
	if err != nil {
		return c, notSignedIn(err)
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet,
		strings.TrimRight(l.server, "/")+"/.well-known/oauth-authorization-server", nil)
	if err != nil {
		return c, err
	}
	asked := &http.Client{
		Transport: &http.Transport{TLSClientConfig: trusting, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	answer, err := asked.Do(r)
	if err != nil {
		return c, exit.FromClient(fmt.Errorf("%w: %w", client.ErrConnect, err))
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxMetadata))
	if err != nil {
		return c, exit.FromClient(fmt.Errorf("%w: %w", client.ErrConnect, err))
	}
	var says struct {
		Logins []native.Client `json:"atm_logins"`
	}
	if answer.StatusCode != http.StatusOK || json.Unmarshal(text, &says) != nil {
		return c, refused("%s does not say by whom people sign in (%s)", l.server, answer.Status)
	}
	return choose(says.Logins, issuer)
}

// choose returns the provider that a person named, or the only one.
func choose(list []native.Client, issuer string) (c native.Client, err error) {
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Issuer
	}
	switch at := slices.Index(names, issuer); {
	case len(list) == 0:
		return c, refused("the server has no provider for command lines: its file of --issuers " +
			"has no [issuer.cli]")
	case at >= 0:
		return list[at], nil
	case issuer != "":
		return c, exit.Usagef("the server has no provider %s; it has %s", issuer,
			strings.Join(names, ", "))
	case len(list) > 1:
		return c, exit.Usagef("name one of the providers of the server with --issuer: %s",
			strings.Join(names, ", "))
	}
	return list[0], nil
}

func refused(format string, args ...any) error {
	return &exit.Error{Code: exit.Refused, Err: fmt.Errorf(format, args...)}
}

// whoami asks the server who has signed in.
func (l *login) whoami(ctx context.Context, t *native.Tokens) (*Person, error) {
	trusting, err := client.Trusting(l.ca)
	if err != nil {
		return nil, notSignedIn(err)
	}
	c, err := client.New(client.Config{Server: l.server, TLS: trusting, Token: t.Bearer})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	answer, err := c.Call(ctx, string(atm.Whoami))
	if errors.Is(err, client.ErrNotAuthenticated) {
		return nil, &exit.Error{
			Code: exit.NotAuthenticated,
			Err:  errors.New("the provider has signed you in, and the server refuses you"),
			Advice: []string{"Its operator finds the reason in the audit log: nobody there is " +
				"known by your login, none of your groups has a role, or a clock is wrong"},
		}
	}
	if err != nil {
		return nil, err
	}
	if err := exit.FromAnswer(answer); err != nil {
		return nil, err
	}
	who, _ := answer.Result.(map[string]any)
	person := &Person{Expires: t.Expires.UTC().Truncate(time.Second), Renewed: t.Refresh != ""}
	person.Subject, _ = who["subject"].(string)
	roles, _ := who["roles"].([]any)
	for _, role := range roles {
		person.Roles = append(person.Roles, atm.Role(fmt.Sprint(role)))
	}
	return person, nil
}

// revoke revokes tokens that nobody will use, as far as the provider can be asked.
func (l *login) revoke(p *native.Provider, t *native.Tokens) {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	_, _ = p.Revoke(ctx, t)
}

// LogOut removes the tokens of the profile, and has the provider revoke them. was is false if
// nobody was signed in. After an error of the provider they are removed all the same.
func (w *Way) LogOut(ctx context.Context) (was bool, err error) {
	l := w.login
	if l == nil {
		return false, w.errNoLogin()
	}
	before, err := l.replace(ctx, nil)
	if errors.Is(err, errNobody) {
		return false, nil
	}
	if err != nil || before == nil {
		return true, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	from, err := l.discover(ctx, before.Provider)
	if err == nil {
		_, err = from.Revoke(ctx, &before.Tokens)
	}
	if err != nil {
		return true, &exit.Error{
			Code: exit.NoConnection,
			Err:  fmt.Errorf("you are logged out here, and the provider does not know: %w", err),
		}
	}
	return true, nil
}
