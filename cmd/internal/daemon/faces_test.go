//go:build unix

package daemon_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/auth"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/internal/needs"
	"example.com/atm/jsonapi"
	"example.com/atm/teller/methods"
	"github.com/google/go-cmp/cmp"
	kolo "github.com/kolo/xmlrpc"
	"pgregory.net/rapid"
)

// twins are two servers with the same keys and the same data. One is called by XML-RPC and the
// other as JSON, with the same calls in the same order.
type twins struct {
	servers [2]*daemontest.Server
	callers []twinCaller
	begun   time.Time

	caller  atm.Principal // of the call that is being drawn
	indexes []string      // of entries that moved money
	holds   []string
	agreed  map[string][]string // ids of mandates and standing orders, by first letter
	calls   int
	codes   map[atm.Code]int
}

// A twinCaller is somebody who calls both servers.
type twinCaller struct {
	principal atm.Principal
	clients   [2]*http.Client
}

func newTwins(t *testing.T) *twins {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "first", "atm-data")
	first := daemontest.StartOne(t, folder, nil)
	operator := first.As(t, "operator")
	for _, args := range [][]any{
		{"admin.user.add", "service:till", "teller"},
		{"admin.user.add", "service:gas", "customer service"},
		{"admin.account.open", "200", "user:demo", "500"},
		{"admin.account.open", "300", "service:gas", "5"},
		{"admin.account.open", "400", "user:erin", "50"},
	} {
		daemontest.Must(t)(operator.Call(t.Context(), args[0].(string), args[1:]...))
	}
	till, gas := first.Issue(t, "service:till"), first.Issue(t, "service:gas")
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "second", "atm-data")
	if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(copied, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return errors.Join(err, os.Chmod(path, 0o600))
		}
		return os.Chmod(path, 0o700)
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &twins{agreed: make(map[string][]string), codes: make(map[atm.Code]int)}
	for i, data := range []string{folder, copied} {
		w.servers[i] = daemontest.StartOne(t, data, nil)
	}
	for _, c := range []struct {
		subject string
		roles   []atm.Role
	}{
		{"user:demo", []atm.Role{atm.Customer}},
		{"user:operator", []atm.Role{atm.Auditor, atm.Operator}},
		{"service:till", []atm.Role{atm.Teller}},
		{"service:gas", []atm.Role{atm.Customer, atm.Service}},
	} {
		caller := twinCaller{principal: atm.Principal{Subject: c.subject, Roles: c.roles}}
		for i, s := range w.servers {
			cfg := till
			switch c.subject {
			case "user:demo", "user:operator":
				cfg = s.TLS(t, strings.TrimPrefix(c.subject, "user:"))
			case "service:gas":
				cfg = gas
			}
			caller.clients[i] = daemontest.HTTPClient(t, cfg.Clone())
		}
		w.callers = append(w.callers, caller)
	}
	w.begun = time.Now()
	return w
}

// A sent value is one argument in both forms. Neither is made from the other's.
type sent struct{ json, xml string }

func sentText(s string) sent {
	var j, x bytes.Buffer
	e := json.NewEncoder(&j)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil || xml.EscapeText(&x, []byte(s)) != nil {
		panic("a text cannot be written")
	}
	return sent{strings.TrimSpace(j.String()), "<string>" + x.String() + "</string>"}
}

func sentInt(s string) sent    { return sent{s, "<int>" + s + "</int>"} }
func sentDouble(s string) sent { return sent{s, "<double>" + s + "</double>"} }

