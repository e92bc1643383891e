//go:build unix

package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/needs"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/people"
)

// lived gives a server a history with something of every kind: users, roles that were set
// twice, a disabled user, used grants, revoked credentials, limits, holds and request ids.
func lived(t *testing.T, h *daemontest.Server) {
	t.Helper()
	operator, demo := h.As(t, "operator"), h.As(t, "demo")
	admin := func(op string, args ...any) *client.Answer {
		return daemontest.Must(t)(operator.Call(t.Context(), op, args...))
	}
	admin("admin.user.add", "user:mallory", "customer")
	admin("admin.user.add", "user:mallory", "customer teller")
	admin("admin.user.add", "user:alice", "customer")
	admin("admin.user.add", "user:alice", "auditor")
	admin("admin.user.add", "user:eve", "customer")
	admin("admin.user.disable", "user:eve")
	admin("admin.user.add", "service:billing", "service")
	admin("admin.account.open", "200", "user:demo", "50")
	admin("admin.account.open", "300", "user:mallory", "50")
	admin("admin.account.limit", "200", "40", "100", "7", "Europe/Berlin")
	admin("admin.user.revoke", "user:eve")
	admin("admin.cert.revoke", "5f3a9c0e", "foreign")
	token := admin("admin.token.issue", "user:alice")
	jti, _ := token.Result.(map[string]any)["jti"].(string)
	admin("admin.token.revoke", jti)
	daemontest.Must(t)(demo.Withdraw(t.Context(), 200, 500, "one"))
	daemontest.Must(t)(demo.Deposit(t.Context(), 100, 700, "two"))
	daemontest.Must(t)(demo.Authorize(t.Context(), 100, 900, time.Hour, "three"))
	hold := daemontest.Must(t)(demo.Authorize(t.Context(), 100, 800, time.Hour, "four")).Text()
	daemontest.Must(t)(demo.Capture(t.Context(), hold, 300, "five"))
	grant := daemontest.Must(t)(demo.Call(t.Context(), "admin.grant.create", 100, "withdraw",
		"50.00",
		"service:billing", 600))
	text, _ := grant.Result.(map[string]any)["token"].(string)
	cfg := h.TLS(t, "demo")
	cfg.GetClientCertificate = nil
	billing, err := client.New(client.Config{Server: "https://" + h.Addr, TLS: cfg, Token: text})
	if err != nil {
		t.Fatal(err)
	}
	daemontest.Must(t)(billing.Withdraw(t.Context(), 100, 3000, "six"))
	daemontest.Must(t)(demo.Call(t.Context(), "admin.grant.create", 200, "deposit", "5.00",
		"user:alice", 600))
	livedByAgreements(t, h)
	livedByFeeds(t, h)
}

// checked checks a folder, and returns the problems found.
func checked(t *testing.T, folder offline.Folder) []string {
	t.Helper()
	var problems []string
	_, err := folder.Check(t.Context(), func(p string) { problems = append(problems, p) })
	if err != nil && !errors.Is(err, offline.ErrProblems) {
		t.Fatal(err)
	}
	return problems
}

// A tamper is a change in SQL, with words that fsck must print.
type tamper struct{ name, sql, says string }

