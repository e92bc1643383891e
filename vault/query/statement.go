// Package query has the rules that answer what records and the journal say, and change nothing.
package query

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
)

// StatementMost is the largest number of entries on a page of a statement.
const StatementMost = 500

// passedOver bounds the changes without money that one page looks at: a page of an account
// with many holds ends early, and its cursor goes on from there.
const passedOver = 100

// readTogether is how many rows that follow each other are read at once.
const readTogether = 32

// A Statement lists the movements of an account, newest first.
type Statement struct {
	vault.Party
	Account vault.Name

	// Limit is the number of entries on the page, at least 1.
	Limit int

	// Cursor is where the page begins: next of the page before, or empty.
	Cursor string

	// From and To bound the time of the entries, both inclusive. The zero
	// time sets no bound. Where the clock was set back, a bound stands at one
	// of the places with its time.
	From, To time.Time

	// Since is the time of the first entry that the journal keeps; zero when it keeps all. A
	// version that the journal does not have was made before.
	Since time.Time

	// Proof lists every version, also those that moved no money, with its number and the hash of
	// its entry: a receipt of each row and of the answer then proves the page.
	Proof bool

	// Read are rows that were read before, by version, so that the committer
	// need not: it reads only those that came later. Prepare fills it.
	Read     map[uint64]StatementRow
	prepared uint64 // the newest version then
}

// A StatementRow is what one version of an account's record was made by.
type StatementRow struct {
	Index        vault.JournalIndex // in the journal
	Time         time.Time
	Operation    atm.Operation
	Amount       atm.Amount // what the balance grew by
	Balance      atm.Amount // after it
	Counterparty string     // the other account; empty when no money moved
	Memo         string     // empty for none
	Reverses     int64      // index in the log of the entry that it reverses; 0 for none
	reversed     atm.Amount // what was given back of it

	version uint64
	leaf    merkle.Hash
	trimmed bool // the journal does not have it any more, and nothing is known of it
}

// Keys implements Rule.
func (r Statement) Keys(k *vault.Keys) {
	k.Accounts = append(k.Accounts, r.Account)
	for _, row := range r.Read {
		if row.Amount != 0 {
			k.Reversals = append(k.Reversals, row.Index)
		}
	}
}

// Decide implements Rule.
func (r Statement) Decide(b *vault.Books) atm.Status {
	a := b.Account(r.Account)
	if !r.Reaches(a) {
		return vault.NotFound(string(r.Account))
	}
	var late map[int64]atm.Amount // given back of rows that were not read before
	return r.page(a, b.InLog, func(version uint64) StatementRow {
		row, read := r.Read[version]
		if read {
			if row.Amount != 0 {
				reversal, _ := b.Reversal(row.Index)
				row.reversed = reversal.Amount
			}
			return row
		}
		row = r.row(b, version)
		if late == nil && r.Read != nil {
			late = r.late(b, a.Version)
		}
		row.reversed = late[b.InLog(row.Index)]
		return row
	})
}

// row reads a row of a version.
func (r Statement) row(b *vault.Books, version uint64) (row StatementRow) {
	index, leaf, err := b.Change(r.Account, version)
	if errors.Is(err, vault.ErrNoVersion) && !r.Since.IsZero() {
		return StatementRow{trimmed: true}
	}
	if err == nil {
		row, err = RowOf(r.Account, version, index, leaf)
	}
	if err != nil {
		b.Fail(err)
	}
	return row
}

// late tells what the versions that came after Prepare gave back, by the index in the log. What
// is given back of one of them is given back by another one: both touch the account.
func (r Statement) late(b *vault.Books, newest uint64) map[int64]atm.Amount {
	given := make(map[int64]atm.Amount)
	for version := newest; version > r.prepared && b.Failed() == nil; version-- {
		row := r.row(b, version)
		if row.trimmed {
			break // and with it all before
		}
		if row.Reverses != 0 {
			given[row.Reverses] += max(row.Amount, -row.Amount)
		}
	}
	return given
}

// Prepare reads ahead what Decide will look at, outside of the committer. a is the account as it
// is at the moment.
func (r *Statement) Prepare(a vault.Account, history vault.History) error {
	r.Read, r.prepared = make(map[uint64]StatementRow), a.Version
	var failed error
	read := func(from uint64, rows int) {
		err := history(r.Account, from, func(version uint64, index vault.JournalIndex,
			leaf []byte,
		) bool {
			if _, known := r.Read[version]; !known {
				row, err := RowOf(r.Account, version, index, leaf)
				if err != nil {
					failed = err
					return false
				}
				r.Read[version] = row
			}
			rows--
			return rows > 0
		})
		if _, known := r.Read[from]; !known && err == nil && !r.Since.IsZero() {
			r.Read[from] = StatementRow{trimmed: true}
		}
		if err != nil && failed == nil {
			failed = err
		}
	}
	var before uint64 // the version that was looked at before
	// Nobody sees this page, so any index will do.
	asItIs := func(index vault.JournalIndex) int64 { return int64(index) }
	r.page(a, asItIs, func(version uint64) StatementRow {
		if _, known := r.Read[version]; !known && failed == nil {
			rows := 1
			if version+1 == before { // row by row, not in search of a time
				rows = readTogether
			}
			read(version, rows)
		}
		before = version
		return r.Read[version]
	})
	return failed
}

