package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"example.com/atm"
	"example.com/atm/console"
	"example.com/atm/internal/budget"
	"example.com/atm/server/metrics"
	"example.com/atm/teller"
	"example.com/atm/teller/methods"
	"example.com/atm/xmlrpc"
)

// rpc is XML-RPC in front of the teller, with a method for each operation. Each call is
// counted, logged and recorded.
type rpc struct {
	*xmlrpc.Server[*session]

	teller  *teller.Teller
	metrics *metrics.Metrics
	log     *slog.Logger
	again   func(http.ResponseWriter, *http.Request, *atm.Caller) *atm.Caller
	answers *budget.Budget // bytes of answers in transit
	bodies  *budget.Budget // bytes of large bodies of callers
}

// newRPC returns the methods. again checks the sender of a call again when its body has
// arrived.
func newRPC(cfg *Config, again func(http.ResponseWriter, *http.Request, *atm.Caller) *atm.Caller,
) (*rpc, error) {
	c := &rpc{
		teller: cfg.Teller, metrics: cfg.Metrics, log: cfg.Log, again: again,
		bodies: budget.New(max(bodiesBytes, 2*cfg.Limits.BodyBytes),
			max(bodiesShare, cfg.Limits.BodyBytes)),
		answers: budget.New(max(answersBytes, 2*cfg.Limits.AnswerBytes),
			max(answersShare, cfg.Limits.AnswerBytes)),
	}
	people := ""
	if cfg.Console {
		people = console.Prefix
	}
	var err error
	c.Server, err = xmlrpc.New(c.methods(), xmlrpc.Config[*session]{
		People:    people,
		Title:     "ATM",
		Limits:    cfg.Limits,
		Faulted:   c.faulted,
		Arrived:   c.arrived,
		Multicall: noKeyOnMulticall,
		Hold:      c.holdAnswer,
		TooLarge:  c.tooLarge,
		Log:       cfg.Log,
	})
	return c, err
}

// methods makes an XML-RPC method for each operation of the teller.
func (c *rpc) methods() []xmlrpc.Method[*session] {
	var list []xmlrpc.Method[*session]
	for _, op := range methods.All() {
		m := xmlrpc.Method[*session]{
			Name:    string(op.Name),
			Help:    op.Help,
			Returns: xmlrpc.Struct,
			Handler: c.handler(op.Name),
		}
		if !op.HasShortAnswers() {
			m.Largest = func(args []xmlrpc.Value) int64 { return op.AnswerBytes(arguments(args)) }
		}
		whole := true // the example has a value for each parameter up to here
		for _, p := range op.Params {
			param := xmlrpc.Param{Name: p.Name, Optional: p.Optional, Help: p.Help}
			for _, k := range p.Kinds {
				param.Kinds = append(param.Kinds, wireKinds[k])
			}
			m.Params = append(m.Params, param)
			if whole = whole && p.Example.Given(); whole {
				m.Example = append(m.Example, wireValue(p.Example))
			}
		}
		list = append(list, m)
	}
	return list
}

var wireKinds = map[atm.Kind]xmlrpc.Kind{
	atm.Int:    xmlrpc.Int,
	atm.Double: xmlrpc.Double,
	atm.String: xmlrpc.String,
	atm.Struct: xmlrpc.Struct,
}

// arrived checks the sender of a call again when the body has arrived.
func (c *rpc) arrived(w http.ResponseWriter, r *http.Request, in *session) (*session, bool) {
	in.caller = c.again(w, r, in.caller)
	return in, in.caller != nil
}

// wireValue is an argument as it would arrive.
func wireValue(a atm.Arg) xmlrpc.Value {
	v := xmlrpc.Value{Kind: wireKinds[a.Kind], Text: a.Text}
	for _, m := range a.Members {
		v.Members = append(v.Members, xmlrpc.Member{Name: m.Name, Value: wireValue(m.Arg)})
	}
	return v
}

