package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// A wire is a TLS connection as net/http reads it. It stands between the two
// because net/http decides about Transfer-Encoding before any handler can: it
// answers 501 to codings it does not know and ignores the header in HTTP/1.0,
// where we refuse all of them alike. And it answers by itself the calls that repeat
// the head of one before.
type wire struct {
	*tls.Conn
	server      *Server
	state       *tls.ConnectionState // set by the first Read, and so before any request
	heads       headFilter
	calling     atomic.Bool // a call is being carried out
	doing       connState
	read, write deadline

	context context.Context // of the connection
	handed  bool            // net/http has been given something since its last answer
	ended   bool            // an answer said that it is the last one
	head    []byte          // of the call that net/http has been given, if it is one that others may repeat
	repeat  *repeat         // nil while there is none
}

// SetReadDeadline implements net.Conn.
func (c *wire) SetReadDeadline(t time.Time) error {
	return c.read.move(c.Conn, t, &c.server.watch)
}

// SetWriteDeadline implements net.Conn.
func (c *wire) SetWriteDeadline(t time.Time) error {
	return c.write.move(c.Conn, t, &c.server.watch)
}

// SetDeadline implements net.Conn.
func (c *wire) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Read implements net.Conn. The first Read shakes hands.
//
// While a request is being answered, net/http goes on reading so that its handler
// can learn that the client has gone. A call does not ask: what has arrived is carried
// out. Such a read finds nothing then, without asking the kernel for it.
//
// While net/http waits for another request, calls that repeat the head of one before
// are answered here, and net/http goes on waiting.
func (c *wire) Read(p []byte) (int, error) {
	if c.state == nil {
		if err := c.greet(); err != nil {
			return 0, err
		}
	}
	if c.calling.Load() && c.heads.between() {
		return 0, nil
	}
	for !c.ended {
		n, err := c.Conn.Read(p)
		if n > 0 && c.waits() {
			if n = copy(p, c.answerRepeats(p[:n])); n == 0 && err == nil {
				continue
			}
			c.keepHead(p[:n])
		}
		c.handed = c.handed || n > 0
		c.heads.filter(p[:n])
		return n, err
	}
	return 0, io.EOF
}

// waits reports whether net/http waits for another request and has nothing of it.
func (c *wire) waits() bool {
	return c.doing.is(http.StateIdle) && !c.handed && c.heads.between()
}

// answerRepeats answers the calls that p begins with, as far as they are repeats,
// and returns what is left for net/http. A server that stops leaves all of them to
// it, because net/http lets the calls end that it knows of.
func (c *wire) answerRepeats(p []byte) (rest []byte) {
	for c.repeat != nil && len(p) > 0 && !c.server.draining.Load() {
		r, behind := c.repeat.next(p)
		if r == nil || len(p)-len(behind)-int(r.ContentLength) > c.server.cfg.HeaderBytes {
			break
		}
		if p = behind; c.answer(r) {
			c.ended = true
			return nil
		}
	}
	return p
}

// answer answers a whole request, and reports whether it was the last one of the
// connection.
func (c *wire) answer(r *http.Request) (last bool) {
	c.doing.set(http.StateActive, &c.server.watch)
	defer c.doing.set(http.StateIdle, &c.server.watch)
	c.SetWriteDeadline(time.Now().Add(writeTimeout))
	a := answers.Get().(*answer)
	defer a.release()
	c.server.ServeHTTP(a, r)
	now := time.Now()
	_, err := c.Conn.Write(a.bytes(now))
	c.SetWriteDeadline(time.Time{})
	c.SetReadDeadline(now.Add(c.server.cfg.IdleTimeout))
	return err != nil || a.header.Get("Connection") == "close"
}

// keepHead keeps the head of the call that p begins with, until it is known to be a
// good one.
func (c *wire) keepHead(p []byte) {
	if end := bytes.Index(p, headEnd); end > 0 && bytes.HasPrefix(p, postStart) {
		c.head = bytes.Clone(p[:end+len(headEnd)])
	}
}

// learn makes the head of r, whose sender is known, one that can be repeated.
func (c *wire) learn(r *http.Request) {
	if c.head != nil {
		c.repeat = newRepeat(c.head, r.WithContext(c.context))
		c.head = nil
	}
}

var (
	headEnd   = []byte("\r\n\r\n")
	postStart = []byte("POST ")
)

func (c *wire) greet() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.server.cfg.HeaderTimeout)
	defer cancel()
	err := c.HandshakeContext(ctx)
	var noTLS tls.RecordHeaderError
	if errors.As(err, &noTLS) && noTLS.Conn != nil && looksLikeHTTP(noTLS.RecordHeader) {
		noTLS.Conn.SetWriteDeadline(time.Now().Add(c.server.cfg.HeaderTimeout))
		io.WriteString(noTLS.Conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"+
			"Content-Length: "+strconv.Itoa(len(plainHTTP))+"\r\nConnection: close\r\n\r\n"+plainHTTP)
	}
	if err == nil {
		state := c.ConnectionState()
		c.state = &state
	}
	return err
}

