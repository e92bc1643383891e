// Package keys holds the keys and the trust of a server: its authorities and their
// certificates, the keys of tokens, of the audit log and of the vault, and the files of foreign
// identities and issuers.
//
// It creates the keys of a new folder, rotates them while the server runs, and follows files
// that are replaced. A key is on disk, and known to all replicas, before it signs anything.
package keys

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"example.com/atm/audit/publish"
	"example.com/atm/auth"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/teller"
	"example.com/atm/vault/boltstore"
)

// Replicas are the servers of an installation that share keys.
type Replicas interface {
	// Share sends files of the folder that have changed to the other replicas, and reports whether
	// there were any. The replicas apply them before their next decision.
	Share(ctx context.Context) (changed bool, err error)

	// Now is the time of the clock that all of them share.
	Now() time.Time
}

// Alone is an installation of one server.
type Alone struct{}

// Share does nothing: there are no other replicas.
func (Alone) Share(context.Context) (changed bool, err error) { return true, nil }

// Now is the time of this machine.
func (Alone) Now() time.Time { return time.Now() }

// Config is everything that Open needs. Fields without "optional" are required.
type Config struct {
	Dir      *datadir.Dir
	Replicas Replicas
	Log      *slog.Logger
	Vault    datadir.VaultKey
	File     *boltstore.Store // sealed under Vault; nil if the accounts are in a database
	Fresh    bool             // the folder is new

	Modules    Modules  // keys in modules
	Hosts      []string // names and addresses in the server certificate; nil for defaults
	Identities string   // optional file that maps foreign certificates to subjects
	Issuers    string   // optional file of other token issuers
	ClientCA   string   // optional file with other authorities for client certificates
}

// Keys are the keys of an open folder.
type Keys struct {
	*Authorities
	*Tokens
	*AuditKey
	*VaultKey

	Mappings auth.Mappings // from the file of identities

	cfg    Config
	lock   sync.Mutex // held while a key is replaced
	loaded struct{ identities, issuers certs.Version }

	teller *teller.Teller      // set by Attach
	signIn *auth.Authenticator // set by Serve
}

var _ teller.Credentials = (*Keys)(nil)

// Open reads the keys in a folder, and renews the server's certificate if that is due.
func Open(cfg Config) (*Keys, error) {
	k := &Keys{cfg: cfg}
	var err error
	if k.AuditKey, err = openAuditKey(cfg, &k.lock); err != nil {
		return nil, err
	}
	if k.Authorities, err = openAuthorities(cfg); err != nil {
		return nil, err
	}
	if k.Tokens, err = openTokens(cfg, &k.lock); err != nil {
		return nil, err
	}
	k.VaultKey = &VaultKey{
		dir: cfg.Dir, log: cfg.Log, lock: &k.lock, key: cfg.Vault, file: cfg.File,
		rotated: make(chan struct{}, 1),
	}
	// Record the versions before reading the files, so that a change in between is noticed later.
	k.loaded.identities = certs.VersionOf(cfg.Identities)
	k.loaded.issuers = certs.VersionOf(cfg.Issuers)
	if cfg.Identities != "" {
		if err := k.loadIdentities(); err != nil {
			return nil, err
		}
	}
	if cfg.Issuers != "" {
		if err := k.loadIssuers(cfg.Issuers); err != nil {
			return nil, err
		}
	}
	if cfg.ClientCA != "" {
		pem, err := os.ReadFile(cfg.ClientCA)
		if err != nil {
			return nil, err
		}
		if k.foreign, err = certs.ParseCertificates(pem); err != nil {
			return nil, fmt.Errorf("%s: %w", cfg.ClientCA, err)
		}
	}
	return k, k.renewServer(cfg.Hosts, cfg.Fresh)
}

// Attach sets the teller, which records changes of keys in the audit log, and the publisher of
// that log. Call it before rotating a key.
func (k *Keys) Attach(t *teller.Teller, p *publish.Publisher) {
	k.teller = t
	k.AuditKey.teller, k.AuditKey.publisher = t, p
}

// Serve sets the authenticator that uses the keys. Call it before Follow.
func (k *Keys) Serve(signIn *auth.Authenticator) { k.signIn = signIn }

// Lock is held while a key is replaced.
func (k *Keys) Lock() sync.Locker { return &k.lock }

// HashSecret returns the hash of a secret for tokens alone.
func (k *Keys) HashSecret(secret string) ([]byte, error) { return auth.HashSecret(secret) }

// Adopt loads a key that another replica has written to the file at path in the folder.
func (k *Keys) Adopt(path string, text []byte) error {
	switch path {
	case k.cfg.Dir.AuditKey():
		return k.adoptAudit(text)
	case k.cfg.Dir.TokenKey():
		return k.adoptTokens(text)
	}
	return nil
}

// shareWait bounds how long a rotation waits for the shared database.
const shareWait = 10 * time.Second

// shareRotated shares a key that is about to be used. It ignores the cancellation of the
// request for the rotation, because the new key is in the folder already.
func shareRotated(ctx context.Context, replicas Replicas) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shareWait)
	defer cancel()
	changed, err := replicas.Share(ctx)
	if err == nil && !changed {
		err = errRotatedElsewhere
	}
	return err
}

// errRotatedElsewhere reports a rotation at the same time as one on another replica.
var errRotatedElsewhere = errors.New("another replica has rotated keys at the same moment; " +
	"nothing was rotated here")

// ForeignVerifier verifies certificates of the other authorities. It is nil if there are none.
func (k *Keys) ForeignVerifier() func([]*x509.Certificate, time.Time) error {
	if len(k.foreign) == 0 {
		return nil
	}
	return certs.NewClientVerifier(k.foreign...).Verify
}
