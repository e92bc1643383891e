// Package client is the Go client of the server, based on kolo/xmlrpc.
//
// A call that moves money has one request id, however often it is sent, so sending it again is
// safe. If no definite answer came and the server may have received the call, the error is an
// OutcomeUnknownError with the id. It is not a failure: only a call with the same id can tell
// the outcome. A refusal is an Answer, not an error.
//
// The exported names, and what they do, stay as the Go 1 promise has it; fields of structs,
// methods and codes may be added (docs/compatibility.md).
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"github.com/icholy/digest"
	"github.com/kolo/xmlrpc"
)

// Config is everything a Client needs.
type Config struct {
	// Server is the URL of the server, such as https://localhost:9000.
	// Required; a path other than / is ignored.
	Server string

	// TLS is the client side of the connections: the authorities that it trusts, and its
	// certificate. Required.
	TLS *tls.Config

	// User and Password sign in by HTTP Digest. Optional; both or none.
	User, Password string

	// Token signs in as a bearer token. Optional.
	Token string

	// Bearer returns the bearer token of each request, where it is renewed from time to time.
	// Optional; without Token.
	Bearer func(context.Context) (string, error)

	// Sign signs each request with the key of the certificate in TLS (RFC 9421), also beside a
	// password or a token, so that the server can prove what was asked for. Optional.
	Sign bool

	// Timeout bounds one try. Optional; 20 seconds.
	Timeout time.Duration

	// Tries bounds how often one call is sent. Optional; 4.
	Tries int
}

// A Client calls one server. It is safe for concurrent use.
type Client struct {
	url   string
	http  *http.Client
	tries int
}

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 4 << 20

// New returns a client.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not an https URL of a server", cfg.Server)
	}
	if isLocalhost(u.Hostname()) { // in any form (RFC 6761, section 6.3); resolvers know only one
		u.Host = strings.Replace(u.Host, u.Hostname(), "localhost", 1)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 20 * time.Second
	}
	if cfg.Tries == 0 {
		cfg.Tries = 4
	}
	base := &http.Transport{
		TLSClientConfig:       cfg.TLS,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       30 * time.Second, // so that the client closes first
		TLSHandshakeTimeout:   cfg.Timeout,
		ResponseHeaderTimeout: cfg.Timeout,
	}
	var transport http.RoundTripper = base
	if cfg.Sign {
		if _, err := signerIn(cfg.TLS); err != nil {
			return nil, err
		}
		transport = signing{base, cfg.TLS}
	}
	if cfg.User != "" {
		transport = &digest.Transport{
			Username: cfg.User, Password: cfg.Password, Transport: transport,
		}
	}
	if cfg.Token != "" {
		cfg.Bearer = func(context.Context) (string, error) { return cfg.Token, nil }
	}
	if cfg.Bearer != nil {
		transport = bearer{transport, cfg.Bearer}
	}
	return &Client{
		url:   (&url.URL{Scheme: "https", Host: u.Host, Path: "/RPC2"}).String(),
		tries: cfg.Tries,
		http: &http.Client{
			Transport: limits{transport, cfg.User == "" && cfg.Bearer == nil, cfg.TLS},
			Timeout:   cfg.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
	}, nil
}

// limits is a transport that bounds answers and turns HTTP statuses into errors, because
// kolo/xmlrpc reads any answer.
type limits struct {
	base        http.RoundTripper
	certificate bool // the only credential is a certificate
	tls         *tls.Config
}

// RoundTrip implements http.RoundTripper.
func (l limits) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer+1), resp.Body}
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	sentence, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if resp.StatusCode == http.StatusUnauthorized && l.certificate {
		sentence = certificateRefused + advice(l.tls, time.Now())
	}
	after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return nil, &HTTPError{
		StatusCode: resp.StatusCode, Sentence: sentence,
		RetryAfter: time.Duration(after) * time.Second,
	}
}

// bearer is a transport that signs in with a token.
type bearer struct {
	base  http.RoundTripper
	token func(context.Context) (string, error)
}

// A tokenError reports that there is no token to sign in with. Nothing was sent.
type tokenError struct{ error }

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := b.token(r.Context())
	if err != nil {
		return nil, tokenError{err}
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return b.base.RoundTrip(r)
}

// HTTP returns an HTTP client with the credentials of c, for requests other than RPC, such as
// the audit log under /audit/.
func (c *Client) HTTP() *http.Client {
	return &http.Client{
		Transport:     c.http.Transport.(limits).base,
		Timeout:       c.http.Timeout,
		CheckRedirect: c.http.CheckRedirect,
	}
}

// Base is the URL of the server, without a path.
func (c *Client) Base() string { return strings.TrimSuffix(c.url, "/RPC2") }

// Inquiry asks for the balance of an account.
func (c *Client) Inquiry(ctx context.Context, account atm.AccountID) (*Answer, error) {
	return c.Call(ctx, string(atm.Inquiry), account.String())
}

// An Option is what a call that moves money may say beside its amount.
type Option func(*details)

// details are what options say.
type details struct{ memo string }