// noKeyOnMulticall refuses a multicall with a request id in its header, because one id cannot
// identify many intentions.
func noKeyOnMulticall(in *session) *xmlrpc.Fault {
	if in.key == "" {
		return nil
	}
	return &xmlrpc.Fault{
		Code: xmlrpc.InvalidParams,
		Text: "Idempotency-Key does not go with a multicall: give each call a request_id",
	}
}

func (c *rpc) handler(op atm.Operation) func(context.Context, *session,
	[]xmlrpc.Value) xmlrpc.Reply {
	return func(ctx context.Context, in *session, args []xmlrpc.Value) xmlrpc.Reply {
		call := teller.Call{Operation: op, Args: arguments(args), Request: in.key}
		reply, err := c.begin(ctx, in, call)
		if err != nil {
			fault := faultOf(err)
			return func() (xmlrpc.Value, *xmlrpc.Fault) { reply(); return xmlrpc.Value{}, fault }
		}
		return func() (xmlrpc.Value, *xmlrpc.Fault) { return dict(reply()), nil }
	}
}

// begin starts a call, counts it and logs it. If it returns an error, there was no operation,
// and the reply waits until that is recorded.
func (c *rpc) begin(ctx context.Context, in *session, call teller.Call) (teller.Reply, error) {
	begun := time.Now()
	reply, err := c.teller.Begin(ctx, in.caller, call)
	if errors.Is(err, teller.ErrUnavailable) {
		c.log.WarnContext(ctx, "operation could not read",
			slog.String("op", string(call.Operation)), slog.String("trace", in.trace),
			slog.Any("error", err))
		reply, err = func() atm.Status { return teller.Unavailable }, nil
	}
	if err != nil {
		return c.refused(ctx, in, call, err), err
	}
	return func() atm.Status {
		status := reply()
		elapsed := time.Since(begun)
		c.metrics.Operation(call.Operation, status.Code, elapsed)
		if c.log.Enabled(ctx, slog.LevelDebug) {
			c.log.DebugContext(ctx, "operation done",
				slog.String("op", string(call.Operation)),
				slog.String("code", string(status.Code)),
				slog.String("subject", in.caller.Subject),
				slog.String("receipt", status.Receipt),
				slog.String("trace", in.trace), slog.Duration("elapsed", elapsed))
		}
		return status
	}, nil
}

// Memory for answers that are being sent, except short ones. A caller that stops reading is cut
// off after StallTimeout.
const (
	answersBytes = 32 << 20 // for all callers
	answersShare = 4 << 20  // for one caller, over all its connections: two of the largest answers
	answersWait  = 2 * time.Second
)

// holdAnswer reserves memory for an answer.
func (c *rpc) holdAnswer(in *session, bytes int64) (release func(), ok bool) {
	return c.answers.Take(in.caller.Subject, bytes, answersWait)
}

// Memory for bodies that are arriving or wait for their turn, except small ones.
const (
	smallBody   = 16 << 10
	bodiesBytes = 64 << 20 // for all callers
	bodiesShare = 16 << 20 // for one caller, over all its connections
)

// holdBody reserves memory for the body of a call.
func (c *rpc) holdBody(caller *atm.Caller, bytes int64) (release func(), ok bool) {
	if bytes <= smallBody {
		return func() {}, true
	}
	return c.bodies.Take(caller.Subject, bytes, answersWait)
}

// tooLarge answers a call whose answer might not fit into the answer of its multicall.
func (c *rpc) tooLarge(ctx context.Context, in *session, m *xmlrpc.Method[*session],
	args []xmlrpc.Value,
) xmlrpc.Reply {
	op := atm.Operation(m.Name)
	recorded := c.teller.TooLarge(ctx, in.caller, teller.Call{
		Operation: op,
		Args:      arguments(args),
	})
	return func() (xmlrpc.Value, *xmlrpc.Fault) {
		status := recorded()
		c.metrics.Operation(op, status.Code, 0)
		return dict(status), nil
	}
}

