package xmlrpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Reply waits for the result of a call, which may not be durable yet. A multicall starts its
// calls in order before it waits for the first reply, so they can share one commit.
type Reply func() (Value, *Fault)

// answer is a Reply that returns v at once.
func answer(v Value) Reply { return func() (Value, *Fault) { return v, nil } }

// refuse is a Reply that returns f at once.
func refuse(f *Fault) Reply { return func() (Value, *Fault) { return Value{}, f } }

// A Param is one parameter of a method.
type Param struct {
	Name string

	// Kinds are the allowed kinds. The first one is the one that the documentation recommends.
	Kinds []Kind

	// Optional parameters come last. One is omitted if it is not sent, if it is nil, or if it is an
	// empty string, whatever its kinds: clients without nil must send an empty string before a
	// later parameter.
	Optional bool

	Help string
}

// A Method is a method for callers of type C.
type Method[C any] struct {
	Name    string
	Help    string
	Params  []Param
	Returns Kind

	// Example has the arguments of the call on the page. If it is empty, the page makes some up.
	Example []Value

	// Largest returns the largest size of the answer to a call on the wire, in bytes. Nil means
	// that no answer exceeds ShortAnswer. args are the unchecked arguments.
	Largest func(args []Value) int64

	// Handler starts a call. args has one value for each of Params, with Nil for an omitted one.
	// ctx is the context of the HTTP request. It ends when the client disconnects, which is no
	// reason to stop an operation that has begun.
	Handler func(ctx context.Context, caller C, args []Value) Reply
}

// required is the number of required parameters.
func (m *Method[C]) required() int {
	n := 0
	for n < len(m.Params) && !m.Params[n].Optional {
		n++
	}
	return n
}

// arguments checks the number and kinds of the sent arguments, and returns a new slice with a
// value for each parameter.
func (m *Method[C]) arguments(sent []Value) ([]Value, *Fault) {
	if len(sent) < m.required() || len(sent) > len(m.Params) {
		return nil, faultf(InvalidParams, "%s takes %s, not %d", m.Name, m.arity(), len(sent))
	}
	for i := range sent {
		if p := &m.Params[i]; !p.skipped(&sent[i]) && !p.takes(sent[i].Kind) {
			return nil, faultf(InvalidParams, "Parameter %s of %s must be %s, not %s", p.Name,
				m.Name, p.Type(), sent[i].Kind)
		}
	}
	for i := range sent {
		if m.Params[i].skipped(&sent[i]) {
			sent[i] = Value{}
		}
	}
	return append(sent, make([]Value, len(m.Params)-len(sent))...), nil
}

// skipped reports whether v stands for an omitted parameter.
func (p *Param) skipped(v *Value) bool {
	return p.Optional && (v.Kind == Nil || v.Kind == String && v.Text == "")
}

// arity describes how many parameters m takes.
func (m *Method[C]) arity() string {
	least, most := m.required(), len(m.Params)
	switch {
	case most == 0:
		return "no parameters"
	case least < most:
		return fmt.Sprintf("%d to %d parameters", least, most)
	case most == 1:
		return "1 parameter"
	}
	return fmt.Sprintf("%d parameters", most)
}

func (p *Param) takes(k Kind) bool {
	for _, kind := range p.Kinds {
		if kind == k {
			return true
		}
	}
	return false
}

// Type describes the allowed kinds, such as "string, int or double".
func (p *Param) Type() string {
	words := p.Kinds[0].String()
	for i, k := range p.Kinds[1:] {
		if i == len(p.Kinds)-2 {
			words += " or " + k.String()
		} else {
			words += ", " + k.String()
		}
	}
	return words
}

// signatures lists the ways to call m in the form of system.methodSignature: arrays of types,
// with that of the result first. For each number of parameters it has the recommended
// signature, and one for each other kind of each parameter. All combinations would be
// exponentially many.
func (m *Method[C]) signatures() Value {
	var all []Value
	for n := m.required(); n <= len(m.Params); n++ {
		params := m.Params[:n]
		recommended := make([]Value, 1+n)
		recommended[0] = StringValue(m.Returns.String())
		for i := range params {
			recommended[1+i] = StringValue(params[i].Kinds[0].String())
		}
		all = append(all, ArrayValue(recommended...))
		for i := range params {
			for _, k := range params[i].Kinds[1:] {
				other := append([]Value(nil), recommended...)
				other[1+i] = StringValue(k.String())
				all = append(all, ArrayValue(other...))
			}
		}
	}
	return ArrayValue(all...)
}

// check validates a declaration.
func (m *Method[C]) check() error {
	if !isMethodName([]byte(m.Name)) {
		return errors.New("its name is none that the specification allows")
	}
	if m.Handler == nil {
		return errors.New("it has no handler")
	}
	if int(m.Returns) >= len(kindNames) {
		return errors.New("what it returns is of no kind")
	}
	for i, p := range m.Params {
		if i > m.required() && !p.Optional {
			return fmt.Errorf("parameter %s is required but stands after an optional one", p.Name)
		}
		if len(p.Kinds) == 0 {
			return fmt.Errorf("parameter %s has no kind", p.Name)
		}
		for _, k := range p.Kinds {
			if k == Nil || int(k) >= len(kindNames) {
				return fmt.Errorf("parameter %s cannot be %s", p.Name, k)
			}
		}
	}
	if m.Example != nil {
		if _, fault := m.arguments(slices.Clone(m.Example)); fault != nil {
			return fmt.Errorf("its example does not fit: %s", fault.Text)
		}
	}
	return nil
}

// reserved reports whether a name is reserved for system methods.
func reserved(name string) bool { return strings.HasPrefix(name, "system.") }
