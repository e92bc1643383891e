package xmlrpc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
)

// Config configures a Server. Every field is optional.
type Config[C any] struct {
	// Limits bounds one request. The default is that of each field.
	Limits Limits

	// Faulted is called for each call of a declared method that is answered with a fault before its
	// handler runs, because the number or kinds of its arguments are wrong. args are the arguments
	// as sent. Faulted begins to record the fault, and wait returns when it is recorded. It is not
	// called for system methods.
	Faulted func(ctx context.Context, caller C, m *Method[C], args []Value, f *Fault) (wait func())

	// Arrived is called when the body of a call has arrived, which may be long after its head. It
	// returns the caller as of now, or answers the request itself and returns false. It must not
	// keep body. By default the caller does not change.
	Arrived func(w http.ResponseWriter, r *http.Request, caller C, body []byte) (now C, ok bool)

	// Multicall is called before a multicall runs. A fault refuses the whole multicall.
	Multicall func(caller C) *Fault

	// Hold reserves memory for an answer of at most bytes bytes, unless the answer is short, before
	// its call runs. It may wait. release is called after the answer was sent. If ok is false, the
	// call is not carried out and the client is told to retry.
	Hold func(caller C, bytes int64) (release func(), ok bool)

	// TooLarge answers a call of a multicall that is not carried out because its answer might not
	// fit. The default is a fault.
	TooLarge func(ctx context.Context, caller C, m *Method[C], args []Value) Reply

	// Title is the heading of the page. The default is "XML-RPC".
	Title string

	// People is the path of pages for people, to which the page links. The default is none.
	People string

	// Beside is another protocol that the page shows. The default is none.
	Beside Face

	// Words are explained at the end of the page. The default is none.
	Words []Word

	// Log receives reports of panics. The default is slog.Default().
	Log *slog.Logger
}

// A Server answers calls. C is the type of callers, which the server passes to the handlers
// without using it.
type Server[C any] struct {
	cfg     Config[C]
	methods map[string]*Method[C]
	names   []string // sorted
	page    page
	large   chan struct{} // has a token for each large call in progress
}

