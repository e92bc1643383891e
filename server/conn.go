package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm/auth"
	"example.com/atm/internal/budget"
)

// sendBuffer bounds how much of an answer the kernel buffers before the peer has read it, so
// that a peer that reads nothing is noticed, and a peer that reads slowly is not mistaken for
// one.
const sendBuffer = 128 << 10

const (
	// strangerBytes is how much a peer may send after the TLS handshake before it signs in: a
	// certificate and the head of a request. For a head of many short fields, net/http uses up to
	// twenty times as much memory while it arrives.
	strangerBytes = 4 << 10

	// largeStrangers bounds the connections that sent more than strangerBytes without signing in,
	// and largeStrangersFrom those from one address.
	largeStrangers     = 256
	largeStrangersFrom = 64

	// largeWait is how long one more such connection waits for its turn.
	largeWait = time.Second
)

// A conn is a connection below TLS. net/http reads HTTP and crypto/tls reads TLS; a conn only
// tracks what net/http does with it, and its address.
type conn struct {
	net.Conn
	open    *connections
	doing   connState
	writing atomic.Int64 // start of the write in progress, by sinceStart; 0 for none

	asked    bool        // whether its address was counted; used by its reader alone
	greeted  atomic.Bool // the TLS handshake has been answered
	known    atomic.Bool // a caller has signed in
	received int         // bytes since the handshake; used by its reader alone

	from  netip.Prefix // guarded by open.mu; valid once it is counted
	large func()       // guarded by open.mu; returns a part of open.large; nil without one
}

// connOf returns the conn below a connection of net/http.
func connOf(c net.Conn) *conn {
	return c.(*tls.Conn).NetConn().(*conn) // Serve accepts only such connections
}

// connKey is the key of a connection in the context of its requests.
type connKey struct{}

// withConn is an http.Server's ConnContext hook.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, connOf(c))
}

var (
	errTooMany  = errors.New("too many connections from one address")
	errTooLarge = errors.New("too many large requests of callers who have not signed in")
)

// Read implements net.Conn. The first call counts the connection for its address, because a
// load balancer sends that address only now.
func (c *conn) Read(p []byte) (int, error) {
	if !c.asked {
		c.asked = true
		if !c.open.locate(c, auth.Address(c.RemoteAddr().String())) {
			return 0, errTooMany
		}
	}
	n, err := c.Conn.Read(p)
	if c.greeted.Load() && !c.known.Load() {
		before := c.received
		if c.received += n; before <= strangerBytes && c.received > strangerBytes &&
			!c.open.enlarge(c) {
			return 0, errTooLarge
		}
	}
	return n, err
}

// signedIn records that a caller has signed in on the connection of r.
func signedIn(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*conn); ok && !c.known.Swap(true) {
		c.open.shrink(c)
	}
}

// Write implements net.Conn. TLS writes at most 16 KiB at once.
func (c *conn) Write(p []byte) (int, error) {
	c.greeted.Store(true)
	c.writing.Store(int64(sinceStart()))
	defer c.writing.Store(0)
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.open.remove(c)
	return c.Conn.Close()
}

// cut closes the connection and discards unsent data.
func (c *conn) cut() {
	if tcp, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// connections are the open connections.
type connections struct {
	most, perAddress int
	large            *budget.Budget // of largeStrangers

	mu      sync.Mutex
	conns   map[*conn]struct{}   // guarded by mu
	from    map[netip.Prefix]int // guarded by mu; number of connections by address
	removed chan struct{}        // has a token after a connection was removed
}

func newConnections(most, perAddress int) *connections {
	return &connections{
		most: most, perAddress: perAddress, large: budget.New(largeStrangers, largeStrangersFrom),
		conns: make(map[*conn]struct{}), from: make(map[netip.Prefix]int),
		removed: make(chan struct{}, 1),
	}
}

// add adds an accepted connection. If there are too many, it drops a silent one, and otherwise
// waits until one ends or ctx is done.
func (o *connections) add(ctx context.Context, c *conn) {
	tick := time.NewTicker(quietBeforeClose / 5) // other connections may become silent in between
	defer tick.Stop()
	for !o.tryAdd(c) {
		select {
		case <-o.removed:
		case <-tick.C:
		case <-ctx.Done():
			c.Conn.Close() // the server stops, and no request has been read from it
			return
		}
	}
}

func (o *connections) tryAdd(c *conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.conns) >= o.most {
		silent := o.mostSilent()
		if silent == nil {
			return false
		}
		o.forget(silent)
		silent.Conn.Close()
	}
	o.conns[c] = struct{}{}
	return true
}

