//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// tls is the client's side of every connection; nil for plain HTTP.
func (s *settings) tls() (*tls.Config, error) {
	if s.plain {
		return nil, nil
	}
	pem, err := os.ReadFile(s.ca)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{
		RootCAs: x509.NewCertPool(), ServerName: "localhost",
		MinVersion: tls.VersionTLS13,
	}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", s.ca)
	}
	if s.cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// perMulticall is how many items a multicall has.
const perMulticall = 100

// answerTimeout bounds the wait for one answer.
const answerTimeout = 30 * time.Second

// A caller is one connection and what it asks on it.
type caller struct {
	*settings
	connection
	each   int // operations in a call
	random *rand.Rand
	took   []time.Duration
	next   time.Time // of the next call, if there is a pace

	request []byte // with its body
	body    []byte

	authorization string // of a token
	digest        digest
	ids           uint64
}

func newCaller(s *settings, config *tls.Config, number int) (*caller, error) {
	c := &caller{
		settings:   s,
		connection: connection{server: s.servers[number%len(s.servers)], config: config}, each: 1,
		random: rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(number))),
	}
	switch s.op {
	case "inquiry", "deposit", "transfer", "statement", "mix", "day":
	case "multicall", "open":
		c.each = perMulticall
	default:
		return nil, fmt.Errorf("no operation %q", s.op)
	}
	if s.token != "" {
		text, err := os.ReadFile(s.token)
		if err != nil {
			return nil, err
		}
		c.authorization = "Bearer " + strings.TrimSpace(string(text))
	}
	if s.user != "" {
		secret, err := os.ReadFile(s.secret)
		if err != nil {
			return nil, err
		}
		c.digest = digest{
			user: s.user, secret: strings.TrimSpace(string(secret)),
			cnonce: fmt.Sprintf("%x", c.random.Uint64()),
		}
	}
	return c, nil
}

// connect makes the connection, and gets a challenge if it needs one.
func (c *caller) connect(ctx context.Context) error {
	if err := c.dial(ctx); err != nil {
		return err
	}
	if c.digest.user == "" || c.digest.nonce != "" {
		return nil
	}
	c.compose("")
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	head, err := c.read()
	if err != nil {
		return err
	}
	return c.digest.challenged(head.challenge)
}

// call asks once and waits for the answer, which must be OK.
func (c *caller) call(ctx context.Context) error {
	if c.conn == nil {
		if err := c.connect(ctx); err != nil {
			return err
		}
	}
	authorization := c.authorization
	if c.digest.nonce != "" {
		authorization = c.digest.next()
	}
	c.compose(authorization)
	c.conn.SetDeadline(time.Now().Add(answerTimeout))
	if err := c.send(); err != nil {
		return err
	}
	head, err := c.read()
	if err != nil {
		return err
	}
	if head.status != 200 || !c.any && !c.succeeded() {
		return fmt.Errorf("answered %d: %.600s", head.status, c.answer)
	}
	if head.last || c.fresh {
		c.close()
	}
	return nil
}

// send writes the request.
func (c *caller) send() error {
	request := c.request
	if c.split {
		n := len(request) - len(c.body)
		if _, err := c.conn.Write(request[:n]); err != nil {
			return err
		}
		request = request[n:]
	}
	_, err := c.conn.Write(request)
	return err
}

// wait waits until the pace has this caller call.
func (c *caller) wait(ctx context.Context) {
	if c.pace == 0 {
		return
	}
	each := time.Second * time.Duration(c.clients) / time.Duration(c.pace)
	if c.next.IsZero() { // callers begin one after the other
		c.next = time.Now().Add(time.Duration(c.random.Int64N(int64(each))))
	}
	rest(ctx, time.Until(c.next))
	c.next = c.next.Add(each)
}

// What tells how an operation went. It is found fast because it begins with no bracket.
var (
	success = []byte("OK</string>")
	failure = []byte("ERROR</string>")
	faulted = []byte("faultCode<")
)

// succeeded reports whether each operation of the answer did.
func (c *caller) succeeded() bool {
	if c.json {
		return bytes.Count(c.answer, jsonSuccess) == c.each
	}
	return bytes.Count(c.answer, success) >= c.each && !bytes.Contains(c.answer, failure) &&
		!bytes.Contains(c.answer, faulted)
}

// compose writes the next request.
func (c *caller) compose(authorization string) {
	r := c.request[:0]
	if c.json {
		c.body = c.appendJSON(c.body[:0])
		r = append(append(append(r, "POST "...), jsonPaths[c.op]...), " HTTP/1.1\r\nHost: "+
			"localhost\r\nContent-Type: application/json\r\n"...)
	} else {
		c.body = c.appendCall(c.body[:0])
		r = append(r, "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
			"text/xml\r\n"...)
	}
	if authorization != "" {
		r = append(append(append(r, "Authorization: "...), authorization...), "\r\n"...)
	}
	if c.fresh {
		r = append(r, "Connection: close\r\n"...)
	}
	r = append(strconv.AppendInt(append(r, "Content-Length: "...), int64(len(c.body)), 10),
		"\r\n\r\n"...)
	c.request = append(r, c.body...)
}

const (
	callStart = "<?xml version='1.0'?>\n<methodCall>\n<methodName>"
	argsStart = "</methodName>\n<params>\n"
	callEnd   = "</params>\n</methodCall>\n"
)

