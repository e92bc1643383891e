package lookup_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/lookup"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

// TestOrdersWhosePaymentIsDueWait gives orders by a clock of the past. Nobody pays them.
func TestOrdersWhosePaymentIsDueWait(t *testing.T) {
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"),
		bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	past := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	l := vaulttest.NewLedger(t, ledger.Config{
		Store: store, Signer: vaulttest.NewSigner(t), Now: func() time.Time { return past },
	})
	must := func(rule vault.Rule) string {
		t.Helper()
		s := l.Do(t.Context(), vault.Command{
			Event: audit.EventAdmin, Operation: "test",
			Caller: &atm.Caller{Principal: atm.Principal{Subject: "system:init"}}, Rule: rule,
		})
		if s.Code != atm.OK {
			t.Fatalf("%#v: %s %s", rule, s.Code, s.Reason)
		}
		id, _ := s.Result.(string)
		return id
	}
	waiting := func(number int64, since string) {
		t.Helper()
		got, err := lookup.WaitingOrders(t.Context(), store)
		want := atm.Record{
			{Name: "counted", Value: true},
			{Name: "waiting", Value: number},
			{Name: "since", Value: since},
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v, other orders wait: %s", err, diff)
		}
	}
	must(vault.OpenAccount{Account: "1", Owner: "user:demo"})
	must(vault.OpenAccount{Account: "2", Owner: "user:demo"})
	waiting(0, "")
	order := func(s calendar.Schedule) string {
		return must(vault.CreateOrder{Account: "1", To: "2", Amount: 100, Schedule: s})
	}
	order(calendar.Schedule{Every: calendar.Month, On: 31})
	first := order(calendar.Schedule{Every: calendar.Day})
	order(calendar.Schedule{Every: calendar.Day, From: calendar.NewDate(9000, time.January, 1)})
	waiting(2, "2026-05-02T00:00:00Z")
	id, ok := vault.ParseOrderID(first)
	if !ok {
		t.Fatalf("the id of an order is %q", first)
	}
	must(vault.CancelOrder{Order: id})
	waiting(1, "2026-05-31T00:00:00Z")
}
