// Package daemon puts the server together from its packages, in the order in
// which a request travels through them, and runs it on a data folder.
//
// It is the one composition root: cmd/atmserver runs it for good, and atmctl
// demo runs it for a minute in a temporary folder.
package daemon

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/auth"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/durable"
	"example.com/atm/internal/machine"
	"example.com/atm/server"
	"example.com/atm/teller"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/people"
)

// Options are what somebody who starts a server can choose.
type Options struct {
	Data  string           // the data folder
	Store storage.Location // where the accounts are
	Name  string           // the server's name; empty for what init chose, or a new one
	// names and addresses in the server certificate; nil for the usual ones
	Hosts []string
	// asks for what keys/vault.key is sealed with; nil when nobody can be asked
	Passphrase func() ([]byte, error)
	TLS12      bool // TLS 1.2 is spoken as well
	// file that maps other certificates to subjects; empty for none
	Identities string
	Issuers    string // file of others whose tokens are good; empty for none
	// file with other authorities of client certificates; empty for none
	ClientCA string
	// PKCS #11 URI of the key of tokens; empty for those in the folder
	TokenKey string
	// how long a nonce of Digest can be used; 5 minutes when zero
	NonceTTL    time.Duration
	Witnesses   *audit.Policy // who is asked to cosign the audit log; nil for nobody
	Empty       bool          // at init: no account 100 and no demo credentials
	DiskReserve uint64        // bytes that must stay free
	WitnessFile string        // where Witnesses is from; empty for none
	Version     string        // of the program
	Settings    string        // all settings in force, a line each; its hash is in the log
	Log         *slog.Logger  // for the operator
	Grace       time.Duration // how long a stop may take
	Server      server.Config // limits; the rest is filled in

	// Republish says that nothing of the audit log is in the folder, as in one that was
	// restored: all of it is published again.
	Republish bool
}

// A Server is everything that a server runs on, open and in working order.
type Server struct {
	opts Options
	dir  *datadir.Dir

	store     vault.Backend
	file      *boltstore.Store // store, when it is in the folder; nil otherwise
	shared    *shared          // store, when it is in a database; nil otherwise
	signer    *audit.Signer
	ledger    *vault.Ledger
	publisher *audit.Publisher
	index     *audit.Index
	tokens    *auth.Tokens
	mappings  auth.Mappings
	issuers   *auth.Issuers       // nil for none
	foreign   []*x509.Certificate // authorities of others
	log       vault.CurrentLog
	directory *auth.Directory
	teller    *teller.Teller
	metrics   *server.Metrics
	rotated   chan struct{} // holds a token when values are to be sealed again

	keys sync.Mutex       // held while keys/vault.key is not the key of the vault
	key  datadir.VaultKey // guarded by keys

	module io.Closer // that has the key of tokens; nil for none

	tokenKey crypto.Signer     // in the module
	root     *x509.Certificate // its key need not be here
	signing  atomic.Pointer[signing]
	signIn   *auth.Authenticator

	opened    time.Time    // when the folder was locked
	witnessed atomic.Int64 // entries of the log that enough witnesses have cosigned, since opened

	// files that are followed, before they were read
	loaded struct{ identities, issuers certs.Version }

	// Fresh reports that this start made the folder, or completed it.
	Fresh bool
}

// Open opens the data folder, making or completing it when that is what it
// needs, and brings the published audit log up to date.
func Open(ctx context.Context, opts Options) (*Server, error) {
	config, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	h := &Server{
		opts: opts, rotated: make(chan struct{}, 1), directory: auth.NewDirectory(),
		index: audit.NewIndex(),
	}
	// The module comes first: who cannot have it has changed nothing.
	if err := h.openModule(); err != nil {
		return nil, err
	}
	if h.dir, h.Fresh, err = datadir.Open(opts.Data, config); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	h.opened = time.Now()
	removed, err := h.dir.Sweep()
	if err != nil {
		opts.Log.Warn("removing what an earlier process left unfinished", slog.Any("error", err))
	}
	if len(removed) > 0 {
		opts.Log.Info("removed what an earlier process left unfinished", slog.Any("files", removed))
	}
	if err := h.open(ctx); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *Server) open(ctx context.Context) error {
	switch plan, err := h.dir.ReadPlan(); {
	case err != nil:
		return err
	case plan != nil:
		return datadir.ErrPlan
	}
	if opts := h.opts; opts.Name != "" && opts.Name != h.dir.Config.Name {
		return fmt.Errorf("%w: the name of this server is %s; it was fixed at init",
			datadir.ErrUsage,
			h.dir.Config.Name)
	}
	if err := h.openStore(ctx); err != nil {
		return err
	}
	if err := h.openKeys(); err != nil {
		return err
	}
	if err := h.openVault(); err != nil {
		return err
	}
	if err := h.openTrail(ctx); err != nil {
		return err
	}
	if h.Fresh && !h.Joined() {
		if err := h.populate(ctx); err != nil {
			return err
		}
		if err := h.publisher.Publish(ctx); err != nil {
			return err
		}
		if h.shared != nil {
			if err := h.shared.store.Complete(ctx); err != nil {
				return err
			}
		}
	}
	if h.Fresh {
		if err := h.dir.Complete(); err != nil {
			return err
		}
	}
	users, err := h.store.Users(ctx)
	if err != nil {
		return err
	}
	h.admit(users)
	revoked, err := h.store.Revocations(ctx)
	if err != nil {
		return err
	}
	h.revoke(revoked)
	return nil
}

