package server

import (
	"context"
	"net/http"

	"example.com/atm"
	"example.com/atm/console"
	"example.com/atm/teller"
	"example.com/atm/teller/methods"
	"example.com/atm/xmlrpc"
)

// rpc is XML-RPC in front of the teller, with a method for each operation.
type rpc struct {
	*xmlrpc.Server[*session]
	*calls
}

// newRPC returns the methods. The page about them shows beside how each is called as JSON.
func newRPC(cfg *Config, c *calls, beside *jsonFace) (*rpc, error) {
	people := ""
	if cfg.Console {
		people = console.Prefix
	}
	x := &rpc{calls: c}
	var err error
	x.Server, err = xmlrpc.New(x.methods(), xmlrpc.Config[*session]{
		People:    people,
		Title:     "ATM",
		Limits:    cfg.Limits,
		Faulted:   x.faulted,
		Arrived:   x.arrived,
		Multicall: x.multicall,
		Hold:      x.holdAnswer,
		TooLarge:  x.tooLarge,
		Beside:    beside.face(),
		Words:     codeWords(),
		Log:       cfg.Log,
	})
	return x, err
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

// arrived checks the sender of a call again, and its signature, when the body has arrived.
func (c *rpc) arrived(w http.ResponseWriter, r *http.Request, in *session, body []byte) (*session,
	bool,
) {
	return in, c.checked(w, r, in, body)
}

func (c *rpc) multicall(in *session) *xmlrpc.Fault {
	if no := noKeyOnMulticall(in); no != "" {
		return &xmlrpc.Fault{Code: xmlrpc.InvalidParams, Text: no}
	}
	return nil
}

func (c *rpc) handler(op atm.Operation) func(context.Context, *session,
	[]xmlrpc.Value) xmlrpc.Reply {
	return func(ctx context.Context, in *session, args []xmlrpc.Value) xmlrpc.Reply {
		call := teller.Call{Operation: op, Args: arguments(args), Request: in.key}
		reply, err := c.begin(ctx, in, call)
		if err != nil {
			fault := &xmlrpc.Fault{Code: xmlrpc.InternalError, Text: sentence(err)}
			switch {
			case in.unsigned != nil:
				fault.Code = xmlrpc.InvalidRequest
			case isMalformed(err):
				fault.Code = xmlrpc.InvalidParams
			}
			return func() (xmlrpc.Value, *xmlrpc.Fault) { reply(); return xmlrpc.Value{}, fault }
		}
		return func() (xmlrpc.Value, *xmlrpc.Fault) { return dict(reply()), nil }
	}
}

// tooLarge answers a call whose answer might not fit into the answer of its multicall.
func (c *rpc) tooLarge(ctx context.Context, in *session, m *xmlrpc.Method[*session],
	args []xmlrpc.Value,
) xmlrpc.Reply {
	reply := c.refuseLarge(ctx, in, atm.Operation(m.Name), arguments(args))
	return func() (xmlrpc.Value, *xmlrpc.Fault) { return dict(reply()), nil }
}

// faulted records a call that the protocol refused before its handler ran.
func (c *rpc) faulted(ctx context.Context, in *session, m *xmlrpc.Method[*session],
	args []xmlrpc.Value, f *xmlrpc.Fault,
) func() {
	recorded := c.recordFault(ctx, in, atm.Operation(m.Name), arguments(args), f.Text)
	return func() { recorded() }
}

// wireValue is an argument as it would arrive.
func wireValue(a atm.Arg) xmlrpc.Value {
	v := xmlrpc.Value{Kind: wireKinds[a.Kind], Text: a.Text}
	for _, m := range a.Members {
		v.Members = append(v.Members, xmlrpc.Member{Name: m.Name, Value: wireValue(m.Arg)})
	}
	return v
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
