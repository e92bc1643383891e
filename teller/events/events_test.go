package events_test

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/teller/events"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

func TestEachEventIsOneEntryThatSaysWhatHappened(t *testing.T) {
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"),
		bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	ledger := vaulttest.NewLedger(t, ledger.Config{Store: store, Signer: vaulttest.NewSigner(t)})
	r := events.New(ledger, func() audit.Program {
		return audit.Program{Version: "1.2.3", Settings: []audit.Arg{{Name: "listen", Value: "S"}}}
	})
	ctx := t.Context()
	from := netip.MustParseAddr("192.0.2.7")
	r.Started(ctx)
	r.Heartbeat(ctx)
	r.Reloaded(ctx, "identities")
	r.ClockStepped(ctx, -3*time.Second)
	r.KeyRotated(ctx, "before", "after")
	r.SignInFailed(ctx, from, "wrong user or secret")
	r.SignInsSummarised(ctx, audit.Summary{Reason: "token expired", Source: "192.0.2.0/24"})
	if s := r.Stopped(ctx); s.Receipt == "" {
		t.Fatalf("the last event is answered %+v", s)
	}
	var got []audit.Entry
	err = store.Entries(ctx, 0, 8, func(_ vault.JournalIndex, leaf []byte) error {
		entry, err := audit.ParseEntry(leaf)
		if err == nil {
			got = append(got, *entry)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		event            audit.Event
		argument, reason string
		program          bool
	}{
		{audit.EventStart, "", "", true},
		{audit.EventHeartbeat, "", "", true},
		{audit.EventSettings, "identities", "", true},
		{audit.EventClockStep, "-3s", "", false},
		{audit.EventKeyRotate, "after", "", false},
		{audit.EventAuthFail, "", "wrong user or secret", false},
		{audit.EventAuthFailSummary, "", "token expired", false},
		{audit.EventStop, "", "", true},
	}
	if len(got) != len(want) {
		t.Fatalf("there are %d entries, want %d", len(got), len(want))
	}
	for i, w := range want { // arguments are in the order of their names
		e, argument := got[i], ""
		if len(e.Args) > 0 {
			argument = e.Args[0].Value
		}
		if e.Event != w.event || argument != w.argument || e.Reason != w.reason ||
			(e.Program != nil) != w.program {
			t.Errorf("entry %d is %+v, want %+v", i, e, w)
		}
	}
}
