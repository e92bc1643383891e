// Package daemon assembles the server from its packages and runs it on a data folder: store,
// keys, published audit log, teller, sign-in and listeners, in this order.
//
// It is the only composition root: cmd/atmserver runs it until it is stopped, and atmctl demo
// runs it for a minute in a temporary folder.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/atm/audit/policy"
	"example.com/atm/auth"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/keys"
	"example.com/atm/cmd/internal/published"
	"example.com/atm/cmd/internal/replica"
	"example.com/atm/cmd/internal/retention"
	"example.com/atm/cmd/internal/roster"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/feed"
	"example.com/atm/server"
	"example.com/atm/server/metrics"
	"example.com/atm/teller"
	"example.com/atm/teller/confirm"
	"example.com/atm/teller/orders"
	"example.com/atm/vault/holder"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/requestid"
)

// Options are the choices at the start of a server.
type Options struct {
	Data  string           // the data folder
	Store storage.Location // where the accounts are
	Name  string           // the server's name; empty for the one that init chose, or a new one
	// Hosts are the names and addresses in the server certificate; nil for the default ones.
	Hosts []string
	// Passphrase asks for the passphrase of keys/vault.key; nil without a terminal.
	Passphrase func() ([]byte, error)
	// VaultKey is the file that a new folder has its keys/vault.key from; empty for a new key.
	VaultKey string
	TLS12    bool // TLS 1.2 is allowed as well
	// Identities is the file that maps foreign certificates to subjects; empty for none.
	Identities string
	Issuers    string // file of other token issuers; empty for none
	// ClientCA is the file with other authorities for client certificates; empty for none.
	ClientCA string
	// TokenKey is the PKCS #11 URI of the key of tokens; empty for keys in the folder.
	TokenKey string
	// AuditKeys are the PKCS #11 URIs of keys of the audit log, the newest first; nil for keys in
	// the folder. A second one is for a key that the first one succeeds.
	AuditKeys []string
	// NonceTTL is how long a nonce of Digest is valid; 0 means 5 minutes.
	NonceTTL    time.Duration
	Confirm     confirm.Policy // what of a browser a passkey confirms; nil for confirm.Default
	Witnesses   *policy.Policy // witnesses of the audit log; nil for none
	Empty       bool           // at init: no account 100 and no demo credentials
	DiskReserve uint64         // bytes that must stay free
	WitnessFile string         // file of Witnesses; empty for none
	Mirrors     *policy.Policy // mirrors of the audit log; nil for none
	MirrorFile  string         // file of Mirrors; empty for none
	Version     string         // of the program
	Settings    string         // all settings in force, one a line; the log has its hash
	Log         *slog.Logger   // for the operator
	Grace       time.Duration  // how long a stop may take
	Server      server.Config  // limits; the rest is filled in
	ConsoleURL  string         // that browsers reach a console at which has a listener of its own
	Feed        Feed           // how events are sent
	Retention   Retention      // what is kept of the past, and where

	// Republish says that the folder has nothing of the audit log, as after a restore, so that all
	// of it is published again. For that the key that signs the log need not be here.
	Republish bool

	// Unpublished says that nothing is published: it is only to be seen whether the folder opens.
	Unpublished bool
}

// A Server is an open data folder with all parts of a server.
type Server struct {
	// Fresh reports that this start created or completed the folder.
	Fresh bool

	opts         Options
	modules      keys.Modules
	dir          *datadir.Dir
	accounts     accounts
	keys         *keys.Keys
	log          *auditLog
	ledger       *ledger.Ledger
	teller       *teller.Teller
	orders       *orders.Runner
	feed         *feed.Feed
	retention    *retention.Runner // nil without an archive
	hooks        *hooks
	directory    *auth.Directory
	installation *installation
}