// tampers are changes that a superuser of the database can make.
var tampers = []tamper{
	{
		"somebody's roles",
		`UPDATE users SET roles = '{customer,operator}' WHERE subject = 'user:mallory'`,
		"user user:mallory has the roles",
	},
	{
		"a role taken away",
		`UPDATE users SET roles = '{customer}' WHERE subject = 'user:operator'`,
		"user user:operator has the roles",
	},
	{
		"somebody who is disabled lets in",
		`UPDATE users SET disabled = false WHERE subject = 'user:eve'`,
		"user user:eve is recorded as disabled",
	},
	{
		"somebody kept out", `UPDATE users SET disabled = true WHERE subject = 'user:alice'`,
		"user user:alice is recorded as disabled",
	},
	{
		"a user who is new",
		`INSERT INTO users SELECT 'user:zoe', roles, disabled, NULL, NULL, changed FROM users WHERE subject = 'user:operator'`, "user user:zoe is in no journal entry",
	},
	{"a user gone", `DELETE FROM users WHERE subject = 'user:eve'`, "user user:eve is in the " +
		"journal"},
	{
		"the cap of a grant", `UPDATE grants SET cap = 900000 WHERE grantee = 'service:billing'`,
		"is not as any journal entry made it",
	},
	{
		"what a grant has spent", `UPDATE grants SET spent = 0 WHERE grantee = 'service:billing'`,
		"has spent 0.00",
	},
	{
		"the account of a grant",
		`UPDATE grants SET accounts = '{200}' WHERE grantee = 'service:billing'`,
		"is not as any journal entry made it",
	},
	{
		"the grantee of a grant",
		`UPDATE grants SET grantee = 'user:mallory' WHERE grantee = 'user:alice'`,
		"is not as any journal entry made it",
	},
	{
		"what a grant is for",
		`UPDATE grants SET operations = '{deposit,withdraw}' WHERE grantee = 'user:alice'`,
		"is not as any journal entry made it",
	},
	{
		"when a grant ends",
		`UPDATE grants SET expires = expires + interval '1 hour' WHERE grantee = 'user:alice'`,
		"is not as any journal entry made it",
	},
	{
		"a grant more",
		`INSERT INTO grants SELECT 'X', grantor, grantee, accounts, operations, cap, 0, expires FROM grants WHERE grantee = 'user:alice'`, "is not as any journal entry made it",
	},
	{
		"a grant gone", `DELETE FROM grants WHERE grantee = 'service:billing'`,
		"has no record as it was made",
	},
	{
		"the revocation of a token gone", `DELETE FROM revocations WHERE name LIKE 'jti:%'`,
		"revocation jti:",
	},
	{
		"the revocation of a certificate gone", `DELETE FROM revocations WHERE name LIKE 'cert:%'`,
		"revocation cert:5f3a9c0e",
	},
	{
		"the revocation of a subject gone",
		`DELETE FROM revocations WHERE name = 'subject:user:eve'`,
		"revocation subject:user:eve",
	},
	{
		"the revocation of a subject earlier",
		`UPDATE revocations SET at = at - interval '1 day' WHERE name = 'subject:user:eve'`,
		"revocation subject:user:eve is of",
	},
	{
		"roles that count as never set", `DELETE FROM revocations WHERE name = 'roles:user:alice'`,
		"revocation roles:user:alice",
	},
	{
		"a request id gone", `DELETE FROM requests WHERE index = (SELECT max(index) FROM requests)`,
		"has no record",
	},
	{
		"a request id that leads elsewhere",
		`UPDATE requests SET index = (SELECT min(index) FROM requests) WHERE index = (SELECT max(index) FROM requests)`, "it was answered in",
	},
	{
		"a byte of a request id",
		`UPDATE requests SET key = set_byte(key, 0, CASE get_byte(key, 0) WHEN 255 THEN 254 ELSE 255 END) WHERE index = (SELECT max(index) FROM requests)`, "is not that of journal entry",
	},
	{
		"a request id of another day",
		`UPDATE requests SET day = day - 7 WHERE index = (SELECT max(index) FROM requests)`,
		"is recorded as answered on day",
	},
	{
		"the owner of an account", `UPDATE accounts SET owner = 'user:mallory' WHERE name = '200'`,
		"account 200 is not what the journal says",
	},
	{
		"a limit", `UPDATE accounts SET limit_operation = 0 WHERE name = '200'`,
		"account 200 is not what the journal says",
	},
	{
		"what was spent today",
		`UPDATE accounts SET spent_amount = 0, spent_count = 0 WHERE name = '200'`,
		"account 200 is not what the journal says",
	},
	{
		"a captured hold that is pending", `UPDATE holds SET state = 0 WHERE state = 1`,
		"the holds are not what the journal says",
	},
	{
		"the amount of a hold", `UPDATE holds SET amount = amount - 1 WHERE state = 1`,
		"the holds are not what the journal says",
	},
	{
		"the end of a hold",
		`UPDATE accounts SET pending[3] = pending[3] + 86400 WHERE cardinality(pending) > 0`,
		"is not what the journal says",
	},
	{
		"money between accounts",
		`UPDATE accounts SET balance = balance + CASE name WHEN '100' THEN -100 ELSE 100 END WHERE name IN ('100', '300')`, "account 300 has version",
	},
	{
		"a byte of the signature",
		`UPDATE log SET checkpoint = overlay(checkpoint PLACING (CASE get_byte(checkpoint, length(checkpoint) - 21) WHEN 65 THEN '\x42' ELSE '\x41' END)::bytea FROM length(checkpoint) - 20)`, "the checkpoint in the vault",
	},
	{
		"a byte of the root",
		`UPDATE log SET checkpoint = overlay(checkpoint PLACING (CASE get_byte(checkpoint, position('\x0a'::bytea IN checkpoint) + 8) WHEN 65 THEN '\x42' ELSE '\x41' END)::bytea FROM position('\x0a'::bytea IN checkpoint) + 9)`, "the checkpoint in the vault",
	},
}

