package console

import (
	"net/url"
	"testing"
	"time"

	"example.com/atm/audit"
)

// TestRowSaysWhichAccountsAnEntryIsAbout makes rows of entries that moved money, were refused, and
// repeated an answer.
func TestRowSaysWhichAccountsAnEntryIsAbout(t *testing.T) {
	args := []audit.Arg{
		{Name: "amount", Value: "1.00"}, {Name: "from", Value: "100"}, {Name: "to", Value: "200"},
	}
	for want, entry := range map[string]audit.Entry{
		"100 −1.00, 200 +1.00": {
			ReplayOf: -1, Args: args, State: []audit.Change{
				{Account: "100", Before: 100, After: 0}, {Account: "200", Before: 0, After: 100},
			},
		},
		"100, 200":                          {ReplayOf: -1, Args: args},
		"(repeated: the answer of entry 7)": {ReplayOf: 7, Args: args},
		"":                                  {ReplayOf: -1, Event: audit.EventAdmin},
	} {
		if got := newRow(9, nil, &entry).Detail; got != want {
			t.Errorf("the row says %q, want %q", got, want)
		}
	}
}

// TestFilterSaysWhichTimesItTakes gives the filter of the log times, and what is none.
func TestFilterSaysWhichTimesItTakes(t *testing.T) {
	const takes = " is a day such as 2026-01-31, a time such as 2026-01-31T12:00:00Z, or how " +
		"long ago, such as 24h."
	for query, want := range map[string]string{
		"since=24h&until=2026-01-31": "", "since=2026-01-31T12:00:00Z": "", "": "",
		"since=soon": "Since" + takes, "until=-24h": "Until" + takes,
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if f := filterOf(values, time.Now()); f.wrong != want {
			t.Errorf("%s: %q, want %q", query, f.wrong, want)
		}
	}
}