// openKeys reads what signs and what is trusted.
func (h *Server) openKeys() error {
	secret, err := durable.ReadSecret(h.dir.AuditKey())
	if err != nil {
		return err
	}
	if h.signer, err = audit.NewSigner(string(secret)); err != nil {
		return fmt.Errorf("%s: %w", h.dir.AuditKey(), err)
	}
	if h.signer.Origin() != h.dir.Config.Origin {
		return fmt.Errorf("%s signs for %s, but this log is %s", h.dir.AuditKey(),
			h.signer.Origin(), h.dir.Config.Origin)
	}
	rootCert, _ := h.dir.RootCA()
	pem, err := os.ReadFile(rootCert)
	if err != nil {
		return err
	}
	if h.root, err = certs.ParseCertificate(pem); err != nil {
		return fmt.Errorf("%s: %w", rootCert, err)
	}
	if err := settleRollover(h.dir); err != nil {
		return err
	}
	authorities, err := readSigning(h.dir)
	if err != nil {
		return err
	}
	h.signing.Store(authorities)
	table, err := h.tokenKeys()
	if err != nil {
		return err
	}
	if h.tokens, err = auth.NewTokens(h.Name(), table, h.now); err != nil {
		return fmt.Errorf("%s: %w", h.dir.TokenKey(), err)
	}
	h.loaded.identities, h.loaded.issuers = certs.VersionOf(h.opts.Identities),
		certs.VersionOf(h.opts.Issuers)
	if h.opts.Identities != "" {
		if err := h.loadIdentities(); err != nil {
			return err
		}
	}
	if h.opts.Issuers != "" {
		h.issuers = auth.NewIssuers(h.now, func(issuer string, err error) {
			h.opts.Log.Warn("the keys of an issuer could not be fetched",
				slog.String("issuer", issuer), slog.Any("error", err))
		})
		if err := h.loadIssuers(); err != nil {
			return err
		}
	}
	if h.opts.ClientCA != "" {
		pem, err := os.ReadFile(h.opts.ClientCA)
		if err != nil {
			return err
		}
		if h.foreign, err = certs.ParseCertificates(pem); err != nil {
			return fmt.Errorf("%s: %w", h.opts.ClientCA, err)
		}
	}
	return h.renewServerCertificate()
}

func (h *Server) issueGrant(grantor, grantee string, accounts, operations []string, limit string,
	life time.Duration,
) (teller.Token, error) {
	t, err := h.tokens.IssueGrant(grantor, auth.GrantToken{
		Grantee: grantee, Accounts: accounts,
		Operations: operations, Cap: limit,
	}, life)
	return teller.Token(t), err
}

func (h *Server) issueToken(subject, scope, bound string, life time.Duration) (teller.Token,
	error,
) {
	t, err := h.tokens.Issue(subject, scope, bound, life)
	return teller.Token(t), err
}

// openStore opens what keeps the accounts. Before that the keys of a new installation
// are made, and those that replicas share fetched.
func (h *Server) openStore(ctx context.Context) error {
	if err := h.opts.Store.Check(h.dir); err != nil {
		return err
	}
	if h.opts.Store.InDatabase() {
		return h.openShared(ctx)
	}
	if h.Fresh {
		if err := h.makeKeys(); err != nil {
			return err
		}
	}
	if err := h.readVaultKey(); err != nil {
		return err
	}
	open := boltstore.Open
	if h.Fresh {
		open = boltstore.Create
	}
	var err error
	if h.file, err = open(h.dir.Vault(), h.key.Secret); err != nil {
		return storage.Advise(err)
	}
	h.store = h.file
	return nil
}

func (h *Server) readVaultKey() (err error) {
	h.key, err = h.dir.ReadVaultKey(h.opts.Passphrase)
	return err
}