// refused begins to record a call that did not become an operation.
func (c *rpc) refused(ctx context.Context, in *session, call teller.Call,
	err error,
) teller.Reply {
	var bad *teller.MalformedError
	if !errors.As(err, &bad) {
		c.log.ErrorContext(ctx, "operation could not begin",
			slog.String("op", string(call.Operation)), slog.String("trace", in.trace),
			slog.Any("error", err))
	}
	c.metrics.Operation(call.Operation, atm.Fault, 0)
	return c.teller.Malformed(ctx, in.caller, call, faultOf(err).Text)
}

// faultOf is the answer to a call that did not become an operation.
func faultOf(err error) *xmlrpc.Fault {
	var bad *teller.MalformedError
	if errors.As(err, &bad) {
		return &xmlrpc.Fault{Code: xmlrpc.InvalidParams, Text: bad.Error()}
	}
	return &xmlrpc.Fault{Code: xmlrpc.InternalError, Text: "Internal error"}
}

// faulted records a call that the protocol refused before its handler ran.
func (c *rpc) faulted(ctx context.Context, in *session, m *xmlrpc.Method[*session],
	args []xmlrpc.Value, f *xmlrpc.Fault,
) func() {
	op := atm.Operation(m.Name)
	c.metrics.Operation(op, atm.Fault, 0)
	recorded := c.teller.Malformed(ctx, in.caller, teller.Call{
		Operation: op,
		Args:      arguments(args),
	}, f.Text)
	return func() { recorded() }
}

// arguments converts values to arguments of the teller, with their text unchanged.
func arguments(values []xmlrpc.Value) []atm.Arg {
	args := make([]atm.Arg, len(values))
	for i, v := range values {
		args[i] = argument(v)
		if v.Kind == xmlrpc.Struct {
			args[i] = atm.Arg{Kind: atm.Struct, Members: make([]atm.Member, len(v.Members))}
			for j, m := range v.Members {
				args[i].Members[j] = atm.Member{Name: m.Name, Arg: argument(m.Value)}
			}
		}
	}
	return args
}

// argument converts a scalar. A value of a kind that no operation accepts becomes an empty
// struct, which no operation accepts there.
func argument(v xmlrpc.Value) atm.Arg {
	switch v.Kind {
	case xmlrpc.Nil:
		return atm.Arg{}
	case xmlrpc.Int:
		return atm.Arg{Kind: atm.Int, Text: v.Text}
	case xmlrpc.Double:
		return atm.Arg{Kind: atm.Double, Text: v.Text}
	case xmlrpc.String:
		return atm.Arg{Kind: atm.String, Text: v.Text}
	}
	return atm.Arg{Kind: atm.Struct}
}

// dict is the status dict on the wire.
func dict(s atm.Status) xmlrpc.Value {
	return xmlrpc.StructValue(
		xmlrpc.Member{Name: "status", Value: xmlrpc.StringValue(s.Word())},
		xmlrpc.Member{Name: "reason", Value: xmlrpc.StringValue(s.Reason)},
		xmlrpc.Member{Name: "result", Value: value(s.Result)},
		xmlrpc.Member{Name: "code", Value: xmlrpc.StringValue(string(s.Code))},
		xmlrpc.Member{Name: "receipt", Value: xmlrpc.StringValue(s.Receipt)},
	)
}

// value converts a result to the types of the protocol.
func value(result any) xmlrpc.Value {
	switch v := result.(type) {
	case string:
		return xmlrpc.StringValue(v)
	case atm.Private:
		return xmlrpc.StringValue(string(v))
	case int64:
		return xmlrpc.IntValue(v)
	case bool:
		return xmlrpc.BoolValue(v)
	case []string:
		return array(v)
	case []atm.Record:
		return array(v)
	case atm.Record:
		members := make([]xmlrpc.Member, len(v))
		for i, field := range v {
			members[i] = xmlrpc.Member{Name: field.Name, Value: value(field.Value)}
		}
		return xmlrpc.StructValue(members...)
	}
	return xmlrpc.StringValue("")
}

func array[T any](elements []T) xmlrpc.Value {
	items := make([]xmlrpc.Value, len(elements))
	for i, e := range elements {
		items[i] = value(e)
	}
	return xmlrpc.ArrayValue(items...)
}
