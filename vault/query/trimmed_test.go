package query

import (
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
)

// deposits is the history of an account that was opened at second 1, and got a cent in each of
// the 9 seconds after, as far as a journal has it that begins with a version.
func deposits(begin uint64) vault.History {
	return func(account vault.Name, from uint64,
		yield func(uint64, vault.JournalIndex, []byte) bool,
	) error {
		for version := min(from, 10); version >= begin; version-- {
			entry := audit.Entry{
				Event: audit.EventOp, Time: time.Unix(int64(version), 0).UTC(),
				Operation: atm.Deposit, ReplayOf: -1,
				Status: &atm.Status{Code: atm.OK, Result: ""}, State: []audit.Change{{
					Account: string(account), Version: version,
					Before: atm.Amount(version - 1), After: atm.Amount(version),
				}},
			}
			leaf, err := entry.Append(nil)
			if err != nil {
				return err
			}
			if !yield(version, vault.JournalIndex(version), leaf) {
				return nil
			}
		}
		return nil
	}
}

// TestStatementSaysSinceWhenItHasTheMovements reads statements of a journal that begins with
// version 4 of the account, which was made at second 4, and of others.
func TestStatementSaysSinceWhenItHasTheMovements(t *testing.T) {
	at := func(second int64) time.Time { return time.Unix(second, 0).UTC() }
	const since = "1970-01-01T00:00:04.000000Z"
	for name, tt := range map[string]struct {
		begin            uint64
		from, to         time.Time
		cursor           string
		entries          int
		opening, closing string
		next, since      string
	}{
		"everything":            {4, time.Time{}, time.Time{}, "", 5, "0.03", "0.10", "100.5", since},
		"its second page":       {4, time.Time{}, time.Time{}, "100.5", 2, "0.03", "0.10", "", since},
		"a page that is gone":   {4, time.Time{}, time.Time{}, "100.2", 0, "0.03", "0.10", "", since},
		"from before":           {4, at(2), at(6), "", 3, "0.03", "0.06", "", since},
		"from the first":        {4, at(4), at(6), "", 3, "0.03", "0.06", "", ""},
		"from later":            {4, at(8), time.Time{}, "", 3, "0.07", "0.10", "", ""},
		"all of it was trimmed": {11, time.Time{}, time.Time{}, "", 0, "0.10", "0.10", "", since},
		"nothing was trimmed":   {1, at(2), at(3), "", 2, "0.01", "0.03", "", ""},
		"nothing, and all":      {1, time.Time{}, time.Time{}, "", 5, "0.00", "0.10", "100.5", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := vault.Account{Name: "100", Version: 10, Balance: 10}
			r := Statement{
				Account: "100", Limit: 5, From: tt.from, To: tt.to, Cursor: tt.cursor, Since: at(4),
			}
			if err := r.Prepare(a, deposits(tt.begin)); err != nil {
				t.Fatal(err)
			}
			status := r.page(a, func(i vault.JournalIndex) int64 { return int64(i) },
				func(version uint64) StatementRow {
					row, known := r.Read[version]
					if !known {
						t.Fatalf("version %d was not read ahead", version)
					}
					return row
				})
			page, _ := status.Result.(atm.Record)
			if page == nil || len(field(page, "entries").([]atm.Record)) != tt.entries {
				t.Fatalf("%+v", status)
			}
			for name, want := range map[string]string{
				"opening": tt.opening, "closing": tt.closing, "next": tt.next, "since": tt.since,
			} {
				if got := field(page, name); got != want {
					t.Errorf("%s is %v, not %s", name, got, want)
				}
			}
		})
	}
	r := Statement{Account: "100", Limit: 5, To: at(3), Since: at(4)}
	a := vault.Account{Name: "100", Version: 10, Balance: 10}
	if err := r.Prepare(a, deposits(4)); err != nil {
		t.Fatal(err)
	}
	status := r.page(a, func(i vault.JournalIndex) int64 { return int64(i) },
		func(version uint64) StatementRow { return r.Read[version] })
	if status.Code != atm.CursorInvalid ||
		status.Reason != "This server has the movements since 1970-01-01T00:00:04Z" {
		t.Errorf("a range that was trimmed: %+v", status)
	}
}