func (h *Server) openVault() error {
	requests, err := vault.NewRequestHasher(h.key.Requests)
	if err != nil {
		return err
	}
	h.metrics = server.NewMetrics(h.opts.Version, server.Gauges{
		Entries:   h.treeSize,
		Published: func() float64 { return float64(h.publisher.Published()) },
		DiskFree:  h.diskFree,

		Synchronised: synchronised,
		Expiry:       h.expiry,
		Ready:        h.parts,
	})
	h.ledger = vault.NewLedger(vault.Config{
		Store:     h.store,
		Signer:    h.signer,
		Admit:     h.admitCommit,
		Committed: h.noteCommit,
		Log:       h.opts.Log,
	})
	h.teller = teller.New(teller.Config{
		Ledger:       h.ledger,
		Store:        h.store,
		Requests:     requests,
		Permit:       Permit,
		HashSecret:   auth.HashSecret,
		RotateTokens: h.rotateTokens,
		Invite: func(i teller.Invitation) (string, error) {
			return h.tokens.Invite(auth.Invitation(i))
		},
		IssueClient:    h.issueClient,
		RotateVault:    h.rotateVault,
		Status:         h.status,
		Prove:          h.prove,
		Program:        h.program,
		Index:          h.index,
		IssueToken:     h.issueToken,
		RevocationList: h.revocationList,
		InForce:        h.inForce,
		IssueGrant:     h.issueGrant,
		Realm:          h.dir.Config.Realm,
		RotateAudit:    h.rotateAudit,
		Operators: func() []string {
			return first(h.directory.With(atm.Operator), maxOperators)
		},
		Slack:  h.tokens.Slack(),
		Issuer: h.tokens.Issuer(),
		Trusts: h.issuers.Trusts,
	})
	return nil
}

// maxOperators is among how many operators another one is looked for, before one is disabled.
const maxOperators = 64

func first(list []string, most int) []string { return list[:min(len(list), most)] }

// systemInit is the program itself, while it makes a new folder.
const systemInit = "system:init"

// Permit is the table of permissions. It allows everything to init and to the owner
// of the disk.
func Permit(p atm.Principal, op atm.Operation) atm.Reach {
	// no certificate can carry this subject
	if p.Subject == systemInit || p.Subject == systemOwner {
		return atm.Everywhere
	}
	return auth.Permit(p, op)
}

// openTrail compares the published log with the vault before anything new is
// signed, and catches it up.
func (h *Server) openTrail(ctx context.Context) error {
	if err := durable.MkdirAll(h.dir.Audit(), 0o700); err != nil {
		return err
	}
	log, err := vault.OpenLog(ctx, h.store)
	if err != nil {
		return err
	}
	h.log = log
	if h.shared != nil {
		if err := h.forgetOldKey(); err != nil {
			return err
		}
	}
	h.publisher, err = audit.NewPublisher(h.dir.Audit(), h.signer.Keys, log, h.opts.Log)
	if err != nil {
		return err
	}
	h.publisher.Feed(h.index)
	if h.Joined() || h.opts.Republish {
		h.publisher.Begin()
	}
	return h.recoverTrail(ctx)
}

// free is how many bytes are free on the disk of the data folder.
func (h *Server) free() (uint64, error) {
	free, err := machine.Free(h.dir.Root)
	if err != nil {
		return 0, fmt.Errorf("free space of %s: %w", h.dir.Root, err)
	}
	return free, nil
}

func (h *Server) diskFree() float64 {
	free, err := h.free()
	if err != nil {
		return 0
	}
	return float64(free)
}

// expiry is when the certificates of the installation end.
func (h *Server) expiry() []server.Expiry {
	s := h.signing.Load()
	list := []server.Expiry{
		{Certificate: "root", At: h.root.NotAfter},
		{Certificate: "servers", At: s.server.Certificate.NotAfter},
		{Certificate: "clients", At: s.client.Certificate.NotAfter},
	}
	certFile, _ := h.dir.Server()
	if text, err := os.ReadFile(certFile); err == nil {
		if cert, err := certs.ParseCertificate(text); err == nil {
			list = append(list, server.Expiry{Certificate: "server", At: cert.NotAfter})
		}
	}
	return list
}

// admitCommit is asked before each commit.
func (h *Server) admitCommit() error {
	h.publisher.Yield()
	if h.file != nil {
		if err := h.file.Look(); err != nil {
			return err
		}
	}
	return h.diskSpace()
}

// diskSpace reports whether the disk has space for one more commit.
func (h *Server) diskSpace() error {
	free, err := h.free()
	if err != nil {
		return err
	}
	if free < h.opts.DiskReserve {
		return fmt.Errorf("%d bytes are free on the disk of %s, fewer than the reserve of %d", free,
			h.dir.Root, h.opts.DiskReserve)
	}
	return nil
}

func (h *Server) noteCommit(c vault.Commit) {
	h.admit(c.Users)
	h.revoke(c.Revocations)
	h.metrics.Committed(c.Operations, c.Replays)
	h.publisher.Committed()
}

