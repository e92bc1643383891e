package xmlrpc

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A caller is the type of callers in these tests.
type caller struct{ name string }

// A journal records what the methods of the test server did, in order.
type journal []string

func (j *journal) note(event string) { *j = append(*j, event) }

// newTestServer returns a server with methods of each shape, which record their calls in j.
func newTestServer(t testing.TB, j *journal, cfg Config[*caller]) *Server[*caller] {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	begin := func(event string) {
		if j != nil {
			j.note(event)
		}
	}
	texts := func(args []Value) string {
		words := make([]string, len(args))
		for i, v := range args {
			words[i] = v.Kind.String() + " " + v.Text
		}
		return strings.Join(words, ", ")
	}
	s, err := New([]Method[*caller]{
		{
			Name: "deposit", Help: "Puts money into an account.", Returns: Struct,
			Params: []Param{
				{Name: "account", Kinds: []Kind{Int, String}},
				{Name: "amount", Kinds: []Kind{String, Int, Double}},
				{Name: "pin", Kinds: []Kind{Int}, Optional: true},
				{Name: "request_id", Kinds: []Kind{String}, Optional: true},
			},
			Example: []Value{IntValue(100), StringValue("12.50")},
			Handler: func(_ context.Context, c *caller, args []Value) Reply {
				begin("begin " + args[0].Text)
				return func() (Value, *Fault) {
					begin("wait " + args[0].Text)
					return StringValue(c.name + ": " + texts(args)), nil
				}
			},
		},
		{
			Name: "whoami", Returns: String,
			Handler: func(_ context.Context, c *caller, _ []Value) Reply {
				return answer(StringValue(c.name))
			},
		},
		{
			Name: "refused", Returns: Nil,
			Handler: func(context.Context, *caller, []Value) Reply {
				return refuse(&Fault{7, "Because."})
			},
		},
		{
			Name: "panics", Returns: Nil,
			Handler: func(context.Context, *caller, []Value) Reply { panic("secret: at once") },
		},
		{
			Name: "panics.later", Returns: Nil,
			Handler: func(context.Context, *caller, []Value) Reply {
				return func() (Value, *Fault) { panic("secret: later") }
			},
		},
		{
			Name: "forgets", Returns: Nil,
			Handler: func(context.Context, *caller, []Value) Reply { return nil },
		},
	}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Server[C]) call(c C, method string, args ...Value) (Value, *Fault) {
	return s.begin(context.Background(), c, call{method, args})()
}

var alice = &caller{"alice"}

func TestArgumentsAreCheckedAgainstTheirDeclaration(t *testing.T) {
	s := newTestServer(t, nil, Config[*caller]{})
	double := Value{Kind: Double, Text: "25.50"}
	for _, tt := range []struct {
		args []Value
		want string
		code int
	}{
		{[]Value{IntValue(100), double}, "int 100, double 25.50, nil , nil ", 0},
		{
			[]Value{StringValue("100"), IntValue(5), IntValue(1), StringValue("id")},
			"string 100, int 5, int 1, string id", 0,
		},
		{
			[]Value{IntValue(1), IntValue(5), StringValue(""), StringValue("id")},
			"int 1, int 5, nil , string id", 0,
		},
		{[]Value{IntValue(1), IntValue(5), {}, StringValue("")}, "int 1, int 5, nil , nil ", 0},
		{[]Value{StringValue(""), IntValue(5)}, "string , int 5, nil , nil ", 0},
		{[]Value{IntValue(1)}, "deposit takes 2 to 4 parameters, not 1", InvalidParams},
		{nil, "deposit takes 2 to 4 parameters, not 0", InvalidParams},
		{make([]Value, 5), "deposit takes 2 to 4 parameters, not 5", InvalidParams},
		{
			[]Value{{}, IntValue(5)},
			"Parameter account of deposit must be int or string, not nil",
			InvalidParams,
		},
		{[]Value{IntValue(1), BoolValue(true)}, "Parameter amount of deposit must be string, int " +
			"or double, not boolean", InvalidParams},
		{[]Value{IntValue(1), IntValue(5), StringValue("x")}, "Parameter pin of deposit must be " +
			"int, not string", InvalidParams},
	} {
		v, fault := s.call(alice, "deposit", tt.args...)
		switch {
		case tt.code == 0 && (fault != nil || v.Text != "alice: "+tt.want):
			t.Errorf("%v: %v, %v, want %s", tt.args, v, fault, tt.want)
		case tt.code != 0 && !cmp.Equal(fault, &Fault{tt.code, tt.want}):
			t.Errorf("%v: %v, want %s", tt.args, fault, tt.want)
		}
	}
}

func TestWrongParametersOfAKnownMethodAreReported(t *testing.T) {
	var j journal
	s := newTestServer(t, nil, Config[*caller]{
		Faulted: func(_ context.Context, c *caller, m *Method[*caller], args []Value,
			f *Fault,
		) func() {
			j.note(c.name + " " + m.Name + " " + args[0].Text + " " + f.Text)
			return func() { j.note("waited") }
		},
	})
	s.call(alice, "whoami", StringValue("x"))
	s.call(alice, "whoami")
	s.call(alice, "refused")
	s.call(alice, "nosuch", StringValue("x"))
	s.call(alice, "system.listMethods", StringValue("x"))
	s.call(alice, multicallMethod, ArrayValue(packed(call{"whoami", []Value{StringValue("y")}})))
	want := journal{
		"alice whoami x whoami takes no parameters, not 1", "waited",
		"alice whoami y whoami takes no parameters, not 1", "waited",
	}
	if diff := cmp.Diff(want, j); diff != "" {
		t.Error(diff)
	}
}

func TestPanicIsANeutralFault(t *testing.T) {
	for _, method := range []string{"panics", "panics.later", "forgets"} {
		var log bytes.Buffer
		s := newTestServer(t, nil, Config[*caller]{Log: slog.New(slog.NewTextHandler(&log, nil))})
		_, fault := s.call(alice, method)
		if !cmp.Equal(fault, &Fault{InternalError, "Internal error"}) {
			t.Errorf("%s: %v", method, fault)
		}
		if !strings.Contains(log.String(), "method="+method+" ") || !strings.Contains(log.String(),
			"server_test.go") && method != "forgets" {
			t.Errorf("%s: the log does not say where: %s", method, &log)
		}
	}
}

func TestUnknownMethodIsAFault(t *testing.T) {
	s := newTestServer(t, nil, Config[*caller]{})
	if _, fault := s.call(alice, "nosuch"); !cmp.Equal(fault,
		&Fault{MethodNotFound, "There is no method nosuch"}) {
		t.Error(fault)
	}
}

func TestMulticallAnswersEachCallInOrder(t *testing.T) {
	var j journal
	s := newTestServer(t, &j, Config[*caller]{})
	deposit := func(account int64) Value {
		return packed(call{"deposit", []Value{IntValue(account), IntValue(5)}})
	}
	got, fault := s.call(alice, multicallMethod, ArrayValue(
		deposit(1),
		packed(call{"nosuch", nil}),
		packed(call{"deposit", []Value{IntValue(2)}}),
		packed(call{multicallMethod, []Value{ArrayValue(deposit(3))}}),
		packed(call{"panics.later", nil}),
		packed(call{"refused", nil}),
		deposit(4),
	))
	if fault != nil {
		t.Fatal(fault)
	}
	want := ArrayValue(
		ArrayValue(StringValue("alice: int 1, int 5, nil , nil ")),
		(&Fault{MethodNotFound, "There is no method nosuch"}).value(),
		(&Fault{InvalidParams, "deposit takes 2 to 4 parameters, not 1"}).value(),
		(&Fault{InvalidRequest, "A multicall cannot contain a multicall"}).value(),
		(&Fault{InternalError, "Internal error"}).value(),
		(&Fault{7, "Because."}).value(),
		ArrayValue(StringValue("alice: int 4, int 5, nil , nil ")),
	)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// All calls have begun before any reply is awaited.
	if diff := cmp.Diff(journal{"begin 1", "begin 4", "wait 1", "wait 4"}, j); diff != "" {
		t.Error(diff)
	}
}

func TestMulticallIsCheckedWhole(t *testing.T) {
	good := packed(call{"deposit", []Value{IntValue(1), IntValue(5)}})
	name := Member{"methodName", StringValue("whoami")}
	params := Member{"params", ArrayValue()}
	hundred := make([]Value, 100)
	for i := range hundred {
		hundred[i] = packed(call{"whoami", nil})
	}
	for _, tt := range []struct {
		what string
		args []Value
		code int
	}{
		{"nothing", nil, InvalidParams},
		{"two arrays", []Value{ArrayValue(), ArrayValue()}, InvalidParams},
		{"a struct", []Value{good}, InvalidParams},
		{"an int in the array", []Value{ArrayValue(good, IntValue(1))}, InvalidParams},
		{"no params", []Value{ArrayValue(good, StructValue(name))}, InvalidParams},
		{"no name", []Value{ArrayValue(good, StructValue(params))}, InvalidParams},
		{
			"a member too many",
			[]Value{ArrayValue(good, StructValue(name, params, Member{"x", IntValue(1)}))},
			InvalidParams,
		},
		{
			"a name that is no string",
			[]Value{ArrayValue(good, StructValue(Member{"methodName", IntValue(1)}, params))},
			InvalidParams,
		},
		{
			"params that are no array",
			[]Value{ArrayValue(good, StructValue(name, Member{"params", StructValue()}))},
			InvalidParams,
		},
		{"101 calls", []Value{ArrayValue(append(hundred, good)...)}, InvalidRequest},
	} {
		var j journal
		s := newTestServer(t, &j, Config[*caller]{})
		if _, fault := s.call(alice, multicallMethod, tt.args...); fault == nil ||
			fault.Code != tt.code {
			t.Errorf("%s: %v, want code %d", tt.what, fault, tt.code)
		}
		if len(j) > 0 {
			t.Errorf("%s: %v happened in spite of the fault", tt.what, j)
		}
	}
	s := newTestServer(t, nil, Config[*caller]{})
	if v, fault := s.call(alice, multicallMethod, ArrayValue(hundred...)); fault != nil ||
		len(v.Items) != 100 {
		t.Errorf("100 calls: %d results, %v", len(v.Items), fault)
	}
	if v, fault := s.call(alice, multicallMethod, ArrayValue()); fault != nil || v.Kind != Array ||
		len(v.Items) != 0 {
		t.Errorf("no calls: %v, %v", v, fault)
	}
}

func TestMulticallCanBeRefused(t *testing.T) {
	var j journal
	no := &Fault{InvalidParams, "Not with this header."}
	s := newTestServer(t, &j, Config[*caller]{Multicall: func(c *caller) *Fault {
		if c == alice {
			return no
		}
		return nil
	}})
	calls := ArrayValue(packed(call{"deposit", []Value{IntValue(1), IntValue(5)}}))
	if _, fault := s.call(alice, multicallMethod, calls); fault != no || len(j) > 0 {
		t.Errorf("%v, %v", fault, j)
	}
	if _, fault := s.call(&caller{"bob"}, multicallMethod, calls); fault != nil {
		t.Error(fault)
	}
}

func TestIntrospectionDescribesEveryMethod(t *testing.T) {
	s := newTestServer(t, nil, Config[*caller]{})
	strs := func(words ...string) Value {
		v := ArrayValue()
		for _, w := range words {
			v.Items = append(v.Items, StringValue(w))
		}
		return v
	}
	for _, tt := range []struct {
		method string
		args   []Value
		want   Value
	}{
		{"system.listMethods", nil, strs("deposit", "forgets", "panics", "panics.later", "refused",
			"system.getCapabilities",
			"system.listMethods", "system.methodHelp", "system.methodSignature", "system.multicall",
			"whoami")},
		{
			"system.methodHelp",
			[]Value{StringValue("deposit")},
			StringValue("Puts money into an account."),
		},
		{"system.methodHelp", []Value{StringValue("whoami")}, StringValue("")},
		{"system.methodSignature", []Value{StringValue("whoami")}, ArrayValue(strs("string"))},
		{
			"system.methodSignature",
			[]Value{StringValue("system.multicall")},
			ArrayValue(strs("array", "array")),
		},
		{"system.methodSignature", []Value{StringValue("deposit")}, ArrayValue(
			strs("struct", "int", "string"),
			strs("struct", "string", "string"),
			strs("struct", "int", "int"),
			strs("struct", "int", "double"),
			strs("struct", "int", "string", "int"),
			strs("struct", "string", "string", "int"),
			strs("struct", "int", "int", "int"),
			strs("struct", "int", "double", "int"),
			strs("struct", "int", "string", "int", "string"),
			strs("struct", "string", "string", "int", "string"),
			strs("struct", "int", "int", "int", "string"),
			strs("struct", "int", "double", "int", "string"),
		)},
	} {
		got, fault := s.call(alice, tt.method, tt.args...)
		if fault != nil {
			t.Errorf("%s: %v", tt.method, fault)
		} else if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.method, diff)
		}
	}
	for _, method := range []string{"system.methodHelp", "system.methodSignature"} {
		if _, fault := s.call(alice, method, StringValue("nosuch")); fault == nil ||
			fault.Code != MethodNotFound {
			t.Errorf("%s of an unknown method: %v", method, fault)
		}
	}
	capabilities, fault := s.call(alice, "system.getCapabilities")
	if fault != nil {
		t.Fatal(fault)
	}
	for _, name := range []string{
		"xmlrpc", "faults_interop", "introspection", "system.multicall",
		"nil",
	} {
		c, _ := capabilities.Member(name)
		url, _ := c.Member("specUrl")
		version, _ := c.Member("specVersion")
		if url.Kind != String || url.Text == "" || version.Kind != Int {
			t.Errorf("capability %s: %v", name, c)
		}
	}
}

