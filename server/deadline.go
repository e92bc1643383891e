package server

import (
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"
)

// A deadline of a connection. net/http moves five of them for each request, and
// nearly none is ever reached: so they are not timers, but times that a watch
// looks at.
type deadline struct {
	set   func(*tls.Conn, time.Time) error // of the connection below
	mu    sync.Mutex
	at    int64 // Unix time in nanoseconds; 0 for none
	below bool  // the connection below has one, because this one was reached
}

// move makes t the deadline; the zero time means none. One that has been reached
// already counts at once.
func (d *deadline) move(conn *tls.Conn, t time.Time, now int64) error {
	at := int64(0)
	if !t.IsZero() {
		at = t.UnixNano()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
	if !d.below && (at == 0 || at > now) {
		return nil
	}
	d.below = at != 0
	return d.set(conn, t)
}

var longAgo = time.Unix(1, 0)

// look ends what waits on the connection when the deadline has been reached.
func (d *deadline) look(conn *tls.Conn, now int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at != 0 && d.at <= now && !d.below {
		d.below = true
		d.set(conn, longAgo) // fails on a connection that has ended
	}
}

// watchEvery is how often a watch looks; a deadline is kept by as much.
const watchEvery = 100 * time.Millisecond

// A watch is the clock that connections go by.
type watch struct {
	now atomic.Int64 // Unix time in nanoseconds
}

// run looks at the deadlines of the open connections until ctx is done.
func (w *watch) run(ctx context.Context, open *connStates) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-tick.C:
			now := t.UnixNano()
			w.now.Store(now)
			open.each(func(c *wire) {
				c.read.look(c.Conn, now)
				c.write.look(c.Conn, now)
			})
		}
	}
}