func (h *Server) treeSize() float64 {
	_, head, err := h.store.Signed(context.Background())
	if err != nil {
		return 0
	}
	return float64(head.Size)
}

// issueClient signs a client certificate for subject.
func (h *Server) issueClient(request []byte, subject string, life time.Duration) (teller.Issued,
	error,
) {
	cert, err := h.signing.Load().client.SignRequest(request, h.identity(subject), life, h.now())
	if err != nil {
		return teller.Issued{}, err
	}
	return teller.Issued{
		Certificate: string(certs.EncodeCertificate(cert)),
		Authority:   string(certs.EncodeCertificate(h.root)),
		Serial:      cert.SerialNumber.Text(16),
		SHA256:      certs.SHA256(cert),
		NotAfter:    cert.NotAfter,
	}, nil
}

func (h *Server) identity(subject string) *url.URL {
	return auth.Identity(h.dir.Config.Name, subject)
}

// admit makes those who may sign in those whom the vault knows.
func (h *Server) admit(users []people.User) {
	if len(users) == 0 {
		return
	}
	changed := make(map[string]auth.Member, len(users))
	for _, u := range users {
		changed[u.Subject] = auth.Member{Roles: u.Roles, HA1: string(u.HA1), Slow: string(u.Slow)}
		if u.Disabled {
			changed[u.Subject] = auth.Member{}
		}
	}
	h.directory.Update(changed)
}

// revoke tells the directory which credentials count no longer.
func (h *Server) revoke(list []people.Revocation) {
	if len(list) == 0 {
		return
	}
	names := make(map[string]time.Time, len(list))
	for _, r := range list {
		names[r.Name] = r.At
	}
	h.directory.Revoke(names)
}

func (h *Server) revocationList(revoked []people.Revocation) (string, error) {
	serials := make(map[string]time.Time, len(revoked))
	for _, r := range revoked {
		serials[r.Name] = r.At
	}
	list, err := h.signing.Load().client.RevocationList(serials, h.now())
	return string(list), err
}

// inForce reports whether a serial number is of the authority for clients in force.
func (h *Server) inForce(serial string) bool {
	n, ok := new(big.Int).SetString(serial, 16)
	return ok && h.signing.Load().client.Numbered(n)
}

// Name is the server's name.
func (h *Server) Name() string { return h.dir.Config.Name }

// Fingerprint is the SHA-256 fingerprint of the authority that clients trust
// the server by.
func (h *Server) Fingerprint() string { return certs.Fingerprint(h.root) }

// Close lets go of the folder. It is safe to call more than once.
func (h *Server) Close() error {
	var errs []error
	if h.ledger != nil {
		errs = append(errs, h.ledger.Close())
	}
	if h.store != nil {
		errs = append(errs, h.store.Close())
	}
	if h.dir != nil {
		errs = append(errs, h.dir.Close())
	}
	if h.module != nil {
		errs = append(errs, h.module.Close())
		h.module = nil
	}
	h.ledger, h.store, h.dir = nil, nil, nil
	return errors.Join(errs...)
}

// background runs what works beside the requests until stop is called.
func (h *Server) background(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.publisher.Run(ctx); err != nil {
			h.ledger.Fail(err)
		}
	})
	if h.file != nil {
		wg.Go(func() { h.reseal(ctx) })
	}
	if h.shared != nil {
		wg.Go(func() { h.followReplicas(ctx) })
		wg.Go(func() { h.shareFailures(ctx) })
	}
	wg.Go(func() { h.watchClock(ctx) })
	wg.Go(func() { h.sweepTiles(ctx) })
	wg.Go(func() { h.scrub(ctx) })
	wg.Go(func() { h.followAuthorities(ctx) })
	if h.opts.Identities != "" {
		wg.Go(func() {
			h.follow(ctx, h.opts.Identities, "identities", h.loaded.identities, h.loadIdentities)
		})
	}
	if h.opts.Issuers != "" {
		wg.Go(func() { h.follow(ctx, h.opts.Issuers, "issuers", h.loaded.issuers, h.loadIssuers) })
	}
	if h.opts.Witnesses != nil {
		wg.Go(func() { h.askWitnesses(ctx) })
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// sweepTiles removes what an earlier process left unfinished among the tiles of the log.
func (h *Server) sweepTiles(ctx context.Context) {
	const coarse = time.Second // times of files may be behind by a little
	removed, err := h.dir.SweepTiles(ctx, h.opened.Add(-coarse))
	switch {
	case ctx.Err() != nil:
	case err != nil:
		h.opts.Log.Warn("removing unfinished files of the audit log", slog.Any("error", err))
	case removed > 0:
		h.opts.Log.Info("removed unfinished files of the audit log", slog.Int("files", removed))
	}
}
