//go:build unix

package pgstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/internal/needs"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/vaulttest"
	"example.com/atm/vault/vaulttest/payments"
	"example.com/atm/vault/vaulttest/subscriptions"
	"example.com/atm/vault/vaulttest/trimming"
)

// secret is what the stores of the tests are sealed under.
var secret = []byte("the secret of a vault, in a test")

// database is a place for one store.
type database string

func (d database) Open(t *testing.T) vault.Store {
	t.Helper()
	return create(t, string(d))
}

func create(t testing.TB, url string) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Create(t.Context(), pgstore.Config{URL: url, Secret: secret}, "test.example")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// books returns a database of a cluster with books in which nothing has happened.
func books(t *testing.T, cluster *pgtest.Cluster) string {
	t.Helper()
	return cluster.Copy(t, "books", func(url string) {
		s, err := pgstore.Create(t.Context(), pgstore.Config{URL: url, Secret: secret},
			"test.example")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestStoreKeepsTheContract runs the suite with the default settings of the database. The race
// detector is on for the parts with many callers and with several stores alone.
func TestStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	place := func(t *testing.T) vaulttest.Place { return database(books(t, cluster)) }
	if !needs.Raced() {
		vaulttest.Run(t, place)
		return
	}
	vaulttest.RunAtOnce(t, place)
	partsOn(t, func(t *testing.T) string { return books(t, cluster) })
}

// TestTrimmedStoreKeepsTheContract runs the part of the suite about journals that were trimmed.
func TestTrimmedStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	needs.Unraced(t)
	cluster := pgtest.Shared(t)
	trimming.Run(t, func(t *testing.T) vaulttest.Place { return database(books(t, cluster)) })
}

// partsOn runs the parts of the suite that open each database three times.
func partsOn(t *testing.T, url func(*testing.T) string) {
	place := func(t *testing.T) vaulttest.Place { return database(url(t)) }
	t.Run("Payments", func(t *testing.T) { payments.Run(t, place, 3) })
	t.Run("Subscriptions", func(t *testing.T) { subscriptions.Run(t, place, 3) })
}

// TestSerializableStoreKeepsTheContract runs the suite with serializable transactions.
func TestSerializableStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	needs.Unraced(t)
	cluster := pgtest.Shared(t)
	serializable := func(t *testing.T) string {
		url := books(t, cluster)
		cluster.SQL(t, "postgres", "ALTER DATABASE "+nameOf(url)+
			" SET default_transaction_isolation = 'serializable'")
		return url
	}
	vaulttest.Run(t, func(t *testing.T) vaulttest.Place { return database(serializable(t)) })
	partsOn(t, serializable)
	t.Run("Together", func(t *testing.T) { together(t, serializable(t)) })
}

// TestPooledStoreKeepsTheContract runs the suite behind a pooler that may send each transaction
// over another connection.
func TestPooledStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	needs.Unraced(t)
	cluster := pgtest.Shared(t)
	pooled := cluster.Pool(t)
	vaulttest.Run(t, func(t *testing.T) vaulttest.Place {
		return database(pooled(books(t, cluster)))
	})
	partsOn(t, func(t *testing.T) string { return pooled(books(t, cluster)) })
	t.Run("Together", func(t *testing.T) { together(t, pooled(books(t, cluster))) })
}

// TestLedgersShareOneDatabase lets several ledgers work on one database.
func TestLedgersShareOneDatabase(t *testing.T) { together(t, pgtest.Shared(t).Database(t)) }

func together(t *testing.T, url string) {
	signer := vaulttest.NewSigner(t)
	const ledgers, clients, each = 3, 8, 40
	var all []*ledger.Ledger
	for range ledgers {
		all = append(all, vaulttest.NewLedger(t, ledger.Config{
			Store:  create(t, url),
			Signer: signer,
		}))
	}
	anywhere := func() *ledger.Ledger { return all[rand.IntN(ledgers)] }
	do := func(l *ledger.Ledger, cmd vault.Command) atm.Status {
		s := l.Do(t.Context(), cmd)
		if s.Code != atm.OK && s.Code != atm.InsufficientFunds {
			t.Errorf("%s: %s %s", cmd.Operation, s.Code, s.Reason)
		}
		return s
	}
	do(anywhere(), openAccount("1", 0))
	do(anywhere(), openAccount("2", 1000))
	hasher, err := requestid.NewHasher(secret)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var deposited, taken atomic.Int64
	for client := range clients {
		wg.Go(func() {
			for i := range each {
				// The same request at once to two of them: it happens once.
				cmd := deposit("1", 7)
				cmd.Request = hasher.Hash(cmd.Caller, atm.RequestID(fmt.Sprint(client, " ", i)))
				var twice sync.WaitGroup
				var answers [2]atm.Status
				for n := range answers {
					twice.Go(func() { answers[n] = do(all[(client+n)%ledgers], cmd) })
				}
				twice.Wait()
				if answers[0] != answers[1] {
					t.Errorf("one request has the answers %v and %v", answers[0], answers[1])
				}
				deposited.Add(7)
				if do(anywhere(), withdraw("2", 9)).Code == atm.OK {
					taken.Add(9)
				}
			}
		})
	}
	wg.Wait()
	if got := do(all[0], inquiry("1")).Result; got != atm.Amount(deposited.Load()).String() {
		t.Errorf("account 1 has %s after deposits of %s", got, atm.Amount(deposited.Load()))
	}
	if got := do(all[1], inquiry("2")).Result; got != atm.Amount(1000-taken.Load()).String() ||
		taken.Load() != 999 {
		t.Errorf("account 2 has %s after withdrawals of %s", got, atm.Amount(taken.Load()))
	}
	vaulttest.Sound(t, create(t, url))
}

