//go:build unix

package pgstore_test

import (
	"crypto/rand"
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/vaulttest"
)

// TestRoleOfTheServerWritesAllThatOperationsDo has no other privileges than Grant gives, also
// after it had more.
func TestRoleOfTheServerWritesAllThatOperationsDo(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	url := cluster.Database(t)
	create(t, url)
	name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	cluster.SQL(t, name, "CREATE ROLE server LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL "+
		"TABLES IN SCHEMA public TO server")
	for _, role := range []string{"server", "atm"} { // the owner keeps what is theirs
		if err := pgstore.Grant(t.Context(), pgstore.Config{URL: url}, role); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.As("server", name, "UPDATE grants SET cap = cap"); err == nil {
		t.Error("what the role was allowed before, it still is")
	}
	if err := cluster.As("atm", name, "UPDATE grants SET cap = cap"); err != nil {
		t.Error(err)
	}
	store, err := pgstore.Open(t.Context(), pgstore.Config{
		URL:    cluster.URL("server", name),
		Secret: secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	for table, write := range writers(t, store) {
		for range 2 {
			if status := write(); status.Code != atm.OK {
				t.Errorf("a write to %s: %+v", table, status)
			}
		}
	}
}

// writers are operations by the table that each of them writes to, beside the journal.
func writers(t *testing.T, store vault.Store) map[string]func() atm.Status {
	t.Helper()
	l := vaulttest.NewLedger(t, ledger.Config{Store: store, Signer: vaulttest.NewSigner(t)})
	caller := &atm.Caller{Principal: atm.Principal{
		Subject: "user:writer",
		Roles:   []atm.Role{atm.Operator},
	}}
	do := func(op atm.Operation, rule vault.Rule, request requestid.Hashed) atm.Status {
		return l.Do(t.Context(), vault.Command{
			Event: audit.EventOp, Operation: op, Caller: caller,
			Rule: rule, Request: request,
		})
	}
	if status := do(atm.AccountOpen, vault.OpenAccount{
		Account: "7001", Owner: caller.Subject,
		Opening: 10_000,
	}, requestid.Hashed{}); status.Code != atm.OK {
		t.Fatal(status)
	}
	hasher, err := requestid.NewHasher(secret)
	if err != nil {
		t.Fatal(err)
	}
	number, cash := 7001, vault.Cash(caller.Subject)
	none := requestid.Hashed{}
	withdraw := vault.Withdraw{Account: "7001", Cash: cash, Amount: 100}
	writes := paymentWriters(t, func(op atm.Operation, rule vault.Rule) atm.Status {
		return do(op, rule, none)
	})
	maps.Copy(writes, map[string]func() atm.Status{
		"journal": func() atm.Status {
			return do(atm.Inquiry, vault.Inquiry{Account: "7001"}, none)
		},
		"log": func() atm.Status {
			return do(atm.Inquiry, vault.Inquiry{Account: "7001"}, none)
		},
		"versions": func() atm.Status { return do(atm.Withdraw, withdraw, none) },
		"accounts": func() atm.Status { return do(atm.Withdraw, withdraw, none) },
		"accounts of all columns": func() atm.Status {
			return do(atm.AccountLimit, vault.SetLimits{
				Account: "7001",
				Limits:  vault.Limits{DailyCount: 99},
			}, none)
		},
		"accounts that are new": func() atm.Status {
			number++
			return do(atm.AccountOpen, vault.OpenAccount{
				Account: vault.Name(strconv.Itoa(number)),
				Owner:   caller.Subject,
			}, none)
		},
		"requests": func() atm.Status {
			return do(atm.Withdraw, withdraw, hasher.Hash(caller, atm.RequestID(rand.Text())))
		},
		"holds": func() atm.Status {
			return do(atm.Authorize, vault.Authorize{
				Account: "7001", Amount: 1,
				Life: time.Hour,
			}, none)
		},
		"users": func() atm.Status {
			return do(atm.UserAdd, vault.People(people.Enrol{
				Subject: "user:" + rand.Text()[:8],
				Default: atm.Customer, Result: "",
			}), none)
		},
		"revocations": func() atm.Status {
			return do(atm.CertRevoke, vault.People(people.Revoke{Name: "cert:1"}), none)
		},
		"certificates": func() atm.Status {
			return do(atm.TokenIssue, vault.People(people.IssueToken{
				For: caller.Subject, ID: rand.Text(),
				Ends: time.Now().Add(time.Hour),
			}), none)
		},
		"feeds": func() atm.Status {
			return do(atm.FeedAdd, vault.FeedRule{Rule: feeds.Add{
				Owner:        "user:" + rand.Text()[:8],
				Subscription: feeds.Subscription{Name: "shop", URL: "https://shop.example"},
			}}, none)
		},
		"grants": func() atm.Status {
			return do(atm.GrantCreate, vault.CreateGrant{Grant: vault.Grant{
				ID: rand.Text(), Grantor: caller.Subject, Grantee: "user:x",
				Accounts:   []vault.Name{"7001"},
				Operations: []atm.Operation{atm.Withdraw}, Cap: 100,
				Expires: time.Now().Add(time.Hour),
			}}, none)
		},
	})
	return writes
}

// paymentWriters are the writers of mandates, standing orders and reversals.
func paymentWriters(t *testing.T,
	do func(atm.Operation, vault.Rule) atm.Status,
) map[string]func() atm.Status {
	t.Helper()
	must := func(op atm.Operation, rule vault.Rule) atm.Status {
		t.Helper()
		s := do(op, rule)
		if s.Code != atm.OK {
			t.Fatal(s)
		}
		return s
	}
	must(atm.AccountOpen, vault.OpenAccount{Account: "6001", Owner: "user:x"})
	mandate := vault.CreateMandate{
		Account: "7001", Creditor: "user:x", Terms: vault.MandateTerms{
			Each: 10, Total: 100, Period: calendar.Month,
		},
	}
	order := vault.CreateOrder{
		Account: "7001", To: "6001", Amount: 1, Schedule: calendar.Schedule{Every: calendar.Day},
	}
	text, _ := must(atm.MandateCreate, mandate).Result.(string)
	given, _ := vault.ParseMandateID(text)
	var ending []vault.OrderID
	for range 4 {
		text, _ := must(atm.OrderCreate, order).Result.(string)
		id, _ := vault.ParseOrderID(text)
		ending = append(ending, id)
	}
	taken := must(atm.Transfer, vault.Transfer{From: "7001", To: "6001", Amount: 100})
	digits, _, _ := strings.Cut(taken.Receipt, " ")
	index, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	moved := vault.Movement{
		Index: vault.JournalIndex(index), From: "7001", To: "6001", Amount: 100,
	}
	return map[string]func() atm.Status{
		"mandates": func() atm.Status { return do(atm.MandateCreate, mandate) },
		"mandates that are used": func() atm.Status {
			return do(atm.Collect, vault.Collect{Mandate: given, To: "6001", Amount: 1})
		},
		"orders": func() atm.Status { return do(atm.OrderCreate, order) },
		"orders that end": func() atm.Status {
			s := do(atm.OrderCancel, vault.CancelOrder{Order: ending[0]})
			if s.Code == atm.OK {
				ending = ending[1:]
			}
			return s
		},
		"reversals": func() atm.Status {
			return do(atm.Reverse, vault.Reverse{Movement: moved, Amount: 1})
		},
	}
}

// TestWriteThatIsDroppedIsNotAcknowledged lets a trigger drop what is written to one table after
// the other. The statements are done then, says the database.
func TestWriteThatIsDroppedIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	store := create(t, url)
	name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	cluster.SQL(t, name, "CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN "+
		"RETURN NULL; END'")
	tell := func() (size vault.JournalIndex, balance atm.Amount) {
		t.Helper()
		size, err := vault.JournalSize(t.Context(), store)
		a, errAccount := store.Account(t.Context(), "7001")
		if err := errors.Join(err, errAccount); err != nil {
			t.Fatal(err)
		}
		return size, a.Balance
	}
	for what, write := range writers(t, store) {
		t.Run(what, func(t *testing.T) {
			table, _, _ := strings.Cut(what, " ")
			cluster.SQL(t, name, "CREATE TRIGGER dropping BEFORE INSERT OR UPDATE ON "+table+
				" FOR EACH ROW EXECUTE FUNCTION drop_it()")
			size, balance := tell()
			if status := write(); status.Code != atm.Unavailable {
				t.Errorf("answered %s", status.Code)
			}
			if n, b := tell(); n != size || b != balance {
				t.Errorf("%d entries and %s, before %d and %s", n, b, size, balance)
			}
			cluster.SQL(t, name, "DROP TRIGGER dropping ON "+table)
			if status := write(); status.Code != atm.OK {
				t.Errorf("afterwards: %+v", status)
			}
		})
	}
	if err := store.Check(t.Context(), func(p string) { t.Error(p) }); err != nil {
		t.Error(err)
	}
}
