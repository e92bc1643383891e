package vaulttest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/requestid"
)

// identified gives cmd a request id.
func identified(t testing.TB, cmd vault.Command, id atm.RequestID) vault.Command {
	cmd.Request = hasher(t).Hash(cmd.Caller, id)
	return cmd
}

// testRequestOnce sends one request id many times at once.
func testRequestOnce(t *testing.T, p Place) {
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store})
	must(t, l, open("1", 0))
	var wg sync.WaitGroup
	answers := make([]atm.Status, 50)
	for i := range answers {
		wg.Go(func() { answers[i] = l.Do(t.Context(), identified(t, deposit("1", 500), "same")) })
	}
	wg.Wait()
	for i, s := range answers {
		if s != answers[0] || s.Code != atm.OK || s.Result != "5.00" {
			t.Errorf("answer %d is %v, the first was %v", i, s, answers[0])
		}
	}
	var first, replays int
	for _, leaf := range leaves(t, store) {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case entry.ReplayOf == 1:
			replays++
			if len(entry.State) != 0 {
				t.Errorf("a replay has the state %v", entry.State)
			}
		case entry.Operation == atm.Deposit:
			first++
		}
	}
	if first != 1 || replays != len(answers)-1 {
		t.Errorf("the log has %d deposits and %d replays", first, replays)
	}

	tooMuch := refused(t, l, identified(t, withdraw("1", 999), "too much"), atm.InsufficientFunds)
	must(t, l, deposit("1", 10000))
	if again := l.Do(t.Context(), identified(t, withdraw("1", 999), "too much")); again != tooMuch {
		t.Errorf("a refusal became %v on repetition", again)
	}
	refused(t, l, identified(t, deposit("1", 501), "same"), atm.IdempotencyConflict)
	refused(t, l, identified(t, withdraw("1", 500), "same"), atm.IdempotencyConflict)
	refused(t, l, identified(t, deposit("2", 500), "same"), atm.IdempotencyConflict)

	other := identified(t, deposit("1", 500), "same")
	other.Caller = &atm.Caller{Principal: atm.Principal{Subject: "user:other"}}
	other.Request = hasher(t).Hash(other.Caller, "same")
	if s := must(t, l, other); s.Result != "110.00" {
		t.Errorf("another subject's request id was taken for this one's: %v", s)
	}
	denied := identified(t, deposit("1", 500), "denied")
	denied.Rule = vault.Refuse(atm.PermissionDenied, "You may not do this")
	refused(t, l, denied, atm.PermissionDenied)
	if s := must(t, l, identified(t, deposit("1", 500), "denied")); s.Result != "115.00" {
		t.Errorf("a denial was remembered: %v", s)
	}
}

func refused(t testing.TB, l *ledger.Ledger, cmd vault.Command, want atm.Code) atm.Status {
	t.Helper()
	s := l.Do(t.Context(), cmd)
	if s.Code != want || s.Receipt == "" {
		t.Fatalf("%s was answered %v, want %s", cmd.Operation, s, want)
	}
	return s
}

func testRequestAcrossReopen(t *testing.T, p Place) {
	signer := NewSigner(t)
	store := p.Open(t)
	l := ledger.New(ledger.Config{Store: store, Signer: signer})
	must(t, l, open("1", 0))
	first := must(t, l, identified(t, deposit("1", 500), "same"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	l = NewLedger(t, ledger.Config{Store: p.Open(t), Signer: signer})
	if again := must(t, l, identified(t, deposit("1", 500), "same")); again != first {
		t.Errorf("after opening again: %v, before: %v", again, first)
	}
}

func testRequestExpires(t *testing.T, p Place) {
	store := p.Open(t)
	var elapsed atomic.Int64
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := func() time.Time { return begin.Add(time.Duration(elapsed.Load())) }
	l := NewLedger(t, ledger.Config{Store: store, Now: now})
	must(t, l, open("1", 0))
	dated := atm.RequestID(atm.NewUUID(begin))
	first := must(t, l, identified(t, deposit("1", 500), dated))
	for i := range 600 {
		must(t, l, identified(t, deposit("1", 1), atm.RequestID(fmt.Sprint(i))))
	}

	elapsed.Store(int64(requestid.Life - time.Second))
	if again := must(t, l, identified(t, deposit("1", 500), dated)); again != first {
		t.Errorf("within the seven days: %v, first %v", again, first)
	}
	elapsed.Store(int64(requestid.Life + 48*time.Hour))
	for range 5 { // what is old is swept away by ordinary commits
		must(t, l, inquiry("1"))
	}
	late := refused(t, l, identified(t, deposit("1", 500), dated), atm.IdempotencyKeyExpired)
	if again := l.Do(t.Context(), identified(t, deposit("1", 500), dated)); again != late {
		t.Errorf("the expired id was answered %v, then %v", late, again)
	}
	if s := must(t, l, identified(t, deposit("1", 1), "0")); s.Result != "11.01" {
		t.Errorf("an id that tells no time is new after seven days: %v", s)
	}
}