// Open opens the data folder, creates or completes it if necessary, and brings the published
// audit log up to date.
func Open(ctx context.Context, opts Options) (*Server, error) {
	config, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	if opts.Confirm == nil {
		opts.Confirm = confirm.Default
	}
	s := &Server{opts: opts, directory: auth.NewDirectory()}
	// Open modules first, so that a start without them changes nothing.
	if s.modules, err = keys.OpenModules(opts.TokenKey, opts.AuditKeys); err != nil {
		return nil, err
	}
	if opts.Retention.Archive != "" { // so is one whose location is none
		if _, err := published.Objects(ctx, opts.Retention.Archive); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if s.dir, s.Fresh, err = datadir.Open(opts.Data, config); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.Fresh && opts.VaultKey != "" {
		if err := s.dir.TakeVaultKey(opts.VaultKey, opts.Passphrase); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	s.installation = &installation{opts: opts, dir: s.dir, opened: time.Now()}
	removed, err := s.dir.Sweep()
	if err != nil {
		opts.Log.Warn("removing what an earlier process left unfinished", slog.Any("error", err))
	}
	if len(removed) > 0 {
		opts.Log.Info("removed what an earlier process left unfinished", slog.Any("files", removed))
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) error {
	switch plan, err := s.dir.Plan().Read(); {
	case err != nil:
		return err
	case plan != nil:
		return datadir.ErrPlan
	}
	if s.opts.Name != "" && s.opts.Name != s.dir.Config.Name {
		return fmt.Errorf("%w: the name of this server is %s; it was fixed at init",
			datadir.ErrUsage, s.dir.Config.Name)
	}
	if err := s.assemble(ctx); err != nil {
		return err
	}
	if s.Fresh {
		if err := s.completeInit(ctx); err != nil {
			return err
		}
	}
	if s.opts.Republish && !s.keys.Signs() {
		s.opts.Log.WarnContext(ctx, "the audit log is signed by a key in a PKCS #11 module, which "+
			"no backup has: start the server with its --audit-key",
			slog.String("key", s.keys.Signer.Verifier()))
	} else if err := s.keys.UseModules(ctx); err != nil {
		return err
	}
	users, err := s.accounts.Users(ctx)
	if err != nil {
		return err
	}
	revoked, err := s.accounts.Revocations(ctx)
	if err != nil {
		return err
	}
	roster.Learn(s.directory, users, revoked)
	return nil
}

// assemble opens the parts of the server, each of which needs those before it.
func (s *Server) assemble(ctx context.Context) error {
	var vaultKey datadir.VaultKey
	var err error
	if s.accounts, vaultKey, err = openAccounts(ctx, s.opts, s.dir, s.modules,
		s.Fresh); err != nil {
		return err
	}
	if s.keys, err = keys.Open(keys.Config{
		Dir: s.dir, Replicas: s.accounts.replicas(), Log: s.opts.Log, Vault: vaultKey,
		File: s.accounts.file, Fresh: s.Fresh, Modules: s.modules, Hosts: s.opts.Hosts,
		Identities: s.opts.Identities, Issuers: s.opts.Issuers, ClientCA: s.opts.ClientCA,
	}); err != nil {
		return err
	}
	if s.accounts.replica != nil {
		s.accounts.replica.UseKeys(s.keys)
	}
	if s.log, err = openAuditLog(ctx, s.dir, s.accounts, s.keys.Signer, s.opts,
		s.accounts.joined() || s.opts.Republish); err != nil {
		return err
	}
	s.ledger = ledger.New(ledger.Config{
		Store: s.accounts, Signer: s.keys.Signer, Admit: s.beforeCommit, Committed: s.afterCommit,
		Log: s.opts.Log,
	})
	s.installation.accounts, s.installation.keys = s.accounts, s.keys
	s.installation.log, s.installation.ledger = s.log, s.ledger
	s.installation.metrics = metrics.New(s.opts.Version, s.installation.gauges())
	s.orders = orders.New(orders.Config{
		Ledger: s.ledger, Store: s.accounts, Now: s.accounts.replicas().Now,
		Settled: s.installation.metrics.Paid, Log: s.opts.Log,
	})
	feedKeys, err := s.openFollowers(ctx, vaultKey)
	if err != nil {
		return err
	}
	s.hooks = &hooks{keys: feedKeys, store: s.accounts, roles: s.rolesOf}
	requests, err := requestid.NewHasher(vaultKey.Requests)
	if err != nil {
		return err
	}
	holders, err := holder.NewHasher(vaultKey.Requests)
	if err != nil {
		return err
	}
	if s.teller, err = teller.New(teller.Config{
		Ledger: s.ledger, Store: s.whole(), Requests: requests, Holders: holders,
		Index: s.log.index, Realm: s.dir.Config.Realm, Confirm: s.opts.Confirm,
		Feed: feedKeys, Permissions: permissions{s.directory}, Credentials: s.keys,
		Installation: s.installation,
	}); err != nil {
		return err
	}
	s.keys.Attach(s.teller, s.log.Publisher)
	if s.accounts.replica != nil {
		s.accounts.replica.Attach(replica.Local{
			Ledger: s.ledger, Publisher: s.log.Publisher, Directory: s.directory,
		})
	}
	return nil
}

// openFollowers opens the parts that follow the journal: the feed, and what archives. It returns
// what events are signed with.
func (s *Server) openFollowers(ctx context.Context, key datadir.VaultKey) (*feed.Keys, error) {
	feedKeys, err := s.newFeedKeys(key.Requests)
	if err != nil {
		return nil, err
	}
	if s.feed, err = s.newFeed(feedKeys); err != nil {
		return nil, err
	}
	s.retention, err = s.newRetention(ctx)
	s.installation.feed, s.installation.retention = s.feed, s.retention
	return feedKeys, err
}

// beforeCommit is called before each commit, and may refuse it.
func (s *Server) beforeCommit() error {
	s.log.Yield()
	if s.accounts.file != nil {
		if err := s.accounts.file.Look(); err != nil {
			return err
		}
	}
	return s.installation.diskSpace()
}

// afterCommit is called after each commit.
func (s *Server) afterCommit(c ledger.Commit) {
	roster.Learn(s.directory, c.Users, c.Revocations)
	if s.accounts.replica != nil {
		s.accounts.replica.Committed(c)
	}
	s.installation.metrics.Committed(c.Operations, c.Replays)
	s.orders.Committed(c)
	s.feed.Committed(c)
	if c.Feeds {
		s.hooks.forget()
	}
	s.log.Committed()
}

// Name is the server's name.
func (s *Server) Name() string { return s.dir.Config.Name }

// Joined reports that this start created the folder for an existing installation.
func (s *Server) Joined() bool { return s.accounts.joined() }

// Fingerprint is the SHA-256 fingerprint of the authority that clients must trust.
func (s *Server) Fingerprint() string { return certs.Fingerprint(s.keys.Root()) }

// Close unlocks the folder. It is safe to call more than once.
func (s *Server) Close() error {
	var errs []error
	if s.ledger != nil {
		errs = append(errs, s.ledger.Close())
	}
	errs = append(errs, s.accounts.close())
	if s.dir != nil {
		errs = append(errs, s.dir.Close())
	}
	errs = append(errs, s.modules.Close())
	s.ledger, s.accounts, s.dir, s.modules = nil, accounts{}, nil, keys.Modules{}
	return errors.Join(errs...)
}
