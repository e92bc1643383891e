package console

import (
	"testing"

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
