//go:build unix

package pgstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/pgstore"
	pgdatabase "example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/vaulttest"
	gocmp "github.com/google/go-cmp/cmp"
)

// nameOf is the database that a URL names.
func nameOf(url string) string {
	return url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
}

// until waits for something that is about to happen.
func until(t *testing.T, is func() bool) {
	t.Helper()
	for range 600 {
		if is() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("it does not happen")
}

// TestBirthsNeverDeadlock lets one replica open an account, a second one find it only after
// it waited for the head, and a third one hold it and wait for the head in turn.
func TestBirthsNeverDeadlock(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	signer := vaulttest.NewSigner(t)
	var stores []*pgstore.Store
	// within is called in each transaction, while it holds the head.
	another := func(within func()) *ledger.Ledger {
		stores = append(stores, create(t, url))
		return vaulttest.NewLedger(t, ledger.Config{
			Store: stores[len(stores)-1], Signer: signer,
			Now: func() time.Time {
				within()
				return time.Now()
			},
		})
	}
	waiting := func() string {
		return cluster.SQL(t, nameOf(url), "SELECT count(*) FROM pg_stat_activity WHERE datname "+
			"= current_database() AND wait_event_type = 'Lock'")
	}
	var second, third *ledger.Ledger
	var wg sync.WaitGroup
	begin := func(l *ledger.Ledger, waits string) { // returns when it waits in the database
		wg.Go(func() {
			if s := l.Do(t.Context(), deposit("1", 1)); s.Code != atm.OK {
				t.Errorf("%s %s", s.Code, s.Reason)
			}
		})
		until(t, func() bool { return waiting() == waits })
	}
	decided, third := 0, another(func() {})
	second = another(func() {
		if decided++; decided == 1 {
			begin(third, "1")
		}
	})
	var once sync.Once
	first := another(func() { once.Do(func() { begin(second, "1") }) }) // for the head
	if s := first.Do(t.Context(), openAccount("1", 0)); s.Code != atm.OK {
		t.Fatal(s)
	}
	wg.Wait()
	noDeadlocks(t, cluster, url, stores)
}

// noDeadlocks closes stores, and looks whether there were any. What a session counted is
// told when it ends.
func noDeadlocks(t *testing.T, cluster *pgtest.Cluster, url string, stores []*pgstore.Store) {
	t.Helper()
	for _, s := range stores {
		s.Close()
	}
	until(t, func() bool {
		return cluster.SQL(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = '"+
			nameOf(url)+"'") == "0"
	})
	if n := cluster.SQL(t, "postgres", "SELECT deadlocks FROM pg_stat_database WHERE datname = '"+
		nameOf(url)+"'"); n != "0" {
		t.Errorf("%s deadlocks", n)
	}
}

// TestReplicasOpenAccountsTogether lets accounts be born on several replicas at once.
func TestReplicasOpenAccountsTogether(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	signer := vaulttest.NewSigner(t)
	var ledgers []*ledger.Ledger
	var stores []*pgstore.Store
	for range 3 {
		stores = append(stores, create(t, url))
		ledgers = append(ledgers, vaulttest.NewLedger(t, ledger.Config{
			Store:  stores[len(stores)-1],
			Signer: signer,
		}))
	}
	var wg sync.WaitGroup
	for n := range 40 {
		for i := range 12 { // all of them open it, and one does
			l, name := ledgers[(n+i)%len(ledgers)], vault.Name(fmt.Sprint(1000+n))
			wg.Go(func() {
				if s := l.Do(t.Context(), openAccount(name, 0)); s.Code != atm.OK &&
					s.Code != atm.AccountExists {
					t.Errorf("%s %s", s.Code, s.Reason)
				}
				if s := l.Do(t.Context(), deposit(name, 1)); s.Code != atm.OK {
					t.Errorf("%s %s", s.Code, s.Reason)
				}
			})
		}
	}
	wg.Wait()
	noDeadlocks(t, cluster, url, stores)
	vaulttest.Sound(t, create(t, url))
}

// TestAsynchronousCommitIsRefused sets synchronous_commit under a running store, in each way
// that an administrator has.
func TestAsynchronousCommitIsRefused(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	url := cluster.Database(t)
	store := create(t, url)
	l := vaulttest.NewLedger(t, ledger.Config{Store: store})
	if s := l.Do(t.Context(), openAccount("1", 0)); s.Code != atm.OK {
		t.Fatal(s)
	}
	if _, err := store.Since(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for _, way := range [][2]string{
		{"ALTER SYSTEM SET synchronous_commit = off", "ALTER SYSTEM RESET synchronous_commit"},
		{"ALTER DATABASE " + nameOf(url) + " SET synchronous_commit = off", "ALTER DATABASE " +
			nameOf(url) + " RESET synchronous_commit"},
		{"ALTER ROLE atm SET synchronous_commit = off", "ALTER ROLE atm RESET synchronous_commit"},
	} {
		cluster.SQL(t, "postgres", way[0])
		cluster.SQL(t, "postgres", "SELECT pg_reload_conf()")
		until(t, func() bool {
			_, err := store.Since(t.Context(), 0)
			return errors.Is(err, pgstore.ErrAsync)
		})
		size := cluster.SQL(t, nameOf(url), "SELECT size FROM log")
		if s := l.Do(t.Context(), deposit("1", 1)); s.Code != atm.Unavailable {
			t.Errorf("after %s: %v", way[0], s)
		}
		if err := store.Trouble(); !errors.Is(err, pgstore.ErrAsync) {
			t.Errorf("after %s: trouble %v", way[0], err)
		}
		if now := cluster.SQL(t, nameOf(url), "SELECT size FROM log"); now != size {
			t.Errorf("after %s: %s entries, and %s before", way[0], now, size)
		}
		cluster.SQL(t, "postgres", way[1])
		cluster.SQL(t, "postgres", "SELECT pg_reload_conf()")
		until(t, func() bool {
			_, err := store.Since(t.Context(), 0)
			return err == nil
		})
		if s := l.Do(t.Context(), deposit("1", 1)); s.Code != atm.OK {
			t.Errorf("after %s: %v", way[1], s)
		}
	}
}

// TestReadsWaitForTheDatabase takes the database away for less than a commit waits, and then
// for longer: reads come back with what is there, or say that nothing can be read.
func TestReadsWaitForTheDatabase(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	url := cluster.Database(t)
	store := create(t, url)
	l := vaulttest.NewLedger(t, ledger.Config{Store: store})
	if s := l.Do(t.Context(), openAccount("1", 7)); s.Code != atm.OK {
		t.Fatal(s)
	}
	var uses atomic.Int64
	reads := map[string]func() error{
		"Signed": func() error { _, _, err := store.Signed(t.Context()); return err },
		"Logs":   func() error { _, err := store.Logs(t.Context()); return err },
		"Entries": func() error {
			return store.Entries(t.Context(), 0, 1, func(vault.JournalIndex, []byte) error {
				return nil
			})
		},
		"History": func() error {
			return store.History(t.Context(), "1", 1, func(uint64, vault.JournalIndex, []byte) bool {
				return true
			})
		},
		"Balances": func() error {
			_, err := store.Balances(t.Context(), func(vault.Account) {})
			return err
		},
		"Account":      func() error { _, err := store.Account(t.Context(), "1"); return err },
		"Accounts":     func() error { _, err := store.Accounts(t.Context(), 0, 10); return err },
		"Users":        func() error { _, err := store.Users(t.Context()); return err },
		"Revocations":  func() error { _, err := store.Revocations(t.Context()); return err },
		"Certificates": func() error { _, err := store.Certificates(t.Context()); return err },
		"Spend": func() error {
			first, err := store.Replicas.Spend(t.Context(), fmt.Sprint("nonce ", uses.Add(1)), 1,
				time.Now())
			if err == nil && !first {
				t.Error("the first use of a nonce is taken for a repetition")
			}
			return err
		},
	}
	all := func(want error) error { // nil if each read ends with want
		var mu sync.Mutex
		var others []error
		var wg sync.WaitGroup
		for name, read := range reads {
			wg.Go(func() {
				if err := read(); !errors.Is(err, want) {
					mu.Lock()
					defer mu.Unlock()
					others = append(others, fmt.Errorf("%s: %w", name, err))
				}
			})
		}
		wg.Wait()
		return errors.Join(others...)
	}
	each := func(want error) {
		t.Helper()
		if err := all(want); err != nil {
			t.Error(err)
		}
	}
	each(nil)
	for tries := 5; ; tries-- {
		cluster.Kill(t)
		begun, back := time.Now(), make(chan struct{})
		go func() { defer close(back); cluster.Start(t) }()
		err := all(nil)
		<-back
		if err == nil {
			break
		}
		// A busy machine may take longer to start it than reads wait.
		if time.Since(begun) < pgdatabase.Patience || tries == 1 {
			t.Fatal(err)
		}
	}
	cluster.SQL(t, "postgres", "ALTER ROLE atm CONNECTION LIMIT 0")
	cluster.SQL(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "+
		"usename = 'atm'")
	each(vault.ErrUnavailable) // 53300, as with max_connections
	cluster.SQL(t, "postgres", "ALTER ROLE atm CONNECTION LIMIT -1")
	each(nil)
	cluster.Kill(t)
	each(vault.ErrUnavailable)
}

// replica opens a store as a running server does.
func replica(t *testing.T, url, name string) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Create(t.Context(), pgstore.Config{URL: url, Secret: secret, Replica: name},
		"test.example")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestExclusiveWorkNamesRunningReplicas tries what needs all replicas stopped while one runs.
func TestExclusiveWorkNamesRunningReplicas(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	running, offline := replica(t, url, "/var/lib/atm on alpha"), create(t, url)
	l := vaulttest.NewLedger(t, ledger.Config{Store: running})
	if s := l.Do(t.Context(), openAccount("1", 7)); s.Code != atm.OK {
		t.Fatal(s)
	}
	work := map[string]func() error{
		"Rebuild": func() error {
			return offline.Rebuild(t.Context(), func(vault.Store) (*vault.Records, error) {
				return offline.All(t.Context())
			})
		},
		"Alone":    func() error { return offline.Replicas.Alone(t.Context()) },
		"Fill":     func() error { return offline.Fill(t.Context(), running.Dump) },
		"BeginLog": func() error { return offline.BeginLog(t.Context()) },
		"Rekey": func() error {
			return offline.Rekey(t.Context(), []byte("another secret of a vault, in it"))
		},
	}
	for name, do := range work {
		if err := do(); !errors.Is(err, pgstore.ErrRunning) || !strings.Contains(err.Error(),
			"/var/lib/atm on alpha") {
			t.Errorf("%s while a replica runs: %v", name, err)
		}
	}
	if s := l.Do(t.Context(), deposit("1", 1)); s.Result != "0.08" {
		t.Errorf("the replica goes on with %v", s)
	}
	if names, err := running.Replicas.Running(t.Context()); err != nil ||
		!slices.Equal(names, []string{"/var/lib/atm on alpha"}) {
		t.Errorf("the replicas that run are %q, %v", names, err)
	}
	running.Close()
	if names, err := offline.Replicas.Running(t.Context()); err != nil || len(names) > 0 {
		t.Errorf("after it was closed the replicas that run are %q, %v", names, err)
	}
	delete(work, "Fill") // which wants an empty store
	delete(work, "Rekey")
	delete(work, "BeginLog")
	for name, do := range work {
		if err := do(); err != nil {
			t.Errorf("%s when no replica runs: %v", name, err)
		}
	}
	vaulttest.Sound(t, offline)
}

// TestSilentReplicaCommitsNothing takes a replica for dead that only hangs. When it is back, it
// commits nothing over what was done meanwhile.
func TestSilentReplicaCommitsNothing(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	silent, offline := replica(t, url, "silent"), create(t, url)
	l := ledger.New(ledger.Config{Store: silent, Signer: vaulttest.NewSigner(t)})
	if s := l.Do(t.Context(), openAccount("1", 7)); s.Code != atm.OK {
		t.Fatal(s)
	}
	until(t, func() bool { // it renews its lease meanwhile
		cluster.SQL(t, nameOf(url), "UPDATE replicas SET renewed = '-infinity'")
		return offline.Replicas.Alone(t.Context()) == nil
	})
	if s := l.Do(t.Context(), deposit("1", 1)); s.Code != atm.OutcomeUnknown {
		t.Errorf("a replica that was taken for dead answers %v", s)
	}
	if err := l.Close(); !errors.Is(err, pgstore.ErrFenced) {
		t.Errorf("its ledger ended with %v", err)
	}
	until(t, func() bool {
		_, err := silent.Since(t.Context(), 0)
		return errors.Is(err, pgstore.ErrFenced)
	})
	vaulttest.Sound(t, offline)
}

// firstName is what the table installation was called in the first version of the schema.
const firstName = "hou\x73e"

// untrimmed undoes migration 9.
const untrimmed = `DROP TRIGGER base_grows ON log; DROP TRIGGER entries_stay ON journal;
	DROP FUNCTION trim_journal, keep_entries, refuse; REVOKE DELETE ON journal FROM atm;
	ALTER TABLE log DROP COLUMN begins, DROP COLUMN base`

// TestOlderSchemaIsMigrated opens a database as the first version of the schema has it.
func TestOlderSchemaIsMigrated(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	url := cluster.Database(t)
	store := create(t, url)
	vaulttest.Furnish(t, store)
	before, _ := vaulttest.Contents(t, store)
	store.Close()
	cluster.SQL(t, nameOf(url), `DROP TABLE replicas, rollbacks, passkeys, sessions, mandates, orders, reversals, feeds, feed_cursors, leases; DROP FUNCTION sweep; `+untrimmed+`; ALTER TABLE nonces DROP COLUMN use;
		ALTER TABLE holds DROP COLUMN made; DROP INDEX grants_expires, revocations_at;
		ALTER TABLE certificates DROP COLUMN issued, DROP COLUMN scope, DROP COLUMN actor;
		ALTER TABLE accounts DROP COLUMN holder, DROP COLUMN sealed_holder, DROP COLUMN agreements, DROP COLUMN creditors; ALTER TABLE installation RENAME TO `+firstName+`;
		DELETE FROM goose_db_version WHERE version_id > 1;
		CREATE ROLE served LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON nonces TO served;
		GRANT SELECT, UPDATE (subject, not_after) ON certificates TO served`)
	for i := range before.Certificates { // what is not in the first version is not known
		c := &before.Certificates[i]
		c.Issued, c.Scope, c.Actor = time.Time{}, "", ""
	}
	for i := range before.Accounts {
		before.Accounts[i].Holder, before.Accounts[i].Agreements = "", nil
	}
	before.Passkeys, before.Sessions = nil, nil
	before.Mandates, before.Orders, before.Reversals = nil, nil, nil
	before.Feeds, before.Cursors = nil, nil
	cfg := pgstore.Config{URL: url, Secret: secret}
	if _, err := pgstore.Open(t.Context(), cfg); !errors.Is(err, pgstore.ErrSchema) ||
		!strings.Contains(err.Error(), "atmctl migrate") {
		t.Fatalf("an older schema: %v", err)
	}
	if err := pgstore.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	store = create(t, url)
	after, _ := vaulttest.Contents(t, store)
	if diff := gocmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	vaulttest.Sound(t, store)
	if err := cluster.As("served", nameOf(url), "UPDATE replicas SET renewed = now(); SELECT "+
		"sweep(); UPDATE certificates SET issued = now(), scope = '*', actor = ''; "+
		"UPDATE passkeys SET name = ''; DELETE FROM sessions; "+
		"UPDATE orders SET next = NULL; UPDATE mandates SET spent = 0; "+
		"UPDATE reversals SET amount = amount; UPDATE accounts SET agreements = '{}'; "+
		"INSERT INTO feeds VALUES ('user:a', '[]'); UPDATE feeds SET subscriptions = '[]'; "+
		"INSERT INTO feed_cursors (id) VALUES (1); UPDATE feed_cursors SET next = 2; "+
		"DELETE FROM feed_cursors; DELETE FROM leases; UPDATE log SET base = NULL; "+
		"SELECT trim_journal(0, 1, '{}', '{}')"); err != nil {
		t.Errorf("a role that served before: %v", err)
	}
}

// TestSweepDropsOnlyRecordsWhoseTimeIsOver ages records and sweeps. Afterwards the journal
// still explains each record that is left.
func TestSweepDropsOnlyRecordsWhoseTimeIsOver(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	store := create(t, url)
	vaulttest.Furnish(t, store)
	as := func(sql string) string { return cluster.SQL(t, nameOf(url), sql) }
	as(`INSERT INTO grants SELECT 'g' || i, 'user:a', 'service:b', '{1}', '{withdraw}', 5, 0, now() - i * interval '1 day' FROM generate_series(0, 2999) i;
		INSERT INTO revocations SELECT 'jti:' || i, now() - i * interval '1 day', 0 FROM generate_series(0, 2999) i;
		INSERT INTO revocations SELECT 'subject:user:' || i, now() - i * interval '1 day', 0 FROM generate_series(0, 99) i;
		INSERT INTO revocations SELECT 'cert:' || i, now() - i * interval '1 day', 0 FROM generate_series(0, 99) i;
		INSERT INTO certificates SELECT 'c' || i, 'user:a', now() - i * interval '1 day' + interval '1 hour' FROM generate_series(0, 49) i`)
	was := as("SELECT count(*) FROM holds")
	as(`UPDATE holds SET made = now() - interval '38 days'`)
	pending := as("SELECT count(*) FROM holds h WHERE EXISTS (SELECT FROM accounts WHERE h.id = " +
		"ANY (pending))")
	if pending == "0" || pending == was {
		t.Fatalf("%s of %s holds are pending: the test tests nothing", pending, was)
	}
	for range 4 {
		if err := store.Replicas.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ sql, want string }{
		// less than 7 days
		{"SELECT count(*) FROM grants WHERE id LIKE 'g%' AND grantor = 'user:a'", "7"},
		{"SELECT count(*) FROM revocations WHERE name LIKE 'jti:%' AND changed = 0", "14"},
		{
			"SELECT count(*) FROM revocations WHERE name LIKE 'subject:user:%' AND changed = 0",
			"100",
		},
		{"SELECT count(*) FROM certificates WHERE subject = 'user:a' AND not_after < now() - " +
			"interval '1 day'", "0"},
		{"SELECT count(*) FROM revocations WHERE name LIKE 'cert:%' AND changed = 0", "100"},
		{"SELECT count(*) FROM holds", pending},
	} {
		if got := as(tt.sql); got != tt.want {
			t.Errorf("%s: %s, not %s", tt.sql, got, tt.want)
		}
	}
	vaulttest.Sound(t, store)
}

// TestSchemaCalledLikeItsOwnerIsFoundByOtherRoles makes the books in a schema that only their
// owner looks at first, in a database with settings that change what SQL means.
func TestSchemaCalledLikeItsOwnerIsFoundByOtherRoles(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	url := cluster.Database(t)
	cluster.SQL(t, nameOf(url), "CREATE SCHEMA atm AUTHORIZATION atm; CREATE ROLE server LOGIN; "+
		"ALTER DATABASE "+nameOf(url)+" SET standard_conforming_strings = off")
	owner := create(t, url)
	if err := pgstore.Grant(t.Context(), pgstore.Config{URL: url}, "server"); err != nil {
		t.Fatal(err)
	}
	if got := cluster.SQL(t, nameOf(url), "SELECT schemaname FROM pg_tables WHERE tablename = "+
		"'journal'"); got != "atm" {
		t.Fatalf("the tables are in the schema %s", got)
	}
	server, err := pgstore.Open(t.Context(), pgstore.Config{
		URL:    cluster.URL("server", nameOf(url)),
		Secret: secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l := vaulttest.NewLedger(t, ledger.Config{Store: server})
	commands := []vault.Command{openAccount("1", 7), deposit("1", 1)}
	for _, rule := range []people.Rule{
		people.Enrol{Subject: "user:a", Default: atm.Customer},
		people.AddPasskey{Passkey: people.Passkey{ID: "k", Subject: "user:a", Key: []byte("k")}},
		people.RenamePasskey{Subject: "user:a", ID: "k", Name: "Phone"},
		people.BeginSession{Session: people.Session{ID: "s", Subject: "user:a", Passkey: "k"}},
		people.EndSession{Subject: "user:a", ID: "s"},
		people.RemovePasskey{Subject: "user:a", ID: "k"},
	} {
		commands = append(commands, vault.Command{
			Event: audit.EventAdmin, Operation: "any", Rule: vault.People(rule),
		})
	}
	for _, c := range commands {
		if s := l.Do(t.Context(), c); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
	vaulttest.Sound(t, owner)
}

// TestDatabaseWithoutUnicodeIsRefusedWhenNew refuses to create books in LATIN1, but checks a
// database of an older version that has entries beyond LATIN1, because entries are stored as
// bytes.
func TestDatabaseWithoutUnicodeIsRefusedWhenNew(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	cluster.SQL(t, "postgres", "CREATE DATABASE latin OWNER atm ENCODING 'LATIN1' LOCALE 'C' "+
		"TEMPLATE template0")
	url := cluster.URL("atm", "latin")
	if _, err := pgstore.Create(t.Context(), pgstore.Config{URL: url, Secret: secret},
		"test.example"); !errors.Is(err, pgstore.ErrEncoding) {
		t.Fatalf("in LATIN1: %v", err)
	}
	// as a program of before did
	if err := pgstore.Migrate(t.Context(), pgstore.Config{URL: url}); err != nil {
		t.Fatal(err)
	}
	store, err := pgstore.Create(t.Context(), pgstore.Config{URL: url, Secret: secret},
		"test.example")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	l := vaulttest.NewLedger(t, ledger.Config{Store: store})
	refused := op(atm.Inquiry, vault.Inquiry{Account: "1"}, audit.Arg{
		Name:  "account",
		Value: "\u4e00\U0001f600",
	})
	for _, c := range []vault.Command{openAccount("1", 7), refused, deposit("1", 1)} {
		if s := l.Do(t.Context(), c); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
	vaulttest.Sound(t, store)
}

// TestErrorOfTheReaderOfEntriesIsReturned copies entries to another database that is away: the
// next entries are not read as if nothing had happened.
func TestErrorOfTheReaderOfEntriesIsReturned(t *testing.T) {
	t.Parallel()
	store := create(t, pgtest.Shared(t).Database(t))
	vaulttest.Furnish(t, store)
	away := pgdatabase.Explain(errors.New("another database is away"))
	read := 0
	err := store.Entries(t.Context(), 0, 10, func(vault.JournalIndex, []byte) error {
		read++
		return away
	})
	if !errors.Is(err, away) || read != 1 {
		t.Errorf("after %d entries: %v", read, err)
	}
}
