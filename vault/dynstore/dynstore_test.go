package dynstore_test

import (
	"flag"
	"os"
	"testing"

	"example.com/atm/vault"
	"example.com/atm/vault/dynstore"
	"example.com/atm/vault/dynstore/dyntest"
	"example.com/atm/vault/vaulttest"
	"example.com/atm/vault/vaulttest/payments"
	"example.com/atm/vault/vaulttest/subscriptions"
	"example.com/atm/vault/vaulttest/trimming"
)

// fewChecks is how many random histories a model is tried with, unless the command line or
// ATM_SOAK says otherwise: the engine takes some milliseconds for each commit.
const fewChecks = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	given := os.Getenv("ATM_SOAK") != ""
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		flag.Set("rapid.checks", fewChecks)
	}
	code := m.Run()
	dyntest.Stop()
	os.Exit(code)
}

// secret is what the stores of the tests are sealed under.
var secret = []byte("the secret of a vault, in a test")

// place is a table for one store.
type place string

func (p place) Open(t *testing.T) vault.Store {
	t.Helper()
	return create(t, string(p))
}

func create(t testing.TB, url string) *dynstore.Store {
	t.Helper()
	s, err := dynstore.Create(t.Context(), dynstore.Config{URL: url, Secret: secret},
		"test.example")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestStoreKeepsTheContract runs the suite.
func TestStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	engine := dyntest.Shared(t)
	empty := func(*testing.T) vaulttest.Place { return place(engine.Table()) }
	vaulttest.Run(t, empty)
	t.Run("Payments", func(t *testing.T) { payments.Run(t, empty, 3) })
	t.Run("Subscriptions", func(t *testing.T) { subscriptions.Run(t, empty, 3) })
	t.Run("Trimming", func(t *testing.T) { trimming.Run(t, empty) })
}
