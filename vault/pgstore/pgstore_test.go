package pgstore_test

import (
	"testing"

	"example.com/atm/vault"
	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/vaulttest"
)

// secret is what the stores of the tests are sealed under.
var secret = []byte("the secret of a vault, in a test")

// database is a place for one store.
type database string

func (d database) Open(t *testing.T) vault.Store {
	t.Helper()
	return create(t, pgstore.Config{URL: string(d), Secret: secret})
}

func create(t testing.TB, cfg pgstore.Config) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Create(t.Context(), cfg, "test.example")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	cluster := pgtest.Start(t)
	vaulttest.Run(t, func(t *testing.T) vaulttest.Place { return database(cluster.Database(t)) })
}
