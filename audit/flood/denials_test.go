package flood_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/flood"
)

// TestDenialsHaveABound denies many operations of many callers. Entries and memory are bounded,
// and every denial is counted.
func TestDenialsHaveABound(t *testing.T) {
	const callers, each = 2000, 70
	d := flood.NewDenials()
	whole := 0
	for i := range callers {
		caller := &atm.Caller{Principal: atm.Principal{Subject: fmt.Sprintf("user:%04d", i)}}
		for range each / 10 {
			b, dropped := d.Batch(), d.Batch()
			for range 10 {
				dropped.Note(time.Unix(1, 0), caller)
				if b.Note(time.Unix(2, 0), caller) {
					whole++
				}
			}
			b.Keep()
		}
	}
	if want := 1024 * flood.DenialEntries; whole != want {
		t.Errorf("%d entries, want %d", whole, want)
	}
	summaries, counted := d.Flush(), int64(0)
	for _, s := range summaries {
		counted += s.N
	}
	if len(summaries) != 1025 || counted != int64(callers*each-whole) {
		t.Errorf("%d summaries of %d denials, want 1025 of %d", len(summaries), counted,
			callers*each-whole)
	}
	if first := summaries[0]; first.Denied != nil || first.Reason == "" ||
		first.N != (callers-1024)*each {
		t.Errorf("all others are %+v", first)
	}
}

func TestDeniedSummaryIsAnEntry(t *testing.T) {
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		summary audit.Summary
		caller  *atm.Caller
		want    string
	}{
		{
			audit.Summary{
				N: 41, First: at, Last: at.Add(time.Second),
				Denied: &atm.Principal{Subject: "service:x", Roles: []atm.Role{atm.Service}},
			},
			&atm.Caller{Principal: atm.Principal{
				Subject: "service:x",
				Roles:   []atm.Role{atm.Service},
			}},
			`{"ev":"denied.summary","first":"2026-05-01T00:00:00.000000Z","id":"i","last":"2026-05-01T00:00:01.000000Z",` +
				`"n":41,"t":"2026-05-01T00:01:00.000000Z","v":1,"who":{"roles":["service"],"subject":"service:x"}}`,
		},
		{
			audit.Summary{N: 2, First: at, Last: at, Reason: "others"},
			nil,
			`{"ev":"denied.summary","first":"2026-05-01T00:00:00.000000Z","id":"i","last":"2026-05-01T00:00:00.000000Z",` +
				`"n":2,"reason":"others","t":"2026-05-01T00:01:00.000000Z","v":1}`,
		},
	} {
		e := &audit.Entry{
			ID: "i", Event: audit.EventDeniedSummary, Time: at.Add(time.Minute), ReplayOf: -1,
			Summary: &tt.summary, Caller: tt.caller, Reason: tt.summary.Reason,
		}
		leaf, err := e.Append(nil)
		if err != nil || !bytes.Equal(leaf, []byte(tt.want)) {
			t.Errorf("written as %s, %v, want %s", leaf, err, tt.want)
		}
		back, err := audit.ParseEntry(leaf)
		if err != nil || !reflect.DeepEqual(back.Summary, e.Summary) {
			t.Errorf("read back as %+v, %v", back.Summary, err)
		}
	}
}
