package signin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"sync"
	"time"

	"example.com/atm/auth/login/native"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/internal/durable"
	"example.com/atm/internal/owner"
	"github.com/gofrs/flock"
)

const (
	renewWithin = 20 * time.Second // asking the provider for another token
	lockWithin  = 30 * time.Second // waiting for another process that asks it
	lockTry     = 50 * time.Millisecond
	maxLogin    = 128 << 10 // bytes of the file
)

// loginName are the names of profiles whose sign-in is kept: they are names of files.
var loginName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)

// A login is the sign-in of a profile with an OpenID provider. Its tokens are in a file beside the
// profiles, which only its owner may read. Processes that renew them wait for each other, because a
// refresh token is good once.
type login struct {
	profile   string
	server    string
	ca        string // file with the authority of the server
	file      string
	authority string // file with the authorities of the provider; empty for those of the system
	now       func() time.Time

	mu   sync.Mutex
	last *kept // guarded by mu; what was read last
}

// kept is what the file has.
type kept struct {
	Server   string        `json:"server"`
	Provider native.Client `json:"provider"`
	Tokens   native.Tokens `json:"tokens"`
}

// config returns the configuration of a client for calls to host.
func (l *login) config(host string) (cfg client.Config, err error) {
	u, err := url.Parse(l.server)
	if err != nil {
		return cfg, err
	}
	if u.Hostname() != host { // another server would get a token that is good here
		return cfg, notSignedIn(fmt.Errorf("profile %s logs in at %s, not at %s", l.profile,
			u.Hostname(), host))
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockWithin+renewWithin)
	defer cancel()
	if _, err := l.bearer(ctx); err != nil {
		return cfg, err
	}
	cfg.Bearer = l.bearer
	if cfg.TLS, err = client.Trusting(l.ca); err != nil {
		return cfg, notSignedIn(err)
	}
	return cfg, nil
}

// bearer returns the token of the profile, and renews it before it ends.
func (l *login) bearer(ctx context.Context) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil || !l.now().Before(l.last.Tokens.Renew) {
		var err error
		if l.last, err = l.read(); err != nil {
			return "", err
		}
	}
	if !l.now().Before(l.last.Tokens.Renew) {
		if err := l.renew(ctx); err != nil {
			return "", err
		}
	}
	return l.last.Tokens.Bearer, nil
}

// renew renews what the file has, unless another process just has. A token that is still good is
// used on if there is no other. The caller holds l.mu.
func (l *login) renew(ctx context.Context) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if l.last, err = l.read(); err != nil {
		return err
	}
	now, tokens := l.now(), &l.last.Tokens
	if now.Before(tokens.Renew) {
		return nil
	}
	renewed, err := l.renewed(ctx, l.last)
	if err != nil {
		switch {
		case now.Before(tokens.Expires):
			return nil
		case errors.As(err, new(*native.RefusedError)):
			return l.again(err)
		}
		return explain(err)
	}
	l.last.Tokens = *renewed
	return l.write(l.last)
}

func (l *login) renewed(ctx context.Context, k *kept) (*native.Tokens, error) {
	if k.Tokens.Refresh == "" {
		return nil, &native.RefusedError{Reason: "the sign-in is over"}
	}
	ctx, cancel := context.WithTimeout(ctx, renewWithin)
	defer cancel()
	provider, err := l.discover(ctx, k.Provider)
	if err != nil {
		return nil, err
	}
	return provider.Renew(ctx, &k.Tokens)
}

func (l *login) discover(ctx context.Context, c native.Client) (*native.Provider, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	if l.authority != "" {
		trusting, err := client.Trusting(l.authority)
		if err != nil {
			return nil, &native.RefusedError{Reason: err.Error()}
		}
		trusting.MinVersion = tls.VersionTLS12
		transport.TLSClientConfig = trusting
	}
	return native.Discover(ctx, c, transport, l.now)
}

// explain adds the exit code to an error of a provider.
func explain(err error) error {
	switch {
	case errors.As(err, new(*native.RefusedError)):
		return notSignedIn(err)
	case errors.Is(err, native.ErrUnreachable):
		return &exit.Error{Code: exit.NoConnection, Err: err}
	}
	return err
}

// again is the error of a profile whose person has to log in.
func (l *login) again(err error) error {
	return &exit.Error{Code: exit.NotAuthenticated, Err: err, Advice: []string{
		fmt.Sprintf("Log in with: atmctl login --profile %s", l.profile),
	}}
}

func notSignedIn(err error) error { return &exit.Error{Code: exit.NotAuthenticated, Err: err} }

// errNobody reports that nobody is logged in.
var errNobody = errors.New("nobody is logged in")

// read returns what the file has. It is an error if others may read it.
func (l *login) read() (*kept, error) {
	text, err := durable.ReadChecked(l.file, maxLogin, func(info fs.FileInfo) error {
		switch {
		case owner.Known && !owner.IsCallerOrRoot(info):
			return fmt.Errorf("%s belongs to another user", l.file)
		case owner.OthersMayUse(info):
			return fmt.Errorf("%s may be read by others (mode %04o); chmod 600 it", l.file,
				info.Mode().Perm())
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, l.again(fmt.Errorf("%w with profile %s", errNobody, l.profile))
	}
	if err != nil {
		return nil, notSignedIn(err)
	}
	k := &kept{}
	if json.Unmarshal(text, k) != nil || k.Tokens.Bearer == "" {
		return nil, l.again(fmt.Errorf("%s has no login that this program kept", l.file))
	}
	if k.Server != l.server {
		return nil, l.again(fmt.Errorf("the login of profile %s is at %s", l.profile,
			k.Server))
	}
	return k, nil
}

func (l *login) write(k *kept) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return durable.WriteFile(l.file, append(text, '\n'), 0o600)
}

// lock keeps other processes from changing the file until unlock.
func (l *login) lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockWithin)
	defer cancel()
	lock := flock.New(l.file+".lock", flock.SetPermissions(0o600))
	if _, err = lock.TryLockContext(ctx, lockTry); err != nil {
		return nil, fmt.Errorf("%s: another process keeps it locked: %w", lock.Path(), err)
	}
	return func() { lock.Unlock() }, nil
}

// replace writes k to the file, or removes the file if k is nil, and returns what was there before.
func (l *login) replace(ctx context.Context, k *kept) (before *kept, err error) {
	unlock, err := l.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	before, err = l.read()
	if k != nil { // whatever was there, it is replaced
		return before, l.write(k)
	}
	if errors.Is(err, errNobody) {
		return nil, errNobody
	}
	// What is not read because others may read it is removed all the same.
	return before, os.Remove(l.file)
}
