package vaulttest

import (
	"strings"
	"sync"
	"testing"

	"example.com/atm"
	"example.com/atm/audit/flood"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
)

// testDenialsAreBounded: one caller's denials get so many entries, whatever denies them and
// however many are decided together. The rest are counted, and hide nobody else's.
func testDenialsAreBounded(t *testing.T, p Place) {
	const more = 100
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store})
	must(t, l, open("1", 0))
	denied := op(atm.Deposit, vault.Refuse(atm.PermissionDenied, "You may not do this"))
	denied.Caller = &atm.Caller{Principal: atm.Principal{
		Subject: "service:x",
		Roles:   []atm.Role{atm.Service},
	}, IP: "127.0.0.1"}
	granted := denied
	granted.Rule = vault.Granted{
		Spender: vault.Deposit{Account: "1", Cash: vault.Cash("service:x"), Amount: 1},
		Grant:   "none",
		Grantee: "service:x", Operation: atm.Deposit,
	}
	whole, silent := 0, 0
	var mu sync.Mutex
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for i := range (flood.DenialEntries + more) / 4 {
				cmd := denied
				if i%2 == 1 {
					cmd = granted
				}
				s := l.Do(t.Context(), cmd)
				mu.Lock()
				if s.Code != atm.PermissionDenied {
					t.Errorf("answered %v", s)
				}
				if s.Receipt == "" {
					silent++
				} else {
					whole++
				}
				mu.Unlock()
			}
		})
		must(t, l, deposit("1", 100))
	}
	callers.Wait()
	if whole != flood.DenialEntries || silent != more {
		t.Errorf("%d denials have a receipt and %d have none, want %d and %d", whole, silent,
			flood.DenialEntries, more)
	}
	other := denied
	other.Caller = &atm.Caller{Principal: atm.Principal{Subject: "service:y"}}
	refused(t, l, other, atm.PermissionDenied)
	other.Caller = &atm.Caller{Principal: atm.Principal{Subject: "service:x", Actor: "service:z"}}
	refused(t, l, other, atm.PermissionDenied)

	counted := l.Denied()
	if len(counted) != 1 || counted[0].N != more || counted[0].Denied.Subject != "service:x" ||
		counted[0].First.After(counted[0].Last) {
		t.Errorf("counted %+v, want %d denials of service:x", counted, more)
	}
	if again := l.Denied(); len(again) != 0 {
		t.Errorf("counted twice: %+v", again)
	}
	refused(t, l, denied, atm.PermissionDenied) // the next minute

	written := 0
	for _, leaf := range leaves(t, store) {
		if strings.Contains(string(leaf), `"code":"PERMISSION_DENIED"`) {
			written++
		}
	}
	if want := flood.DenialEntries + 3; written != want {
		t.Errorf("%d denials are in the journal, want %d", written, want)
	}
}