// TestFsckNamesWhatASuperuserChanged makes one change at a time in the database of a stopped
// server.
func TestFsckNamesWhatASuperuserChanged(t *testing.T) {
	t.Parallel()
	needs.Unraced(t)
	store := daemontest.Database(t)
	h := startOn(t, filepath.Join(t.TempDir(), "atm-data"), store)
	lived(t, h)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	folder := offline.Folder{Data: h.Data, Store: store}
	if problems := checked(t, folder); len(problems) > 0 {
		t.Fatalf("before anything was changed: %q", problems)
	}
	db := databaseName(t, store)
	sql := func(statements string) { daemontest.Postgres(t).SQL(t, db, statements) }
	tables := []string{
		"users", "grants", "revocations", "requests", "accounts", "holds", "log", "mandates",
		"orders", "reversals", "feeds",
	}
	for _, table := range tables {
		sql("CREATE TABLE kept_" + table + " AS SELECT * FROM " + table)
	}
	sql("ALTER TABLE kept_log DROP COLUMN begins") // which is computed
	restore := func() {
		var all strings.Builder
		for _, table := range tables {
			fmt.Fprintf(&all, "DELETE FROM %[1]s; INSERT INTO %[1]s SELECT * FROM kept_%[1]s;",
				table)
		}
		sql(all.String())
	}
	found := 0
	all := slices.Concat(tampers, tampersOfPayments, tampersOfFeeds)
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			sql(tt.sql)
			problems := checked(t, folder)
			if !strings.Contains(strings.Join(problems, "\n"), tt.says) {
				t.Errorf("nothing says %q: %q", tt.says, problems)
			} else {
				found++
			}
			restore()
		})
	}
	t.Logf("%d of %d changes are named", found, len(all))
	t.Run("many at once", func(t *testing.T) {
		together := map[string]bool{
			"somebody's roles": true, "somebody kept out": true, "a user gone": true,
			"the cap of a grant":             true,
			"the revocation of a token gone": true, "a request id gone": true, "a limit": true,
			"a captured hold that is pending": true, "money between accounts": true,
			"a byte of the signature": true,
		}
		for _, tt := range tampers {
			if together[tt.name] {
				sql(tt.sql)
			}
		}
		problems := strings.Join(checked(t, folder), "\n")
		for _, tt := range tampers {
			if together[tt.name] && !strings.Contains(problems, tt.says) {
				t.Errorf("nothing says %q: %s", tt.says, problems)
			}
		}
		restore()
	})
	if problems := checked(t, folder); len(problems) > 0 {
		t.Errorf("after everything was changed back: %q", problems)
	}
}

// TestFsckNamesWhatWasDoneInBetween changes rows of a running server, makes use of that, and
// changes them back. No row is wrong afterwards, but the journal shows it.
func TestFsckNamesWhatWasDoneInBetween(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	for _, tt := range []struct {
		name, before, after, says string
		act                       func(*testing.T, *daemontest.Server)
	}{
		{
			"an owner", `UPDATE accounts SET owner = 'user:demo' WHERE name = '300'`,
			`UPDATE accounts SET owner = 'user:mallory' WHERE name = '300'`,
			"withdraw of user:demo on account 300, which was not theirs but user:mallory's",
			func(t *testing.T, h *daemontest.Server) {
				daemontest.Must(t)(h.As(t, "demo").Withdraw(t.Context(), 300, 100, "stolen"))
			},
		},
		{
			"an owner, to look", `UPDATE accounts SET owner = 'user:demo' WHERE name = '300'`,
			`UPDATE accounts SET owner = 'user:mallory' WHERE name = '300'`,
			"inquiry of user:demo on account 300, which was not theirs but user:mallory's",
			func(t *testing.T, h *daemontest.Server) {
				daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(), 300))
			},
		},
		{
			"a request id", `DELETE FROM requests WHERE index = (SELECT max(index) FROM requests)`,
			"",
			"was carried out again",
			func(t *testing.T, h *daemontest.Server) {
				daemontest.Must(t)(h.As(t, "demo").Withdraw(t.Context(), 100, 100, "twice"))
			},
		},
		{
			"roles",
			`UPDATE users SET roles = '{teller}', changed = (SELECT size FROM log) WHERE subject = 'user:demo'`,
			`UPDATE users SET roles = '{customer}', changed = (SELECT size FROM log) WHERE subject = 'user:demo'`,
			"user:demo acted as teller",
			func(t *testing.T, h *daemontest.Server) {
				daemontest.Until(t, func() bool {
					a, err := h.As(t, "demo").Withdraw(t.Context(), 300, 100, "")
					return err == nil && a.Code == atm.OK
				})
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := daemontest.Database(t)
			h := startOn(t, filepath.Join(t.TempDir(), "atm-data"), store)
			operator := h.As(t, "operator")
			daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", "user:mallory",
				"customer"))
			daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "300",
				"user:mallory", "50"))
			daemontest.Must(t)(h.As(t, "demo").Withdraw(t.Context(), 100, 100, "twice"))
			db := databaseName(t, store)
			daemontest.Postgres(t).SQL(t, db, tt.before)
			tt.act(t, h)
			if tt.after != "" {
				daemontest.Postgres(t).SQL(t, db, tt.after)
			}
			if err := h.Stop(); err != nil {
				t.Fatal(err)
			}
			if problems := checked(t, offline.Folder{
				Data:  h.Data,
				Store: store,
			}); !strings.Contains(strings.Join(problems, "\n"), tt.says) {
				t.Errorf("nothing says %q: %q", tt.says, problems)
			}
		})
	}
}