// Memo says in a person's words what the money is for. It stands in the statements of both
// accounts. The empty text is no memo; atm.CheckMemo says what the server takes.
func Memo(text string) Option { return func(d *details) { d.memo = text } }

// Deposit puts amount into an account. id identifies the intention: calls with the same id have
// one effect.
func (c *Client) Deposit(ctx context.Context, account atm.AccountID, amount atm.Amount,
	id atm.RequestID, options ...Option,
) (*Answer, error) {
	return c.move(ctx, atm.Deposit, id, options, account.String(), amount.String())
}

// Withdraw takes amount out of an account. id is as for Deposit.
func (c *Client) Withdraw(ctx context.Context, account atm.AccountID, amount atm.Amount,
	id atm.RequestID, options ...Option,
) (*Answer, error) {
	return c.move(ctx, atm.Withdraw, id, options, account.String(), amount.String())
}

// Transfer moves amount from one account to another. id is as for Deposit.
func (c *Client) Transfer(ctx context.Context, from, to atm.AccountID, amount atm.Amount,
	id atm.RequestID, options ...Option,
) (*Answer, error) {
	return c.move(ctx, atm.Transfer, id, options, from.String(), to.String(), amount.String())
}

// Authorize reserves amount of an account for the duration life, or for the server's seven days
// if life is zero. The text of the answer is the id of the hold. id is as for Deposit.
func (c *Client) Authorize(ctx context.Context, account atm.AccountID, amount atm.Amount,
	life time.Duration, id atm.RequestID, options ...Option,
) (*Answer, error) {
	seconds := ""
	if life != 0 {
		seconds = strconv.FormatInt(int64(life/time.Second), 10)
	}
	return c.move(ctx, atm.Authorize, id, options, account.String(), amount.String(), seconds)
}

// Capture takes amount of a hold, or all of it if amount is zero. id is as for Deposit.
func (c *Client) Capture(ctx context.Context, hold string, amount atm.Amount,
	id atm.RequestID, options ...Option,
) (*Answer, error) {
	return c.move(ctx, atm.Capture, id, options, hold, text(amount))
}

// Release releases a hold. id is as for Deposit.
func (c *Client) Release(ctx context.Context, hold string, id atm.RequestID) (*Answer, error) {
	return c.Move(ctx, string(atm.Release), id, hold)
}

// A Range selects the entries of a statement. The zero value is the newest page.
type Range struct {
	Limit    int    // entries on the page, 1 to 500; 0 means 50
	Cursor   string // next of the previous page
	From, To string // times in RFC 3339, both inclusive
	Proof    bool   // every version of the account, each with the hash of its entry
}

// Statement lists the movements of an account, newest first.
func (c *Client) Statement(ctx context.Context, account atm.AccountID, r Range) (*Answer, error) {
	options := map[string]any{"cursor": r.Cursor, "from": r.From, "to": r.To}
	if r.Limit != 0 {
		options["limit"] = r.Limit
	}
	if r.Proof {
		options["proof"] = 1
	}
	return c.Call(ctx, string(atm.Statement), account.String(), options)
}

// Receipt returns the proof that the entry at index is in the audit log, in the form of C2SP
// tlog-proof, as the text of the answer.
func (c *Client) Receipt(ctx context.Context, index int64) (*Answer, error) {
	return c.Call(ctx, string(atm.Receipt), strconv.FormatInt(index, 10))
}

// Certificate returns a signed certificate of an account as the text of the answer.
func (c *Client) Certificate(ctx context.Context, account atm.AccountID) (*Answer, error) {
	return c.Call(ctx, string(atm.Certificate), account.String())
}

// Call calls a method without effects, which may be sent repeatedly.
func (c *Client) Call(ctx context.Context, method string, args ...any) (*Answer, error) {
	answer, _, err := c.persist(ctx, method, "", args)
	return answer, err
}

// Move calls a method whose last parameter is a request id. If its error is an
// *OutcomeUnknownError, money may have moved.
func (c *Client) Move(ctx context.Context, method string, id atm.RequestID, args ...any) (*Answer,
	error,
) {
	return c.move(ctx, atm.Operation(method), id, nil, args...)
}

// move calls a method that takes a request id after args, and then a memo.
func (c *Client) move(ctx context.Context, method atm.Operation, id atm.RequestID,
	options []Option, args ...any,
) (*Answer, error) {
	var d details
	for _, option := range options {
		option(&d)
	}
	args = append(args, string(id))
	if d.memo != "" { // a server of before has no such parameter
		args = append(args, d.memo)
	}
	return definite(ctx, c, method, id, args...)
}

// Once calls a method that has an effect, and no parameter for a request id: the header alone has
// it. If its error is an *OutcomeUnknownError, the server may have done it.
func Once(ctx context.Context, c *Client, method string, id atm.RequestID, args ...any) (*Answer,
	error,
) {
	if !headerSafe(id) {
		return nil, fmt.Errorf("the request id of %s is of printable ASCII, not %q", method, id)
	}
	return definite(ctx, c, atm.Operation(method), id, args...)
}

