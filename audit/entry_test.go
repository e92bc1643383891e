package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"example.com/atm"
	gojson "github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// testTime is the time of the entries in these tests.
var testTime = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

var demoCaller = &atm.Caller{
	Principal:  atm.Principal{Subject: "user:demo", Roles: []atm.Role{atm.Customer}},
	Credential: atm.Credential{Method: "mtls", SHA256: "c2hh", Serial: "5a"},
	IP:         "192.0.2.7",
}

func TestEntryHasItsDocumentedForm(t *testing.T) {
	for _, tt := range []struct {
		name  string
		entry Entry
		want  string
	}{
		{
			"deposit",
			Entry{
				ID: "0197", Time: testTime, Event: EventOp, Operation: atm.Deposit,
				Args:   []Arg{{"amount", "5.00"}, {"account", "100"}},
				Status: &atm.Status{Code: atm.OK, Result: "15.00", Receipt: "9 x"},
				State: []Change{
					{Account: "cash:user:demo", Version: 1, Before: 0, After: -500},
					{Account: "100", Version: 2, Before: 1000, After: 1500},
				},
				Caller: demoCaller, Request: "abcd", ReplayOf: -1,
			},
			`{"args":{"account":"100","amount":"5.00"},"code":"OK","cred":{"method":"mtls","serial":"5a","sha256":"c2hh"},` +
				`"ev":"op","id":"0197","op":"deposit","reason":"","request":"abcd","result":"15.00","src":{"ip":"192.0.2.7"},` +
				`"state":[{"account":"cash:user:demo","after":"-5.00","before":"0.00","version":1},{"account":"100","after":"15.00","before":"10.00","version":2}],` +
				`"status":"OK","t":"2026-11-25T12:00:00.000000Z","v":1,"who":{"roles":["customer"],"subject":"user:demo"}}`,
		},
		{
			"replay",
			Entry{
				ID: "0197", Time: testTime, Event: EventOp, Operation: atm.Deposit,
				Status: &atm.Status{
					Code: atm.InsufficientFunds, Reason: "Insufficient Funds",
					Result: "",
				},
				Caller: &atm.Caller{Principal: atm.Principal{Subject: "system:init"}}, ReplayOf: 3,
			},
			`{"args":{},"code":"INSUFFICIENT_FUNDS","ev":"op","id":"0197","op":"deposit","reason":"Insufficient Funds","replay_of":3,` +
				`"result":"","status":"ERROR","t":"2026-11-25T12:00:00.000000Z","v":1,"who":{"subject":"system:init"}}`,
		},
		{
			"session of a company login",
			Entry{
				ID: "0197", Time: testTime, Event: EventOp, Operation: atm.Whoami,
				Status: &atm.Status{Code: atm.OK, Result: ""},
				Caller: &atm.Caller{
					Principal: atm.Principal{Subject: "user:ada"},
					Credential: atm.Credential{
						Method: "oidc", Issuer: "https://login.example", ID: "0815",
					},
					Session: "s",
				}, ReplayOf: -1,
			},
			`{"args":{},"code":"OK","cred":{"iss":"https://login.example","method":"oidc","session":"s","sub":"0815"},` +
				`"ev":"op","id":"0197","op":"whoami","reason":"","result":"","status":"OK",` +
				`"t":"2026-11-25T12:00:00.000000Z","v":1,"who":{"subject":"user:ada"}}`,
		},
		{
			"start",
			Entry{ID: "0197", Time: testTime, Event: EventStart, ReplayOf: -1},
			`{"ev":"start","id":"0197","t":"2026-11-25T12:00:00.000000Z","v":1}`,
		},
		{
			"signed",
			Entry{
				ID: "0197", Time: testTime, Event: EventOp, Operation: atm.Inquiry,
				Status: &atm.Status{Code: atm.OK, Result: "1.00"}, ReplayOf: -1,
				Caller: &atm.Caller{
					Principal: atm.Principal{Subject: "user:a"}, IP: "192.0.2.7",
					Signature: "sha256:AA==",
				},
			},
			`{"args":{},"code":"OK","ev":"op","id":"0197","op":"inquiry","reason":"","result":"1.00",` +
				`"signature":"sha256:AA==","src":{"ip":"192.0.2.7"},"status":"OK","t":"2026-11-25T12:00:00.000000Z","v":1,"who":{"subject":"user:a"}}`,
		},
		{
			"failed sign-in",
			Entry{
				ID: "0197", Time: testTime, Event: EventAuthFail, Reason: "certificate expired",
				Source: "192.0.2.7", ReplayOf: -1,
			},
			`{"ev":"auth.fail","id":"0197","reason":"certificate expired","src":{"ip":"192.0.2.7"},"t":"2026-11-25T12:00:00.000000Z","v":1}`,
		},
		{
			"summary",
			Entry{
				ID: "0197", Time: testTime, Event: EventAuthFailSummary, Reason: "x",
				Source: "192.0.2.0/24", ReplayOf: -1,
				Summary: &Summary{
					Source: "192.0.2.0/24", Reason: "x", N: 7, First: testTime,
					Last: testTime,
				},
			},
			`{"ev":"auth.fail.summary","first":"2026-11-25T12:00:00.000000Z","id":"0197","last":"2026-11-25T12:00:00.000000Z","n":7,` +
				`"reason":"x","src":{"ip":"192.0.2.0/24"},"t":"2026-11-25T12:00:00.000000Z","v":1}`,
		},
	} {
		leaf, err := tt.entry.Append(nil)
		if err != nil || string(leaf) != tt.want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", tt.name, err, leaf, tt.want)
		}
		again, err := ParseEntry(leaf)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		want := tt.entry
		want.Args = Written(want.Args)
		if len(want.Args) == 0 {
			want.Args = nil
		}
		if want.Status != nil {
			status := *want.Status
			status.Receipt = "" // is not part of an entry
			want.Status = &status
		}
		if diff := cmp.Diff(&want, again); diff != "" {
			t.Errorf("%s read back (-want +got):\n%s", tt.name, diff)
		}
	}
}

