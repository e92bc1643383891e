package search_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/search"
	"pgregory.net/rapid"
)

// TestFindAgreesWithReadingEverything searches by every field, with an index and without.
func TestFindAgreesWithReadingEverything(t *testing.T) {
	const size = 50_500
	src := audittest.NewBusy(t, size)
	read := src.Entries
	entries := make([]*audit.Entry, size)
	for i, leaf := range src.Leaves {
		var err error
		if entries[i], err = audit.ParseEntry(leaf); err != nil {
			t.Fatal(err)
		}
	}
	index := search.NewIndex()
	if err := fill(t.Context(), index, src); err != nil {
		t.Fatal(err)
	}
	at := func(i int) time.Time { return time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC) }
	for name, f := range map[string]search.Filter{
		"everything":     {},
		"an account":     {Account: "123"},
		"a rare account": {Account: "7777777"},
		"nobody":         {Account: "999999"},
		"a caller":       {Who: "user:u7"},
		"an operation":   {Operation: atm.Withdraw},
		"an event":       {Event: audit.EventAuthFail},
		"a status":       {Status: "ERROR"},
		"a code":         {Code: atm.InsufficientFunds},
		"two at once":    {Account: "57", Who: "user:u7"},
		"a time":         {Since: at(20_000), Until: at(20_600)},
		"a time, rare":   {Since: at(15_000), Until: at(35_000), Status: "ERROR"},
		"a later time":   {Since: at(size + 5)},
		"an earlier one": {Until: at(-5)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want []int64
			for i := size - 1; i >= 0 && len(want) < 700; i-- {
				if f.Fits(entries[i]) {
					want = append(want, int64(i))
				}
			}
			for _, x := range []*search.Index{nil, index} {
				var got []int64
				bundles := 0
				for before := int64(size); len(got) < len(want); {
					page, err := search.Find(t.Context(), read, x, &f, search.Range{Before: before},
						100)
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
				// The random seed decides how many bundles match by accident.
				if x != nil && f.Account == "7777777" && bundles > size/merkle.TileWidth/2 {
					t.Errorf("%d of %d bundles were read for 5 entries", bundles,
						size/merkle.TileWidth)
				}
			}
		})
	}
}

