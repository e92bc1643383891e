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
	// acceptTail is how long a stopping server goes on accepting, so that clients that have
	// connected already are served.
	acceptTail = 200 * time.Millisecond

	// quietBeforeClose is how long a kept connection must have been idle before a stopping server
	// closes it.
	quietBeforeClose = 500 * time.Millisecond
)

// drain stops the server in an order that loses no request. It reports not ready and goes on
// for DrainDelay, until load balancers have noticed; accepts connections that wait in the
// backlog; answers with `Connection: close`, so that clients end kept connections; waits for
// requests in progress; and only then closes connections that have been idle for long.
// http.Server.Shutdown alone would close idle connections at once, and lose requests that are
// on the wire.
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

// A tailListener can be told to end after it has accepted the connections in its backlog.
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
		return nil, net.ErrClosed // otherwise http.Server would retry after the timeout
	}
	return conn, err
}

// connState is what net/http does with a connection. Only the connection's goroutine writes it,
// twice for each request, so it needs no lock.
type connState struct {
	state atomic.Int32 // an http.ConnState
	since atomic.Int64 // by sinceStart
}

var start = time.Now()

// sinceStart is a monotonic clock, which setting the time of day does not affect.
func sinceStart() time.Duration { return time.Since(start) }

func (s *connState) set(state http.ConnState) {
	s.since.Store(int64(sinceStart()))
	s.state.Store(int32(state))
}

func (s *connState) is(state http.ConnState) bool { return http.ConnState(s.state.Load()) == state }

// noteState is the ConnState hook of http.Server.
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

// closeNew closes the connections that never had a request. Shutdown would wait five seconds
// for them.
func (o *connections) closeNew() {
	o.each(func(c *conn) {
		if c.doing.is(http.StateNew) {
			c.SetDeadline(time.Unix(1, 0)) // in the past; fails if the connection has ended
		}
	})
}

// waitQuiet waits until every connection has been idle for d, or ctx is done. A kept connection
// counts as used at the time of the call, because its client may have sent a request that is
// still on the wire.
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
