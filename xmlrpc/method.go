package xmlrpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Reply is an answer that may still be on its way to the disk; calling it
// waits. So a multicall starts its calls in order before it waits for the
// first, and they can share one commit.
type Reply func() (Value, *Fault)

// answer is a Reply that waits for nothing.
func answer(v Value) Reply { return func() (Value, *Fault) { return v, nil } }

// refuse is a Reply that waits for nothing.
func refuse(f *Fault) Reply { return func() (Value, *Fault) { return Value{}, f } }

// A Param is one parameter of a method.
type Param struct {
	Name string

	// Kinds are what the parameter may be; the first one is what the
	// documentation recommends.
	Kinds []Kind

	// Optional parameters stand last. One is skipped when it is not sent, when
	// it is nil, and, whatever its kinds, when it is an empty string, which
	// clients without nil have to send in front of a later one.
	Optional bool

	Help string
}

// A Method is what callers of type C may call.
type Method[C any] struct {
	Name    string
	Help    string
	Params  []Param
	Returns Kind

	// Example are the arguments of the call that the page shows. Without them
	// the page makes some up.
	Example []Value

	// Largest returns how many bytes the answer to a call may have on the wire. Nil means
	// that no answer has more than ShortAnswer. args are as they were sent, unchecked.
	Largest func(args []Value) int64

	// Handler starts a call. args has one value for each of Params, with Nil
	// for an optional one that was skipped. The context is that of the HTTP
	// request: it ends when the client goes away, which is no reason to leave
	// half done what has begun.
	Handler func(ctx context.Context, caller C, args []Value) Reply
}

// required is how many parameters must be sent.
func (m *Method[C]) required() int {
	n := 0
	for n < len(m.Params) && !m.Params[n].Optional {
		n++
	}
	return n
}

// arguments checks the number and kinds of what was sent, and makes of it, in its own
// memory, a value for each parameter.
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

// skipped reports whether v says that the parameter is left out.
func (p *Param) skipped(v *Value) bool {
	return p.Optional && (v.Kind == Nil || v.Kind == String && v.Text == "")
}

// arity says in words how many parameters m takes.
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

// Type says in words what the parameter may be, such as "string, int or
// double".
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

// signatures lists the ways to call m as system.methodSignature tells them:
// arrays of types, that of the result first. For each number of parameters
// there is the recommended signature, and one for each other kind that each
// single parameter takes. All combinations would be exponentially many.
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

// check reports what is wrong with a declaration.
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

// reserved reports whether the name belongs to the methods that every server
// has.
func reserved(name string) bool { return strings.HasPrefix(name, "system.") }