// odd are values that no parameter takes, and some that a few take.
var odd = []sent{
	{"null", "<nil/>"},
	{"true", "<boolean>1</boolean>"},
	{"false", "<boolean>0</boolean>"},
	{"[]", "<array><data></data></array>"},
	{`["a",1]`, "<array><data><value>a</value><value><int>1</int></value></data></array>"},
	{"{}", "<struct></struct>"},
	{
		`{"x":{"y":1},"z":true}`, "<struct><member><name>x</name><value><struct><member><name>y" +
			"</name><value><int>1</int></value></member></struct></value></member><member><name>z" +
			"</name><value><boolean>1</boolean></value></member></struct>",
	},
	sentInt("-0"), sentInt("9007199254740993"), sentInt("9223372036854775807"),
	sentDouble("1e2"), sentDouble("1E-2"), sentDouble("12.345"), sentDouble("1e400"),
	sentDouble("0.000"), sentDouble("-5.5"), sentDouble("0.78000000000000009"),
	sentText(""), sentText(" "), sentText("é"), sentText("e\u0301"), sentText("😀"),
	sentText("a\tb\nc\rd"), sentText("<&>\"'\\"), sentText("\u202eabc"), sentText("DROP TABLE"),
	sentText(strings.Repeat("long ", 60)), sentText(strings.Repeat("é", 200)),
}

var (
	accounts = []string{"100", "200", "100", "200", "300", "400", "999", "0", "-1", "abc", "0100"}
	amounts  = []sent{
		sentText("12.50"), sentText("0.01"), sentInt("5"), sentDouble("5.0"), sentDouble("1e1"),
		sentText("5"), sentInt("1"), sentDouble("0.25"), sentText("1e1"), sentText("12.505"),
		sentInt("0"), sentInt("-3"), sentText("NaN"), sentInt("1000000000001"), sentText("100000"),
	}
	subjects = []string{"user:erin", "user:frank", "service:tax", "erin", "user:"} // no callers
	texts    = map[string][]string{
		"roles":     {"customer", "teller", "customer teller", "emperor"},
		"password":  {"correct horse battery", "short"},
		"use":       {"digest", "knife"},
		"expect":    {"new", "known", "both"},
		"scope":     {"inquiry", "*", "fly"},
		"operation": {"withdraw", "inquiry deposit", "fly"}, "operations": {"withdraw", "inquiry deposit", "fly"},
		"mode": {"change", "set", "x"}, "zone": {"America/New_York", "Mars/Base"},
		"daily_count": {"3", "none", "-1"}, "seconds": {"600", "3600", "0", "x"},
		"limit": {"1", "5", "500", "501", "x"}, "cursor": {"100", "x"}, "apply": {"apply", "no"},
		"rows":   {"700,user:erin,Erin,5.00", "user:frank,customer", "x", "100,user:demo"},
		"period": {"day", "week", "month", "year"}, "every": {"day", "week", "month", "year"},
		"from": {"2099-01-01", "x"}, "until": {"2100-01-01", "2100-01-01T00:00:00Z", "x"},
		"at": {"06:30", "25:00"}, "on": {"1", "15", "monday", "99"}, "index": {"0", "2", "x"},
		"url": {"https://hooks.invalid/a", "http://hooks.invalid", "x"}, "proof": {"0"},
		"text": {"Filed.", "a\nb"}, "serial": {"5f3a9c0e", "xyz"}, "jti": {"R3GZ5X7TQ2", ""},
		"standing": {"open", "frozen", "x"}, "status": {"OK", "ERROR"}, "code": {"FAULT"},
	}
)

