package xmlrpc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
)

// Config is what a Server needs besides its methods. Every field is optional.
type Config[C any] struct {
	// Limits bound one request. The default is that of each field.
	Limits Limits

	// Faulted is told of each call of a method of the table that was answered
	// with a fault before its handler ran, because the number or the kinds of
	// its arguments were wrong; args are those that were sent. It begins to
	// record the fact, and wait returns when it is recorded. Calls of system
	// methods are not told.
	Faulted func(ctx context.Context, caller C, m *Method[C], args []Value, f *Fault) (wait func())

	// Arrived is asked when the body of a call has arrived, which may be long after
	// its head: whether caller is still who sent it, as whom the call goes on. Or it
	// answers, and returns false. The default takes everybody for who they were.
	Arrived func(w http.ResponseWriter, r *http.Request, caller C) (now C, ok bool)

	// Multicall is asked before a multicall runs; a fault refuses it whole.
	Multicall func(caller C) *Fault

	// Hold is asked for the memory of an answer that is not short, of at most so many
	// bytes, before its call runs. It may wait. release is called when the answer was
	// sent; without ok the call is not carried out, and the client is told to come back.
	Hold func(caller C, bytes int64) (release func(), ok bool)

	// TooLarge answers a call of a multicall that is not carried out, because its answer
	// would not fit. The default is a fault.
	TooLarge func(ctx context.Context, caller C, m *Method[C], args []Value) Reply

	// Title is the heading of the page. The default is "XML-RPC".
	Title string

	// People is the path of pages for people, which the page links to. The default is none.
	People string

	// Log is told of panics. The default is slog.Default().
	Log *slog.Logger
}

// A Server answers calls. C is what the program around it knows about a
// caller; the server hands it to the handlers unseen.
type Server[C any] struct {
	cfg     Config[C]
	methods map[string]*Method[C]
	names   []string // sorted
	page    page
	large   chan struct{} // holds a token for each large call on its way
}

// New returns a server of the methods given and of those that every server
// has: system.listMethods, system.methodHelp, system.methodSignature,
// system.multicall and system.getCapabilities. It refuses a table that
// contradicts itself.
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
	if s.page, err = newPage(cfg.Title, cfg.People, all); err != nil {
		return nil, err
	}
	return s, nil
}

// serve carries out the call in body and appends the answer to dst. When it was sent,
// release gives its memory back. Without ok nothing was carried out: there is no memory.
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

// largest is how many bytes the answer to a call may have.
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
	// heldAnswer is the size up to which memory for an answer is not asked for: the kernel
	// takes so much at once, also when the client reads nothing.
	heldAnswer = 128 << 10

	// usualAnswer is what most short answers are below.
	usualAnswer = 1 << 10
)

// need is how many bytes the answer to a call may have that is no multicall.
func (s *Server[C]) need(c call) int64 {
	if m := s.methods[c.method]; m != nil && m.Largest != nil {
		return m.Largest(c.args)
	}
	return ShortAnswer
}

// begin starts a call. The reply of a method that panics, now or later, is a
// fault.
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

// panicked tells the operator what happened, and the client only that
// something did.
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
