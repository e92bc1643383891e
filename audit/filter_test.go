package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"pgregory.net/rapid"
)

// busy is a log of n entries of a thousand accounts, one entry a second. Every
// 10,000th is a refusal on account 7777777.
func busy(t testing.TB, n int) (EntryReader, Source) {
	t.Helper()
	m := newMemory(t)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var hashes []Hash
	for i := range n {
		e := Entry{
			ID: atm.NewUUID(begin), Time: begin.Add(time.Duration(i) * time.Second), Event: EventOp,
			Operation: atm.Deposit,
			Args:      []Arg{{"account", fmt.Sprint(i % 1000)}, {"amount", "5.00"}},
			Status:    &atm.Status{Code: atm.OK, Result: "5.00"},
			Caller: &atm.Caller{Principal: atm.Principal{Subject: fmt.Sprintf("user:u%d",
				i%50)}},
			ReplayOf: -1,
		}
		if i%10_000 == 9_999 {
			e.Operation, e.Args = atm.Withdraw, []Arg{{"account", "7777777"}, {"amount", "5.00"}}
			e.Status = &atm.Status{Code: atm.InsufficientFunds, Reason: `no "money"`}
		}
		leaf, err := e.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		m.leaves = append(m.leaves, leaf)
		hashes = append(hashes, LeafHash(leaf))
	}
	m.sign(t, m.head.Append(hashes...))
	return m.Entries, m
}

// TestFind looks for entries by every field, with an index and without, and
// compares both with reading everything.
func TestFind(t *testing.T) {
	const size = 50_500
	read, src := busy(t, size)
	index := NewIndex()
	if err := fill(t.Context(), index, src); err != nil {
		t.Fatal(err)
	}
	at := func(i int) time.Time { return time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC) }
	for name, f := range map[string]Filter{
		"everything":     {},
		"an account":     {Account: "123"},
		"a rare account": {Account: "7777777"},
		"nobody":         {Account: "999999"},
		"a caller":       {Who: "user:u7"},
		"an operation":   {Operation: atm.Withdraw},
		"an event":       {Event: EventAuthFail},
		"a status":       {Status: "ERROR"},
		"a code":         {Code: atm.InsufficientFunds},
		"two at once":    {Account: "57", Who: "user:u7"},
		"a time":         {Since: at(20_000), Until: at(20_600)},
		"a time, rare":   {Since: at(15_000), Until: at(35_000), Status: "ERROR"},
		"a later time":   {Since: at(size + 5)},
		"an earlier one": {Until: at(-5)},
	} {
		t.Run(name, func(t *testing.T) {
			var want []int64
			err := read(t.Context(), 0, size, func(i int64, leaf []byte) error {
				e, err := ParseEntry(leaf)
				if err == nil && f.Fits(e) {
					want = append([]int64{i}, want...)
					if len(want) > 700 {
						want = want[:700]
					}
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range []*Index{nil, index} {
				var got []int64
				bundles := 0
				for before := int64(size); len(got) < len(want); {
					page, err := Find(t.Context(), read, x, &f, before, 100)
					if err != nil {
						t.Fatal(err)
					}
					for _, found := range page.Found {
						got = append(got, found.Index)
					}
					bundles += page.Read
					if before = page.Next; before == 0 {
						break
					}
				}
				if len(got) > len(want) {
					got = got[:len(want)]
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("index %v: %d found, want %d", x != nil, len(got), len(want))
				}
				if x != nil && f.Account == "7777777" && bundles > 10 {
					t.Errorf("%d of %d bundles were read for 5 entries", bundles, size/tileWidth)
				}
			}
		})
	}
}

// TestFailuresWithoutStatusAreErrors looks for what failed: that there were failed sign-ins
// is found by the status of the rest.
func TestFailuresWithoutStatusAreErrors(t *testing.T) {
	m := newMemory(t)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	demo := &atm.Caller{Principal: atm.Principal{
		Subject: "user:demo",
		Roles:   []atm.Role{atm.Customer},
	}}
	counted := Summary{N: 3, First: at, Last: at}
	denied := counted
	denied.Denied = &demo.Principal
	var hashes []Hash
	for i := range tileWidth {
		e := Entry{ID: atm.NewUUID(at), Time: at, Event: EventHeartbeat, ReplayOf: -1}
		switch i {
		case 10:
			e.Event, e.Reason, e.Source = EventAuthFail, "wrong password", "192.0.2.1"
		case 20:
			e.Event, e.Reason, e.Source, e.Summary = EventAuthFailSummary, "wrong password",
				"192.0.2.0/24", &counted
		case 30:
			e.Event, e.Caller, e.Summary = EventDeniedSummary, demo, &denied
		case 40:
			e.Event, e.Operation, e.Caller, e.Status = EventOp, atm.Whoami, demo,
				&atm.Status{Code: atm.PermissionDenied}
		case 50:
			e.Event, e.Operation, e.Caller, e.Status = EventOp, atm.Whoami, demo,
				&atm.Status{Code: atm.OK, Result: ""}
		}
		leaf, err := e.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		m.leaves = append(m.leaves, leaf)
		hashes = append(hashes, LeafHash(leaf))
	}
	m.sign(t, m.head.Append(hashes...))
	index := NewIndex()
	if err := fill(t.Context(), index, m); err != nil {
		t.Fatal(err)
	}
	for status, want := range map[string][]int64{"ERROR": {40, 30, 20, 10}, "OK": {50}} {
		for _, x := range []*Index{nil, index} {
			page, err := Find(t.Context(), m.Entries, x, &Filter{Status: status}, tileWidth, 100)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, found := range page.Found {
				got = append(got, found.Index)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, index %v: %v, want %v", status, x != nil, got, want)
			}
		}
	}
}

// fill puts the complete bundles of a log into an index, as searching all of it
// does.
func fill(ctx context.Context, index *Index, src Source) error {
	_, head, err := src.Signed(ctx)
	if err != nil {
		return err
	}
	nobody := Filter{Account: "0"}
	for before := head.Size; before > 0; {
		page, err := Find(ctx, src.Entries, index, &nobody, before, 1)
		if err != nil {
			return err
		}
		before = page.Next
	}
	for n := range head.Size >> tileHeight {
		if !index.Has(n) {
			return fmt.Errorf("bundle %d was searched and is not in the index", n)
		}
	}
	return nil
}

// TestIndexIsBounded puts more into an index than it keeps: the oldest is forgotten, and
// what is forgotten may hold anything.
func TestIndexIsBounded(t *testing.T) {
	x, f := NewIndex(), Filter{Account: "1"}
	const begin = 1000 // the index was made when there were so many bundles
	for n := int64(begin); n < begin+maxMarks+2; n++ {
		x.Add(n, func(func([]byte)) {})
	}
	x.Add(0, func(func([]byte)) {}) // by a search
	if len(x.marks) != maxMarks {
		t.Errorf("it keeps %d bundles, not %d", len(x.marks), maxMarks)
	}
	for n, may := range map[int64]bool{
		0: true, begin: true, begin + 1: true, begin + 2: false,
		begin + maxMarks + 1: false,
	} {
		if x.May(n, &f) != may || x.Has(n) == may {
			t.Errorf("bundle %d: may %v, has %v", n, x.May(n, &f), x.Has(n))
		}
	}
}

// BenchmarkFind answers pages over a million entries, and reports how many of
// the 3,907 bundles are read for each.
func BenchmarkFind(b *testing.B) {
	const size = 1_000_000
	read, src := busy(b, size)
	index := NewIndex()
	begun := time.Now()
	if err := fill(context.Background(), index, src); err != nil {
		b.Fatal(err)
	}
	b.Logf("index of %d entries made in %v", size, time.Since(begun))
	for name, f := range map[string]Filter{
		"account":      {Account: "123"},
		"rare-account": {Account: "7777777"},
		"nobody":       {Account: "999999"},
		"errors":       {Status: "ERROR"},
		"caller":       {Who: "user:u7"},
		"day": {
			Since: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC),
			Until: time.Date(2026, 1, 6, 0, 0, 0, 0, time.UTC),
		},
	} {
		for kind, x := range map[string]*Index{"index": index, "scan": nil} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				bundles := 0
				for b.Loop() {
					page, err := Find(b.Context(), read, x, &f, size, 50)
					if err != nil {
						b.Fatal(err)
					}
					bundles = page.Read
				}
				b.ReportMetric(float64(bundles), "bundles-read")
			})
		}
	}
}

