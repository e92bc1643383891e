// Package server serves HTTPS: routes, limits, sign-in, drain, health and metrics.
//
// A request is authenticated before its body is read, and answered only with what the teller
// reports as durable. The headers, the body and the duration of a request are bounded, and so
// is the number of connections.
package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/auth"
	"example.com/atm/auth/signature"
	"example.com/atm/auth/throttle"
	"example.com/atm/console"
	"example.com/atm/server/metrics"
	"example.com/atm/teller"
	"example.com/atm/teller/methods"
	"example.com/atm/teller/subscriptions"
	"example.com/atm/xmlrpc"
	"github.com/pires/go-proxyproto"
)

// Config is everything a Server needs. The zero value of an optional field means its default.
type Config struct {
	// Teller carries out operations. Required.
	Teller *teller.Teller

	// Authenticator identifies the caller of a request. Required.
	Authenticator *auth.Authenticator

	// Tokens are the tokens that the server issues. Required.
	Tokens *auth.Tokens

	// Webhooks finds the sender of a webhook to the path of a source, by its headers and body, and
	// what its id is. teller.ErrUnavailable means that nobody can tell at the moment, and any other
	// error that it is of nobody. Required.
	Webhooks func(ctx context.Context, service, source string, h http.Header, body []byte) (
		caller *atm.Caller, id string, err error)

	// TLS is the server side of every connection. Required.
	TLS *tls.Config

	// Name is the server's name, and the realm of its challenges. Required.
	Name string

	// Version is that of the program, which the console writes into exports. Optional.
	Version string

	// Audit is the folder of the published audit log. Required.
	Audit string

	// Published is the same log together with the archive of its earlier part. Optional.
	Published audit.Files

	// Seen is told that an auditor reads the checkpoint of the audit log. Required.
	Seen func()

	// Remarks returns what keeps nobody from an operation and has to be looked at, such as a log
	// that nobody outside has seen for long, a line each. Required.
	Remarks func() []string

	// Authority is the certificate, in PEM, of the authority that clients must trust. Required.
	Authority []byte

	// ClientAuthority returns the certificate, in PEM, of the authority that signs clients'
	// certificates now. Required.
	ClientAuthority func() []byte

	// Backup prepares a backup of the whole installation, and returns what writes it. Unless since
	// is empty, it is an increment on the earlier backup that has this checkpoint; its error is
	// teller.ErrNoBase if it cannot be. Required.
	Backup func(ctx context.Context, since []byte) (write func(context.Context, io.Writer) error,
		err error)

	// KeepSigned keeps what proves that a request was signed by the key of a certificate, with the
	// body of the request, before its calls are carried out. The body is nil if there may be in
	// it what the audit log does not have in clear. Required.
	KeepSigned func(record *signature.Record, cert *x509.Certificate, body []byte) error

	// Ready reports the parts that operations need, with their errors. Required.
	Ready func() []metrics.Part

	// Limits bound one XML-RPC request. Optional.
	Limits xmlrpc.Limits

	// HeaderBytes bounds the headers of one request, as net/http counts: it reads up to 4 KiB more.
	// Optional; 16 KiB.
	HeaderBytes int

	// HeaderTimeout bounds the time until the headers have arrived, RequestTimeout until the
	// request has arrived, and IdleTimeout until the next one begins. Optional; 5, 15 and 60
	// seconds.
	HeaderTimeout, RequestTimeout, IdleTimeout time.Duration

	// MaxConnections bounds the open connections, and MaxPerAddress those from one IPv4 address or
	// one IPv6 network of 64 bits. At the first limit, the connection that has been silent for
	// longest is dropped for a new one. Optional; 4,096 and 1,024.
	MaxConnections, MaxPerAddress int

	// StallTimeout is how long a peer may read nothing of an answer. Optional; 10 seconds.
	StallTimeout time.Duration

	// ProxyFrom are the networks of load balancers that name the client of a connection by the
	// PROXY protocol. No other peer may use that protocol. Optional.
	ProxyFrom []netip.Prefix

	// PublicURL is the URL at which callers reach the server, without a slash at its end. Optional;
	// by default with the host of each request.
	PublicURL string

	// Console turns on the console for browsers. Optional; off.
	Console bool

	// Only serves the console and what its pages read, and nothing else. Optional.
	Only bool

	// Issuers are those by which people sign in to the console, where one has a Login. They need
	// PublicURL. Optional.
	Issuers *auth.Issuers

	// CookieKey is what the console seals with: 32 bytes that replicas share. Required with
	// Console.
	CookieKey []byte

	// Throttle slows down callers that fail to sign in. Optional; a throttle of this server alone.
	Throttle *throttle.Throttle

	// DrainDelay is how long a stopping server goes on serving while it reports that it is not
	// ready. Optional; no time.
	DrainDelay time.Duration

	// Grace bounds how long a stopping server waits for requests in progress. Optional; 15 seconds.
	Grace time.Duration

	// Metrics counts requests and operations. Required.
	Metrics *metrics.Metrics

	// Log is for the operator. Required.
	Log *slog.Logger
}