func databaseName(t *testing.T, store storage.Location) string {
	t.Helper()
	u, err := url.Parse(store.URL)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// TestFsckNamesWhatTheHolderOfTheKeyChanged makes the changes that are possible with the key of
// a vault file, with which records can be written that open.
func TestFsckNamesWhatTheHolderOfTheKeyChanged(t *testing.T) {
	t.Parallel()
	needs.Unraced(t)
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), nil)
	lived(t, h)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	folder := offline.Folder{Data: h.Data}
	if problems := checked(t, folder); len(problems) > 0 {
		t.Fatalf("before anything was changed: %q", problems)
	}
	whole, trail := contents(t, folder)
	secret := vaultSecret(t, folder)
	for _, tt := range []struct {
		name, says string
		change     func(p *vault.Part)
	}{
		{"roles", "has the roles", func(p *vault.Part) {
			p.Users[0].Roles = []atm.Role{atm.Auditor}
		}},
		{"disabled", "is recorded as disabled", func(p *vault.Part) {
			p.Users[0].Disabled = !p.Users[0].Disabled
		}},
		{"a user gone", "is in the journal and has no record", func(p *vault.Part) {
			p.Users = p.Users[1:]
		}},
		{"the cap of a grant", "is not as any journal entry made it", func(p *vault.Part) {
			p.Grants[0].Cap += 100
		}},
		{"what a grant has spent", "its journal entries", func(p *vault.Part) {
			p.Grants[0].Spent += 100
		}},
		{"the grantee of a grant", "is not as any journal entry made it", func(p *vault.Part) {
			p.Grants[0].Grantee = "user:eve"
		}},
		{"a grant gone", "has no record as it was made", func(p *vault.Part) {
			p.Grants = p.Grants[1:]
		}},
		{"a revocation gone", "is in the journal and has no record", func(p *vault.Part) {
			p.Revocations = p.Revocations[1:]
		}},
		{"the time of a revocation", "the journal says", func(p *vault.Part) {
			p.Revocations[0].At = p.Revocations[0].At.Add(-time.Hour)
		}},
		{"a request id gone", "has no record", func(p *vault.Part) { p.Requests = p.Requests[1:] }},
		{"an owner", "is not what the journal says", func(p *vault.Part) {
			p.Accounts[0].Owner = "user:mallory"
		}},
		{"a limit", "is not what the journal says", func(p *vault.Part) {
			p.Accounts[0].Limits.DailyCount = 99
		}},
		{"the amount of a hold", "hold", func(p *vault.Part) { p.Holds[0].Amount-- }},
		{"the cap of a mandate", "mandate", func(p *vault.Part) { p.Mandates[0].Terms.Total++ }},
		{"what a mandate has spent", "mandate", func(p *vault.Part) { p.Mandates[0].Spent-- }},
		{"the next date of an order", "standing order", func(p *vault.Part) {
			p.Orders[0].Next = p.Orders[0].Next.AddDate(0, 0, 1)
		}},
		{"a reversal gone", "reversal of entry", func(p *vault.Part) { p.Reversals = nil }},
		{"the amount of a reversal", "reversal of entry", func(p *vault.Part) {
			p.Reversals[0].Amount--
		}},
		{"an agreement gone", "is not what the journal says", func(p *vault.Part) {
			p.Accounts[0].Agreements = nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := whole
			changed.Users, changed.Grants = append([]people.User(nil), whole.Users...),
				append([]vault.Grant(nil), whole.Grants...)
			changed.Revocations, changed.Requests = append([]people.Revocation(nil),
				whole.Revocations...), append([]vault.KeptRequest(nil), whole.Requests...)
			changed.Accounts, changed.Holds = append([]vault.Account(nil), whole.Accounts...),
				append([]vault.Hold(nil), whole.Holds...)
			changed.Mandates, changed.Orders = slices.Clone(whole.Mandates),
				slices.Clone(whole.Orders)
			changed.Reversals = slices.Clone(whole.Reversals)
			tt.change(&changed)
			refill(t, folder, secret, changed, trail)
			if problems := strings.Join(checked(t, folder), "\n"); !strings.Contains(problems,
				tt.says) {
				t.Errorf("nothing says %q: %q", tt.says, problems)
			}
		})
	}
	t.Run("a byte of the checkpoint", func(t *testing.T) {
		changed := *trail
		changed.Checkpoint = []byte(strings.Replace(string(trail.Checkpoint), "\n", "x\n", 1))
		refill(t, folder, secret, whole, &changed)
		if problems := strings.Join(checked(t, folder), "\n"); !strings.Contains(problems,
			"the checkpoint in the vault") {
			t.Errorf("it is not named: %q", problems)
		}
	})
	refill(t, folder, secret, whole, trail)
	if problems := checked(t, folder); len(problems) > 0 {
		t.Errorf("after everything was changed back: %q", problems)
	}
}

