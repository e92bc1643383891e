package vaulttest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/query"
)

// testHistory asks for the entries of every version, from every version
// downwards, of two accounts that share most of their entries.
func testHistory(t *testing.T, p Place) {
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store})
	must(t, l, open("1", 0))
	must(t, l, open("2", 100))
	for i := range 300 {
		switch i % 3 {
		case 0:
			must(t, l, deposit("1", 2))
		case 1:
			must(t, l, transfer("1", "2", 1))
		case 2:
			must(t, l, inquiry("1"))
		}
	}
	made := map[string][]vault.JournalIndex{} // of the entry of each version
	for index, leaf := range leaves(t, store) {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range entry.State {
			made[c.Account] = append(made[c.Account], vault.JournalIndex(index))
		}
	}
	for _, n := range []vault.Name{"1", "2", vault.Cash(demo.Subject), vault.Equity} {
		want := made[string(n)]
		for from := range uint64(len(want) + 3) {
			next := min(from, uint64(len(want)))
			err := store.History(t.Context(), n, from, func(version uint64,
				index vault.JournalIndex, leaf []byte,
			) bool {
				if version != next || index != want[next-1] {
					t.Fatalf("account %s from %d: version %d at %d, want %d at %d", n, from,
						version, index, next, want[next-1])
				}
				if _, err := audit.ParseEntry(leaf); err != nil {
					t.Fatal(err)
				}
				next--
				return version%7 != 3 || from%2 == 0 // sometimes enough is enough
			})
			if err != nil || next > 0 && from%2 == 0 {
				t.Fatalf("account %s from %d ended before version %d, %v", n, from, next, err)
			}
		}
	}
	if err := store.History(t.Context(), "3", 1, func(uint64, vault.JournalIndex, []byte) bool {
		t.Error("3 has a history")
		return false
	}); err != nil {
		t.Error(err)
	}
}

// statement asks for a page as the teller does.
func statement(t testing.TB, store vault.Store, r query.Statement) vault.Command {
	t.Helper()
	if r.Limit == 0 {
		r.Limit = 50
	}
	a, err := store.Account(t.Context(), r.Account)
	if err != nil {
		t.Fatal(err)
	}
	err = r.Prepare(a, func(n vault.Name, from uint64,
		yield func(uint64, vault.JournalIndex, []byte) bool,
	) error {
		return store.History(t.Context(), n, from, yield)
	})
	if err != nil {
		t.Fatal(err)
	}
	return op(atm.Statement, r)
}

func field[T any](t testing.TB, r any, name string) T {
	t.Helper()
	record, _ := r.(atm.Record)
	v, ok := record.Get(name).(T)
	if !ok {
		t.Fatalf("%v has no %s", r, name)
	}
	return v
}

// A line of a statement: minutes since its first one, amount, balance, counterparty, memo.
type line struct {
	minute          int
	amount, balance string
	counterparty    string
	memo            string
}

// statements reads the statements of account 1, whose first line is of begin.
type statements struct {
	store  vault.Store
	ledger *ledger.Ledger
	begin  time.Time
}