// at is the URL that callers reach the server at.
func (c *Config) at(r *http.Request) string {
	return cmp.Or(c.PublicURL, "https://"+r.Host)
}

// writeTimeout bounds the time from the end of a request's headers to the end of its answer. It
// allows for a multicall on a slow disk, and for a slow reader.
const writeTimeout = 60 * time.Second

// A Server answers requests.
type Server struct {
	cfg     Config
	senders *senders
	rpc     *rpc
	json    *jsonFace
	tokens  *tokenEndpoint
	console *console.Console // nil if it is off
	audit   http.Handler
	http    *http.Server
	open    *connections

	leaving  atomic.Bool // reports that it is not ready
	draining atomic.Bool // answers close their connections
}

// New returns a server. It returns an error if the table of permissions lacks a row for an
// operation.
func New(cfg Config) (*Server, error) {
	setDefault(&cfg.HeaderBytes, 16<<10)
	setDefault(&cfg.HeaderTimeout, 5*time.Second)
	setDefault(&cfg.RequestTimeout, 15*time.Second)
	setDefault(&cfg.IdleTimeout, 60*time.Second)
	setDefault(&cfg.StallTimeout, 10*time.Second)
	setDefault(&cfg.MaxConnections, 4096)
	setDefault(&cfg.MaxPerAddress, 1024)
	setDefault(&cfg.Grace, 15*time.Second)
	if cfg.Throttle == nil {
		cfg.Throttle = throttle.New(time.Now)
	}
	for _, op := range methods.All() {
		if !auth.Covers(op.Name) {
			return nil, fmt.Errorf("the table of permissions has no row for %s", op.Name)
		}
	}
	s := &Server{
		cfg:   cfg,
		audit: http.StripPrefix("/audit", LogFiles(cfg.Audit, cfg.Published)),
		open:  newConnections(cfg.MaxConnections, cfg.MaxPerAddress),
	}
	s.senders = newSenders(&s.cfg)
	s.tokens = &tokenEndpoint{&s.cfg, s.senders}
	var err error
	way := newCalls(&s.cfg, s.senders.again)
	if s.json, err = newJSON(&s.cfg, way); err != nil {
		return nil, err
	}
	if s.rpc, err = newRPC(&s.cfg, way, s.json); err != nil {
		return nil, err
	}
	if s.console, err = newConsole(&s.cfg, s.senders, s.rpc); err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler:           s,
		Protocols:         protocols,
		ReadHeaderTimeout: cfg.HeaderTimeout,
		ReadTimeout:       cfg.RequestTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		ConnState:         noteState,
		ConnContext:       withConn,

		// OPTIONS * is answered like other unsupported methods.
		DisableGeneralOptionsHandler: true,
	}
	return s, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Serve answers requests to listener until ctx is done, and then drains: requests that have
// begun to arrive are answered, within the grace. It returns nil after a clean stop.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	tail := &tailListener{Listener: listener}
	served := make(chan error, 1)
	go func() {
		under := &connListener{s.proxied(buffered{tail}), s.open, ctx}
		served <- s.http.Serve(tls.NewListener(under, s.cfg.TLS))
	}()

	var keeping sync.WaitGroup
	defer keeping.Wait()
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	keeping.Go(func() { s.senders.trail.run(keep) })
	keeping.Go(func() { s.open.cutStalled(keep, s.cfg.StallTimeout) })

	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	s.drain(tail, served)
	return nil
}