// value draws a value for a parameter, or a member of one: mostly of a kind that it takes.
func (w *twins) value(t *rapid.T, name string, kinds []atm.Kind, members map[string][]atm.Kind,
) sent {
	if rapid.IntRange(0, 23).Draw(t, "odd") == 0 {
		return rapid.SampledFrom(odd).Draw(t, "odd value")
	}
	pick := func(list []string) sent {
		s := rapid.SampledFrom(list).Draw(t, name)
		if slices.Contains(kinds, atm.Int) && strings.Trim(s, "0123456789") == "" && s != "" &&
			(s == "0" || s[0] != '0') && rapid.Bool().Draw(t, "as a number") {
			return sentInt(s)
		}
		return sentText(s)
	}
	known := func(list []string, other string) sent {
		return pick(append(slices.Clone(list), other))
	}
	switch {
	case slices.Contains(kinds, atm.Struct):
		return w.terms(t, members)
	case slices.Contains(kinds, atm.Double):
		return rapid.SampledFrom(amounts).Draw(t, name)
	case name == "account" || name == "to" && slices.Contains(kinds, atm.Int) || name == "from" &&
		slices.Contains(kinds, atm.Int):
		return pick(accounts)
	case name == "request_id":
		return sentText(fmt.Sprintf("r%d", rapid.IntRange(0, 400).Draw(t, name)))
	case name == "hold":
		return known(w.holds, "h1")
	case name == "mandate":
		return known(w.agreed["m"], "m1")
	case name == "order":
		return known(w.agreed["o"], "o1")
	case name == "index" && len(w.indexes) > 0:
		return known(w.indexes, "999999999")
	case name == "creditor" || name == "to":
		return known(subjects, "service:gas")
	case name == "owner" && !w.caller.Has(atm.Operator):
		return sentText(w.caller.Subject) // anybody else is denied
	case name == "subject" || name == "owner":
		return pick(subjects)
	case texts[name] != nil:
		return pick(texts[name])
	}
	return pick([]string{"a", "bookkeeping", "1", "Feed-1", "x y"})
}

// terms draws a struct of members.
func (w *twins) terms(t *rapid.T, members map[string][]atm.Kind) sent {
	names := slices.Sorted(mapKeys(members))
	if members == nil {
		names = []string{"limit", "cursor", "from", "to", "proof", "owner", "account", "status"}
	}
	var js, xs []string
	for _, name := range append(names, "strange") {
		if rapid.IntRange(0, 3).Draw(t, "member "+name) > 0 && (name == "strange" || members == nil) ||
			rapid.IntRange(0, 4).Draw(t, "no "+name) == 0 {
			continue
		}
		kinds := members[name]
		if kinds == nil {
			kinds = []atm.Kind{atm.Int, atm.String}
		}
		v := w.value(t, name, kinds, nil)
		js = append(js, sentText(name).json+":"+v.json)
		xs = append(xs, "<member><name>"+name+"</name><value>"+v.xml+"</value></member>")
	}
	return sent{"{" + strings.Join(js, ",") + "}", "<struct>" + strings.Join(xs, "") + "</struct>"}
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// A twinCall is a call in both forms.
type twinCall struct {
	method string
	json   string // the object of arguments
	xml    []string
	key    string // the header; empty for none
}

// rotations make keys, after which the servers are no twins.
var rotations = []atm.Operation{atm.VaultRotate, atm.AuditRotate, atm.TokenRotate}

// readers have an entry once in a minute, so that of the first is all that both servers make if the
// second minute has none.
var readers = []atm.Operation{atm.Receipt, atm.ShowEntry, atm.AuditList, atm.Certificate}

// mayDraw reports whether a caller calls a method other than to be denied.
func (w *twins) mayDraw(c *twinCaller, op atm.Operation) bool {
	return auth.Permit(c.principal, op) != atm.Nowhere && !slices.Contains(rotations, op) &&
		(!slices.Contains(readers, op) || time.Since(w.begun) < 20*time.Second)
}

// call draws a call of a caller. One in two hundred is of any method, and then mostly denied: more
// than 60 in a minute have no entries of their own.
func (w *twins) call(t *rapid.T, c *twinCaller) twinCall {
	var list []methods.Method
	w.caller = c.principal
	strange := rapid.IntRange(0, 199).Draw(t, "strange") == 0
	for _, m := range methods.All() {
		if strange && !(slices.Contains(rotations, m.Name) && c.principal.Has(atm.Operator)) &&
			!slices.Contains(readers, m.Name) || w.mayDraw(c, m.Name) {
			list = append(list, m)
			if !m.Name.Administrative() { // money moves as often as all else happens
				list = append(list, m, m)
			}
		}
	}
	m := rapid.SampledFrom(list).Draw(t, "method")
	call := twinCall{method: string(m.Name)}
	var members []string
	left := 0 // parameters that XML-RPC leaves out at the end
	for _, p := range m.Params {
		v := sent{"", "<nil/>"} // left out
		if (!p.Optional || rapid.Bool().Draw(t, "with "+p.Name)) &&
			rapid.IntRange(0, 40).Draw(t, "but "+p.Name) > 0 {
			v = w.value(t, p.Name, p.Kinds, p.Members)
			members = append(members, sentText(p.Name).json+":"+v.json)
		}
		if left++; v.json != "" || !p.Optional {
			left = 0
		}
		call.xml = append(call.xml, v.xml)
	}
	call.xml = call.xml[:len(call.xml)-left]
	slices.Reverse(members) // the order is nothing
	call.json = "{" + strings.Join(members, ",") + "}"
	if rapid.IntRange(0, 80).Draw(t, "unknown") == 0 {
		call.method += ".x"
	}
	if rapid.IntRange(0, 3).Draw(t, "header") == 0 {
		call.key = fmt.Sprintf("r%d", rapid.IntRange(0, 400).Draw(t, "key"))
	}
	return call
}

// An outcome is what a call was answered, as far as both servers answer the same.
type outcome struct {
	Code   atm.Code
	Reason string
	Index  string // of the entry; empty for faults
	Result any
}

// random are methods whose results are made of random numbers, or of times in a text, or tell how
// far the journal had come, where entries of malformed calls follow. Only their kinds are compared.
var random = []string{
	"admin.token.issue", "admin.token.list", "admin.grant.create", "admin.grant.list",
	"admin.cert.issue", "admin.cert.list", "admin.cert.crl", "admin.cert.renew", "admin.cert.invite",
	"admin.status", "admin.audit.list", "receipt", "entry", "certificate", "feed.secret",
	"feed.rotate", "feed.source.add", "feed.source.secret", "feed.source.rotate", "feed.show",
	"feed.list", "admin.audit.balances",
}

var moment = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)

