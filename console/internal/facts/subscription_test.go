package facts_test

import (
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/console/internal/facts"
)

// with is a subscription that is delivered, with other fields in place of some of its own.
func with(changed ...atm.Field) atm.Record {
	record := atm.Record{
		{Name: "state", Value: "active"},
		{Name: "reason", Value: ""},
		{Name: "last", Value: int64(-1)},
		{Name: "sent", Value: int64(0)},
		{Name: "delivered", Value: ""},
		{Name: "failing", Value: ""},
		{Name: "tries", Value: int64(0)},
		{Name: "error", Value: ""},
		{Name: "again", Value: ""},
		{Name: "tests", Value: int64(0)},
		{Name: "tested", Value: int64(0)},
		{Name: "test_error", Value: ""},
		{Name: "rotated", Value: ""},
	}
	for _, f := range changed {
		for i := range record {
			if record[i].Name == f.Name {
				record[i] = f
			}
		}
	}
	return record
}

const moment = "2026-11-29T12:00:00Z"

// TestSubscriptionThatIsNotDeliveredSaysWhy shows one that is delivered, one that fails, and one
// that was stopped after it had failed.
func TestSubscriptionThatIsNotDeliveredSaysWhy(t *testing.T) {
	failing := []atm.Field{
		{Name: "failing", Value: moment},
		{Name: "tries", Value: int64(3)},
		{Name: "error", Value: "it hangs"},
		{Name: "again", Value: moment},
	}
	stopped := append([]atm.Field{
		{Name: "state", Value: "stopped"}, {Name: "reason", Value: "it is gone"},
	}, failing...)
	for _, tt := range []struct {
		record atm.Record
		want   string
	}{
		{with(), "State active"},
		{with(atm.Field{Name: "last", Value: int64(0)}), "Last entry 0; State active"},
		{with(failing...), "Failing since; Last error it hangs; Next try; State failing; Tries 3"},
		{with(stopped...), "Last error it is gone; State stopped"},
	} {
		found := make(map[string]string)
		for _, s := range facts.OfSubscription(tt.record) {
			for _, f := range s.Facts {
				found[f.Name] = strings.TrimSpace(f.Name + " " + f.Text)
			}
		}
		var got []string
		for _, name := range []string{
			"Failing since", "Last delivery", "Last entry", "Last error", "Next try", "State", "Tries",
		} {
			if found[name] != "" {
				got = append(got, found[name])
			}
		}
		if says := strings.Join(got, "; "); says != tt.want {
			t.Errorf("it says %q, want %q", says, tt.want)
		}
	}
}

// TestTestEventSaysWhetherItArrived has one that was not asked for, and such as wait, failed and
// arrived.
func TestTestEventSaysWhetherItArrived(t *testing.T) {
	asked := func(tested int64, problem string) *facts.Test {
		return facts.TestOf(with(atm.Field{Name: "tests", Value: int64(2)},
			atm.Field{Name: "tested", Value: tested},
			atm.Field{Name: "test_error", Value: problem}))
	}
	if got := facts.TestOf(with()); got != nil {
		t.Errorf("a test that nobody asked for: %+v", got)
	}
	for _, tt := range []struct{ got, want facts.Test }{
		{*asked(1, "the one before hung"), facts.Test{
			Says: "Test event 2 is on its way.", Pending: true,
		}},
		{*asked(2, "it hangs"), facts.Test{
			Says: "Test event 2 did not arrive: it hangs.", Failed: true,
		}},
		{*asked(2, ""), facts.Test{Says: "Test event 2 arrived."}},
	} {
		if tt.got != tt.want {
			t.Errorf("%+v, want %+v", tt.got, tt.want)
		}
	}
}
