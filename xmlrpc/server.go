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

	// Title is the heading of the page. The default is "XML-RPC".
	Title string

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
	s := &Server[C]{cfg: cfg, methods: make(map[string]*Method[C]), large: make(chan struct{}, limits.LargeCalls)}
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
	if s.page, err = newPage(cfg.Title, all); err != nil {
		return nil, err
	}
	return s, nil
}

// serve carries out the call in body and appends the answer to dst.
func (s *Server[C]) serve(ctx context.Context, dst, body []byte, charset string, caller C) []byte {
	c, fault := decodeCall(body, charset, s.cfg.Limits)
	if fault != nil {
		return appendFault(dst, fault)
	}
	v, fault := s.begin(ctx, caller, c)()
	if fault != nil {
		return appendFault(dst, fault)
	}
	return appendResponse(dst, v)
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
