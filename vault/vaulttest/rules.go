package vaulttest

import (
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/query"
)

func testTransfer(t *testing.T, p Place) {
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store})
	must(t, l, open("1", 1000))
	must(t, l, open("2", 0))
	must(t, l, open("3", 0))
	if s := must(t, l, transfer("1", "2", 400)); s.Result != "6.00" {
		t.Errorf("left after the transfer: %v", s.Result)
	}
	if s := must(t, l, inquiry("2")); s.Result != "4.00" {
		t.Errorf("arrived: %v", s.Result)
	}
	refused(t, l, transfer("1", "2", 601), atm.InsufficientFunds)
	refused(t, l, transfer("1", "1", 1), atm.SameAccount)
	if s := refused(t, l, transfer("1", "9", 1),
		atm.AccountNotFound); s.Reason != "Account 9 was not found" {
		t.Errorf("to nowhere: %s", s.Reason)
	}
	if s := refused(t, l, transfer("9", "1", 1),
		atm.AccountNotFound); s.Reason != "Account 9 was not found" {
		t.Errorf("from nowhere: %s", s.Reason)
	}
	others := transfer("1", "2", 1)
	others.Rule = vault.Transfer{
		Party: vault.Party{Owner: "user:eve"}, From: "1", To: "2",
		Amount: 1,
	}
	refused(t, l, others, atm.AccountNotFound)
	must(t, l, op(atm.AccountFreeze, vault.SetStanding{Account: "3", Standing: vault.Frozen}))
	refused(t, l, transfer("1", "3", 1), atm.AccountFrozen)
	refused(t, l, transfer("3", "1", 1), atm.AccountFrozen)
	must(t, l, op(atm.AccountClose, vault.SetStanding{Account: "3", Standing: vault.Closed}))
	refused(t, l, transfer("1", "3", 1), atm.AccountClosed)
	must(t, l, open("4", atm.MaxBalance))
	refused(t, l, transfer("1", "4", 1), atm.BalanceTooLarge)
	checkJournal(t, store)
}

func testHolds(t *testing.T, p Place) {
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store})
	must(t, l, open("1", 1000))
	hold := must(t, l, authorize("1", 600, time.Hour)).Result
	if s := must(t, l, inquiry("1")); s.Result != "10.00" {
		t.Errorf("the balance with a hold is %v", s.Result)
	}
	refused(t, l, withdraw("1", 401), atm.InsufficientFunds)
	refused(t, l, authorize("1", 401, time.Hour), atm.InsufficientFunds)
	must(t, l, withdraw("1", 100))
	refused(t, l, op(atm.Release, query.ShowHold{Hold: 9999}), atm.HoldNotFound)
	refused(t, l, release("h9999"), atm.HoldNotFound)
	refused(t, l, capture(hold, 601), atm.HoldAmountExceeded)

	must(t, l, op(atm.AccountFreeze, vault.SetStanding{Account: "1", Standing: vault.Frozen}))
	refused(t, l, capture(hold, 0), atm.AccountFrozen)
	must(t, l, op(atm.AccountUnfreeze, vault.SetStanding{Account: "1", Standing: vault.Open}))

	if s := must(t, l, capture(hold, 250)); s.Result != "2.50" {
		t.Errorf("captured %v", s.Result)
	}
	if s := must(t, l, inquiry("1")); s.Result != "6.50" {
		t.Errorf("the balance after a capture is %v", s.Result)
	}
	refused(t, l, capture(hold, 1), atm.HoldNotPending)
	refused(t, l, release(hold), atm.HoldNotPending)
	must(t, l, withdraw("1", 650)) // what was left of the hold is free

	must(t, l, deposit("1", 300))
	second := must(t, l, authorize("1", 300, time.Hour)).Result
	refused(t, l, withdraw("1", 1), atm.InsufficientFunds)
	if s := must(t, l, release(second)); s.Result != "3.00" {
		t.Errorf("released %v", s.Result)
	}
	refused(t, l, capture(second, 0), atm.HoldNotPending)
	third := must(t, l, authorize("1", 300, time.Hour)).Result
	if s := must(t, l, capture(third, 0)); s.Result != "3.00" {
		t.Errorf("captured all: %v", s.Result)
	}
	refused(t, l, capture("h12345", 0), atm.HoldNotFound)
	must(t, l, deposit("1", 300))
	others := capture(must(t, l, authorize("1", 100, time.Hour)).Result, 0)
	r := others.Rule.(vault.Capture)
	r.Owner = "user:eve"
	others.Rule = r
	refused(t, l, others, atm.HoldNotFound)
	refused(t, l, op(atm.AccountClose, vault.SetStanding{Account: "1", Standing: vault.Closed}),
		atm.AccountNotEmpty)
	checkJournal(t, store)
}

// testHoldLivesInFull makes a hold of one second just before the clock strikes.
func testHoldLivesInFull(t *testing.T, p Place) {
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var elapsed atomic.Int64
	now := func() time.Time { return begin.Add(time.Duration(elapsed.Load())) }
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store, Signer: NewSigner(t), Now: now})
	must(t, l, open("1", 1000))
	for _, at := range []time.Duration{
		0, time.Microsecond, 950 * time.Millisecond,
		10 * time.Second,
	} {
		begins := time.Duration(elapsed.Load()).Truncate(time.Minute) + time.Minute + at
		elapsed.Store(int64(begins))
		hold := must(t, l, authorize("1", 1000, time.Second)).Result
		elapsed.Store(int64(begins + time.Second - time.Microsecond))
		refused(t, l, withdraw("1", 1), atm.InsufficientFunds)
		elapsed.Store(int64(begins + 2*time.Second))
		refused(t, l, capture(hold, 1), atm.HoldExpired)
		leaf := leaves(t, store)
		entry, err := audit.ParseEntry(leaf[len(leaf)-3])
		if err != nil {
			t.Fatal(err)
		}
		if end := entry.Expires.Sub(begin); end < begins+time.Second || end >= begins+
			2*time.Second {
			t.Errorf("a hold of %v ends at %v, as its entry says", begins, end)
		}
	}
	checkJournal(t, store)
}