// rfc8785 is a second implementation of RFC 8785, for values without fractions. It is the
// oracle of these tests.
func rfc8785(v any) string {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Slice(keys, func(i, j int) bool {
			a, b := utf16.Encode([]rune(keys[i])), utf16.Encode([]rune(keys[j]))
			for k := range min(len(a), len(b)) {
				if a[k] != b[k] {
					return a[k] < b[k]
				}
			}
			return len(a) < len(b)
		})
		members := make([]string, len(keys))
		for i, k := range keys {
			members[i] = rfc8785(k) + ":" + rfc8785(v[k])
		}
		return "{" + strings.Join(members, ",") + "}"
	case []any:
		items := make([]string, len(v))
		for i := range v {
			items[i] = rfc8785(v[i])
		}
		return "[" + strings.Join(items, ",") + "]"
	case string:
		var s strings.Builder
		s.WriteByte('"')
		for _, r := range v {
			switch short := map[rune]string{
				'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`,
				'\n': `\n`, '\r': `\r`, '\t': `\t`,
			}[r]; {
			case short != "":
				s.WriteString(short)
			case r < 0x20:
				fmt.Fprintf(&s, `\u%04x`, r)
			default:
				s.WriteRune(r)
			}
		}
		s.WriteByte('"')
		return s.String()
	}
	return fmt.Sprint(v) // json.Number, bool
}

func TestEntryIsCanonical(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"\x00\x1f\b\f\n\r\t\"\\/<>&",
		"\u2028é\U0001f600", strings.Repeat("ä", 200),
	}))
	rapid.Check(t, func(t *rapid.T) {
		e := Entry{
			ID: text.Draw(t, "id"), Time: testTime, Event: EventOp, Operation: atm.Withdraw,
			Args: []Arg{{"b", text.Draw(t, "b")}, {"a", text.Draw(t, "a")}},
			Status: &atm.Status{
				Code: atm.OK, Reason: text.Draw(t, "reason"),
				Result: rapid.OneOf(rapid.Map(text, func(s string) any {
					return s
				}), rapid.Just[any](atm.Record{{Name: "x", Value: int64(5)}})).Draw(t, "result"),
			},
			State: []Change{{Account: "100", Version: rapid.Uint64Range(1, 1<<53-1).Draw(t,
				"version"), Before: atm.Amount(rapid.Int64().Draw(t, "before"))}},
			Caller: demoCaller, ReplayOf: rapid.Int64Range(-1, 1<<53-1).Draw(t, "replay"),
		}
		leaf, err := e.Append(nil)
		if err != nil {
			t.Skip(err) // too long
		}
		d := json.NewDecoder(bytes.NewReader(leaf))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		if want := rfc8785(v); string(leaf) != want {
			t.Fatalf("got  %s\nwant %s", leaf, want)
		}
		readAlike(t, leaf)
		again, err := ParseEntry(leaf)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := again.Append(nil)
		if err != nil || !bytes.Equal(leaf, twice) {
			t.Fatalf("written again: %v\ngot  %s\nwant %s", err, twice, leaf)
		}
	})
}

func TestEntryIsBoundedInSize(t *testing.T) {
	e := Entry{
		Event: EventOp, Operation: atm.Deposit,
		Args: []Arg{{"account", strings.Repeat("ü", 60_000)}}, ReplayOf: -1,
	}
	leaf, err := e.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"account":"` + strings.Repeat("ü", 64) +
		"…sha256:"; !strings.Contains(string(leaf), want) {
		t.Errorf("a long argument is written as %s", leaf)
	}
	e.Status = &atm.Status{Reason: strings.Repeat("x", MaxEntryBytes)}
	if _, err := e.Append(nil); !errors.Is(err, ErrEntryTooLong) {
		t.Errorf("an entry that is too long: %v", err)
	}
}

