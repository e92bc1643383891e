package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// acceptTail is how long a stopping server goes on accepting, so that who
	// has connected already is served.
	acceptTail = 200 * time.Millisecond

	// quietBeforeClose is how long a kept connection must have been silent
	// before a stopping server closes it under its owner.
	quietBeforeClose = 500 * time.Millisecond
)

// drain stops in an order that loses no request: not ready, so that a load
// balancer looks elsewhere; accept what has connected; answer with
// `Connection: close`, so that kept connections end by themselves; wait for
// what is on its way; and only then close what has long been silent.
// http.Server.Shutdown alone closes idle connections at once, and with them
// requests that are on the wire.
func (s *Server) drain(listener *tailListener, served <-chan error) {
	s.cfg.Log.Info("stopping", slog.Duration("grace", s.cfg.Grace))
	s.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Grace)
	defer cancel()

	listener.endSoon(acceptTail)
	<-served
	s.states.waitQuiet(ctx, quietBeforeClose)
	if err := s.http.Shutdown(ctx); err != nil {
		s.cfg.Log.Warn("closing connections whose requests did not end within the grace",
			slog.Int("connections", s.states.count()))
		s.http.Close()
	}
}

// A tailListener can be told to end after it has accepted what waits.
type tailListener struct {
	net.Listener
}

// endSoon makes Accept return net.ErrClosed once d has passed.
func (l *tailListener) endSoon(d time.Duration) {
	if t, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok && t.SetDeadline(time.Now().Add(d)) == nil {
		return
	}
	l.Close()
}

// Accept implements net.Listener.
func (l *tailListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return nil, net.ErrClosed // http.Server would wait and try again after a timeout
	}
	return conn, err
}

// connStates knows which connections are open and since when each has been
// idle.
type connStates struct {
	mu   sync.Mutex
	idle map[net.Conn]time.Time // guarded by mu; zero while not idle
}

// note is an http.Server's ConnState hook.
func (c *connStates) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle == nil {
		c.idle = make(map[net.Conn]time.Time)
	}
	switch state {
	case http.StateIdle:
		c.idle[conn] = time.Now()
	case http.StateClosed, http.StateHijacked:
		delete(c.idle, conn)
	default:
		c.idle[conn] = time.Time{}
	}
}

func (c *connStates) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.idle)
}

// quiet reports whether every open connection has been idle since before.
func (c *connStates) quiet(before time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, since := range c.idle {
		if since.IsZero() || since.After(before) {
			return false
		}
	}
	return true
}

// waitQuiet waits until no connection is left that was used within d, or ctx
// is done. A kept connection counts as used now, because its owner may have
// sent a request that is still on the wire.
func (c *connStates) waitQuiet(ctx context.Context, d time.Duration) {
	begun := time.Now()
	tick := time.NewTicker(d / 20)
	defer tick.Stop()
	for c.count() > 0 {
		if now := time.Now(); now.Sub(begun) >= d && c.quiet(now.Add(-d)) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