// alike is a value in the form in which both faces have it.
func alike(method string, v any) any {
	if slices.Contains(random, method) && v != nil && v != "" {
		return fmt.Sprintf("%T", v)
	}
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			v[name] = alike(method, v[name])
		}
		return v
	case []any:
		for i := range v {
			v[i] = alike(method, v[i])
		}
		return v
	case bool:
		return v
	case nil: // what kolo makes of an empty string
		return ""
	}
	return moment.ReplaceAllString(fmt.Sprint(v), "T")
}

// outcomeOf reads a dict.
func outcomeOf(method string, dict map[string]any) outcome {
	text := func(name string) string { s, _ := dict[name].(string); return s }
	o := outcome{Code: atm.Code(text("code")), Reason: moment.ReplaceAllString(text("reason"), "T")}
	o.Index, _, _ = strings.Cut(text("receipt"), " ")
	o.Result = alike(method, dict["result"])
	if o.Code == atm.Fault {
		o.Index = ""
	}
	if text("status") != (atm.Status{Code: o.Code}).Word() || text("result") != "" &&
		o.Code != atm.OK {
		o.Reason += fmt.Sprintf(" (and the dict is %v)", dict)
	}
	return o
}

// byXML carries a batch out by XML-RPC.
func (w *twins) byXML(t *testing.T, c *twinCaller, batch []twinCall) (all []outcome) {
	t.Helper()
	body := batch[0].body()
	if len(batch) > 1 {
		body = xmlBatch(batch)
	}
	resp, text := w.servers[0].Post(t, c.clients[0], body, func(r *http.Request) {
		if batch[0].key != "" && len(batch) == 1 {
			r.Header.Set("Idempotency-Key", batch[0].key)
		}
	})
	var answer any
	response := kolo.Response([]byte(text))
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s to %s", resp.Status, text, body)
	}
	if err := response.Err(); err != nil {
		return []outcome{{Code: atm.Fault, Reason: err.(kolo.FaultError).String, Result: ""}}
	}
	if err := response.Unmarshal(&answer); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if len(batch) == 1 {
		return []outcome{outcomeOf(batch[0].method, answer.(map[string]any))}
	}
	for i, item := range answer.([]any) {
		if fault, is := item.(map[string]any); is {
			reason, _ := fault["faultString"].(string)
			all = append(all, outcome{Code: atm.Fault, Reason: reason, Result: ""})
			continue
		}
		all = append(all, outcomeOf(batch[i].method, item.([]any)[0].(map[string]any)))
	}
	return all
}