// op wraps a rule in a command as the teller would.
func op(name atm.Operation, rule vault.Rule, args ...audit.Arg) vault.Command {
	caller := &atm.Caller{Principal: atm.Principal{
		Subject: "user:demo",
		Roles:   []atm.Role{atm.Customer},
	}}
	return vault.Command{
		Event: audit.EventOp, Operation: name, Args: args, Caller: caller,
		Rule: rule,
	}
}

func openAccount(n vault.Name, opening atm.Amount) vault.Command {
	return op(atm.AccountOpen, vault.OpenAccount{Account: n, Owner: "user:demo", Opening: opening})
}

func deposit(n vault.Name, amount atm.Amount) vault.Command {
	return op(atm.Deposit, vault.Deposit{
		Account: n, Cash: vault.Cash("user:demo"), Amount: amount,
		Tell: true,
	}, audit.Arg{Name: "amount", Value: amount.String()})
}

func withdraw(n vault.Name, amount atm.Amount) vault.Command {
	return op(atm.Withdraw, vault.Withdraw{
		Account: n, Cash: vault.Cash("user:demo"),
		Amount: amount, Tell: true,
	})
}

func inquiry(n vault.Name) vault.Command { return op(atm.Inquiry, vault.Inquiry{Account: n}) }

// TestDatabaseRefusesWhatTheProgramNeverDoes goes past the program: the database refuses what it
// never does.
func TestDatabaseRefusesWhatTheProgramNeverDoes(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	url := cluster.Database(t)
	store := create(t, url)
	vaulttest.Furnish(t, store)
	name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	cluster.SQL(t, name, "CREATE ROLE server LOGIN")
	if err := pgstore.Grant(t.Context(), pgstore.Config{URL: url}, "server"); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"atm", "server"} {
		as := func(sql string) error { return cluster.As(role, name, sql) }
		if err := as("SELECT count(*) FROM journal"); err != nil {
			t.Errorf("%s: %v", role, err)
		}
		for _, sql := range []string{
			"UPDATE journal SET leaf = leaf", "DELETE FROM journal", "TRUNCATE journal",
			"UPDATE accounts SET balance = -1 WHERE number IS NOT NULL",
			"UPDATE grants SET spent = cap + 1", "UPDATE grants SET spent = -1",
			"UPDATE mandates SET spent = total + 1", "UPDATE mandates SET spent = -1",
			"UPDATE orders SET paid = -1", "UPDATE reversals SET amount = 0",
			"UPDATE feeds SET subscriptions = '{}'", "UPDATE feeds SET subscriptions = NULL",
			"INSERT INTO accounts SELECT 'x', 5, owner, 0, 0, 1, 0, '{}', 0, 0, 0, '', 0, 0, 0 " +
				"FROM accounts LIMIT 1",
			"INSERT INTO journal SELECT 0, leaf FROM journal LIMIT 1",
			"INSERT INTO log SELECT 2, size, head, checkpoint, logs, files FROM log",
		} {
			if err := as(sql); err == nil {
				t.Errorf("%s may %s", role, sql)
			}
		}
	}
	for _, sql := range []string{
		"DELETE FROM accounts", "DELETE FROM users",
		"DELETE FROM revocations", "DELETE FROM mandates", "DELETE FROM orders",
		"DELETE FROM reversals", "DELETE FROM feeds", "DROP TABLE journal",
		"ALTER TABLE accounts DROP COLUMN balance",
		"CREATE TABLE mine (x int)",
	} {
		if err := cluster.As("server", name, sql); err == nil {
			t.Errorf("server may %s", sql)
		}
	}
	for _, column := range []string{
		"grants SET cap = cap", "grants SET accounts = accounts", "grants SET grantee = grantee",
		"grants SET grantor = grantor",
		"grants SET operations = operations", "grants SET expires = expires", "grants SET id = id",
		"holds SET amount = amount",
		"mandates SET total = total", `mandates SET "each" = 1`, "mandates SET creditor = creditor",
		"mandates SET ends = NULL", "mandates SET debtor = debtor", "orders SET amount = amount",
		"orders SET payee = payee", "orders SET account = account", "reversals SET entry = entry",
		"feeds SET owner = owner",
		"holds SET account = account", "accounts SET name = name", "accounts SET number = number",
		"accounts SET born = born",
		"users SET subject = subject", "revocations SET name = name", "requests SET index = index",
		"installation SET name = name",
		"log SET id = id", "versions SET index = index",
	} {
		if err := cluster.As("server", name, "UPDATE "+column); err == nil {
			t.Errorf("server may UPDATE %s", column)
		}
	}
	// And with that it serves.
	restricted, err := pgstore.Open(t.Context(), pgstore.Config{
		URL:    cluster.URL("server", name),
		Secret: secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer restricted.Close()
	logs, err := restricted.Logs(t.Context())
	if err != nil || len(logs) != 2 {
		t.Error(logs, err)
	}
	if err := restricted.Replicas.Tidy(t.Context()); err != nil {
		t.Error(err)
	}
	told, err := restricted.ClaimCursors(t.Context(), "server", time.Minute, []feeds.ID{1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := restricted.SaveCursors(t.Context(), "server", told, true); err != nil {
		t.Error(err)
	}
	if err := restricted.ForgetCursors(t.Context(), []feeds.ID{1}); err != nil {
		t.Error(err)
	}
	if has, err := restricted.Replicas.Lease(t.Context(), "work", time.Minute); !has ||
		err != nil {
		t.Error(has, err)
	}
	if first, err := restricted.Replicas.Spend(t.Context(), "nonce", 1, time.Now()); !first ||
		err != nil {
		t.Error(first, err)
	}
	if first, err := restricted.Replicas.Spend(t.Context(), "nonce", 1, time.Now()); first ||
		err != nil {
		t.Error(first, err)
	}
}

// TestSourcesOfFailuresNeedNotBeText tells of failures by names that are no text, as they came.
func TestSourcesOfFailuresNeedNotBeText(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).Database(t)
	one, other := create(t, url), create(t, url)
	source := "192.0.2.1 \x00\xff\xc3"
	seen := make(map[string]int64)
	for n := int64(1); n < 4; n++ {
		if _, err := one.Replicas.ShareFailures(t.Context(), []byte("one"),
			map[string]int64{source: 10 * n},
			make(map[string]int64)); err != nil {
			t.Fatal(err)
		}
		grown, err := other.Replicas.ShareFailures(t.Context(), []byte("other"), nil, seen)
		if err != nil || len(grown) != 1 || grown[source] != 10 {
			t.Errorf("told of %v, %v", grown, err)
		}
	}
}

// TestCheckFindsRowsThatWereChanged changes rows behind the program's back: a check finds each.
func TestCheckFindsRowsThatWereChanged(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	store := create(t, url)
	vaulttest.Furnish(t, store)
	name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	cluster.SQL(t, name, "ALTER TABLE journal DISABLE TRIGGER ALL")
	for _, sql := range []string{
		"UPDATE journal SET leaf = convert_to(replace(convert_from(leaf, 'UTF8'), 'user:demo', " +
			"'user:dema'), 'UTF8') WHERE index = (SELECT max(index) - 5 FROM journal)",
		"UPDATE journal SET leaf = (SELECT leaf FROM journal WHERE index = (SELECT logs[2] + 9 " +
			"FROM log)) WHERE index = (SELECT logs[2] + 8 FROM log)",
		"DELETE FROM journal WHERE index = (SELECT max(index) FROM journal)",
		"DELETE FROM journal WHERE index = 5",
		"UPDATE accounts SET balance = balance + 1 WHERE name = (SELECT max(name) FROM accounts " +
			"WHERE number > 0)",
		"UPDATE accounts SET version = version + 1 WHERE name = 'equity:opening'",
		"DELETE FROM accounts WHERE name = (SELECT min(name) FROM accounts)",
		"UPDATE versions SET index = index + 1 WHERE version = 3",
		"DELETE FROM versions WHERE version = 4",
		"INSERT INTO versions VALUES ('77', 1, 1)",
		"UPDATE holds SET amount = amount + 1 WHERE state = 0",
		"UPDATE holds SET account = '77'",
		"UPDATE requests SET index = 0 WHERE index = (SELECT max(index) FROM requests)",
		"UPDATE users SET ha1 = set_byte(ha1, 30, get_byte(ha1, 30) # 1) WHERE ha1 IS NOT NULL",
		"UPDATE users SET slow = (SELECT ha1 FROM users WHERE subject = 'user:eve') WHERE " +
			"subject = 'user:eva'",
		"UPDATE log SET size = size - 1",
		"UPDATE log SET checkpoint = NULL",
		"UPDATE log SET logs = '{0}'",
	} {
		copied := name + "_copy"
		cluster.SQL(t, "postgres", "DROP DATABASE IF EXISTS "+copied+" WITH (FORCE)")
		store.Close()
		cluster.SQL(t, "postgres", "CREATE DATABASE "+copied+" OWNER atm TEMPLATE "+name)
		if changed := cluster.SQL(t, copied, "WITH x AS ("+sql+" RETURNING 1) SELECT count(*) "+
			"FROM x"); changed == "0" {
			t.Errorf("%s: nothing was changed", sql)
			continue
		}
		s, err := pgstore.Open(t.Context(), pgstore.Config{
			URL:    cluster.URL("atm", copied),
			Secret: secret,
		})
		if err != nil {
			t.Fatal(err)
		}
		var problems []string
		if err := s.Check(t.Context(), func(p string) {
			problems = append(problems, p)
		}); !errors.Is(err, vault.ErrDamaged) {
			t.Errorf("%s: not found: %v", sql, err)
		}
		s.Close()
	}
}

// TestUnfitDatabaseIsRefusedInOneSentence opens what is no database to work with: one sentence
// each.
func TestUnfitDatabaseIsRefusedInOneSentence(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	good := cluster.Database(t)
	create(t, good)
	name := func(url string) string {
		return url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	}
	changed := func(sql string) string {
		url := cluster.Database(t)
		create(t, url).Close()
		cluster.SQL(t, name(url), sql)
		return url
	}
	set := func(setting string) string {
		url := cluster.Database(t)
		cluster.SQL(t, "postgres", "ALTER DATABASE "+name(url)+" SET "+setting)
		return url
	}
	for _, tt := range []struct {
		name, url, secret string
		want              error
		text              string
	}{
		{"no URL", "mysql://localhost/x", "", pgstore.ErrURL, ""},
		{"nobody there", "postgres://atm@127.0.0.1:1/x", "", nil, "127.0.0.1:1"},
		{
			"no such database", cluster.URL("atm", "nowhere"), "", nil,
			`database "nowhere" does not exist`,
		},
		{"no such user", cluster.URL("nobody", "atm1"), "", nil, `role "nobody" does not exist`},
		{"an empty database", cluster.Database(t), "", pgstore.ErrNoBooks, ""},
		{"another secret", good, "another secret", pgstore.ErrWrongSecret, "test.example"},
		{
			"an older schema", changed("UPDATE goose_db_version SET version_id = 0"), "",
			pgstore.ErrNoBooks, "",
		},
		{"a newer schema", changed("INSERT INTO goose_db_version (version_id, is_applied) VALUES " +
			"(99, true)"), "", pgstore.ErrSchema, "newer"},
		{"read-only", set("default_transaction_read_only = on"), "", pgstore.ErrReadOnly, ""},
		{"asynchronous", set("synchronous_commit = off"), "", pgstore.ErrAsync, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := pgstore.Config{URL: tt.url, Secret: secret}
			if tt.secret != "" {
				cfg.Secret = []byte(tt.secret)
			}
			s, err := pgstore.Open(t.Context(), cfg)
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			t.Log(err)
			if tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(),
				tt.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
	for _, url := range []string{
		"postgres://atm:secret@localhost/atm",
		"postgresql://atm:secret@a:1,b:2/atm", "postgres://localhost/atm?password=secret",
	} {
		if err := pgstore.CheckURL(url); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("a password in a URL: %v", err)
		}
	}
	if err := pgstore.CheckURL(
		"postgres://atm@a:1,b:2/atm?target_session_attrs=read-write&passfile=/etc/atm/pgpass"); err != nil {
		t.Error(err)
	}
}

// TestReplicasBeginTogetherOnAnEmptyDatabase starts two on one empty database at once.
func TestReplicasBeginTogetherOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	for range 5 {
		url := cluster.Database(t)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				s, err := pgstore.Create(t.Context(), pgstore.Config{URL: url, Secret: secret},
					"test.example")
				if err != nil {
					t.Error(err)
					return
				}
				s.Close()
			})
		}
		wg.Wait()
	}
}