// day is what ten calls of a day are, in the mean.
var day = [10]string{
	"statement", "transfer", "transfer", "deposit", "deposit", "deposit", "inquiry", "inquiry",
	"inquiry", "inquiry",
}

func (c *caller) appendCall(b []byte) []byte {
	op := c.op
	switch op {
	case "mix":
		op = "inquiry"
		if c.random.IntN(5) == 0 {
			op = "deposit"
		}
	case "day":
		op = day[c.random.IntN(len(day))]
	case "multicall", "open":
		b = append(append(append(b, callStart...), "system.multicall"...), argsStart...)
		b = append(b, "<param><value><array><data>\n"...)
		for range perMulticall {
			b = c.appendItem(b)
		}
		return append(append(b, "</data></array></value></param>\n"...), callEnd...)
	}
	b = append(append(append(b, callStart...), op...), argsStart...)
	account := c.account()
	switch op {
	case "inquiry":
		b = c.appendInt(b, account)
	case "statement":
		b = append(c.appendInt(b, account), "<param>\n<value><struct><member><name>limit</name>"+
			"<value><int>"...)
		b = append(strconv.AppendInt(b, int64(c.limit), 10), "</int></value></member></struct>"+
			"</value>\n</param>\n"...)
	case "deposit":
		b = c.appendIDParam(appendText(c.appendInt(b, account), "0.01"))
	case "transfer":
		from, to := c.from, account
		if from == 0 {
			from = c.account()
		}
		if from == to { // what happens once in as many calls as there are accounts
			to = c.first + (to-c.first+1)%c.accounts
		}
		b = c.appendIDParam(appendText(c.appendInt(c.appendInt(b, from), to), "0.01"))
	}
	return append(b, callEnd...)
}

// appendItem appends an item of a multicall. The callers of "open" share the
// accounts.
func (c *caller) appendItem(b []byte) []byte {
	b = append(b, "<value><struct><member><name>methodName</name><value>"...)
	account := c.account()
	if c.op == "open" {
		account = c.first + (c.opened.Add(1)-1)%c.accounts
		b = append(b, "admin.account.open"...)
	} else {
		b = append(b, "deposit"...)
	}
	b = append(b, "</value></member><member><name>params</name><value><array><data><value><int>"...)
	b = append(strconv.AppendUint(b, account, 10), "</int></value><value>"...)
	if c.op == "open" {
		b = append(append(append(b, c.owner...), "</value><value>"...), c.opening...)
	} else {
		b = append(b, "0.01"...)
		if !c.noIDs {
			b = c.appendID(append(b, "</value><value>"...))
		}
	}
	return append(b, "</value></data></array></value></member></struct></value>\n"...)
}

func (c *caller) account() uint64 { return c.first + c.random.Uint64N(c.accounts) }

func (c *caller) appendInt(b []byte, n uint64) []byte {
	b = append(b, "<param>\n<value><int>"...)
	return append(strconv.AppendUint(b, n, 10), "</int></value>\n</param>\n"...)
}

func appendText(b []byte, text string) []byte {
	b = append(b, "<param>\n<value><string>"...)
	return append(append(b, text...), "</string></value>\n</param>\n"...)
}

func (c *caller) appendIDParam(b []byte) []byte {
	if c.noIDs {
		return b
	}
	return append(c.appendID(append(b, "<param>\n<value><string>"...)),
		"</string></value>\n</param>\n"...)
}

// appendID appends a new request id, a UUID of version 7 (RFC 9562).
func (c *caller) appendID(b []byte) []byte {
	var id [16]byte
	ms, noise := uint64(time.Now().UnixMilli()), c.random.Uint64()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	for i := range 8 {
		id[8+i] = byte(noise >> (8 * i))
	}
	c.ids++
	id[6], id[7], id[8] = 0x70|byte(c.ids>>8)&0x0f, byte(c.ids), 0x80|id[8]&0x3f
	for i, part := range [][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

// A digest signs in by HTTP Digest (RFC 7616) with SHA-256 and qop=auth.
type digest struct {
	user, secret, cnonce string
	realm, nonce, opaque string
	ha1, ha2             string
	uses                 uint32
}

var field = regexp.MustCompile(`(realm|nonce|opaque)="([^"]*)"`)

func (d *digest) challenged(challenge string) error {
	for _, m := range field.FindAllStringSubmatch(challenge, -1) {
		switch m[1] {
		case "realm":
			d.realm = m[2]
		case "nonce":
			d.nonce = m[2]
		case "opaque":
			d.opaque = m[2]
		}
	}
	if d.nonce == "" {
		return fmt.Errorf("no challenge of Digest: %q", challenge)
	}
	d.ha1, d.ha2 = hash(d.user+":"+d.realm+":"+d.secret), hash("POST:/RPC2")
	return nil
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// next is the Authorization of the next request.
func (d *digest) next() string {
	d.uses++
	nc := fmt.Sprintf("%08x", d.uses)
	response := hash(d.ha1 + ":" + d.nonce + ":" + nc + ":" + d.cnonce + ":auth:" + d.ha2)
	header := `Digest username="` + d.user + `", realm="` + d.realm + `", nonce="` + d.nonce +
		`", uri="/RPC2", algorithm=SHA-256, response="` +
		response + `", qop=auth, nc=` + nc + `, cnonce="` + d.cnonce + `"`
	if d.opaque != "" {
		header += `, opaque="` + d.opaque + `"`
	}
	return header
}
