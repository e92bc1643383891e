package teller_test

import (
	"reflect"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/search"
	"example.com/atm/teller"
	"example.com/atm/teller/confirm"
	"example.com/atm/teller/replay"
	"example.com/atm/vault"
	"example.com/atm/vault/holder"
	"example.com/atm/vault/requestid"
)

func TestNewNamesTheFieldThatIsMissing(t *testing.T) {
	b := newBank(t)
	requests, err := requestid.NewHasher([]byte("the secret of a test"))
	if err != nil {
		t.Fatal(err)
	}
	holders, err := holder.NewHasher([]byte("the secret of a test"))
	if err != nil {
		t.Fatal(err)
	}
	whole := teller.Config{
		Ledger: b.ledger, Store: b.store, Requests: requests, Holders: holders,
		Index: search.NewIndex(), Realm: "bank", Confirm: confirm.Default,
		Permissions: permissions{}, Credentials: credentials{}, Installation: installation{},
		Feed: noFeed{},
	}
	if _, err := teller.New(whole); err != nil {
		t.Fatal(err)
	}
	fields := reflect.TypeFor[teller.Config]()
	for i := range fields.NumField() {
		part := whole
		reflect.ValueOf(&part).Elem().Field(i).SetZero()
		name := fields.Field(i).Name
		if _, err := teller.New(part); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// TestReplayRefusesByNameWhatIsNoBooking has an operation change accounts that is not
// among the bookings, as one would whose rule asks the teller.
func TestReplayRefusesByNameWhatIsNoBooking(t *testing.T) {
	b := newBank(t)
	s := b.ledger.Do(t.Context(), vault.Command{
		Event: audit.EventOp, Operation: atm.Whoami,
		Caller: &atm.Caller{Principal: atm.Principal{Subject: "user:demo"}},
		Rule:   vault.OpenAccount{Account: "100", Owner: "user:demo", Opening: 1000},
	})
	if s.Code != atm.OK {
		t.Fatalf("%+v", s)
	}
	_, err := replay.Reconcile(t.Context(), b.store, replay.Rules{})
	if err == nil || !strings.Contains(err.Error(), "whoami changed accounts or holds") {
		t.Errorf("%v", err)
	}
}
