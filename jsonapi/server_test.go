package jsonapi

import (
	"bytes"
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"example.com/atm"
)

// recorded is what a server of a test was asked and told.
type recorded struct {
	calls  []string // method and the texts of its arguments
	faults []string
	held   []int64
	full   bool // there is no memory for answers
}

// newServer has a method for each kind of answer.
func newServer(t *testing.T, r *recorded) *Server[string] {
	t.Helper()
	handler := func(result any) func(context.Context, string, []atm.Arg) Reply {
		return func(_ context.Context, _ string, args []atm.Arg) Reply {
			words := []string{}
			for _, a := range args {
				words = append(words, a.Text)
			}
			r.calls = append(r.calls, strings.Join(words, "|"))
			return ready(Answer{Status: atm.Status{Code: atm.OK, Result: result, Receipt: "1 x"}})
		}
	}
	number := []atm.Kind{atm.Int, atm.String}
	s, err := New([]Method[string]{
		{
			Name: "pay", Help: "Pays.", Keyed: true, Handler: handler("1.00"), Params: []Param{
				{Name: "account", Kinds: number, Help: "Account.", Example: example("7")},
				{
					Name: "amount", Kinds: []atm.Kind{atm.String, atm.Int, atm.Double},
					Help: "Amount.", Example: example("1.00"),
				},
				{Name: "memo", Kinds: []atm.Kind{atm.String}, Optional: true, Help: "Memo."},
			},
		},
		{
			Name: "list", Help: "Lists.", Structured: true,
			Handler: handler([]atm.Record{{{Name: "n", Value: int64(1)}}}),
			Params: []Param{{
				Name: "page", Kinds: []atm.Kind{atm.Struct}, Optional: true, Help: "Page.",
			}},
			Largest: func([]atm.Arg) int64 { return 1 << 20 },
		},
		{Name: "break", Help: "Breaks.", Handler: func(context.Context, string, []atm.Arg) Reply {
			return func() Answer { panic("a secret") }
		}},
	}, Config[string]{
		Faulted: func(_ context.Context, _ string, m *Method[string], args []atm.Arg, fault string,
		) func() string {
			r.faults = append(r.faults, fault)
			return func() string { return "2 y" }
		},
		TooLarge: func(context.Context, string, *Method[string], []atm.Arg) Reply {
			return ready(Answer{Status: atm.Status{Code: atm.AnswerTooLarge}})
		},
		Hold: func(_ string, n int64) (func(), bool) {
			r.held = append(r.held, n)
			return func() {}, !r.full
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func example(s string) atm.Arg { return atm.Arg{Kind: atm.String, Text: s} }

// ask sends a call and decodes the answer.
func ask(t *testing.T, s *Server[string], method, body string) (int, map[string]any) {
	t.Helper()
	out, ok := s.Answer(t.Context(), nil, "caller", method, []byte(body))
	if !ok {
		return 0, nil
	}
	out.Release()
	var dict map[string]any
	if err := json.Unmarshal(out.Body, &dict); err != nil {
		t.Fatalf("%s: %v", out.Body, err)
	}
	return out.HTTP, dict
}

func TestArgumentsGoByName(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`{"account":7,"amount":"1.00"}`, "7|1.00|"},
		{`{"memo":"m","amount":1e2,"account":"7"}`, "7|1e2|m"},
		{`{"account":7,"amount":1,"memo":null}`, "7|1|"},
		{`{"account":7,"amount":1,"memo":""}`, "7|1|"},
	} {
		r := &recorded{}
		if status, dict := ask(t, newServer(t, r), "pay", tt.body); status != 200 ||
			!slices.Equal(r.calls, []string{tt.want}) || dict["result"] != "1.00" {
			t.Errorf("%s: %d %v, called with %q", tt.body, status, dict, r.calls)
		}
	}
}

func TestWrongArgumentsAreRecordedFaults(t *testing.T) {
	for _, tt := range []struct{ body, fault string }{
		{`{}`, "Parameter account of pay must be int or string, not nil"},
		{`{"account":null,"amount":1}`, "Parameter account of pay must be int or string, not nil"},
		{`{"account":1.5,"amount":1}`, "Parameter account of pay must be int or string, not double"},
		{`{"account":1e2,"amount":1}`, "Parameter account of pay must be int or string, not double"},
		{`{"account":1,"amount":true}`, "Parameter amount of pay must be string, int or double, not boolean"},
		{`{"account":1,"amount":[]}`, "Parameter amount of pay must be string, int or double, not array"},
		{`{"account":1,"amount":{}}`, "Parameter amount of pay must be string, int or double, not struct"},
		{`{"account":1,"amount":1,"memo":1}`, "Parameter memo of pay must be string, not int"},
		{`{"account":1,"amount":1,"memo":false}`, "Parameter memo of pay must be string, not boolean"},
		{`{"account":1,"amount":1,"memos":""}`, `pay has no parameter "memos"`},
		{`{"account":1,"amount":1,"Memo":"x"}`, `pay has no parameter "Memo"`},
		{`{"account":1,"amount":1,"other":null}`, `pay has no parameter "other"`},
	} {
		r := &recorded{}
		status, dict := ask(t, newServer(t, r), "pay", tt.body)
		if status != 422 || dict["code"] != "FAULT" || dict["reason"] != tt.fault ||
			dict["receipt"] != "2 y" || dict["status"] != "ERROR" || len(r.calls) != 0 ||
			!slices.Equal(r.faults, []string{tt.fault}) {
			t.Errorf("%s: %d %v, recorded %q", tt.body, status, dict, r.faults)
		}
	}
}

func TestCallThatReachesNoMethodIsAnsweredInTheSameShape(t *testing.T) {
	for _, tt := range []struct {
		method, body string
		want         int
	}{
		{"pays", "{}", http.StatusNotFound},
		{"", "{}", http.StatusNotFound},
		{"system.listMethods", "{}", http.StatusNotFound},
		{"pay", "{", http.StatusBadRequest},
		{"break", "{}", http.StatusInternalServerError},
		{multicallMethod, "{}", http.StatusUnprocessableEntity},
		{multicallMethod, `{"calls":[{"method":"pay","params":[]}]}`, http.StatusUnprocessableEntity},
		{multicallMethod, `{"calls":[{"method":"pay","param":{}}]}`, http.StatusUnprocessableEntity},
		{multicallMethod, `{"calls":[{"method":1}]}`, http.StatusUnprocessableEntity},
		{multicallMethod, `{"calls":["pay"]}`, http.StatusUnprocessableEntity},
		{multicallMethod, `{"calls":[],"x":1}`, http.StatusUnprocessableEntity},
		{
			multicallMethod, `{"calls":[` + strings.Repeat(`{"method":"pay"},`, 100) + `{"method":"pay"}]}`,
			http.StatusUnprocessableEntity,
		},
	} {
		r := &recorded{}
		status, dict := ask(t, newServer(t, r), tt.method, tt.body)
		if status != tt.want || dict["code"] != "FAULT" || dict["status"] != "ERROR" ||
			dict["type"] != "/#FAULT" || dict["detail"] != dict["reason"] ||
			strings.Contains(dict["reason"].(string), "secret") || len(r.calls)+len(r.faults) > 0 {
			t.Errorf("%s %.80s: %d %v", tt.method, tt.body, status, dict)
		}
	}
}

func TestMulticallAnswersEachCallInOrder(t *testing.T) {
	r := &recorded{}
	s := newServer(t, r)
	status, dict := ask(t, s, multicallMethod, `{"calls":[
		{"method":"pay","params":{"account":1,"amount":1}}, {"method":"list"},
		{"method":"system.multicall"}, {"method":"none"}, {"method":"break"},
		{"method":"list","params":{"page":{}}}, {"method":"list"}, {"method":"pay"},
		{"method":"pay","params":{"account":2,"amount":1}}]}`)
	var codes []string
	results, _ := dict["results"].([]any)
	for _, item := range results {
		codes = append(codes, item.(map[string]any)["code"].(string))
	}
	want := []string{"OK", "OK", "FAULT", "FAULT", "FAULT", "OK", "OK", "FAULT", "OK"}
	if status != 200 || !slices.Equal(codes, want) ||
		!slices.Equal(r.calls, []string{"1|1|", "", "", "", "2|1|"}) {
		t.Errorf("%d %v, calls %q", status, codes, r.calls)
	}
}

func TestAnswerThatMightNotFitIsRefusedBeforeItRuns(t *testing.T) {
	r := &recorded{}
	s := newServer(t, r)
	s.cfg.Limits.AnswerBytes = 1<<20 + 3*shortAnswer
	_, dict := ask(t, s, multicallMethod, `{"calls":[{"method":"list"},{"method":"list"}]}`)
	results := dict["results"].([]any)
	if len(r.calls) != 2 { // the first answer is small, so the second one fits
		t.Errorf("%d calls, %v", len(r.calls), results)
	}
	s.cfg.Limits.AnswerBytes = 1 << 20
	_, dict = ask(t, s, multicallMethod, `{"calls":[{"method":"list"}]}`)
	if item := dict["results"].([]any)[0].(map[string]any); item["code"] != "ANSWER_TOO_LARGE" {
		t.Errorf("%v", item)
	}
	if r.full = true; len(r.held) == 0 {
		t.Error("no memory was reserved")
	}
	before := len(r.calls)
	if status, _ := ask(t, s, "list", "{}"); status != 0 || len(r.calls) != before {
		t.Errorf("carried out without memory: %d", status)
	}
}

func TestTextIsWrittenAsJSONReadsIt(t *testing.T) {
	for _, s := range []string{"", `"\`, "a\nb\tc\x00\x1f\u007f", "é😀\u2028<&>", "x\xffy", "\xff"} {
		var got string
		if err := json.Unmarshal(appendText(nil, s), &got); err != nil ||
			got != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("%q is written %s: %q, %v", s, appendText(nil, s), got, err)
		}
	}
	a := Answer{Status: atm.Status{Code: atm.OK, Result: atm.Record{
		{Name: "a", Value: int64(1<<53 - 1)},
		{Name: "b", Value: int64(1 << 53)},
		{Name: "c", Value: true},
		{Name: "d", Value: []string{"x", "y"}},
		{Name: "e", Value: nil},
		{Name: "f", Value: atm.Private("p")},
		{Name: "g", Value: []atm.Record{{}, {}}},
	}}}
	const want = `"result":{"a":9007199254740991,"b":"9007199254740992","c":true,` +
		`"d":["x","y"],"e":"","f":"p","g":[{},{}]}`
	if got := appendDict(nil, &a); !strings.Contains(string(got), want) {
		t.Errorf("%s", got)
	}
}

// TestEveryCodeHasAStatusAndAnExplanation reads the codes from the source of package atm.
func TestEveryCodeHasAStatusAndAnExplanation(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../atm.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, is := n.(*ast.ValueSpec)
		if !is || spec.Type == nil {
			return true
		}
		if name, is := spec.Type.(*ast.Ident); !is || name.Name != "Code" {
			return true
		}
		declared++
		code := atm.Code(strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`))
		if !slices.ContainsFunc(codes, func(c Code) bool { return c.Code == code }) {
			t.Errorf("%s has no HTTP status", code)
		}
		return true
	})
	if declared < 40 || declared != len(codes) {
		t.Errorf("%d codes are declared, %d have a status", declared, len(codes))
	}
	allowed := []int{200, 403, 404, 409, 422, 500, 503}
	for _, c := range codes {
		notFound := strings.HasSuffix(string(c.Code), "_NOT_FOUND")
		if !slices.Contains(allowed, c.HTTP) || notFound != (c.HTTP == 404) || c.Title == "" ||
			c.Help == "" || (c.Code == atm.OK) != (c.HTTP == 200) {
			t.Errorf("%+v", c)
		}
	}
}

func TestDocumentIsTheSameBytesEachTime(t *testing.T) {
	first := newServer(t, &recorded{}).Document()
	for range 5 {
		if again := newServer(t, &recorded{}).Document(); !bytes.Equal(first, again) {
			t.Fatalf("%s\nand\n%s", first, again)
		}
	}
	var d struct {
		Paths map[string]map[string]struct {
			OperationID string                     `json:"operationId"`
			Responses   map[string]json.RawMessage `json:"responses"`
			Parameters  []any                      `json:"parameters"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(first, &d); err != nil {
		t.Fatal(err)
	}
	pay := d.Paths["/v1/pay"]["post"]
	if pay.OperationID != "pay" || len(pay.Parameters) != 1 || len(pay.Responses) < 8 ||
		len(d.Paths) != 4 {
		t.Errorf("%s", first)
	}
}