// page makes the answer. row returns the row of a version, and inLog the index
// to show for one in the journal.
func (r *Statement) page(a vault.Account, inLog func(vault.JournalIndex) int64,
	row func(uint64) StatementRow,
) atm.Status {
	since := r.since(a.Version, row)
	if since > 1 && !r.To.IsZero() && r.To.Before(r.Since) {
		return vault.BadCursor("This server has the movements since " +
			r.Since.UTC().Format(time.RFC3339))
	}
	// The range is of the versions from first to last.
	first, last := since, a.Version
	if !r.To.IsZero() {
		last = newestVersion(a.Version, func(v uint64) bool { return !row(v).Time.After(r.To) })
	}
	if !r.From.IsZero() {
		first = max(since, 1+newestVersion(a.Version, func(v uint64) bool {
			return row(v).Time.Before(r.From)
		}))
	}
	opening, closing := r.balance(a, first-1, row), r.balance(a, last, row)
	at := last
	if r.Cursor != "" {
		var valid bool
		at, valid = r.version(r.Cursor)
		trimmed := at < since && at > 0 // since the page before
		if !valid || at > last || at < first && !trimmed {
			return vault.BadCursor("The cursor is none of this account and range")
		}
	}
	var entries []atm.Record
	for looked := 0; at >= first && len(entries) < r.Limit && looked < r.Limit+
		passedOver; looked++ {
		if s := row(at); s.Amount != 0 || at == 1 || r.Proof {
			record := s.record(inLog(s.Index))
			if r.Proof {
				record = append(record, atm.Field{Name: "version", Value: int64(s.version)},
					atm.Field{Name: "leaf", Value: s.leaf.String()})
			}
			entries = append(entries, record)
		}
		at--
	}
	next := ""
	if at >= first && at > 0 {
		next = string(r.Account) + "." + strconv.FormatUint(at, 10)
	}
	return ok(atm.Record{
		{Name: "opening", Value: opening.String()},
		{Name: "closing", Value: closing.String()},
		{Name: "entries", Value: entries},
		{Name: "next", Value: next},
		{Name: "since", Value: r.missing(since)},
	})
}

// since is the first version that the journal still has: 1 if it has all, and one more than the
// newest if it has none.
func (r *Statement) since(newest uint64, row func(uint64) StatementRow) uint64 {
	if r.Since.IsZero() || newest == 0 || !row(1).trimmed {
		return 1
	}
	return 1 + newestVersion(newest, func(v uint64) bool { return row(v).trimmed })
}

// missing is the time from which on a page has all movements, when its range begins before, and
// empty when there was none before.
func (r *Statement) missing(since uint64) string {
	if since == 1 || !r.From.Before(r.Since) {
		return ""
	}
	return r.Since.UTC().Format(audit.TimeFormat)
}

// balance is that of an account after a version, of which the journal has the next one if it does
// not have that itself.
func (r *Statement) balance(a vault.Account, version uint64, row func(uint64) StatementRow,
) atm.Amount {
	switch {
	case version == a.Version:
		return a.Balance
	case version == 0:
		return 0
	}
	if s := row(version); !s.trimmed {
		return s.Balance
	}
	after := row(version + 1)
	return after.Balance - after.Amount
}

// version reads a cursor.
func (r *Statement) version(cursor string) (uint64, bool) {
	digits, found := strings.CutPrefix(cursor, string(r.Account)+".")
	v, err := strconv.ParseUint(digits, 10, 63)
	return v, found && err == nil
}

// newestVersion returns the largest version up to newest for which before
// holds, and 0 when there is none. It looks at versions that do not depend on
// newest, but for a few, so that it finds them read when it looks again.
func newestVersion(newest uint64, before func(uint64) bool) uint64 {
	if newest == 0 {
		return 0
	}
	var v uint64
	for bit := uint64(1) << (bits.Len64(newest) - 1) &^ (1 << 63); bit > 0; bit >>= 1 {
		if v|bit <= newest && before(v|bit) {
			v |= bit
		}
	}
	return v
}

// RowOf reads the row of a version from the entry that made it.
func RowOf(n vault.Name, version uint64, index vault.JournalIndex, leaf []byte) (StatementRow,
	error,
) {
	entry, err := audit.ParseEntry(leaf)
	if err != nil {
		return StatementRow{}, fmt.Errorf("entry %d: %w", index, err)
	}
	row := StatementRow{
		Index: index, Time: entry.Time, Operation: entry.Operation, version: version,
		leaf: merkle.LeafHash(leaf), Reverses: entry.Reverses,
	}
	for _, arg := range entry.Args {
		if arg.Name == atm.MemoArg {
			row.Memo = arg.Value
		}
	}
	found := false
	for _, c := range entry.State {
		if vault.Name(c.Account) != n {
			row.Counterparty = c.Account
		} else if c.Version == version {
			row.Amount, row.Balance, found = c.After-c.Before, c.After, true
		}
	}
	if !found {
		return StatementRow{}, fmt.Errorf("entry %d does not make version %d of account %s", index,
			version, n)
	}
	return row, nil
}

func (s StatementRow) record(index int64) atm.Record {
	var reverses any = "" // an index where there is one
	if s.Reverses > 0 {
		reverses = s.Reverses
	}
	return atm.Record{
		{Name: "index", Value: index},
		{Name: "time", Value: s.Time.UTC().Format(audit.TimeFormat)},
		{Name: "operation", Value: string(s.Operation)},
		{Name: "amount", Value: s.Amount.String()},
		{Name: "balance", Value: s.Balance.String()},
		{Name: "counterparty", Value: s.Counterparty},
		{Name: "memo", Value: s.Memo},
		{Name: "reverses", Value: reverses},
		{Name: "reversed", Value: sum(s.reversed)},
	}
}

func ok(result any) atm.Status { return atm.Status{Code: atm.OK, Result: result} }
