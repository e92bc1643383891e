package lookup

import (
	"context"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/search"
	"example.com/atm/vault"
)

// A Till is what one subject moved in a time.
type Till struct {
	Lines   []TillLine // in order of operation
	Refused int        // operations that were refused
	Cash    atm.Amount // that came in over the counter; negative for what went out
	Whole   bool       // nothing was left out because it was too much to read
}

// A TillLine is what was moved by one operation.
type TillLine struct {
	Operation atm.Operation
	Count     int
	Sum       atm.Amount
}

// tillMost bounds the entries that a till is counted from, the newest first.
const tillMost = 5000

// TillOf counts what subject moved since a time, from the newest entries of the journal.
func TillOf(ctx context.Context, store vault.Store, index *search.Index, subject string,
	since time.Time,
) (*Till, error) {
	page, err := newest(ctx, store, index,
		&search.Filter{Who: subject, Event: audit.EventOp, Since: since}, tillMost)
	if err != nil {
		return nil, err
	}
	till := &Till{Whole: page.Next == 0}
	lines := make(map[atm.Operation]*TillLine)
	for _, found := range page.Found {
		entry, err := audit.ParseEntry(found.Leaf)
		if err != nil {
			return nil, err
		}
		if entry.ReplayOf >= 0 {
			continue // it happened the first time
		}
		if entry.Status != nil && entry.Status.Code != atm.OK {
			till.Refused++
		}
		till.add(lines, entry, subject)
	}
	for _, line := range lines {
		till.Lines = append(till.Lines, *line)
	}
	slices.SortFunc(till.Lines, func(a, b TillLine) int {
		return strings.Compare(string(a.Operation), string(b.Operation))
	})
	return till, nil
}

// add adds what an entry moved, if it did.
func (t *Till) add(lines map[atm.Operation]*TillLine, entry *audit.Entry, subject string) {
	var moved atm.Amount
	for _, change := range entry.State {
		moved += max(0, change.After-change.Before)
		if change.Account == string(vault.Cash(subject)) {
			t.Cash += change.Before - change.After
		}
	}
	if moved == 0 {
		return
	}
	line := lines[entry.Operation]
	if line == nil {
		line = &TillLine{Operation: entry.Operation}
		lines[entry.Operation] = line
	}
	line.Count++
	line.Sum += moved
}
