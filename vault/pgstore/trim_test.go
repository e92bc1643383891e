//go:build unix

package pgstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/vaulttest"
	"github.com/jackc/pgx/v5"
)

// deposits makes n deposits, which are about as many entries.
func deposits(t *testing.T, store *pgstore.Store, l *ledger.Ledger, n int) {
	t.Helper()
	a, err := store.Account(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	if a.Version == 0 {
		l.Do(t.Context(), openAccount("1", 0))
	}
	replies := make([]ledger.Reply, n)
	for i := range replies {
		replies[i] = l.Begin(t.Context(), deposit("1", 5))
	}
	for _, reply := range replies {
		if s := reply(); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
}

// baseAt is a base at the start of a bundle.
func baseAt(t *testing.T, store *pgstore.Store, bundles int64) vault.Base {
	t.Helper()
	log, err := vault.OpenLog(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	var tree merkle.Builder
	if err := log.Entries(t.Context(), 0, bundles*merkle.TileWidth, func(_ int64,
		leaf []byte,
	) error {
		return tree.Add(leaf)
	}); err != nil {
		t.Fatal(err)
	}
	index := log.InJournal(bundles * merkle.TileWidth)
	return vault.Base{Index: index, State: index, Edge: tree.Edge}
}

// TestServerRoleRemovesNothingFromTheBaseOn trims as a role that owns no table, and then tries
// to remove what the journal keeps, as that role and as the owner.
func TestServerRoleRemovesNothingFromTheBaseOn(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	url := cluster.Database(t)
	owner := create(t, url)
	l := ledger.New(ledger.Config{Store: owner, Signer: vaulttest.NewSigner(t)})
	deposits(t, owner, l, 3*merkle.TileWidth)
	l.Close()
	cluster.SQL(t, nameOf(url), "CREATE ROLE served LOGIN; CREATE ROLE other LOGIN; "+
		"GRANT SELECT ON log, journal, versions TO other")
	if err := pgstore.Grant(t.Context(), pgstore.Config{URL: url}, "served"); err != nil {
		t.Fatal(err)
	}
	cfg := pgstore.Config{URL: cluster.URL("served", nameOf(url)), Secret: secret}
	served, err := pgstore.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	base := baseAt(t, served, 2)
	if err := served.Trim(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	kept := func() string {
		return cluster.SQL(t, nameOf(url), "SELECT min(j.index), count(*), (SELECT count(*) FROM "+
			"versions), (SELECT begins FROM log) FROM journal j")
	}
	before := kept()
	if !strings.HasPrefix(before, fmt.Sprintf("%d|", base.Index)) {
		t.Fatalf("the journal is %s; its base is %d", before, base.Index)
	}
	all := fmt.Sprintf("SELECT trim_journal(%d, 100000, ARRAY(SELECT account FROM versions), "+
		"ARRAY(SELECT version FROM versions))", base.Index)
	for role, refused := range map[string][]string{
		"served": {
			"DELETE FROM journal", "DELETE FROM versions", "DELETE FROM journal WHERE index < 5",
			"UPDATE log SET base = NULL", "UPDATE log SET base = jsonb_set(base, '{Index}', '0')",
			"UPDATE log SET base = jsonb_set(base, '{Index}', to_jsonb(size + 1))",
			"UPDATE log SET begins = size", "UPDATE journal SET index = -index",
			"ALTER TABLE journal DISABLE TRIGGER ALL",
		},
		"atm": {
			"DELETE FROM journal", "UPDATE log SET base = NULL", "TRUNCATE journal",
			fmt.Sprintf("DELETE FROM journal WHERE index = %d", base.Index),
			"CREATE TEMP TABLE log (begins bigint); INSERT INTO log VALUES (100000); " +
				"DELETE FROM journal",
		},
		"other": {all, "UPDATE log SET base = base", "SELECT trim_journal(0, 1, '{}', '{}')"},
	} {
		for _, sql := range refused {
			if err := cluster.As(role, nameOf(url), sql); err == nil {
				t.Errorf("%s may %s", role, sql)
			}
		}
	}
	for _, sql := range []string{ // no errors, and no effect
		all,
		"CREATE TEMP TABLE log (begins bigint); INSERT INTO log VALUES (100000); " + all,
	} {
		if err := cluster.As("served", nameOf(url), sql); err != nil {
			t.Error(err)
		}
	}
	if now := kept(); now != before {
		t.Errorf("the journal was %s and is %s", before, now)
	}
	vaulttest.Sound(t, owner)
}

// TestReplicasSeeWhatAnotherOneTrimmed trims on one replica. Others, of which one saw nothing
// after what was trimmed, go on, and notice a database that went back as ever.
func TestReplicasSeeWhatAnotherOneTrimmed(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url, signer := cluster.Database(t), vaulttest.NewSigner(t)
	trims := replica(t, url, "trims")
	l := ledger.New(ledger.Config{Store: trims, Signer: signer})
	defer l.Close()
	deposits(t, trims, l, 10)
	early := replica(t, url, "early")
	deposits(t, trims, l, 3*merkle.TileWidth)
	late := replica(t, url, "late")
	base := baseAt(t, trims, 2)
	if err := trims.Trim(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*pgstore.Store{"early": early, "late": late} {
		if now, err := s.Base(t.Context()); err != nil || now.Index != base.Index {
			t.Errorf("the replica %s has base %d: %v", name, now.Index, err)
		}
		err := s.Entries(t.Context(), 3, base.Index+1, func(vault.JournalIndex, []byte) error {
			return errors.New("a trimmed entry was yielded")
		})
		if !errors.Is(err, vault.ErrTrimmed) {
			t.Errorf("the replica %s reads a trimmed entry: %v", name, err)
		}
		if _, err := s.Since(t.Context(), 5); err != nil {
			t.Errorf("the replica %s: %v", name, err)
		}
		other := ledger.New(ledger.Config{Store: s, Signer: signer})
		if s := other.Do(t.Context(), deposit("1", 7)); s.Code != atm.OK {
			t.Errorf("the replica %s commits: %v", name, s)
		}
		if err := other.Close(); err != nil {
			t.Errorf("the replica %s: %v", name, err)
		}
	}
	vaulttest.Sound(t, early)
	cluster.SQL(t, nameOf(url), "ALTER TABLE journal DISABLE TRIGGER ALL; UPDATE log SET size = "+
		"size - 5; DELETE FROM journal WHERE index >= (SELECT size FROM log)")
	for name, s := range map[string]*pgstore.Store{"early": early, "late": late} {
		if _, err := s.Since(t.Context(), 5); !errors.Is(err, pgstore.ErrRolledBack) {
			t.Errorf("the replica %s looks at a database that went back: %v", name, err)
		}
	}
}

// TestEntriesAreRemovedWhileTheHeadIsHeld removes what an interrupted trim has left, while a
// transaction holds the head of the journal, as a commit does.
func TestEntriesAreRemovedWhileTheHeadIsHeld(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	store := create(t, url)
	l := ledger.New(ledger.Config{Store: store, Signer: vaulttest.NewSigner(t)})
	deposits(t, store, l, 2*merkle.TileWidth)
	l.Close()
	base := baseAt(t, store, 1)
	if err := store.Trim(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	cluster.SQL(t, nameOf(url), "INSERT INTO journal SELECT 0, leaf FROM journal LIMIT 1; "+
		"INSERT INTO versions VALUES ('1', 100000, 0)") // as an interrupted trim leaves it
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "BEGIN; SELECT FROM log FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	if err := cluster.As("atm", nameOf(url), "SET lock_timeout = '10s'; "+
		"SELECT trim_journal(0, 256, '{1}', '{100000}')"); err != nil {
		t.Error(err)
	}
	if left := cluster.SQL(t, nameOf(url), "SELECT (SELECT count(*) FROM journal WHERE index = 0) "+
		"+ (SELECT count(*) FROM versions WHERE index = 0)"); left != "0" {
		t.Errorf("%s trimmed rows are left", left)
	}
	if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	vaulttest.Sound(t, store)
}