// New returns a server with the given methods and the system methods: system.listMethods,
// system.methodHelp, system.methodSignature, system.multicall and system.getCapabilities. It
// returns an error for an invalid or duplicate method.
func New[C any](methods []Method[C], cfg Config[C]) (*Server[C], error) {
	limits, err := cfg.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	cfg.Limits = limits
	if cfg.Title == "" {
		cfg.Title = "XML-RPC"
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Hold == nil {
		cfg.Hold = func(C, int64) (func(), bool) { return func() {}, true }
	}
	if cfg.TooLarge == nil {
		cfg.TooLarge = func(context.Context, C, *Method[C], []Value) Reply {
			return refuse(faultf(InvalidRequest, "The answer would be larger than the limit of "+
				"%d bytes", limits.AnswerBytes))
		}
	}
	s := &Server[C]{cfg: cfg, methods: make(map[string]*Method[C]), large: make(chan struct{},
		limits.LargeCalls)}
	for _, m := range methods {
		if reserved(m.Name) {
			return nil, fmt.Errorf("xmlrpc: method %s: names in system. are reserved", m.Name)
		}
	}
	all := append(slices.Clone(methods), s.system()...)
	for i := range all {
		m := &all[i]
		if err := m.check(); err != nil {
			return nil, fmt.Errorf("xmlrpc: method %q: %w", m.Name, err)
		}
		if s.methods[m.Name] != nil {
			return nil, fmt.Errorf("xmlrpc: method %s is declared twice", m.Name)
		}
		s.methods[m.Name] = m
		s.names = append(s.names, m.Name)
	}
	slices.Sort(s.names)
	if s.page, err = newPage(&cfg, all); err != nil {
		return nil, err
	}
	return s, nil
}

// serve carries out the call in body and appends the answer to dst. release frees the memory
// reserved for the answer, after it was sent. If ok is false, nothing was carried out for lack
// of memory.
func (s *Server[C]) serve(
	ctx context.Context, dst, body []byte, charset string, caller C,
) (answer []byte, release func(), ok bool) {
	release = func() {}
	c, fault := decodeCall(body, charset, s.cfg.Limits)
	if fault != nil {
		return appendFault(dst, fault), release, true
	}
	if need := s.largest(c); need > heldAnswer {
		if release, ok = s.cfg.Hold(caller, need); !ok {
			return dst, nil, false
		}
	}
	v, fault := s.begin(ctx, caller, c)()
	if fault != nil {
		return appendFault(dst, fault), release, true
	}
	begin := len(dst)
	if dst = appendResponse(dst, v); int64(len(dst)-begin) > s.cfg.Limits.AnswerBytes {
		s.cfg.Log.ErrorContext(ctx, "an answer was larger than its method said",
			slog.String("method", c.method))
		dst = appendFault(dst[:begin], faultf(InternalError, "The answer is larger than the "+
			"limit of %d bytes", s.cfg.Limits.AnswerBytes))
	}
	return dst, release, true
}

// largest is the largest size of the answer to a call, in bytes.
func (s *Server[C]) largest(c call) int64 {
	if c.method != multicallMethod {
		return s.need(c)
	}
	sum := int64(0)
	if len(c.args) > 0 {
		for _, item := range c.args[0].Items {
			one, _ := unpacked(item)
			if need := s.need(one); need > ShortAnswer {
				sum += need
			} else {
				sum += usualAnswer
			}
		}
	}
	return min(sum, s.cfg.Limits.AnswerBytes)
}

const (
	// heldAnswer is the size up to which no memory is reserved for an answer, because the kernel's
	// socket buffer takes as much at once even if the client reads nothing.
	heldAnswer = 128 << 10

	// usualAnswer is a size that most short answers do not exceed.
	usualAnswer = 1 << 10
)

// need is the largest size of the answer to a call that is not a multicall, in bytes.
func (s *Server[C]) need(c call) int64 {
	if m := s.methods[c.method]; m != nil && m.Largest != nil {
		return m.Largest(c.args)
	}
	return ShortAnswer
}

// begin starts a call. If the method panics, now or later, the reply is a fault.
func (s *Server[C]) begin(ctx context.Context, caller C, c call) (reply Reply) {
	m, fault := s.lookUp(c.method)
	if fault != nil {
		return refuse(fault)
	}
	defer func() {
		if cause := recover(); cause != nil {
			reply = refuse(s.panicked(ctx, m, cause))
		}
	}()
	args, fault := m.arguments(c.args)
	if fault != nil {
		if s.cfg.Faulted != nil && !reserved(m.Name) {
			wait := s.cfg.Faulted(ctx, caller, m, c.args, fault)
			return func() (Value, *Fault) { wait(); return Value{}, fault }
		}
		return refuse(fault)
	}
	pending := m.Handler(ctx, caller, args)
	return func() (v Value, fault *Fault) {
		defer func() {
			if cause := recover(); cause != nil {
				v, fault = Value{}, s.panicked(ctx, m, cause)
			}
		}()
		return pending()
	}
}

// panicked logs the panic for the operator, and returns a fault without details for the client.
func (s *Server[C]) panicked(ctx context.Context, m *Method[C], cause any) *Fault {
	s.cfg.Log.ErrorContext(ctx, "a method panicked", slog.String("method", m.Name),
		slog.Any("cause", cause), slog.String("stack", string(debug.Stack())))
	return &Fault{InternalError, "Internal error"}
}

func (s *Server[C]) lookUp(name string) (*Method[C], *Fault) {
	if m := s.methods[name]; m != nil {
		return m, nil
	}
	return nil, faultf(MethodNotFound, "There is no method %s", printable(name))
}
