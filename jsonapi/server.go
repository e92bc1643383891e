package jsonapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"

	"example.com/atm"
)

// Config configures a Server. What is not said to be required is optional.
type Config[C any] struct {
	// Limits bounds one request. The default is that of each field.
	Limits Limits

	// Faulted is called for each call of a declared method whose arguments are not those of the
	// method. It begins to record the fault, and wait returns the receipt when it is recorded.
	// Required.
	Faulted func(ctx context.Context, caller C, m *Method[C], args []atm.Arg, fault string) (
		wait func() (receipt string))

	// TooLarge answers a call of a multicall that is not carried out because its answer might not
	// fit. Required.
	TooLarge func(ctx context.Context, caller C, m *Method[C], args []atm.Arg) Reply

	// Multicall is called before a multicall runs, and refuses it with a sentence. The default
	// refuses none.
	Multicall func(caller C) string

	// Hold reserves memory for an answer of at most bytes bytes, unless the answer is short, before
	// its call runs. It may wait. release is called after the answer was sent. If ok is false, the
	// call is not carried out. Required.
	Hold func(caller C, bytes int64) (release func(), ok bool)

	// Log receives reports of panics. Required.
	Log *slog.Logger

	// URL is where the server is, for the document; by default where the document was read.
	URL string
}

// A Server answers calls. C is the type of callers, which the server passes to the handlers without
// using it.
type Server[C any] struct {
	cfg      Config[C]
	methods  map[string]*Method[C]
	document []byte
}

// multicallMethod carries out many calls.
const multicallMethod = "system.multicall"

// New returns a server with the given methods and system.multicall.
func New[C any](methods []Method[C], cfg Config[C]) (*Server[C], error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Multicall == nil {
		cfg.Multicall = func(C) string { return "" }
	}
	s := &Server[C]{cfg: cfg, methods: make(map[string]*Method[C])}
	own := slices.Clone(methods)
	for i := range own {
		m := &own[i]
		if err := m.check(); err != nil {
			return nil, err
		}
		if s.methods[m.Name] != nil {
			return nil, fmt.Errorf("jsonapi: method %s is declared twice", m.Name)
		}
		s.methods[m.Name] = m
	}
	var err error
	s.document, err = document(own, &cfg)
	return s, err
}

// An Outcome is what a request gets: an HTTP status, and a body that was appended to a buffer.
type Outcome struct {
	HTTP    int
	Code    atm.Code // that of the dict; OK for a multicall
	Body    []byte
	Release func() // frees the memory that was reserved for the body, after it was sent
}

// Answer carries out a call of a method and appends the answer to dst. If ok is false, nothing was
// carried out for lack of memory.
func (s *Server[C]) Answer(ctx context.Context, dst []byte, caller C, method string, body []byte,
) (out Outcome, ok bool) {
	out = Outcome{Release: func() {}}
	if s.methods[method] == nil && method != multicallMethod {
		return out.refuse(dst, http.StatusNotFound, "There is no method "+shown(method)), true
	}
	v, no := decode(body, s.cfg.Limits)
	if no != nil {
		return out.refuse(dst, no.status, no.text), true
	}
	var calls []call
	if method == multicallMethod {
		if calls, no = s.calls(&v); no == nil && s.cfg.Multicall(caller) != "" {
			no = &refusal{http.StatusUnprocessableEntity, s.cfg.Multicall(caller)}
		}
		if no != nil {
			return out.refuse(dst, no.status, no.text), true
		}
	} else {
		calls = []call{{method, v}}
	}
	if need := s.largest(calls); need > heldAnswer {
		if out.Release, ok = s.cfg.Hold(caller, need); !ok {
			return out, false
		}
	}
	begin := len(dst)
	if method == multicallMethod {
		out.HTTP, out.Code, out.Body = http.StatusOK, atm.OK, s.multicall(ctx, dst, caller, calls)
	} else {
		a := s.begin(ctx, caller, &calls[0])()
		out.HTTP, out.Code, out.Body = a.status(), a.Code, appendDict(dst, &a)
	}
	if int64(len(out.Body)-begin) > s.cfg.Limits.AnswerBytes {
		s.cfg.Log.ErrorContext(ctx, "an answer was larger than its method said",
			slog.String("method", method))
		return out.refuse(dst[:begin], http.StatusInternalServerError, "The answer is larger than "+
			"the limit"), true
	}
	return out, true
}

// refuse answers a request that reached no method.
func (out Outcome) refuse(dst []byte, status int, reason string) Outcome {
	a := fault(status, reason)
	out.HTTP, out.Code, out.Body = status, a.Code, appendDict(dst, &a)
	return out
}

// fault is the answer to what became no operation.
func fault(status int, reason string) Answer {
	return Answer{Status: atm.Status{Code: atm.Fault, Reason: reason, Result: ""}, HTTP: status}
}

func (a *Answer) status() int {
	if a.HTTP != 0 {
		return a.HTTP
	}
	return StatusOf(a.Code)
}

// A call is a method and its named arguments.
type call struct {
	method string
	params value
}

// largest is the largest size of the answer to one call, or to those of a multicall.
func (s *Server[C]) largest(calls []call) (sum int64) {
	for i := range calls {
		if need := s.need(&calls[i]); need > shortAnswer {
			sum += need
		} else {
			sum += usualAnswer
		}
	}
	return min(sum, s.cfg.Limits.AnswerBytes)
}

// need is the largest size of the answer to a call, in bytes.
func (s *Server[C]) need(c *call) int64 {
	m := s.methods[c.method]
	if m == nil || m.Largest == nil {
		return shortAnswer
	}
	args, _ := m.arguments(&c.params)
	return m.Largest(args)
}

// begin starts a call. If the method panics, now or later, the answer is a fault.
func (s *Server[C]) begin(ctx context.Context, caller C, c *call) (reply Reply) {
	m := s.methods[c.method]
	switch {
	case c.method == multicallMethod:
		return ready(fault(http.StatusUnprocessableEntity,
			"A multicall cannot contain a multicall"))
	case m == nil:
		return ready(fault(http.StatusNotFound, "There is no method "+shown(c.method)))
	}
	defer func() {
		if cause := recover(); cause != nil {
			reply = ready(s.panicked(ctx, m, cause))
		}
	}()
	args, wrong := m.arguments(&c.params)
	if wrong != "" {
		wait := s.cfg.Faulted(ctx, caller, m, args, wrong)
		return func() Answer {
			a := fault(http.StatusUnprocessableEntity, wrong)
			a.Receipt = wait()
			return a
		}
	}
	pending := m.Handler(ctx, caller, args)
	return func() (a Answer) {
		defer func() {
			if cause := recover(); cause != nil {
				a = s.panicked(ctx, m, cause)
			}
		}()
		return pending()
	}
}

// ready is a Reply that returns a at once.
func ready(a Answer) Reply { return func() Answer { return a } }

// panicked logs the panic for the operator, and returns a fault without details for the client.
func (s *Server[C]) panicked(ctx context.Context, m *Method[C], cause any) Answer {
	s.cfg.Log.ErrorContext(ctx, "a method panicked", slog.String("method", m.Name),
		slog.Any("cause", cause), slog.String("stack", string(debug.Stack())))
	return fault(http.StatusInternalServerError, "Internal error")
}
