package jsonapi

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"example.com/atm"
)

// An Answer is a status dict, and the HTTP status that it travels with.
type Answer struct {
	atm.Status

	// HTTP is the HTTP status; 0 for that of the code.
	HTTP int
}

// A Reply waits for the answer to a call, which may not be durable yet. A multicall starts its
// calls in order before it waits for the first reply, so they can share one commit.
type Reply func() Answer

// A Param is one parameter of a method.
type Param struct {
	Name     string
	Kinds    []atm.Kind // the first one is the one that the document recommends
	Optional bool
	Help     string
	Example  atm.Arg // not given for none

	// Members are the members of a struct, and the kinds of each; nil for a struct whose members
	// the method checks.
	Members map[string][]atm.Kind
}

// A Method is a method for callers of type C.
type Method[C any] struct {
	Name   string
	Help   string
	Params []Param

	// Structured says that the result may be an object or an array. It is a string otherwise.
	Structured bool

	// Result is an example of a structured result, which has every field: strings, int64, bool,
	// []string, atm.Record, []atm.Record of one, and []any of examples where there are several
	// types. Nil for one that is not described.
	Result any

	// Keyed says that the header Idempotency-Key names the intention of a call.
	Keyed bool

	// Largest returns the largest size of the answer to a call on the wire, in bytes. Nil means
	// that it is short. args are the unchecked arguments.
	Largest func(args []atm.Arg) int64

	// Handler starts a call. args has one argument for each of Params.
	Handler func(ctx context.Context, caller C, args []atm.Arg) Reply
}

// arguments puts named arguments in the order of the parameters. A fault says what is wrong with
// them; the arguments are then those that the method has, unchecked.
func (m *Method[C]) arguments(named *value) (args []atm.Arg, fault string) {
	args = make([]atm.Arg, len(m.Params))
	kinds := make([]kind, len(m.Params))
	for i := range named.members {
		sent := &named.members[i]
		at := slices.IndexFunc(m.Params, func(p Param) bool { return p.Name == sent.name })
		if at < 0 {
			if fault == "" {
				fault = fmt.Sprintf("%s has no parameter %s", m.Name, shown(sent.name))
			}
			continue
		}
		args[at], kinds[at] = sent.value.arg(), sent.value.kind
	}
	for i := range args {
		p := &m.Params[i]
		if p.Optional && !args[i].Given() || fault != "" {
			continue
		}
		if kinds[i] == null || !slices.Contains(p.Kinds, args[i].Kind) ||
			kinds[i] == boolean || kinds[i] == array {
			fault = fmt.Sprintf("Parameter %s of %s must be %s, not %s", p.Name, m.Name, p.words(),
				kindNames[kinds[i]])
		}
	}
	if fault != "" {
		return args, fault
	}
	for i := range args {
		if m.Params[i].Optional && !args[i].Given() {
			args[i] = atm.Arg{}
		}
	}
	return args, ""
}

// argWords are the words for the kinds of arguments.
var argWords = map[atm.Kind]string{
	atm.Int: "int", atm.Double: "double", atm.String: "string", atm.Struct: "struct",
}

// words describes the allowed kinds, such as "string, int or double".
func (p *Param) words() string {
	words := make([]string, len(p.Kinds))
	for i, k := range p.Kinds {
		words[i] = argWords[k]
	}
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// check validates a declaration.
func (m *Method[C]) check() error {
	if m.Name == "" || m.Handler == nil || strings.HasPrefix(m.Name, "system.") {
		return fmt.Errorf("jsonapi: method %q cannot be served", m.Name)
	}
	for i := range m.Params {
		p := &m.Params[i]
		if len(p.Kinds) == 0 || slices.ContainsFunc(p.Kinds, func(k atm.Kind) bool {
			return argWords[k] == ""
		}) {
			return fmt.Errorf("jsonapi: parameter %s of %s has no kind", p.Name, m.Name)
		}
		if slices.ContainsFunc(m.Params[:i], func(o Param) bool { return o.Name == p.Name }) {
			return fmt.Errorf("jsonapi: %s has two parameters called %s", m.Name, p.Name)
		}
	}
	return nil
}
