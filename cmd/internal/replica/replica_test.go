//go:build unix

package replica

import (
	"log/slog"
	"os"
	"testing"

	"example.com/atm"
	"example.com/atm/audit/publish"
	"example.com/atm/auth"
	"example.com/atm/cmd/internal/roster"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/vaulttest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestLaterChangeOfAnotherServerCounts has a server learn of its own commit after it has learned
// that another one changed the same user later.
func TestLaterChangeOfAnotherServerCounts(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	t.Parallel()
	url, signer := pgtest.Shared(t).Database(t), vaulttest.NewSigner(t)
	store := func() *pgstore.Store {
		t.Helper()
		s, err := pgstore.Create(t.Context(), pgstore.Config{
			URL: url, Secret: []byte("the secret of a vault, in a test"),
		}, "test.example")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	var own ledger.Commit
	here, there := store(), store()
	on := func(s vault.Store, committed func(ledger.Commit), rule people.Rule) {
		t.Helper()
		l := vaulttest.NewLedger(t, ledger.Config{Store: s, Signer: signer, Committed: committed})
		if status := l.Do(t.Context(), vault.Command{
			Operation: atm.UserAdd, Caller: &atm.Caller{}, Rule: vault.People(rule),
		}); status.Code != atm.OK {
			t.Fatal(status)
		}
	}
	on(here, func(c ledger.Commit) { own = c }, people.Enrol{
		Subject: "user:alice", Roles: []atm.Role{atm.Teller}, Result: "",
	})
	on(there, nil, people.SetDisabled{Subject: "user:alice", Disabled: true})
	r := &Replica{Store: here, log: slog.New(slog.DiscardHandler), local: Local{
		Directory: auth.NewDirectory(), Publisher: new(publish.Publisher),
	}}
	r.ask(t.Context())
	roster.Learn(r.local.Directory, own.Users, own.Revocations)
	r.Committed(own)
	r.ask(t.Context())
	if m, may := r.local.Directory.Member("user:alice"); may {
		t.Errorf("the user was disabled, and signs in as %+v", m)
	}
}
