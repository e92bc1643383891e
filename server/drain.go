package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// acceptTail is how long a stopping server goes on accepting, so that a
	// client that has connected already is served.
	acceptTail = 200 * time.Millisecond

	// quietBeforeClose is how long a kept connection must have been silent
	// before a stopping server closes it under its owner.
	quietBeforeClose = 500 * time.Millisecond
)

// drain stops in an order that loses no request: not ready, and as ever otherwise
// until a load balancer looks elsewhere; accept what has connected; answer with
// `Connection: close`, so that kept connections end by themselves; wait for
// what is on its way; and only then close what has long been silent.
// http.Server.Shutdown alone closes idle connections at once, and with them
// requests that are on the wire.
func (s *Server) drain(listener *tailListener, served <-chan error) {
	s.cfg.Log.Info("stopping", slog.Duration("grace", s.cfg.Grace))
	s.leaving.Store(true)
	time.Sleep(s.cfg.DrainDelay)
	s.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Grace)
	defer cancel()

	listener.endSoon(acceptTail)
	<-served
	s.open.waitQuiet(ctx, quietBeforeClose)
	s.open.closeNew()
	if err := s.http.Shutdown(ctx); err != nil {
		s.cfg.Log.Warn("closing connections whose requests did not end within the grace",
			slog.Int("connections", s.open.count()))
		s.http.Close()
	}
}

// A tailListener can be told to end after it has accepted what waits.
type tailListener struct {
	net.Listener
}

// endSoon makes Accept return net.ErrClosed once d has passed.
func (l *tailListener) endSoon(d time.Duration) {
	if t, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok &&
		t.SetDeadline(time.Now().Add(d)) == nil {
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

// connState is what a connection is doing. It is written by the connection alone,
// twice for each request, and so without a lock.
type connState struct {
	state atomic.Int32 // an http.ConnState
	since atomic.Int64 // by sinceStart
}

var start = time.Now()

// sinceStart is a clock that does not jump when the time of day is set.
func sinceStart() time.Duration { return time.Since(start) }

func (s *connState) set(state http.ConnState) {
	s.since.Store(int64(sinceStart()))
	s.state.Store(int32(state))
}

func (s *connState) is(state http.ConnState) bool { return http.ConnState(s.state.Load()) == state }

// noteState is an http.Server's ConnState hook.
func noteState(served net.Conn, state http.ConnState) { connOf(served).doing.set(state) }

// quiet reports whether every open connection has been without a request for d.
func (o *connections) quiet(d time.Duration) bool {
	before := int64(sinceStart() - d)
	for _, c := range o.list() {
		if c.doing.is(http.StateActive) || c.doing.since.Load() > before {
			return false
		}
	}
	return true
}

// closeNew closes the connections that never had a request. Shutdown would
// wait five seconds for one.
func (o *connections) closeNew() {
	o.each(func(c *conn) {
		if c.doing.is(http.StateNew) {
			c.SetDeadline(time.Unix(1, 0)) // long ago; fails on a connection that has ended
		}
	})
}

// waitQuiet waits until no connection is left that was used within d, or ctx
// is done. A kept connection counts as used now, because its owner may have
// sent a request that is still on the wire.
func (o *connections) waitQuiet(ctx context.Context, d time.Duration) {
	begun := time.Now()
	tick := time.NewTicker(d / 20)
	defer tick.Stop()
	for o.count() > 0 {
		if time.Since(begun) >= d && o.quiet(d) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
