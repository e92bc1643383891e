package server

import (
	"context"
	"crypto/tls"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A watch is the clock that connections go by. It counts from when it was made, so
// that nothing ends early or late when the time of day is set.
type watch struct {
	begun time.Time
	now   atomic.Int64 // nanoseconds since
}

// of is a time by the watch; the zero time is never.
func (w *watch) of(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return int64(t.Sub(w.begun))
}

const never = math.MaxInt64

// watchEvery is how often a watch looks; a deadline is kept by as much.
const watchEvery = 100 * time.Millisecond

// run looks at the deadlines of the open connections until ctx is done.
func (w *watch) run(ctx context.Context, open *connStates) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-tick.C:
			now := w.of(t)
			w.now.Store(now)
			open.each(func(c *wire) {
				c.read.look(c.Conn, now)
				c.write.look(c.Conn, now)
			})
		}
	}
}

// A deadline of a connection. net/http moves five of them for each request, and
// nearly none is ever reached: so they are not timers, but times that a watch
// looks at.
type deadline struct {
	set   func(*tls.Conn, time.Time) error // of the connection below
	mu    sync.Mutex
	at    int64 // by the watch
	below bool  // the connection below has one, because this one was reached
}

// move makes t the deadline. One that has been reached already counts at once.
func (d *deadline) move(conn *tls.Conn, t time.Time, w *watch) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = w.of(t)
	if !d.below && d.at > w.now.Load() {
		return nil
	}
	d.below = d.at != never
	return d.set(conn, t)
}

var longAgo = time.Unix(1, 0)

// look ends what waits on the connection when the deadline has been reached.
func (d *deadline) look(conn *tls.Conn, now int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at <= now && !d.below {
		d.below = true
		d.set(conn, longAgo) // fails on a connection that has ended
	}
}
