package keys

import (
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"example.com/atm/auth"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/durable"
	"example.com/atm/teller"
)

// keys/token.key has the active key of tokens in PEM (PKCS #8), so that other programs can read
// it, followed by the next and the retiring key in blocks with types of their own. The block of
// the retiring key has the time of the rotation.
const (
	activeBlock, nextBlock, retiringBlock = "PRIVATE KEY", "ATM NEXT TOKEN KEY",
		"ATM RETIRING TOKEN KEY"

	sinceHeader = "Since"
)

// newTokenKeys is the content of the file of a new server.
func newTokenKeys() ([]byte, error) {
	var table auth.KeyTable
	for _, key := range []*crypto.Signer{&table.Active, &table.Next} {
		var err error
		if *key, err = certs.NewKey(); err != nil {
			return nil, err
		}
	}
	return encodeTokenKeys(table)
}

func encodeTokenKeys(table auth.KeyTable) ([]byte, error) {
	var text []byte
	for _, k := range []struct {
		block string
		key   crypto.Signer
	}{{activeBlock, table.Active}, {nextBlock, table.Next}, {retiringBlock, table.Retiring}} {
		if k.key == nil {
			continue
		}
		plain, err := certs.EncodeKey(k.key)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(plain)
		block.Type = k.block
		if k.block == retiringBlock {
			block.Headers = map[string]string{sinceHeader: table.Since.UTC().Format(time.RFC3339)}
		}
		text = append(text, pem.EncodeToMemory(block)...)
	}
	return text, nil
}

// Tokens signs tokens, and has the other issuers whose tokens are accepted.
type Tokens struct {
	Own     *auth.Tokens
	Foreign *auth.Issuers // nil for none

	dir      *datadir.Dir
	replicas Replicas
	lock     sync.Locker
	inModule bool
}

func openTokens(cfg Config, lock sync.Locker) (*Tokens, error) {
	t := &Tokens{
		dir: cfg.Dir, replicas: cfg.Replicas, lock: lock, inModule: cfg.Modules.token != nil,
	}
	var table auth.KeyTable
	var err error
	if t.inModule {
		table.Active = cfg.Modules.token
	} else if table, err = readTokenKeys(cfg.Dir.TokenKey()); err != nil {
		return nil, err
	}
	if t.Own, err = auth.NewTokens(cfg.Dir.Config.Name, table, cfg.Replicas.Now); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Dir.TokenKey(), err)
	}
	if cfg.Issuers != "" {
		t.Foreign = auth.NewIssuers(cfg.Replicas.Now, func(issuer string, err error) {
			cfg.Log.Warn("the keys of an issuer could not be fetched",
				slog.String("issuer", issuer), slog.Any("error", err))
		})
	}
	return t, nil
}

// IssueToken issues a token for a subject and the methods in scope. If bound is not empty, the
// token is bound to the certificate with this SHA-256, in base64url.
func (t *Tokens) IssueToken(subject, scope, bound string, life time.Duration) (teller.Token,
	error,
) {
	token, err := t.Own.Issue(subject, scope, bound, life)
	return teller.Token(token), err
}

// IssueGrant issues the token of a grant.
func (t *Tokens) IssueGrant(grantor, grantee string, accounts, operations []string, limit string,
	life time.Duration,
) (teller.Token, error) {
	token, err := t.Own.IssueGrant(grantor, auth.GrantToken{
		Grantee: grantee, Accounts: accounts,
		Operations: operations, Cap: limit,
	}, life)
	return teller.Token(token), err
}

// Invite issues the code of an invitation.
func (t *Tokens) Invite(i teller.Invitation) (code string, err error) {
	return t.Own.Invite(auth.Invitation(i))
}

// Issuer is the issuer in this server's tokens.
func (t *Tokens) Issuer() string { return t.Own.Issuer() }

// Slack is how far the clocks of servers that accept each other's tokens may differ.
func (t *Tokens) Slack() time.Duration { return t.Own.Slack() }

// Trusts reports whether tokens of another issuer are accepted.
func (t *Tokens) Trusts(issuer string) bool { return t.Foreign.Trusts(issuer) }

// adoptTokens loads the keys that another replica has written to the folder.
func (t *Tokens) adoptTokens(text []byte) error {
	if t.inModule {
		return nil
	}
	table, err := parseTokenKeys(text)
	if err != nil {
		return err
	}
	return t.Own.Adopt(table)
}

func readTokenKeys(path string) (auth.KeyTable, error) {
	text, err := durable.ReadSecret(path)
	if err != nil {
		return auth.KeyTable{}, err
	}
	table, err := parseTokenKeys(text)
	if err != nil {
		return auth.KeyTable{}, fmt.Errorf("%s: %w", path, err)
	}
	return table, nil
}

// CheckTokenKeys returns what is wrong with a file of token keys.
func CheckTokenKeys(path string) error {
	_, err := readTokenKeys(path)
	return err
}

func parseTokenKeys(text []byte) (auth.KeyTable, error) {
	var table auth.KeyTable
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		place := map[string]*crypto.Signer{
			activeBlock: &table.Active, nextBlock: &table.Next,
			retiringBlock: &table.Retiring,
		}[block.Type]
		if place == nil || *place != nil {
			return auth.KeyTable{}, fmt.Errorf("it has one block %q too many", block.Type)
		}
		var err error
		if *place, err = certs.ParseKey(pem.EncodeToMemory(&pem.Block{
			Type:  activeBlock,
			Bytes: block.Bytes,
		})); err != nil {
			return auth.KeyTable{}, err
		}
		if block.Type == retiringBlock {
			if table.Since, err = time.Parse(time.RFC3339, block.Headers[sinceHeader]); err != nil {
				return auth.KeyTable{}, fmt.Errorf("a key is retiring since %q, which is no time",
					block.Headers[sinceHeader])
			}
		}
	}
	if table.Active == nil {
		return auth.KeyTable{}, errors.New("it has no active key")
	}
	return table, nil
}

// RotateTokens makes the next key sign tokens, and returns the names of the old and the new
// key. Unless force is set, it refuses a rotation that would invalidate unexpired tokens of the
// previous key, and says how long to wait. The table is written to disk before the key signs,
// so that a crash cannot invalidate an issued token.
func (t *Tokens) RotateTokens(ctx context.Context, force bool) (old, kid string,
	wait time.Duration, err error,
) {
	if t.inModule {
		return "", "", 0, teller.ErrKeyElsewhere
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	table := t.Own.Keys()
	now := t.replicas.Now()
	if free := table.Settled(); !force && now.Before(free) {
		return "", "", free.Sub(now), nil
	}
	if table.Next == nil {
		if table.Next, err = certs.NewKey(); err != nil {
			return "", "", 0, err
		}
	}
	fresh, err := certs.NewKey()
	if err != nil {
		return "", "", 0, err
	}
	table = table.Rotated(fresh, now)
	text, err := encodeTokenKeys(table)
	if err != nil {
		return "", "", 0, err
	}
	if err := durable.WriteFile(t.dir.TokenKey(), text, 0o600); err != nil {
		return "", "", 0, err
	}
	if err := shareRotated(ctx, t.replicas); err != nil {
		return "", "", 0, err
	}
	old = t.Own.ActiveKey()
	if err := t.Own.Adopt(table); err != nil {
		return "", "", 0, err
	}
	return old, t.Own.ActiveKey(), 0, nil
}