// openStatements opens account 1 and moves money once a minute, frozen from time to time.
// It returns the lines that the whole statement must have, the oldest first.
func openStatements(t *testing.T, p Place) (s statements, want []line) {
	s = statements{store: p.Open(t), begin: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	now := s.begin
	var mu sync.Mutex
	l := NewLedger(t, ledger.Config{Store: s.store, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	s.ledger = l
	must(t, l, open("1", 1000))
	must(t, l, open("2", 0))
	want = []line{{0, "10.00", "10.00", "equity:opening", ""}}
	balance := atm.Amount(1000)
	for i := 1; i <= 120; i++ {
		mu.Lock()
		now = s.minute(i)
		mu.Unlock()
		switch i % 4 {
		case 0:
			cmd := transfer("1", "2", 3)
			memo := fmt.Sprintf(`transfer %d; "<b>\\ é`, i)
			cmd.Args = append(cmd.Args, audit.Arg{Name: atm.MemoArg, Value: memo})
			must(t, l, cmd)
			balance -= 3
			want = append(want, line{i, "-0.03", balance.String(), "2", memo})
		case 1:
			must(t, l, op(atm.AccountFreeze, vault.SetStanding{
				Account: "1", Standing: vault.Frozen,
			}))
			must(t, l, op(atm.AccountUnfreeze, vault.SetStanding{
				Account: "1", Standing: vault.Open,
			}))
		default:
			must(t, l, deposit("1", 5))
			balance += 5
			want = append(want, line{i, "0.05", balance.String(), "cash:user:demo", ""})
		}
	}
	return s, want
}

// minute is some minutes after the first line.
func (s *statements) minute(i int) time.Time {
	return s.begin.Add(time.Duration(i) * time.Minute)
}

// read reads all pages of a statement, the oldest line first.
func (s *statements) read(t *testing.T, r query.Statement) (lines []line, opening, closing string) {
	t.Helper()
	for range 200 {
		page := must(t, s.ledger, statement(t, s.store, r)).Result
		for _, e := range field[[]atm.Record](t, page, "entries") {
			at, err := time.Parse(time.RFC3339, field[string](t, e, "time"))
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line{
				int(at.Sub(s.begin).Minutes()), field[string](t, e, "amount"),
				field[string](t, e, "balance"), field[string](t, e, "counterparty"),
				field[string](t, e, atm.MemoArg),
			})
		}
		opening, closing = field[string](t, page, "opening"), field[string](t, page, "closing")
		if r.Cursor = field[string](t, page, "next"); r.Cursor == "" {
			slices.Reverse(lines)
			return lines, opening, closing
		}
	}
	t.Fatal("the statement has no end")
	return nil, "", ""
}

// between returns what a statement from one minute to another has of all lines.
func between(all []line, from, to int) (part []line, opening, closing string) {
	opening, closing = "0.00", "0.00"
	for _, l := range all {
		if l.minute < from {
			opening = l.balance
		}
		if l.minute <= to {
			closing = l.balance
		}
		if l.minute >= from && l.minute <= to {
			part = append(part, l)
		}
	}
	return part, opening, closing
}

// testStatement reads statements in pages of several sizes and of many ranges, and holds them
// against the plain list of what moved.
func testStatement(t *testing.T, p Place) {
	s, all := openStatements(t, p)
	want, wantOpening, wantClosing := between(all, 0, 120)
	for _, limit := range []int{1, 7, 50, 500} {
		lines, opening, closing := s.read(t, query.Statement{Account: "1", Limit: limit})
		if !slices.Equal(lines, want) || opening != wantOpening || closing != wantClosing {
			t.Fatalf("limit %d: %v from %s to %s\nwant %v from %s to %s", limit, lines, opening,
				closing, want, wantOpening, wantClosing)
		}
	}
	for from := -1; from <= 121; from += 7 {
		for to := from; to <= 122; to += 9 {
			want, wantOpening, wantClosing := between(all, from, to)
			lines, opening, closing := s.read(t, query.Statement{
				Account: "1", Limit: 25, From: s.minute(from), To: s.minute(to),
			})
			if !slices.Equal(lines, want) || opening != wantOpening || closing != wantClosing {
				t.Fatalf("from %d to %d: %v from %s to %s\nwant %v from %s to %s", from, to, lines,
					opening, closing, want, wantOpening, wantClosing)
			}
		}
	}
	for _, cursor := range []string{"x", "1.0", "1.999", "2.1", "1.-1", "1."} {
		refused(t, s.ledger, statement(t, s.store, query.Statement{Account: "1", Cursor: cursor}),
			atm.CursorInvalid)
	}
	refused(t, s.ledger, statement(t, s.store, query.Statement{Account: "3"}), atm.AccountNotFound)
	refused(t, s.ledger, statement(t, s.store, query.Statement{
		Account: "1", Party: vault.Party{Owner: "user:eve"},
	}), atm.AccountNotFound)
}

// testStatementWhileBusy reads statements while others deposit. Each adds up,
// and holds everything that stands before it in the log.
func testStatementWhileBusy(t *testing.T, p Place) {
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store})
	must(t, l, open("1", 0))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					l.Do(t.Context(), deposit("1", 1))
				}
			}
		})
	}
	log, err := vault.OpenLog(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		s := must(t, l, statement(t, store, query.Statement{Account: "1", Limit: 20}))
		var index int64
		if _, err := fmt.Sscan(s.Receipt, &index); err != nil {
			t.Fatal(err)
		}
		entries := field[[]atm.Record](t, s.Result, "entries")
		if len(entries) == 0 {
			t.Fatal("an empty statement")
		}
		if first := entries[0]; field[string](t, first, "balance") != field[string](t, s.Result,
			"closing") {
			t.Fatalf("closing %v after %v", s.Result, first)
		}
		newest := field[int64](t, entries[0], "index")
		err := log.Entries(t.Context(), newest+1, index, func(i int64, leaf []byte) error {
			entry, err := audit.ParseEntry(leaf)
			if err == nil && len(entry.State) > 0 {
				err = fmt.Errorf("the statement in entry %d lacks entry %d", index, i)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
}
