//go:build unix

package pgstore_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/vaulttest"
)

// TestDatabaseThatWentBackIsNoticed shows a store a database that is older than what it has seen,
// by its own commits or by reading what another replica has committed, or that went on otherwise
// since.
func TestDatabaseThatWentBackIsNoticed(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	signer := vaulttest.NewSigner(t)
	for _, tt := range []struct {
		name  string
		later int // entries that another replica commits after the database went back
		reads func(t *testing.T, s *pgstore.Store) error
	}{
		{"a commit", 0, nil},
		{"a look at the news", 0, func(t *testing.T, s *pgstore.Store) error {
			_, err := s.Since(t.Context(), 0)
			return err
		}},
		{"the publisher", 0, func(t *testing.T, s *pgstore.Store) error {
			_, _, err := s.Signed(t.Context())
			return err
		}},
		{"a commit, as many entries", 3, nil},
		{"the news, as many entries", 3, func(t *testing.T, s *pgstore.Store) error {
			_, err := s.Since(t.Context(), 0)
			return err
		}},
		{"the publisher, more entries", 9, func(t *testing.T, s *pgstore.Store) error {
			_, _, err := s.Signed(t.Context())
			return err
		}},
		{"a commit, more entries", 9, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := cluster.Database(t)
			store := create(t, url)
			l := ledger.New(ledger.Config{Store: store, Signer: signer})
			defer l.Close()
			l.Do(t.Context(), openAccount("1", 0))
			name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
			cluster.SQL(t, name, "CREATE TABLE was AS SELECT * FROM log; CREATE TABLE were AS "+
				"SELECT * FROM accounts")
			for range 3 {
				l.Do(t.Context(), deposit("1", 5))
			}
			// Another replica has only read what was committed. It noticed nothing yet.
			other, err := pgstore.Open(t.Context(), pgstore.Config{URL: url, Secret: secret})
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			goBack(t, cluster, name)
			if tt.later > 0 { // a third one did not see what is gone
				third, err := pgstore.Open(t.Context(), pgstore.Config{URL: url, Secret: secret})
				if err != nil {
					t.Fatal(err)
				}
				defer third.Close()
				l := ledger.New(ledger.Config{Store: third, Signer: signer})
				for range tt.later {
					if s := l.Do(t.Context(), deposit("1", 7)); s.Code != atm.OK {
						t.Fatal(s)
					}
				}
				l.Close()
			}
			for name, s := range map[string]*pgstore.Store{
				"which committed": store,
				"which read":      other,
			} {
				if tt.reads != nil {
					if err := tt.reads(t, s); !errors.Is(err, pgstore.ErrRolledBack) {
						t.Errorf("the replica %s: %v", name, err)
					}
				}
				l := ledger.New(ledger.Config{Store: s, Signer: signer})
				if s := l.Do(t.Context(), deposit("1", 5)); s.Code != atm.OutcomeUnknown {
					t.Errorf("the replica %s commits: %v", name, s)
				}
				if err := l.Close(); !errors.Is(err, pgstore.ErrRolledBack) {
					t.Errorf("the ledger of the replica %s ended with %v", name, err)
				}
				if _, _, err := s.Signed(t.Context()); !errors.Is(err, pgstore.ErrRolledBack) {
					t.Errorf("the replica %s publishes: %v", name, err)
				}
			}
		})
	}
}

// TestRollbackEndsReplicasThatSawNothingOfIt lets one replica notice that the database went
// back. Another one, which began on what is there now, commits no more, and a third one does
// not begin, until a new log does.
func TestRollbackEndsReplicasThatSawNothingOfIt(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	signer := vaulttest.NewSigner(t)
	url := cluster.Database(t)
	saw := replica(t, url, "saw")
	l := vaulttest.NewLedger(t, ledger.Config{Store: saw, Signer: signer})
	l.Do(t.Context(), openAccount("1", 0))
	name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	cluster.SQL(t, name, "CREATE TABLE was AS SELECT * FROM log; CREATE TABLE were AS SELECT * "+
		"FROM accounts")
	l.Do(t.Context(), deposit("1", 5))
	goBack(t, cluster, name)
	nothing := replica(t, url, "saw nothing")
	other := ledger.New(ledger.Config{Store: nothing, Signer: signer})
	if s := other.Do(t.Context(), deposit("1", 7)); s.Code != atm.OK {
		t.Fatal(s)
	}
	if _, err := saw.Since(t.Context(), 0); !errors.Is(err, pgstore.ErrRolledBack) {
		t.Fatalf("the replica that saw it: %v", err)
	}
	saw.Close() // which tells
	if s := other.Do(t.Context(), deposit("1", 7)); s.Code != atm.OutcomeUnknown {
		t.Errorf("the replica that saw nothing commits: %v", s)
	}
	if err := other.Close(); !errors.Is(err, pgstore.ErrRolledBack) {
		t.Errorf("its ledger ended with %v", err)
	}
	nothing.Close()
	cfg := pgstore.Config{URL: url, Secret: secret, Replica: "third"}
	if s, err := pgstore.Open(t.Context(), cfg); !errors.Is(err, pgstore.ErrRolledBack) {
		t.Errorf("a third one begins: %v", err)
		s.Close()
	}
	offline, err := pgstore.Open(t.Context(), pgstore.Config{URL: url, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer offline.Close()
	if err := offline.BeginLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	replica(t, url, "third").Close()
}

// goBack makes a database what it was when it was copied into the tables was and were.
func goBack(t *testing.T, cluster *pgtest.Cluster, name string) {
	t.Helper()
	cluster.SQL(t, name, "UPDATE log SET size = was.size, head = was.head, checkpoint = "+
		"was.checkpoint FROM was; "+
		"ALTER TABLE versions DISABLE TRIGGER ALL; DELETE FROM versions WHERE index >= (SELECT "+
		"size FROM was); "+
		"ALTER TABLE journal DISABLE TRIGGER ALL; "+
		"DELETE FROM journal WHERE index >= (SELECT size FROM was); "+
		"UPDATE accounts SET balance = were.balance, version = were.version FROM were WHERE "+
		"accounts.name = were.name; "+
		"DELETE FROM accounts WHERE name NOT IN (SELECT name FROM were)")
}
