//go:build unix

package daemon_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/search"
	"example.com/atm/auth"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/teller"
	"example.com/atm/teller/confirm"
	"example.com/atm/teller/subscriptions"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/holder"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/requestid"
)

// TestOrdersThatWereDueWhileTheServerWasDownArePaid gives a standing order in the name of demo
// while the server is stopped, by a clock that is ten days behind.
func TestOrdersThatWereDueWhileTheServerWasDownArePaid(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	then := time.Now().AddDate(0, 0, -10)
	operator := atm.Principal{Subject: "user:operator", Roles: []atm.Role{atm.Operator}}
	customer := atm.Principal{Subject: "user:demo", Roles: []atm.Role{atm.Customer}}
	text := func(s string) atm.Arg { return atm.Arg{Kind: atm.String, Text: s} }
	by(t, h, then, operator, atm.AccountOpen, text("200"), text("user:demo"))
	by(t, h, then, customer, atm.OrderCreate, text("100"), atm.Arg{
		Kind: atm.Struct, Members: []atm.Member{
			{Name: "to", Arg: text("200")},
			{Name: "amount", Arg: text("10.00")},
			{Name: "every", Arg: text("day")},
		},
	})
	h = daemontest.StartIn(t, h.Data, nil)
	demo, deadline := h.As(t, "demo"), time.Now().Add(30*time.Second)
	paid := func() atm.Amount { // by now
		return 1000 * atm.Amount(time.Now().Unix()/86_400-then.Unix()/86_400)
	}
	for text := ""; text != paid().String(); {
		text = daemontest.Must(t)(demo.Inquiry(t.Context(), 200)).Text()
		if time.Now().After(deadline) {
			t.Fatalf("the account that is paid has %s, want %s\n%s", text, paid(), h.Log)
		}
	}
	due := make(map[string]int)
	daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		if e.Operation == atm.OrderPay {
			due[e.Args[0].Value]++
		}
		return e.Operation == atm.OrderPay
	})
	if atm.Amount(len(due)) != paid()/1000 {
		t.Errorf("the due dates are %v", due)
	}
	for date, count := range due {
		if count != 1 {
			t.Errorf("%s has %d outcomes", date, count)
		}
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Folder().Check(t.Context(), func(p string) { t.Error(p) }); err != nil {
		t.Error(err)
	}
}

// by carries out an operation on a stopped server, by a clock that stands still.
func by(t *testing.T, h *daemontest.Server, now time.Time, who atm.Principal, op atm.Operation,
	args ...atm.Arg,
) {
	t.Helper()
	dir, key, store := openFolder(t, h)
	signs, err := os.ReadFile(dir.AuditKey())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(string(signs))
	if err != nil {
		t.Fatal(err)
	}
	requests, err := requestid.NewHasher(key.Requests)
	if err != nil {
		t.Fatal(err)
	}
	holders, err := holder.NewHasher(key.Requests)
	if err != nil {
		t.Fatal(err)
	}
	commits := ledger.New(ledger.Config{
		Store: store, Signer: signer, Now: func() time.Time { return now },
	})
	front, err := teller.New(teller.Config{
		Ledger: commits, Store: store, Requests: requests, Holders: holders,
		Index: search.NewIndex(), Realm: "test", Confirm: confirm.Default,
		Permissions: permit{}, Credentials: noCredentials{},
		Installation: nowhere{}, Feed: noFeed{},
	})
	if err != nil {
		t.Fatal(err)
	}
	reply, err := front.Begin(t.Context(), &atm.Caller{Principal: who}, teller.Call{
		Operation: op, Args: args,
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := reply(); s.Code != atm.OK {
		t.Fatalf("%s: %s %s", op, s.Code, s.Reason)
	}
	if err := errors.Join(commits.Close(), store.Close(), dir.Close()); err != nil {
		t.Fatal(err)
	}
}

// What a teller that moves money alone makes no use of.
type (
	permit        struct{ teller.Permissions }
	noCredentials struct{ teller.Credentials }
	nowhere       struct{ teller.Installation }
	noFeed        struct{ subscriptions.Feed }
)

func (permit) Permit(p atm.Principal, op atm.Operation) atm.Reach { return auth.Permit(p, op) }

func (nowhere) Program() audit.Program { return audit.Program{} }

// openFolder opens the data folder of a stopped server, and its store.
func openFolder(t *testing.T, h *daemontest.Server) (*datadir.Dir, datadir.VaultKey,
	vault.Backend,
) {
	t.Helper()
	dir, _, err := datadir.Open(h.Data, datadir.Config{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := dir.ReadVaultKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	where := h.Folder().Store
	if !where.InDatabase() {
		store, err := boltstore.Open(dir.Vault(), key.Secret)
		if err != nil {
			t.Fatal(err)
		}
		return dir, key, store
	}
	store, err := storage.Config{Location: where, Secret: key.Secret}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return dir, key, store
}