// TestFsckKnowsWhoFollowedAnInvitation enrols a subject by each of several open invitations.
// fsck accepts the records that result from the used invitation, and no others.
func TestFsckKnowsWhoFollowedAnInvitation(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	store := daemontest.Database(t)
	h := startOn(t, filepath.Join(t.TempDir(), "atm-data"), store)
	operator, nobody := h.As(t, "operator"), h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	invite := func(roles ...any) string {
		args := append([]any{"user:bob"}, roles...)
		record, _ := daemontest.Must(t)(operator.Call(t.Context(), "admin.cert.invite",
			args...)).Result.(map[string]any)
		return fmt.Sprint(record["code"])
	}
	enrol := func(code string) {
		t.Helper()
		resp, err := daemontest.HTTPClient(t, nobody).PostForm("https://"+h.Addr+"/enroll",
			url.Values{"code": {code}, "request": {daemontest.NewRequest(t)}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	check := func(want string) {
		t.Helper()
		if err := h.Stop(); err != nil {
			t.Fatal(err)
		}
		problems := strings.Join(checked(t, offline.Folder{Data: h.Data, Store: store}), "\n")
		if want == "" && problems != "" || !strings.Contains(problems, want) {
			t.Errorf("%q, want %q", problems, want)
		}
		h = startOn(t, h.Data, store)
		operator = h.As(t, "operator")
	}
	enrol(invite())
	check("")
	keeping, giving := invite(), invite("teller")
	enrol(keeping)
	check("")
	enrol(giving)
	check("")
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", "user:bob", "auditor"))
	check("")
	sql := func(roles string) {
		daemontest.Postgres(t).SQL(t, databaseName(t, store), "UPDATE users SET roles = '{"+roles+
			"}' WHERE subject = 'user:bob'")
	}
	sql("operator")
	check("user user:bob has the roles")
	sql("auditor")
	check("")
}

// refill replaces the vault of a folder by one with these contents.
func refill(t *testing.T, folder offline.Folder, secret []byte, part vault.Part,
	trail *vault.Trail,
) {
	t.Helper()
	file := filepath.Join(folder.Data, "vault.db")
	for _, old := range []string{file, file + "-wal"} {
		if err := os.RemoveAll(old); err != nil {
			t.Fatal(err)
		}
	}
	store, err := boltstore.Create(file, secret)
	if err != nil {
		t.Fatal(err)
	}
	err = store.Fill(t.Context(),
		func(_ context.Context, yield func(*vault.Part) error) (*vault.Trail, error) {
			return trail, yield(&part)
		})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
}

func vaultSecret(t *testing.T, folder offline.Folder) []byte {
	t.Helper()
	dir, _, err := datadir.Open(folder.Data, datadir.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	key, err := dir.ReadVaultKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key.Secret
}