const plainHTTP = "This port speaks HTTPS: use https:// in the address.\n"

// looksLikeHTTP reports whether the first bytes of a connection begin a
// request in plain HTTP.
func looksLikeHTTP(start [5]byte) bool {
	switch string(start[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "PUT *", "DELET", "PATCH", "OPTIO", "TRACE", "CONNE":
		return true
	}
	return false
}

// wireKey is the key of a connection in the context of its requests.
type wireKey struct{}

// withWire is an http.Server's ConnContext hook.
func withWire(ctx context.Context, conn net.Conn) context.Context {
	w := conn.(*wire) // Serve accepts nothing else
	w.context = context.WithValue(ctx, wireKey{}, w)
	return w.context
}

// wireOf returns the connection that a request came by.
func wireOf(ctx context.Context) *wire {
	return ctx.Value(wireKey{}).(*wire) // Serve accepts nothing else
}

// wireListener accepts wires.
type wireListener struct {
	net.Listener
	server *Server
}

// Accept implements net.Listener.
func (l *wireListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &wire{
		Conn: tls.Server(conn, l.server.cfg.TLS), server: l.server,
		read:  deadline{set: (*tls.Conn).SetReadDeadline, at: never},
		write: deadline{set: (*tls.Conn).SetWriteDeadline, at: never},
	}, nil
}

// refusedCoding is the name under which a handler finds a Transfer-Encoding.
const refusedCoding = "Transfer_encoding"

// A headFilter follows the requests of one connection, and gives the header
// Transfer-Encoding a name that means nothing to net/http. The length of each
// body is then what its Content-Length says, for net/http as for the filter,
// so that both agree where the next request begins; net/http closes the
// connection where that is unclear.
//
// The name is changed as soon as its first part is there, because the rest may
// come with the next read: other fields that begin with "Transfer-" are
// renamed too. There are none that we know.
//
// A line that continues the one before it (obs-fold) makes the request a bad
// one, as RFC 9112, section 5.2, has it: a length could hide there.
type headFilter struct {
	line    []byte // of the current line what came with earlier reads; net/http reads no more of a head than it takes
	started bool   // the request line has ended
	size    int64  // of the current head, as far as it has come, in bytes
	length  uint64 // the Content-Length of the current head, in bytes
	body    uint64 // bytes of the body that are still to come

	largest atomic.Int64 // bytes of the largest head so far; net/http lets 4 KiB more pass than it is told
}

var (
	codingStart = []byte("transfer-")
	lengthName  = []byte("content-length")
	version     = []byte(" HTTP/")
)

// between reports whether what has been read ends with the end of a request.
func (f *headFilter) between() bool { return f.body == 0 && !f.started && len(f.line) == 0 }

// filter changes p, the next bytes of the connection, in place.
func (f *headFilter) filter(p []byte) {
	for len(p) > 0 {
		if f.body > 0 {
			n := min(f.body, uint64(len(p)))
			f.body -= n
			p = p[n:]
			continue
		}
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
			f.size++
		}
		f.size += int64(len(part))
		before, line := len(f.line), part
		if before > 0 || end < 0 {
			f.line = append(f.line, part...)
			line = f.line
		}
		if f.started {
			rename(line, part, before)
		} else {
			spoilVersion(line, part, before)
		}
		if end < 0 {
			return
		}
		f.endLine(bytes.TrimSuffix(line, []byte("\r")))
		f.line = f.line[:0]
		p = p[end+1:]
	}
}

// rename changes in part, the end of a line of which before bytes came
// earlier, what net/http must not see.
func rename(line, part []byte, before int) {
	if before == 0 && len(part) > 0 && (part[0] == ' ' || part[0] == '\t') {
		part[0] = ':'
	}
	last := len(codingStart) - 1
	if before <= last && len(line) > last && bytes.EqualFold(line[:last+1], codingStart) {
		part[last-before] = '_'
	}
}

// spoilVersion changes in part, the end of a request line of which before bytes
// came earlier, the version when it is another than HTTP/1: the request is a bad
// one then. net/http would answer 505, as if the fault were the server's.
func spoilVersion(line, part []byte, before int) {
	i := bytes.Index(line, version)
	if i < 0 {
		return
	}
	if i += len(version); i >= before && i < len(line) && line[i] != '1' {
		part[i-before] = 'x'
	}
}

func (f *headFilter) endLine(line []byte) {
	switch {
	case !f.started: // empty lines may stand before a request
		f.started = len(line) > 0
	case len(line) == 0:
		f.largest.Store(max(f.largest.Load(), f.size))
		f.body, f.length, f.size, f.started = f.length, 0, 0, false
	case len(line) > len(lengthName) && line[len(lengthName)] == ':' && bytes.EqualFold(line[:len(lengthName)], lengthName):
		f.length, _ = strconv.ParseUint(string(bytes.Trim(line[len(lengthName)+1:], " \t")), 10, 63) // net/http refuses what is no number
	}
}