// TestTerms compares the terms that are found in the bytes of an entry with what
// encoding/json finds there, whatever stands in the strings around them.
func TestTerms(t *testing.T) {
	words := rapid.SampledFrom([]string{
		`"`, `\`, `\"`, `":"`, `"op":"x"`, "\n", "é", "account",
		"user:eve", ",", "{", "1",
	})
	text := rapid.Map(rapid.SliceOfN(words, 0, 6), func(list []string) string {
		return strings.Join(list, "")
	})
	rapid.Check(t, func(t *rapid.T) {
		e := Entry{
			ID: "1", Time: testTime, Event: EventOp, Operation: atm.Operation(text.Draw(t, "op")),
			Args: []Arg{{"account", text.Draw(t, "account")}, {"memo", text.Draw(t, "memo")}},
			Status: &atm.Status{
				Code:   atm.Code(text.Draw(t, "code")),
				Reason: text.Draw(t, "reason"), Result: text.Draw(t, "result"),
			},
			State: []Change{{Account: text.Draw(t, "changed")}},
			Caller: &atm.Caller{Principal: atm.Principal{
				Subject: text.Draw(t, "subject"),
				Roles:   []atm.Role{atm.Role(text.Draw(t, "role"))},
			}},
			ReplayOf: -1,
		}
		leaf, err := e.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		eachTerm(leaf, func(kind byte, value []byte) {
			got = append(got, string(kind)+string(value))
		})
		var in wire
		if err := json.Unmarshal(leaf, &in); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"a" + in.Args["account"], "c" + string(*in.Code), "e" + string(in.Event),
			"o" + string(in.Operation),
			"a" + in.State[0].Account, "s" + in.Status, "w" + in.Who.Subject,
		}
		if e.Operation == "" {
			want = slices.Delete(want, 3, 4)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\nterms %q\nwant  %q", leaf, got, want)
		}
	})
}

// TestTime compares how an entry writes a time with how package time does.
func TestTime(t *testing.T) {
	for _, at := range []time.Time{
		testTime, time.Unix(0, 0), time.Unix(0, 1999), time.Date(999, 12, 31, 23, 59, 59,
			999_999_999, time.UTC),
		time.Date(9999, 1, 2, 3, 4, 5, 6_000, time.UTC), time.Date(12345, 1, 1, 0, 0, 0, 0,
			time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got, want := string(appendTime(nil, at.UTC())),
			at.UTC().Format(TimeFormat); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestPlainBytes puts each byte at each of 20 places.
func TestPlainBytes(t *testing.T) {
	for c := range 256 {
		want := 20
		for at := range 20 {
			s := []byte(strings.Repeat("x", 20))
			s[at] = byte(c)
			if c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
				want = at
			}
			if got := plainBytes(string(s)); got != want {
				t.Fatalf("%q: %d bytes, want %d", s, got, want)
			}
		}
	}
}
