package daemon

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"example.com/atm/auth"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/server"
	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// Listen are the addresses of a server.
type Listen struct {
	RPC   net.Listener
	Admin net.Listener // nil when switched off
}

// Serve answers requests until ctx is done, and then stops cleanly: what has
// begun is answered, and the log is published whole. The server is closed when
// it returns. An error means that the stop was not clean.
func (h *Server) Serve(ctx context.Context, listen Listen) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := h.newServer()
	if err != nil {
		return errors.Join(err, h.Close())
	}
	stop := h.background(context.WithoutCancel(ctx))
	admin := h.serveAdmin(listen.Admin, s)
	if status := h.teller.Started(ctx); status.Receipt == "" {
		h.opts.Log.Warn("the start is not in the audit log", slog.String("reason", status.Reason))
	}
	if err := h.completeRotation(ctx); err != nil {
		h.opts.Log.Warn("the rotation of a key is not in the audit log yet", slog.Any("error", err))
	}
	go func() {
		<-ctx.Done()
		h.notify(systemd.SdNotifyStopping)
	}()
	unwatched := h.watch(cancel)
	defer unwatched()
	reporting, quiet := context.WithCancel(context.WithoutCancel(ctx))
	defer quiet()
	var reports sync.WaitGroup
	reports.Go(func() { h.report(reporting) })
	h.opts.Log.Info("serving", slog.String("name", h.Name()),
		slog.String("address", listen.RPC.Addr().String()),
		slog.String("version", h.opts.Version))

	served := s.Serve(ctx, listen.RPC)

	quiet()
	reports.Wait()
	if h.ledger.Err() == nil {
		h.teller.Stopped(context.WithoutCancel(ctx))
	}
	ledger := h.ledger.Close()
	stop()
	// What was committed is published even after a failed commit: the files
	// follow the vault, never the other way.
	published := h.publisher.Publish(context.WithoutCancel(ctx))
	h.publisher.Tidy()
	admin()
	lost := h.lost()
	if err := errors.Join(served, ledger, published, h.Close(), lost); err != nil {
		return err
	}
	h.opts.Log.Info("stopped")
	return nil
}

func (h *Server) newServer() (*server.Server, error) {
	certFile, keyFile := h.dir.Server()
	reloader, err := certs.NewReloader(certFile, keyFile, h.opts.Log)
	if err != nil {
		return nil, err
	}
	cfg := h.opts.Server
	cfg.Teller = h.teller
	var foreign func([]*x509.Certificate, time.Time) error
	if len(h.foreign) > 0 {
		foreign = certs.NewClientVerifier(h.foreign...).Verify
	}
	signIn := auth.Config{
		VerifyForeign: foreign,
		Mappings:      &h.mappings,
		TrustDomain:   h.Name(),
		Realm:         h.dir.Config.Realm,
		NonceTTL:      h.opts.NonceTTL,
		Now:           h.now,
		MaxBody:       h.opts.Server.Limits.BodyBytes,
		Tokens:        h.tokens,
		Issuers:       h.issuers,
		Backdate:      certs.Backdate,
		Directory:     h.directory,
		VerifyChain:   h.verifyClient,
	}
	if h.shared != nil {
		if signIn.NonceKey, err = hkdf.Key(sha256.New, h.key.Requests, nil, "atm digest nonce",
			sha256.Size); err != nil {
			return nil, err
		}
		signIn.Spend, signIn.Refresh = h.shared.store.Spend, h.refresh
		cfg.Throttle = h.shared.throttle
	}
	h.signIn = auth.New(signIn)
	cfg.Authenticator = h.signIn
	cfg.TLS = certs.ServerConfig(reloader,
		certs.NewClientVerifier(append([]*x509.Certificate{h.signing.Load().client.Certificate},
			h.foreign...)...), h.opts.TLS12)
	cfg.Name = h.Name()
	cfg.Audit = h.dir.Audit()
	cfg.Tokens = h.tokens
	cfg.Authority = certs.EncodeCertificate(h.root)
	cfg.ClientAuthority = func() []byte {
		return certs.EncodeCertificate(h.signing.Load().client.Certificate)
	}
	cfg.Ready = h.parts
	cfg.Backup = h.Backup
	cfg.Grace = h.opts.Grace
	cfg.Metrics = h.metrics
	cfg.Log = h.opts.Log
	return server.New(cfg)
}

// parts says what each part of the server thinks of its health.
func (h *Server) parts() []server.Part {
	return []server.Part{
		{Name: "vault", Err: h.vaultState()},
		{Name: "audit", Err: h.publisher.Err()},
		{Name: "disk", Err: h.diskSpace()},
	}
}

func (h *Server) vaultState() error {
	if err := errors.Join(h.ledger.Err(), h.lost()); err != nil || h.shared == nil {
		return err
	}
	return h.shared.ready()
}

// serveAdmin serves the operator's endpoints until the function it returns is
// called.
func (h *Server) serveAdmin(listener net.Listener, s *server.Server) (stop func()) {
	if listener == nil {
		return func() {}
	}
	admin := &http.Server{
		Handler:           s.Admin(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(h.opts.Log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := admin.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			h.opts.Log.Error("admin endpoints ended", slog.Any("error", err))
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

// adminGrace is how long a stop waits for who reads the operator's endpoints.
const adminGrace = time.Second

// Close closes the listeners.
func (l Listen) Close() {
	l.RPC.Close()
	if l.Admin != nil {
		l.Admin.Close()
	}
}

// Addresses opens the listeners for both addresses; an empty admin address
// switches the endpoints off. Sockets that a supervisor hands over come first.
// The admin endpoints have no sign-in, so they stay on loopback.
func Addresses(rpc, admin string) (Listen, error) {
	var listen Listen
	if _, _, err := net.SplitHostPort(rpc); err != nil {
		return Listen{}, fmt.Errorf("%w: %q is no address to listen on: %w", datadir.ErrUsage,
			rpc, err)
	}
	if admin != "" {
		if err := onLoopback(admin); err != nil {
			return Listen{}, err
		}
	}
	sockets, err := inherited()
	if err != nil {
		return Listen{}, err
	}
	if listen.RPC = sockets[rpcSocket]; listen.RPC == nil {
		if listen.RPC, err = net.Listen("tcp", rpc); err != nil {
			return Listen{}, fmt.Errorf("listen on %s: %w", rpc, err)
		}
	}
	switch listen.Admin = sockets[adminSocket]; {
	case admin == "":
		if listen.Admin != nil { // switched off, whoever made the socket
			listen.Admin.Close()
			listen.Admin = nil
		}
		return listen, nil
	case listen.Admin != nil:
		if err := onLoopback(listen.Admin.Addr().String()); err != nil &&
			listen.Admin.Addr().Network() != "unix" {
			listen.Close()
			return Listen{}, fmt.Errorf("the socket %s that was handed over: %w", adminSocket, err)
		}
		return listen, nil
	}
	if listen.Admin, err = net.Listen("tcp", admin); err != nil {
		listen.RPC.Close()
		return Listen{}, fmt.Errorf("listen on %s: %w", admin, err)
	}
	return listen, nil
}

func onLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no address to listen on: %w", datadir.ErrUsage, address, err)
	}
	local := strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
	if ip := net.ParseIP(host); !local && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%w: the admin endpoints have no sign-in and listen on loopback only, "+
			"not on %q", datadir.ErrUsage, address)
	}
	return nil
}
