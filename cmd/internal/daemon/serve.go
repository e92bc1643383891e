package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"example.com/atm/auth"
	"example.com/atm/auth/signature"
	"example.com/atm/auth/throttle"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/signed"
	"example.com/atm/server"
	"example.com/atm/teller"
)

// Serve answers requests until ctx is done, and then stops cleanly: requests in progress are
// answered, and the whole log is published. It closes the server. An error means that the stop
// was not clean.
func (s *Server) Serve(ctx context.Context, listen Listen) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	front, pages, err := s.newFronts(listen.Console != nil)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	stopBackground := s.background(context.WithoutCancel(ctx))
	stopAdmin := serveOperator(listen.Admin, front.Admin(), s.opts.Log)
	stopScrapes := serveOperator(listen.Metrics, s.scrapes(), s.opts.Log)
	s.recordStart(ctx)
	stopOrders := runUntil(context.WithoutCancel(ctx), s.orders.Run)
	stopFeed := runUntil(context.WithoutCancel(ctx), s.feed.Run)
	stopWatching := s.watch(cancel)
	defer stopWatching()
	stopReporting := s.reportToSystemd(ctx)
	s.opts.Log.Info("serving", slog.String("name", s.Name()),
		slog.String("address", listen.RPC.Addr().String()),
		slog.String("version", s.opts.Version))

	served := serveBoth(ctx, front, pages, listen)

	stopReporting()
	stopOrders()
	stopFeed()
	if s.ledger.Err() == nil {
		s.teller.Stopped(context.WithoutCancel(ctx))
	}
	ledger := s.ledger.Close()
	stopBackground()
	// Commits are published even after a failed commit, because the published files must not lag
	// behind the vault.
	published := s.log.Publish(context.WithoutCancel(ctx))
	s.log.Tidy()
	stopAdmin()
	stopScrapes()
	lost := s.accounts.lost()
	if err := errors.Join(served, ledger, published, s.Close(), lost); err != nil {
		return err
	}
	s.opts.Log.Info("stopped")
	return nil
}

// recordStart records the start of the server, and the rotation of a key that a stop
// interrupted.
func (s *Server) recordStart(ctx context.Context) {
	if status := s.teller.Started(ctx); status.Receipt == "" {
		s.opts.Log.Warn("the start is not in the audit log", slog.String("reason", status.Reason))
	}
	if err := s.keys.CompleteRotation(ctx); err != nil {
		s.opts.Log.Warn("the rotation of a key is not in the audit log yet", slog.Any("error", err))
	}
}

// serveBoth answers requests at both listeners, of which that for pages may be nil. When one of
// them ends, so does the other.
func serveBoth(ctx context.Context, front, pages *server.Server, listen Listen) error {
	if pages == nil {
		return front.Serve(ctx, listen.RPC)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- pages.Serve(ctx, listen.Console)
	}()
	served := front.Serve(ctx, listen.RPC)
	cancel()
	return errors.Join(served, <-ended)
}

// newFronts returns the HTTP server, and another one for a console that has a listener of its own.
func (s *Server) newFronts(apart bool) (front, pages *server.Server, err error) {
	cfg, err := s.frontConfig()
	if err != nil {
		return nil, nil, err
	}
	if apart {
		own := cfg
		own.Console, own.Only, own.PublicURL = true, true, s.opts.ConsoleURL
		if pages, err = server.New(own); err != nil {
			return nil, nil, err
		}
		cfg.Console = false
	}
	front, err = server.New(cfg)
	return front, pages, err
}

// frontConfig is the configuration of the HTTP server.
func (s *Server) frontConfig() (server.Config, error) {
	certFile, keyFile := s.dir.Server()
	reloader, err := certs.NewReloader(certFile, keyFile, s.opts.Log)
	if err != nil {
		return server.Config{}, err
	}
	signIn, throttle, err := s.newSignIn()
	if err != nil {
		return server.Config{}, err
	}
	s.keys.Serve(signIn)
	cfg := s.opts.Server
	cfg.Teller = s.teller
	cfg.Authenticator, cfg.Throttle = signIn, throttle
	cfg.Webhooks = s.hooks.Identify
	cfg.TLS = certs.ServerConfig(reloader, s.keys.TLSClients(), s.opts.TLS12)
	cfg.Name, cfg.Version = s.Name(), s.opts.Version
	cfg.Audit, cfg.Published = s.dir.Audit(), s.log.files
	cfg.KeepSigned = s.keepSigned
	cfg.Seen = func() { s.log.watched.saw(time.Now()) }
	cfg.Remarks = s.installation.remarks
	cfg.Tokens, cfg.Issuers = s.keys.Own, s.keys.Foreign
	cfg.Authority = certs.EncodeCertificate(s.keys.Root())
	cfg.ClientAuthority = func() []byte { return certs.EncodeCertificate(s.keys.Clients()) }
	cfg.Ready = s.installation.parts
	cfg.Backup = s.Backup
	cfg.Grace = s.opts.Grace
	cfg.Metrics = s.installation.metrics
	cfg.Log = s.opts.Log
	cfg.CookieKey, err = s.keys.CookieKey()
	return cfg, err
}