// TestFailuresWithoutStatusAreErrors searches for failures. Failed sign-ins have no status in
// the log, and are found as errors.
func TestFailuresWithoutStatusAreErrors(t *testing.T) {
	m := audittest.New(t)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	demo := &atm.Caller{Principal: atm.Principal{
		Subject: "user:demo",
		Roles:   []atm.Role{atm.Customer},
	}}
	counted := audit.Summary{N: 3, First: at, Last: at}
	denied := counted
	denied.Denied = &demo.Principal
	var hashes []merkle.Hash
	for i := range merkle.TileWidth {
		e := audit.Entry{ID: atm.NewUUID(at), Time: at, Event: audit.EventHeartbeat, ReplayOf: -1}
		switch i {
		case 10:
			e.Event, e.Reason, e.Source = audit.EventAuthFail, "wrong password", "192.0.2.1"
		case 20:
			e.Event, e.Reason, e.Source, e.Summary = audit.EventAuthFailSummary, "wrong password",
				"192.0.2.0/24", &counted
		case 30:
			e.Event, e.Caller, e.Summary = audit.EventDeniedSummary, demo, &denied
		case 40:
			e.Event, e.Operation, e.Caller, e.Status = audit.EventOp, atm.Whoami, demo,
				&atm.Status{Code: atm.PermissionDenied}
		case 50:
			e.Event, e.Operation, e.Caller, e.Status = audit.EventOp, atm.Whoami, demo,
				&atm.Status{Code: atm.OK, Result: ""}
		}
		leaf, err := e.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Leaves = append(m.Leaves, leaf)
		hashes = append(hashes, merkle.LeafHash(leaf))
	}
	m.Sign(t, m.Head.Append(hashes...))
	index := search.NewIndex()
	if err := fill(t.Context(), index, m); err != nil {
		t.Fatal(err)
	}
	for status, want := range map[string][]int64{"ERROR": {40, 30, 20, 10}, "OK": {50}} {
		for _, x := range []*search.Index{nil, index} {
			page, err := search.Find(t.Context(), m.Entries, x, &search.Filter{Status: status},
				search.Range{Before: merkle.TileWidth}, 100)
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

// fill adds the complete bundles of a log to an index, as a search of the whole log does.
func fill(ctx context.Context, index *search.Index, src audit.Source) error {
	_, head, err := src.Signed(ctx)
	if err != nil {
		return err
	}
	nobody := search.Filter{Account: "0"}
	for before := head.Size; before > 0; {
		page, err := search.Find(ctx, src.Entries, index, &nobody, search.Range{Before: before}, 1)
		if err != nil {
			return err
		}
		before = page.Next
	}
	for n := range head.Size >> merkle.TileHeight {
		if !index.Has(n) {
			return fmt.Errorf("bundle %d was searched and is not in the index", n)
		}
	}
	return nil
}

// TestIndexIsBounded adds more to an index than it keeps. It forgets the oldest bundles, which
// then may match anything.
func TestIndexIsBounded(t *testing.T) {
	x, f := search.NewIndex(), search.Filter{Account: "1"}
	const begin = 1000 // bundles that existed before the index
	for n := int64(begin); n < begin+search.MaxMarks+2; n++ {
		x.Add(n, nil)
	}
	x.Add(0, nil) // a search adds it
	if x.Len() != search.MaxMarks {
		t.Errorf("it keeps %d bundles, not %d", x.Len(), search.MaxMarks)
	}
	for n, may := range map[int64]bool{
		0: true, begin: true, begin + 1: true, begin + 2: false,
		begin + search.MaxMarks + 1: false,
	} {
		if x.May(n, &f) != may || x.Has(n) == may {
			t.Errorf("bundle %d: may %v, has %v", n, x.May(n, &f), x.Has(n))
		}
	}
}

// BenchmarkFind answers pages over a million entries, and reports how many of the 3,907 bundles
// are read for each page.
func BenchmarkFind(b *testing.B) {
	const size = 1_000_000
	src := audittest.NewBusy(b, size)
	read := src.Entries
	index := search.NewIndex()
	begun := time.Now()
	if err := fill(context.Background(), index, src); err != nil {
		b.Fatal(err)
	}
	b.Logf("index of %d entries made in %v", size, time.Since(begun))
	for name, f := range map[string]search.Filter{
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
		for kind, x := range map[string]*search.Index{"index": index, "scan": nil} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				bundles := 0
				for b.Loop() {
					page, err := search.Find(b.Context(), read, x, &f, search.Range{Before: size},
						50)
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

// TestTermsAreThoseOfEncodingJSON compares the terms found in the bytes of an entry with those
// that encoding/json finds, with any content in the strings around them.
func TestTermsAreThoseOfEncodingJSON(t *testing.T) {
	words := rapid.SampledFrom([]string{
		`"`, `\`, `\"`, `":"`, `"op":"x"`, "\n", "é", "account",
		"user:eve", ",", "{", "1",
	})
	text := rapid.Map(rapid.SliceOfN(words, 0, 6), func(list []string) string {
		return strings.Join(list, "")
	})
	rapid.Check(t, func(t *rapid.T) {
		e := audit.Entry{
			ID: "1", Time: audittest.Time, Event: audit.EventOp,
			Operation: atm.Operation(text.Draw(t, "op")),
			Args: []audit.Arg{
				{Name: "account", Value: text.Draw(t, "account")},
				{Name: "memo", Value: text.Draw(t, "memo")},
			},
			Status: &atm.Status{
				Code:   atm.Code(text.Draw(t, "code")),
				Reason: text.Draw(t, "reason"), Result: text.Draw(t, "result"),
			},
			State: []audit.Change{{Account: text.Draw(t, "changed")}},
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
		search.EachTerm(leaf, func(kind byte, value []byte) {
			got = append(got, string(kind)+string(value))
		})
		var in struct {
			Args  map[string]string `json:"args"`
			Code  string            `json:"code"`
			Event string            `json:"ev"`
			State []struct {
				Account string `json:"account"`
			} `json:"state"`
			Status string `json:"status"`
			Op     string `json:"op"`
			Who    struct {
				Subject string `json:"subject"`
			} `json:"who"`
		}
		if err := json.Unmarshal(leaf, &in); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"a" + in.Args["account"], "c" + in.Code, "e" + in.Event,
			"o" + in.Op,
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
