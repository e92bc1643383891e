package query

import (
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
)

// changes is how often the account of a test changed.
const changes = 3000

// held is the history of an account on which holds were made and released since its opening. It
// counts the rows that are read.
func held(read *int) vault.History {
	return func(account vault.Name, from uint64,
		yield func(uint64, vault.JournalIndex, []byte) bool,
	) error {
		for version := min(from, changes); version > 0; version-- {
			*read++
			change := audit.Change{
				Account: string(account), Version: version, Before: 500,
				After: 500,
			}
			if version == 1 {
				change.Before = 0
			}
			entry := audit.Entry{
				Event: audit.EventOp, Time: time.Unix(int64(version), 0).UTC(),
				Operation: atm.Authorize,
				Status:    &atm.Status{Code: atm.OK, Result: ""}, State: []audit.Change{change},
				ReplayOf: -1,
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

var account = vault.Account{Name: "100", Version: changes, Balance: 500}

// answer is the page of a statement whose rows were read ahead.
func answer(t *testing.T, r *Statement) atm.Record {
	t.Helper()
	status := r.page(account, func(i vault.JournalIndex) int64 { return int64(i) },
		func(version uint64) StatementRow {
			row, known := r.Read[version]
			if !known {
				t.Fatalf("version %d was not read ahead", version)
			}
			return row
		})
	page, _ := status.Result.(atm.Record)
	return page
}

// TestStatementPageReadsABoundedNumberOfRows asks for the movements of an account on which
// thousands of holds were made and released since its opening. However few entries a page may
// have, it looks at few rows, and its cursor leads on to the opening.
func TestStatementPageReadsABoundedNumberOfRows(t *testing.T) {
	read := 0
	history := held(&read)
	for _, limit := range []int{1, 50, StatementMost} {
		pages, entries, cursor := 0, 0, ""
		for {
			r := Statement{Account: "100", Limit: limit, Cursor: cursor}
			read = 0
			if err := r.Prepare(account, history); err != nil {
				t.Fatal(err)
			}
			if most := 1 + limit + passedOver + readTogether; read > most {
				t.Fatalf("a page of %d reads %d rows, more than %d", limit, read, most)
			}
			page := answer(t, &r)
			pages++
			entries += len(field(page, "entries").([]atm.Record))
			if cursor = field(page, "next").(string); cursor == "" {
				break
			}
		}
		if entries != 1 || pages > changes/passedOver+1 {
			t.Errorf("%d entries on %d pages of %d, not the opening alone", entries, pages, limit)
		}
	}
}

// TestProofListsEveryVersionWithTheHashOfItsEntry reads an account page by page.
func TestProofListsEveryVersionWithTheHashOfItsEntry(t *testing.T) {
	read, cursor := 0, ""
	history := held(&read)
	for version := int64(changes); version > 0; {
		r := Statement{Account: "100", Limit: 70, Cursor: cursor, Proof: true}
		if err := r.Prepare(account, history); err != nil {
			t.Fatal(err)
		}
		page := answer(t, &r)
		rows := field(page, "entries").([]atm.Record)
		if len(rows) != min(70, int(version)) {
			t.Fatalf("%d rows from version %d on", len(rows), version)
		}
		for _, row := range rows {
			var leaf string
			if err := history("100", uint64(version), func(_ uint64, _ vault.JournalIndex,
				line []byte,
			) bool {
				leaf = merkle.LeafHash(line).String()
				return false
			}); err != nil {
				t.Fatal(err)
			}
			if field(row, "version") != version || field(row, "leaf") != leaf {
				t.Fatalf("row %v, want version %d with leaf %s", row, version, leaf)
			}
			version--
		}
		cursor = field(page, "next").(string)
	}
	if cursor != "" {
		t.Errorf("there is more after the opening: %s", cursor)
	}
}

func field(r atm.Record, name string) any {
	for _, f := range r {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}