// mostSilent returns the connection to drop for another one: the oldest of those that never had
// a request, or else the one that has been idle for longest. It returns nil if all are in use.
// The caller holds o.mu.
func (o *connections) mostSilent() *conn {
	var silent *conn
	before := int64(sinceStart() - quietBeforeClose)
	for c := range o.conns {
		isNew := c.doing.is(http.StateNew)
		if !isNew && !(c.doing.is(http.StateIdle) && c.doing.since.Load() < before) {
			continue
		}
		if silent == nil || isNew && !silent.doing.is(http.StateNew) ||
			isNew == silent.doing.is(http.StateNew) &&
				c.doing.since.Load() < silent.doing.since.Load() {
			silent = c
		}
	}
	return silent
}

// locate counts a connection for its address, and reports whether its address may have one
// more. All IPv6 addresses of a network of 64 bits count as one. A connection whose load
// balancer does not know the address is not counted.
func (o *connections) locate(c *conn, address netip.Addr) bool {
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	from, err := address.Prefix(bits)
	if err != nil {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, open := o.conns[c]; !open || o.from[from] >= o.perAddress {
		return false
	}
	o.from[from]++
	c.from = from
	return true
}

// enlarge reports whether one more connection without a sign-in may send a large request. It
// may wait.
func (o *connections) enlarge(c *conn) bool {
	o.mu.Lock()
	from := c.from
	o.mu.Unlock()
	release, ok := o.large.Take(from.String(), 1, largeWait)
	if !ok {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, open := o.conns[c]; !open {
		release()
		return false
	}
	c.large = release
	return true
}

// shrink returns the part that enlarge took.
func (o *connections) shrink(c *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.giveBack(c)
}

// giveBack is shrink for a caller that holds o.mu.
func (o *connections) giveBack(c *conn) {
	if c.large != nil {
		c.large()
		c.large = nil
	}
}

func (o *connections) remove(c *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forget(c)
}

// forget is remove for a caller that holds o.mu.
func (o *connections) forget(c *conn) {
	if _, open := o.conns[c]; !open {
		return
	}
	delete(o.conns, c)
	o.giveBack(c)
	if c.from.IsValid() {
		if o.from[c.from]--; o.from[c.from] == 0 {
			delete(o.from, c.from)
		}
	}
	select {
	case o.removed <- struct{}{}:
	default:
	}
}

// each calls do for every open connection.
func (o *connections) each(do func(*conn)) {
	for _, c := range o.list() {
		do(c)
	}
}

func (o *connections) list() []*conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]*conn, 0, len(o.conns))
	for c := range o.conns {
		all = append(all, c)
	}
	return all
}

func (o *connections) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.conns)
}

// cutStalled cuts, until ctx is done, each connection whose peer has not read anything for d.
func (o *connections) cutStalled(ctx context.Context, d time.Duration) {
	tick := time.NewTicker(d / 20)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			before := int64(sinceStart() - d)
			o.each(func(c *conn) {
				if began := c.writing.Load(); began != 0 && began < before {
					c.cut()
				}
			})
		}
	}
}

// A connListener accepts conns.
type connListener struct {
	net.Listener
	open *connections
	ctx  context.Context // done when the server stops
}

// Accept implements net.Listener.
func (l *connListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, open: l.open}
	c.doing.set(http.StateNew)
	l.open.add(l.ctx, c)
	return c, nil
}

// buffered is a listener whose connections have send buffers of sendBuffer bytes.
type buffered struct{ net.Listener }

// Accept implements net.Listener.
func (l buffered) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		tcp.SetWriteBuffer(sendBuffer) // if this fails, the kernel's default applies
	}
	return c, err
}
