// Package keys holds what a server signs with and what it trusts: its
// authorities and their certificates, the keys of tokens, of the audit log and
// of the vault, and the files of other identities and issuers.
//
// It makes the keys of a new folder, rotates them while the server runs, and
// follows the files that somebody else replaces. A key is on the disk, and the
// other replicas have it, before anything is signed with it.
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

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/publish"
	"example.com/atm/auth"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/teller"
	"example.com/atm/vault/boltstore"
)

// Replicas are the servers of an installation that have the same keys.
type Replicas interface {
	// Share gives the others what changed in the folder, and reports whether
	// something had. They have it before they decide anything after that.
	Share(ctx context.Context) (changed bool, err error)

	// Now is the time by the clock that all of them go by.
	Now() time.Time
}

// Alone is an installation of one server.
type Alone struct{}

// Share has nobody to share with.
func (Alone) Share(context.Context) (changed bool, err error) { return true, nil }

// Now is the time of this machine.
func (Alone) Now() time.Time { return time.Now() }

// Config is what Open needs. Fields without "optional" are required.
type Config struct {
	Dir      *datadir.Dir
	Replicas Replicas
	Log      *slog.Logger
	Vault    datadir.VaultKey
	File     *boltstore.Store // sealed under Vault; nil when accounts are in a database
	Fresh    bool             // the folder is a new one

	Module     *Module  // that has the key of tokens; nil for the keys in the folder
	Hosts      []string // names and addresses in the server certificate; nil for the usual ones
	Identities string   // optional file that maps other certificates to subjects
	Issuers    string   // optional file of others whose tokens are good
	ClientCA   string   // optional file with other authorities of client certificates
}

// Keys are the keys of an open folder.
type Keys struct {
	*Authorities
	*Tokens
	*AuditKey
	*VaultKey

	Mappings auth.Mappings // of the file of identities

	cfg    Config
	lock   sync.Mutex // held while a key is replaced
	loaded struct{ identities, issuers certs.Version }

	teller *teller.Teller      // set by Attach
	signIn *auth.Authenticator // set by Serve
}

var _ teller.Credentials = (*Keys)(nil)

// Open reads the keys in a folder, and renews the server's certificate when that is due.
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
	// versions from before the files are read: a change in between is seen later
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

// Attach gives k what records its changes in the audit log, and what publishes that log.
// Nothing is rotated before.
func (k *Keys) Attach(t *teller.Teller, p *publish.Publisher) {
	k.teller = t
	k.AuditKey.teller, k.AuditKey.publisher = t, p
}

// Serve gives k the sign-in that asks it, before anything follows files.
func (k *Keys) Serve(signIn *auth.Authenticator) { k.signIn = signIn }

// Lock is held while a key is replaced.
func (k *Keys) Lock() sync.Locker { return &k.lock }

// HashSecret returns what a secret for tokens alone is checked by.
func (k *Keys) HashSecret(secret string) ([]byte, error) { return auth.HashSecret(secret) }

// Adopt takes a key over that another replica has put into the file at path of the folder.
func (k *Keys) Adopt(path string, text []byte) error {
	switch path {
	case k.cfg.Dir.AuditKey():
		next, err := checkpoint.NewSigner(string(text))
		if err != nil {
			return err
		}
		return k.Signer.Adopt(next)
	case k.cfg.Dir.TokenKey():
		return k.adoptTokens(text)
	}
	return nil
}

// shareWait bounds how long a rotation waits for the database that replicas share.
const shareWait = 10 * time.Second

// shareRotated shares a key that is about to be used. It goes on when the caller who asked
// for the rotation is gone, because the new key is in the folder already.
func shareRotated(ctx context.Context, replicas Replicas) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shareWait)
	defer cancel()
	changed, err := replicas.Share(ctx)
	if err == nil && !changed {
		err = errRotatedElsewhere
	}
	return err
}

// errRotatedElsewhere reports a rotation that met one of another replica.
var errRotatedElsewhere = errors.New("another replica has rotated keys at the same moment; " +
	"nothing was rotated here")

// ForeignVerifier verifies certificates of the other authorities; nil when there are none.
func (k *Keys) ForeignVerifier() func([]*x509.Certificate, time.Time) error {
	if len(k.foreign) == 0 {
		return nil
	}
	return certs.NewClientVerifier(k.foreign...).Verify
}