// definite calls a method until its outcome is known, or says that it is not.
func definite(ctx context.Context, c *Client, method atm.Operation, id atm.RequestID,
	args ...any,
) (*Answer, error) {
	answer, received, err := c.persist(ctx, string(method), id, args)
	if err != nil && received {
		return nil, &OutcomeUnknownError{Request: id, Err: err}
	}
	return answer, err
}

// persist sends a call until there is a definite answer. received reports whether the server
// may have received the call although no definite answer came.
func (c *Client) persist(ctx context.Context, method string, id atm.RequestID,
	args []any,
) (answer *Answer, received bool, err error) {
	for try := 1; ; try++ {
		answer, err = send(ctx, c, method, id, args)
		var refusal *HTTPError
		var fault *FaultError
		switch {
		case err == nil && !again(answer.Code):
			return answer, false, nil
		case errors.As(err, &fault): // it says nothing about an earlier try
			return nil, received || fault.Code == faultInternal, err
		case errors.As(err, &refusal):
			if refusal.StatusCode < 500 && refusal.StatusCode != http.StatusTooManyRequests {
				return nil, received, err
			}
			received = received || refusal.unknown()
		case errors.Is(err, ErrNotAuthenticated):
			return nil, received, err
		case err == nil:
			received = received || answer.Code != atm.Unavailable
		case !errors.Is(err, ErrConnect):
			received = true
		case !received: // the server did not receive the call: report the error at once
			return nil, false, err
		}
		if try == c.tries || !pause(ctx, try, refusal) {
			break
		}
	}
	if err == nil && received {
		return answer, true, fmt.Errorf("the server answered: %s", answer.Reason)
	}
	return answer, received, err
}

// again reports whether an answer with this code is to be retried.
func again(code atm.Code) bool {
	return code == atm.Unavailable || code == atm.OutcomeUnknown || code == atm.Internal
}

// send sends a call once.
func send(ctx context.Context, c *Client, method string, id atm.RequestID, args []any) (*Answer,
	error,
) {
	body, err := xmlrpc.EncodeMethodCall(method, args...)
	if err != nil {
		return nil, fmt.Errorf("encode the call: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "text/xml")
	if id != "" && headerSafe(id) {
		// The header repeats the request id. It makes net/http's transport resend the call on its
		// own if a kept connection turns out to be dead.
		req.Header.Set("Idempotency-Key", string(id))
	}
	sent := false
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent = true }}
	resp, err := c.http.Do(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil {
		return nil, classify(err, sent)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, classify(err, true)
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return decode(text)
}

func headerSafe(id atm.RequestID) bool {
	for _, c := range []byte(id) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return strings.TrimSpace(string(id)) == string(id)
}

// decode reads an answer with kolo/xmlrpc.
func decode(text []byte) (*Answer, error) {
	reply := xmlrpc.Response(text)
	if err := reply.Err(); err != nil {
		var fault xmlrpc.FaultError
		if errors.As(err, &fault) {
			return nil, &FaultError{Code: fault.Code, Text: fault.String}
		}
		return nil, fmt.Errorf("decode the answer: %w", err)
	}
	var value any
	if err := reply.Unmarshal(&value); err != nil {
		return nil, fmt.Errorf("decode the answer: %w", err)
	}
	if several, ok := value.([]any); ok { // of a multicall
		return &Answer{Code: atm.OK, Result: several}, nil
	}
	dict, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("decode the answer: it is no status dict")
	}
	return answerOf(dict)
}

// answerOf reads a status dict.
func answerOf(dict map[string]any) (*Answer, error) {
	// kolo/xmlrpc omits empty strings.
	a := &Answer{Result: dict["result"]}
	if a.Result == nil {
		a.Result = ""
	}
	var word, code string
	for name, field := range map[string]*string{
		"status": &word, "reason": &a.Reason, "code": &code,
		"receipt": &a.Receipt,
	} {
		if value := dict[name]; value != nil {
			s, ok := value.(string)
			if !ok {
				return nil, fmt.Errorf("decode the answer: %s is not a string", name)
			}
			*field = s
		}
	}
	a.Code = atm.Code(code)
	if code == "" || word != a.Status() {
		return nil, fmt.Errorf("decode the answer: status %q with code %q", word, code)
	}
	return a, nil
}

// An Answer is the status dict of an operation.
type Answer struct {
	Code    atm.Code
	Reason  string
	Result  any // a string, or a map[string]any or []any of them
	Receipt string
}

// OK reports whether the operation was carried out.
func (a *Answer) OK() bool { return a.Code == atm.OK }

// Status is the word of the answer, OK or ERROR.
func (a *Answer) Status() string { return atm.Status{Code: a.Code}.Word() }

// Text is the result if it is a string, and otherwise empty.
func (a *Answer) Text() string {
	s, _ := a.Result.(string)
	return s
}

func isLocalhost(host string) bool {
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}

// isLoopback reports whether host is this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return isLocalhost(host) || ip != nil && ip.IsLoopback()
}