// proxied is a listener whose connections from load balancers have the address of the client. A
// load balancer that does not send that address is refused.
func (s *Server) proxied(l net.Listener) net.Listener {
	if len(s.cfg.ProxyFrom) == 0 {
		return l
	}
	return &proxyproto.Listener{
		Listener:          l,
		ReadHeaderTimeout: s.cfg.HeaderTimeout,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			from := auth.Address(o.Upstream.String())
			for _, network := range s.cfg.ProxyFrom {
				if network.Contains(from) {
					return proxyproto.REQUIRE, nil
				}
			}
			return proxyproto.SKIP, nil // bytes that look like a PROXY header are then invalid TLS
		},
		ValidateHeader: func(h *proxyproto.Header) error {
			if h.SourceAddr != nil && !auth.Address(h.SourceAddr.String()).IsValid() {
				// A client without an address, such as one on a Unix socket, gets that of the load
				// balancer.
				h.SourceAddr = nil
			}
			return nil
		},
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	xmlrpc.Protect(h)
	if s.draining.Load() {
		h.Set("Connection", "close")
	}
	if len(r.TransferEncoding) > 0 {
		xmlrpc.Decline(w, http.StatusLengthRequired,
			"A request has a Content-Length, and no Transfer-Encoding.")
		return
	}
	if s.cfg.Only && !ofConsole(r) {
		xmlrpc.Decline(w, http.StatusNotFound,
			"There is nothing here. The console is at /console/.")
		return
	}
	switch path := r.URL.Path; {
	case path == "/" || path == "/RPC2":
		s.serveRPC(w, r)
	case path == documentPath:
		s.serveDocument(w, r)
	case strings.HasPrefix(path, jsonPrefix):
		s.serveJSON(w, r)
	case len(path) > len("/audit/") && path[:len("/audit/")] == "/audit/":
		s.serveAudit(w, r)
	case path == "/console" || strings.HasPrefix(path, console.Prefix):
		s.serveConsole(w, r)
	case path == "/admin/backup":
		s.serveBackup(w, r)
	case path == "/enroll":
		s.serveEnroll(w, r)
	case strings.HasPrefix(path, subscriptions.HookPath):
		s.serveHook(w, r)
	case path == "/readyz":
		s.serveReady(w, r)
	case path == "/ca.crt":
		serveAuthority(w, r, s.cfg.Authority)
	case path == "/clients.crt":
		serveAuthority(w, r, s.cfg.ClientAuthority())
	case path == "/token":
		s.tokens.issue(w, r)
	case path == "/token/revoke":
		s.tokens.revoke(w, r)
	case path == "/.well-known/jwks.json", path == "/.well-known/oauth-authorization-server":
		s.tokens.describe(w, r)
	default:
		xmlrpc.Decline(w, http.StatusNotFound, "There is nothing here. XML-RPC is at "+
			"/RPC2, JSON at /v1/.")
	}
}

// A session is one authenticated request.
type session struct {
	caller *atm.Caller
	key    string // the header Idempotency-Key
	trace  string // the sender's trace id; empty for none

	unsigned error // why the signature of the request is refused; nil if it is not
}

func (s *Server) serveRPC(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		s.rpc.ServePage(w, r)
		return
	}
	if !s.rpc.Precheck(w, r) {
		return
	}
	in, release := s.admit(w, r)
	if in == nil {
		return
	}
	defer release()
	if text, ok := structuredKey(in.key); ok { // as with JSON; any other key stands for itself
		in.key = text
	}
	// A request that has arrived completely is carried out even if its caller disconnects.
	s.rpc.ServeCall(w, r.WithContext(context.WithoutCancel(r.Context())), in)
}

// admit signs the sender of a call in and reserves memory for its body, or answers and returns nil.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) (in *session, release func()) {
	if s.senders.crossSite(w, r) {
		return nil, nil
	}
	caller := s.senders.signIn(w, r)
	if caller == nil {
		return nil, nil
	}
	key, ok := requestKey(w, r)
	if !ok {
		return nil, nil
	}
	if release, ok = s.rpc.holdBody(caller, r.ContentLength); !ok {
		w.Header().Set("Retry-After", "1")
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "Too many large calls are on their way. "+
			"Ask again in a moment.")
		return nil, nil
	}
	return &session{caller: caller, key: key, trace: traceOf(r)}, release
}

// requestKey returns the header Idempotency-Key, or "" if there is none; or it answers 400 and
// returns false. An empty header is a mistake of the client. If it were ignored, the client's
// next try would move money a second time.
func requestKey(w http.ResponseWriter, r *http.Request) (key string, ok bool) {
	switch keys := r.Header["Idempotency-Key"]; {
	case len(keys) == 0:
		return "", true
	case len(keys) > 1:
		xmlrpc.Decline(w, http.StatusBadRequest, "More than one Idempotency-Key.")
		return "", false
	case keys[0] == "":
		xmlrpc.Decline(w, http.StatusBadRequest, "The Idempotency-Key is empty.")
		return "", false
	default:
		return keys[0], true
	}
}