func TestNewRefusesAMethodThatCannotBeCalled(t *testing.T) {
	handler := func(context.Context, *caller, []Value) Reply { return answer(Value{}) }
	param := func(name string, optional bool, kinds ...Kind) Param {
		return Param{Name: name, Kinds: kinds, Optional: optional}
	}
	good := Method[*caller]{Name: "good", Handler: handler}
	for what, methods := range map[string][]Method[*caller]{
		"declared twice": {good, good},
		"reserved":       {{Name: "system.reboot", Handler: handler}},
		"name":           {{Name: "no good", Handler: handler}},
		"no handler":     {{Name: "m"}},
		"returns":        {{Name: "m", Handler: handler, Returns: 99}},
		"stands after an optional": {{
			Name: "m", Handler: handler,
			Params: []Param{param("a", true, Int), param("b", false, Int)},
		}},
		"has no kind": {{
			Name: "m", Handler: handler,
			Params: []Param{param("a", false)},
		}},
		"cannot be nil": {{
			Name: "m", Handler: handler,
			Params: []Param{param("a", false, Nil)},
		}},
		"its example does not fit": {{Name: "m", Handler: handler, Example: []Value{IntValue(1)}}},
	} {
		if _, err := New(methods, Config[*caller]{}); err == nil ||
			!strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := New([]Method[*caller]{good},
		Config[*caller]{Limits: Limits{Calls: -1}}); err == nil {
		t.Error("a negative limit was accepted")
	}
}