// readAlike holds the reader of usual entries against package json.
func readAlike(t interface{ Fatalf(string, ...any) }, leaf []byte) {
	var usual, other wire
	if !usual.readUsual(string(leaf)) {
		return
	}
	if err := gojson.Unmarshal(leaf, &other, gojson.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%q is read as %+v, and as %v by package json", leaf, usual, err)
	}
	if diff := cmp.Diff(other, usual); diff != "" {
		t.Fatalf("%q is not read as package json reads it: %s", leaf, diff)
	}
}

// TestUsualEntriesAreReadWithoutPackageJSON changes each byte of an entry in turn: what is still
// read without package json says the same in both readers.
func TestUsualEntriesAreReadWithoutPackageJSON(t *testing.T) {
	e := usual
	e.Request, e.Minted, e.Expires, e.Next = "abcd", testTime, testTime, testTime
	e.Reverses, e.ReplayOf, e.Debtor = 7, 8, "user:dörthe"
	e.Status = &atm.Status{Code: atm.OK, Reason: "für 5 €", Result: "1.00"}
	caller := *demoCaller
	caller.Actor, caller.Session, caller.Signature = "service:x", "s", "sha256:AA=="
	caller.Roles = []atm.Role{atm.Customer, atm.Teller}
	e.Caller = &caller
	for _, whole := range [][]byte{mustAppend(t, &e), mustAppend(t, &usual)} {
		if !new(wire).readUsual(string(whole)) {
			t.Errorf("%s needs package json", whole)
		}
		readAlike(t, whole)
		for i := range whole {
			readAlike(t, whole[:i])
			for _, b := range []byte("\x00\x1f \"\\{}[],:019.-az\x7f\x80\xc3\xff") {
				changed := bytes.Clone(whole)
				changed[i] = b
				readAlike(t, changed)
				readAlike(t, slices.Insert(bytes.Clone(whole), i, b))
			}
			readAlike(t, slices.Delete(bytes.Clone(whole), i, i+1))
		}
	}
}

func mustAppend(t *testing.T, e *Entry) []byte {
	t.Helper()
	leaf, err := e.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestResultIsHashedInCanonicalForm(t *testing.T) {
	record := atm.Record{
		{Name: "b", Value: []string{"x"}},
		{Name: "a", Value: []atm.Record{{{Name: "n", Value: int64(1)}}}},
		{Name: "c", Value: true},
	}
	var w writer
	w.value(record)
	const want = `{"a":[{"n":1}],"b":["x"],"c":true}`
	if string(w.b) != want {
		t.Errorf("canonical form %s, want %s", w.b, want)
	}
	if got := ResultText(record); got != hashText([]byte(want)) {
		t.Errorf("result %s", got)
	}
}

func TestMalformedEntryIsRefused(t *testing.T) {
	for _, leaf := range []string{
		"", "{}", "[]", `{"v":2}`, `{"v":1,"t":"yesterday"}`,
		`{"v":1,"t":"2026-11-25T12:00:00.000000Z","surprise":1}`,
		`{"v":1,"t":"2026-11-25T12:00:00.000000Z","state":[{"account":"1","after":"1","before":"0.00","version":1}]}`,
		strings.Repeat(" ", MaxEntryBytes+1),
	} {
		if e, err := ParseEntry([]byte(leaf)); err == nil {
			t.Errorf("%.60s was read as %+v", leaf, e)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	e := Entry{
		ID: "x", Time: testTime, Event: EventOp, Operation: atm.Deposit, Caller: demoCaller,
		Status: &atm.Status{Code: atm.OK}, ReplayOf: -1,
	}
	leaf, err := e.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(leaf)
	f.Add([]byte(`{"v":1,"t":"2026-11-25T12:00:00.000000Z","n":3}`))
	f.Fuzz(func(t *testing.T, leaf []byte) {
		readAlike(t, leaf)
		e, err := ParseEntry(leaf)
		if err != nil {
			return
		}
		written, err := e.Append(nil)
		if err != nil {
			return
		}
		again, err := ParseEntry(written)
		if err != nil {
			t.Fatalf("%s was written as %s: %v", leaf, written, err)
		}
		twice, err := again.Append(nil)
		if err != nil || !reflect.DeepEqual(written, twice) {
			t.Fatalf("%s, then %s, %v", written, twice, err)
		}
	})
}

// usual is the entry of a deposit.
var usual = Entry{
	ID: "01a21269-aa1a-7fd6-ae6a-9dc704a114f0", Time: testTime, Event: EventOp,
	Operation: atm.Deposit,
	Args:      []Arg{{"account", "100"}, {"amount", "5.00"}},
	Status:    &atm.Status{Code: atm.OK, Result: "15.00"}, Caller: demoCaller, ReplayOf: -1,
	State: []Change{
		{Account: "cash:user:demo", Version: 1, After: -500},
		{Account: "100", Version: 2, Before: 1000, After: 1500},
	},
}

func BenchmarkEntryAppend(b *testing.B) {
	e := usual
	buf := make([]byte, 0, 1024)
	for b.Loop() {
		if _, err := e.Append(buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseEntry(b *testing.B) {
	e := usual
	leaf, err := e.Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ParseEntry(leaf); err != nil {
			b.Fatal(err)
		}
	}
}