func (c *twinCall) body() string {
	var b strings.Builder
	b.WriteString("<methodCall><methodName>" + c.method + "</methodName><params>")
	for _, arg := range c.xml {
		b.WriteString("<param><value>" + arg + "</value></param>")
	}
	return b.String() + "</params></methodCall>"
}

func xmlBatch(batch []twinCall) string {
	var b strings.Builder
	b.WriteString("<methodCall><methodName>system.multicall</methodName><params><param><value>" +
		"<array><data>")
	for _, c := range batch {
		b.WriteString("<value><struct><member><name>methodName</name><value>" + c.method +
			"</value></member><member><name>params</name><value><array><data>")
		for _, arg := range c.xml {
			b.WriteString("<value>" + arg + "</value>")
		}
		b.WriteString("</data></array></value></member></struct></value>")
	}
	return b.String() + "</data></array></value></param></params></methodCall>"
}

// byJSON carries a batch out as JSON.
func (w *twins) byJSON(t *testing.T, c *twinCaller, batch []twinCall) (all []outcome) {
	t.Helper()
	method, body := batch[0].method, batch[0].json
	if len(batch) > 1 {
		var items []string
		for _, c := range batch {
			items = append(items, `{"method":`+sentText(c.method).json+`,"params":`+c.json+"}")
		}
		method, body = "system.multicall", `{"calls":[`+strings.Join(items, ",")+"]}"
	}
	resp, dict := w.servers[1].PostJSON(t, c.clients[1], method, body, func(r *http.Request) {
		if batch[0].key != "" && len(batch) == 1 {
			r.Header.Set("Idempotency-Key", `"`+batch[0].key+`"`)
		}
	})
	if dict == nil {
		t.Fatalf("%s to %s", resp.Status, body)
	}
	if len(batch) == 1 {
		o := outcomeOf(method, dict)
		want := jsonapi.StatusOf(o.Code)
		if o.Code == atm.Fault && strings.HasPrefix(o.Reason, "There is no method") {
			want = http.StatusNotFound
		}
		if resp.StatusCode != want {
			t.Fatalf("%s with %s to %s", resp.Status, o.Code, body)
		}
		return []outcome{o}
	}
	results, _ := dict["results"].([]any)
	for i, item := range results {
		all = append(all, outcomeOf(batch[i].method, item.(map[string]any)))
	}
	return all
}

// late reports an answer without the proof that a server waited for: others may have had the disk.
func (o *outcome) late() bool {
	return o.Code == atm.Unavailable && strings.HasSuffix(o.Reason, "has not been published yet")
}

// learn keeps what later calls name.
func (w *twins) learn(batch []twinCall, outcomes []outcome) {
	for i, o := range outcomes {
		w.codes[o.Code]++
		if o.Code != atm.OK {
			continue
		}
		id, _ := o.Result.(string)
		switch batch[i].method {
		case "authorize":
			w.holds = last(append(w.holds, id))
		case "mandate.create", "order.create":
			w.agreed[id[:1]] = last(append(w.agreed[id[:1]], id))
		case "deposit", "withdraw", "transfer", "capture", "collect":
			w.indexes = last(append(w.indexes, o.Index))
		}
	}
}