// keepSigned keeps what proves a signed request, unless the disk lacks the space for it.
func (s *Server) keepSigned(record *signature.Record, cert *x509.Certificate, body []byte) error {
	if err := s.installation.diskSpace(); err != nil {
		return err
	}
	return signed.Folder(s.dir.Signed()).Keep(record, cert, body)
}

// sessionsFor finds sessions for sign-in.
func sessionsFor(t *teller.Teller, now func() time.Time,
) func(context.Context, string) (*auth.Session, error) {
	return func(ctx context.Context, id string) (*auth.Session, error) {
		found, err := t.Session(ctx, id, now())
		if found == nil || err != nil {
			return nil, err
		}
		return &auth.Session{
			Subject: found.Subject, Method: found.Method, Passkey: found.Passkey,
			Issuer: found.Issuer, Person: found.Person, Agent: found.Agent, Bound: found.Bound,
			Begun: found.Begun, Ends: found.Ends,
		}, nil
	}
}

// newSignIn returns the authenticator. The throttle is nil if failures are not shared with
// replicas.
func (s *Server) newSignIn() (*auth.Authenticator, *throttle.Throttle, error) {
	now := s.accounts.replicas().Now
	cfg := auth.Config{
		VerifyForeign: s.keys.ForeignVerifier(),
		Mappings:      &s.keys.Mappings,
		TrustDomain:   s.Name(),
		Realm:         s.dir.Config.Realm,
		NonceTTL:      s.opts.NonceTTL,
		Now:           now,
		MaxBody:       s.opts.Server.Limits.BodyBytes,
		Tokens:        s.keys.Own,
		Issuers:       s.keys.Foreign,
		Backdate:      certs.Backdate,
		Directory:     s.directory,
		VerifyChain:   s.keys.VerifyClient,
		Sessions:      sessionsFor(s.teller, now),
	}
	r := s.accounts.replica
	if r == nil {
		return auth.New(cfg), nil, nil
	}
	var err error
	if cfg.NonceKey, err = s.keys.NonceKey(); err != nil {
		return nil, nil, err
	}
	cfg.Spend, cfg.Refresh = r.Store.Spend, r.Refresh
	return auth.New(cfg), r.Throttle, nil
}

// background runs everything that works concurrently with requests, until stop is called.
func (s *Server) background(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.log.Run(ctx); err != nil {
			s.ledger.Fail(err)
		}
	})
	if s.accounts.file != nil {
		wg.Go(func() { s.keys.Reseal(ctx) })
	}
	if r := s.accounts.replica; r != nil {
		wg.Go(func() { r.Follow(ctx) })
		wg.Go(func() { r.ShareFailures(ctx) })
	}
	wg.Go(func() { s.keys.Follow(ctx) })
	wg.Go(func() { watchClock(ctx, s.teller, s.opts.Log) })
	wg.Go(func() { readInbox(ctx, s.dir, s.opts.Log, s.issueRequested) })
	wg.Go(func() { s.log.sweep(ctx, s.installation.opened) })
	wg.Go(func() { s.accounts.scrub(ctx, s.opts.Log, s.installation.metrics.Scrubbed) })
	if s.retention != nil {
		wg.Go(func() { s.retention.Run(ctx) })
	}
	if s.opts.Witnesses != nil {
		wg.Go(func() { s.log.askWitnesses(ctx, s.installation.metrics.Witnessed) })
	}
	if s.opts.Mirrors != nil {
		wg.Go(func() { s.log.askMirrors(ctx, s.opts.Mirrors) })
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// runUntil runs a part of the server until stop is called.
func runUntil(ctx context.Context, run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// endWithin is how long a stop may take after the vault was lost or a commit failed. A
// goroutine that waits for a lock that is never released would wait for ever.
const endWithin = 4 * time.Second

// watch ends the process if its vault is lost or cannot commit: it calls stop, and if the
// process has not ended after endWithin, exits without waiting. It watches until end is called.
func (s *Server) watch(stop func()) (end func()) {
	ended, failed := make(chan struct{}), s.ledger.Failed() // Close sets it to nil
	held, log := s.accounts, s.log
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-failed: // the ledger has logged the reason
			log.noteRollback()
		case <-held.gone(ended):
			s.opts.Log.Error("the vault is lost; the process must end",
				slog.Any("error", held.lost()))
		case <-ended:
			return
		}
		stop()
		select {
		case <-time.After(endWithin):
			s.opts.Log.Error("the stop takes too long; the process ends without it")
			os.Exit(1)
		case <-ended:
		}
	})
	return func() {
		close(ended)
		wg.Wait()
	}
}

// scrapes is the metrics and nothing else, for a Prometheus on another machine.
func (s *Server) scrapes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.installation.metrics.Handler())
	return mux
}

// serveOperator serves endpoints without a sign-in until stop is called.
func serveOperator(listener net.Listener, handler http.Handler, log *slog.Logger) (stop func()) {
	if listener == nil {
		return func() {}
	}
	admin := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := admin.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("admin endpoints ended", slog.String("address",
				listener.Addr().String()), slog.Any("error", err))
		}
	}()
	return func() {
		// a profile may take longer
		ctx, cancel := context.WithTimeout(context.Background(), adminGrace)
		defer cancel()
		if admin.Shutdown(ctx) != nil {
			admin.Close()
		}
		<-done
	}
}

// adminGrace is how long a stop waits for requests to the operator's endpoints.
const adminGrace = time.Second
