// Package mirror serves the copy of an audit log that a monitor keeps, and cosigns it (C2SP
// tlog-mirror).
//
// A cosignature states that all entries up to its checkpoint are in the copy, durably, and that the
// checkpoint extends every one before. It states nothing about what entries say. The mirror reads
// the log by itself, so there is nothing to submit to it.
package mirror

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/certs"
	"example.com/atm/internal/durable"
	"example.com/atm/server"
)

// Config is everything that a Mirror needs.
type Config struct {
	// Dir is the folder with the copy, and File that of its cosigned checkpoint, which is the
	// mirror's own. Required.
	Dir, File string

	// Origin is the name of the log. Required.
	Origin string

	// Cosigner has the key of the mirror. Required.
	Cosigner *checkpoint.Cosigner

	// Readers verifies readers of entries. Optional: without it, anybody may read them.
	Readers *certs.ClientVerifier

	// Log is for the operator. Required.
	Log *slog.Logger
}

// A Mirror serves one copy.
type Mirror struct {
	cfg     Config
	signed  atomic.Pointer[[]byte] // the checkpoint, cosigned; nil for none
	of      []byte                 // the checkpoint that was cosigned last; used by Copied alone
	last    time.Time              // when; used by Copied alone
	files   http.Handler
	serving chan struct{} // has a place for each request that may be answered at once
}

const (
	// cosignEvery is how old the cosignature of a log that does not grow becomes.
	cosignEvery = time.Minute

	maxRequests    = 64
	maxConnections = 256
	headerTimeout  = 5 * time.Second
	requestTimeout = 10 * time.Second
	answerTimeout  = time.Minute
	idleTimeout    = 30 * time.Second
	headerBytes    = 8 << 10
	shutdownGrace  = 5 * time.Second
)

// New returns a mirror, with the checkpoint that it cosigned last.
func New(cfg Config) (*Mirror, error) {
	m := &Mirror{
		cfg: cfg, files: server.LogFiles(cfg.Dir, nil), serving: make(chan struct{}, maxRequests),
	}
	signed, err := os.ReadFile(cfg.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		m.signed.Store(&signed)
	}
	return m, nil
}

// Copied cosigns a checkpoint of the log, all of whose entries are in the copy by now, and which
// extends each one before. It is for one goroutine.
func (m *Mirror) Copied(signed []byte) error {
	if bytes.Equal(signed, m.of) && time.Since(m.last) < cosignEvery {
		return nil
	}
	cosigned, err := m.cfg.Cosigner.Cosign(signed)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(m.cfg.File, cosigned, 0o600); err != nil {
		return err
	}
	m.signed.Store(&cosigned)
	m.of, m.last = bytes.Clone(signed), time.Now()
	return nil
}

// ServeHTTP implements http.Handler.
func (m *Mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case m.serving <- struct{}{}:
		defer func() { <-m.serving }()
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "The mirror answers others at the moment.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	prefix := "/" + audit.MirrorPath(m.cfg.Origin) + "/"
	name, is := strings.CutPrefix(r.URL.Path, prefix)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "The mirror is only read.", http.StatusMethodNotAllowed)
	case !is:
		http.Error(w, "There is no such log here.", http.StatusNotFound)
	case name == checkpoint.File:
		m.serveCheckpoint(w, r)
	case name != checkpoint.KeyFile && !m.reads(r):
		http.Error(w, "The entries are for those with a certificate.", http.StatusForbidden)
	default:
		http.StripPrefix(prefix, m.files).ServeHTTP(w, r)
	}
}

func (m *Mirror) serveCheckpoint(w http.ResponseWriter, r *http.Request) {
	signed := m.signed.Load()
	if signed == nil {
		http.Error(w, "There is no copy yet.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(*signed))
}

// reads reports whether somebody may read entries.
func (m *Mirror) reads(r *http.Request) bool {
	if m.cfg.Readers == nil {
		return true
	}
	return r.TLS != nil && m.cfg.Readers.Verify(r.TLS.PeerCertificates, time.Now()) == nil
}

// Serve serves the copy until ctx is done. The listener is that of TLS, if there is any.
func (m *Mirror) Serve(ctx context.Context, listener net.Listener) error {
	open := make(chan struct{}, maxConnections)
	s := &http.Server{
		Handler: m, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout,
		WriteTimeout: answerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytes,
		ErrorLog: slog.NewLogLogger(m.cfg.Log.Handler(), slog.LevelDebug),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew: // nothing more is accepted until there is a place
				open <- struct{}{}
			case http.StateClosed:
				<-open
			}
		},
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	return errors.Join(s.Shutdown(ctx), s.Close())
}