func last(list []string) []string { return list[max(0, len(list)-20):] }

// quoted are names that a sentence of JSON quotes, because they may be any text.
var quoted = regexp.MustCompile(`There is no method "([^"]*)"`)

// TestFacesDoTheSame sends random calls, good ones and bad ones, of every method, one at a time and
// in batches, by XML-RPC to one server and as JSON to its twin: answers, balances and entries are
// the same, but for times and random numbers.
func TestFacesDoTheSame(t *testing.T) {
	t.Parallel()
	w := newTwins(t)
	total := 10_000
	if testing.Short() || needs.Raced() {
		total = 1_000
	}
	checks := flag.Lookup("rapid.checks").Value.(flag.Getter).Get().(int)
	if testing.Short() {
		checks /= 5 // as rapid does
	}
	each := (total + checks - 1) / checks
	rapid.Check(t, func(rt *rapid.T) {
		for left := each; left > 0; {
			c := rapid.SampledFrom(w.callers).Draw(rt, "caller")
			size := 1
			if rapid.IntRange(0, 2).Draw(rt, "several") > 0 {
				size = min(left, rapid.IntRange(1, 20).Draw(rt, "size"))
			}
			batch := make([]twinCall, size)
			for i := range batch {
				batch[i] = w.call(rt, &c)
			}
			left -= size
			w.calls += size
			done := make(chan []outcome)
			go func() { done <- w.byXML(t, &c, batch) }()
			asJSON := w.byJSON(t, &c, batch)
			byXML := <-done
			for i := range asJSON {
				asJSON[i].Reason = quoted.ReplaceAllString(asJSON[i].Reason,
					"There is no method $1")
				if byXML[i].late() || asJSON[i].late() {
					byXML[i], asJSON[i] = outcome{}, outcome{}
				}
			}
			if diff := cmp.Diff(byXML, asJSON); diff != "" {
				rt.Fatalf("%s calls %+v: by XML-RPC and as JSON\n%s", c.principal.Subject, batch,
					diff)
			}
			w.learn(batch, asJSON)
		}
	})
	if t.Failed() {
		return
	}
	w.compareLogs(t)
	if w.calls < total || w.codes[atm.OK] < total/10 || w.codes[atm.Fault] < total/50 ||
		w.codes[atm.InsufficientFunds]+w.codes[atm.AmountInvalid] == 0 || len(w.codes) < 12 {
		t.Errorf("%d calls got these codes: %v", w.calls, w.codes)
	}
	t.Logf("%d calls: %v", w.calls, w.codes)
}

// compareLogs compares the logs entry by entry, after both were verified.
func (w *twins) compareLogs(t *testing.T) {
	t.Helper()
	one, other := w.servers[0].Entries(t), w.servers[1].Entries(t)
	if len(one) != len(other) {
		t.Errorf("one log has %d entries, and the other %d", len(one), len(other))
	}
	hidden := func(e *audit.Entry) audit.Entry {
		same := *e
		if same.Summary != nil {
			same.Summary = &audit.Summary{Denied: e.Summary.Denied}
		}
		same.ID, same.Time, same.Expires, same.Program = "", time.Time{}, time.Time{}, nil
		if same.Status != nil {
			status := *same.Status
			if hash, is := status.Result.(string); is && strings.HasPrefix(hash, "sha256:") ||
				slices.Contains(random, string(e.Operation)) {
				status.Result = len(hash)
			}
			status.Reason = moment.ReplaceAllString(status.Reason, "T")
			same.Status = &status
		}
		return same
	}
	for i := range min(len(one), len(other)) {
		if diff := cmp.Diff(hidden(one[i]), hidden(other[i])); diff != "" {
			t.Fatalf("entry %d is by XML-RPC and as JSON\n%s", i, diff)
		}
	}
}