// testHoldsExpire lets the clock of the commits run past a hold, and back.
func testHoldsExpire(t *testing.T, p Place) {
	signer := NewSigner(t)
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var elapsed atomic.Int64
	now := func() time.Time { return begin.Add(time.Duration(elapsed.Load())) }
	store := p.Open(t)
	l := ledger.New(ledger.Config{Store: store, Signer: signer, Now: now})
	must(t, l, open("1", 1000))
	first := must(t, l, authorize("1", 600, time.Minute)).Result
	second := must(t, l, authorize("1", 100, time.Hour)).Result
	elapsed.Store(int64(time.Minute - time.Second))
	refused(t, l, withdraw("1", 301), atm.InsufficientFunds)
	elapsed.Store(int64(time.Minute))
	refused(t, l, capture(first, 0), atm.HoldExpired)
	refused(t, l, release(first), atm.HoldExpired)
	refused(t, l, withdraw("1", 901), atm.InsufficientFunds)
	// writes the record without the first
	third := must(t, l, authorize("1", 900, time.Hour)).Result

	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	elapsed.Store(0) // a clock set back brings nothing to life again
	store = p.Open(t)
	l = NewLedger(t, ledger.Config{Store: store, Signer: signer, Now: now})
	refused(t, l, capture(first, 0), atm.HoldExpired)
	must(t, l, capture(second, 0))
	must(t, l, capture(third, 0))
	if s := must(t, l, inquiry("1")); s.Result != "0.00" {
		t.Errorf("left: %v", s.Result)
	}
	checkJournal(t, store)
}

func testLimits(t *testing.T, p Place) {
	store := p.Open(t)
	// Ten at night in New York, three in the morning in UTC.
	begin := time.Date(2026, 1, 15, 3, 0, 0, 0, time.UTC)
	var elapsed atomic.Int64
	l := NewLedger(t, ledger.Config{Store: store, Now: func() time.Time {
		return begin.Add(time.Duration(elapsed.Load()))
	}})
	must(t, l, open("1", 100000))
	must(t, l, open("2", 0))
	limits := vault.Limits{
		PerOperation: 500, DailyAmount: 1200, DailyCount: 4,
		Zone: "America/New_York",
	}
	must(t, l, op(atm.AccountLimit, vault.SetLimits{Account: "1", Limits: limits}))

	refused(t, l, withdraw("1", 501), atm.LimitPerOperation)
	refused(t, l, transfer("1", "2", 501), atm.LimitPerOperation)
	refused(t, l, authorize("1", 501, time.Hour), atm.LimitPerOperation)
	must(t, l, deposit("1", 50000)) // what comes in is not limited
	must(t, l, withdraw("1", 500))
	must(t, l, transfer("1", "2", 500))
	refused(t, l, withdraw("1", 201), atm.LimitDailyAmount)
	hold := must(t, l, authorize("1", 100, 24*time.Hour)).Result
	must(t, l, capture(hold, 0)) // counted when it was authorized
	must(t, l, withdraw("1", 1))
	refused(t, l, withdraw("1", 1), atm.LimitDailyCount)

	elapsed.Store(int64(2*time.Hour - time.Second)) // a second before midnight in New York
	refused(t, l, withdraw("1", 1), atm.LimitDailyCount)
	elapsed.Store(int64(2 * time.Hour))
	must(t, l, withdraw("1", 500))

	must(t, l, op(atm.AccountLimit, vault.SetLimits{Account: "1"}))
	must(t, l, withdraw("1", 5000))

	// One limit changes, and the others stay.
	must(t, l, op(atm.AccountLimit, vault.SetLimits{Account: "1", Limits: limits}))
	must(t, l, op(atm.AccountLimit, vault.SetLimits{
		Account: "1", Limits: vault.Limits{DailyCount: vault.NoneMay},
		Keep: vault.KeptLimits{PerOperation: true, DailyAmount: true, Zone: true},
	}))
	refused(t, l, withdraw("1", 1), atm.LimitDailyCount)
	refused(t, l, authorize("1", 1, time.Hour), atm.LimitDailyCount)
	must(t, l, deposit("1", 1))
	kept, err := store.Account(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	want := limits
	if want.DailyCount = vault.NoneMay; kept.Limits != want {
		t.Errorf("limits: %+v, want %+v", kept.Limits, want)
	}
	must(t, l, op(atm.AccountLimit, vault.SetLimits{
		Account: "1",
		Keep:    vault.KeptLimits{PerOperation: true},
	}))
	refused(t, l, withdraw("1", 501), atm.LimitPerOperation)
	must(t, l, withdraw("1", 500))
	for _, none := range []vault.Limits{
		{PerOperation: -1},
		{DailyAmount: -1},
		{DailyCount: vault.NoneMay - 1},
		{Zone: "Nowhere"},
	} {
		refused(t, l, op(atm.AccountLimit, vault.SetLimits{Account: "1", Limits: none}),
			atm.AmountInvalid)
	}
	refused(t, l, op(atm.AccountLimit, vault.SetLimits{Account: "9"}), atm.AccountNotFound)
	checkJournal(t, store)
}
