package vaulttest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	gocmp "github.com/google/go-cmp/cmp"
)

// Furnish puts some of everything into a store, entries of two audit logs among
// it, and returns the signer of the newer one.
func Furnish(t testing.TB, store vault.Backend) *checkpoint.Signer {
	t.Helper()
	for range 2 {
		signer := NewSigner(t)
		l := ledger.New(ledger.Config{Store: store, Signer: signer})
		furnish(t, l)
		furnishFeeds(t, l, store)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if logs, err := store.Logs(t.Context()); err != nil || len(logs) > 1 {
			return signer
		}
		if err := store.BeginLog(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return nil
}

func furnish(t testing.TB, l *ledger.Ledger) {
	t.Helper()
	n := func(i int) vault.Name {
		return vault.Numbered(atm.AccountID(1 + i + int(time.Now().UnixNano()%1e12)*100))
	}
	accounts := []vault.Name{n(1), n(2), n(3)}
	for _, a := range accounts {
		must(t, l, open(a, 100000))
	}
	furnishDeposits(t, l, accounts)
	must(t, l, transfer(accounts[0], accounts[1], 77))
	first := must(t, l, authorize(accounts[0], 10, time.Hour))
	second := must(t, l, authorize(accounts[0], 20, time.Hour))
	must(t, l, authorize(accounts[1], 30, time.Hour))
	must(t, l, capture(first.Result, 5))
	must(t, l, release(second.Result))
	must(t, l, op(atm.AccountLimit, vault.SetLimits{
		Account: accounts[2],
		Limits:  vault.Limits{PerOperation: 5000, DailyCount: 7, Zone: "Europe/Berlin"},
	}))
	must(t, l, withdraw(accounts[2], 100))
	must(t, l, op(atm.AccountSet, vault.SetAccount{Account: accounts[2], Holder: "Zoë Ångström"}))
	must(t, l, op(atm.AccountOpen, vault.OpenAccount{Account: n(4), Holder: "Bob Jones"}))
	must(t, l, op(atm.AccountFreeze, vault.SetStanding{
		Account:  accounts[1],
		Standing: vault.Frozen,
	}))
	must(t, l, op(atm.UserAdd, vault.People(people.Enrol{
		Subject: "user:eva", Roles: []atm.Role{atm.Teller},
		Slow: []byte("slow"),
	})))
	c := &people.Certificate{
		Serial: fmt.Sprint(accounts[0]), Subject: "user:eve",
		NotAfter: time.Now().UTC().Truncate(time.Second).Add(time.Hour),
	}
	must(t, l, op(atm.CertIssue, vault.People(people.Enrol{
		Subject: "user:eve", Roles: []atm.Role{atm.Customer},
		HA1: []byte("ha1"), Certificate: c,
	})))
	must(t, l, op(atm.UserDisable, vault.People(people.SetDisabled{
		Subject:  "user:eve",
		Disabled: true,
	})))
	must(t, l, op(atm.TokenRevoke, vault.People(people.Revoke{Name: "jti:" + string(accounts[0])})))
	furnishSessions(t, l, "user:eva", string(accounts[0]))
	must(t, l, op(atm.GrantCreate, vault.CreateGrant{Grant: vault.Grant{
		ID: string(accounts[0]), Grantor: demo.Subject, Grantee: "service:shop",
		Accounts: accounts[:1], Operations: []atm.Operation{atm.Withdraw},
		Cap: 5000, Expires: time.Now().UTC().Truncate(time.Second).Add(time.Hour),
	}}))
	spend := op(atm.Withdraw, vault.Granted{
		Spender: vault.Withdraw{Account: accounts[0], Cash: vault.Cash("service:shop"), Amount: 12},
		Grant:   string(accounts[0]), Grantee: "service:shop", Operation: atm.Withdraw,
	})
	must(t, l, spend)
	furnishAgreements(t, l, accounts[0], accounts[2])
}

// furnishDeposits deposits into accounts in turn, some of it in one commit.
func furnishDeposits(t testing.TB, l *ledger.Ledger, accounts []vault.Name) {
	t.Helper()
	const deposits, together = 300, 12
	var replies [together]ledger.Reply
	for i := range deposits {
		replies[i%together] = l.Begin(t.Context(), identified(t,
			deposit(accounts[i%len(accounts)], atm.Amount(1+i)),
			atm.RequestID(fmt.Sprint(accounts[0], " ", i))))
		if i%together != together-1 {
			continue
		}
		for _, reply := range replies {
			if s := reply(); s.Code != atm.OK {
				t.Fatalf("%+v", s)
			}
		}
	}
}

// furnishAgreements makes mandates, standing orders and a reversal, some of which have ended.
func furnishAgreements(t testing.TB, l *ledger.Ledger, from, to vault.Name) {
	t.Helper()
	mandate := vault.CreateMandate{
		Account: from, Creditor: "service:gas", Memo: "rent, until it ends",
		Terms: vault.MandateTerms{Each: 50, Total: 70, Period: calendar.Month},
		Until: vault.Bound{At: time.Now().UTC().Truncate(time.Second).Add(time.Hour)},
	}
	kept, _ := vault.ParseMandateID(must(t, l, op(atm.MandateCreate, mandate)).Result.(string))
	must(t, l, op(atm.Collect, vault.Collect{Mandate: kept, To: to, Amount: 33}))
	revoked, _ := vault.ParseMandateID(must(t, l, op(atm.MandateCreate, mandate)).Result.(string))
	must(t, l, op(atm.MandateRevoke, vault.RevokeMandate{Mandate: revoked}))
	order := vault.CreateOrder{
		Account: from, To: to, Amount: 12, Memo: "savings",
		Schedule: calendar.Schedule{Every: calendar.Month, On: 31, At: 90, Zone: "Europe/Berlin"},
	}
	must(t, l, op(atm.OrderCreate, order))
	cancelled, _ := vault.ParseOrderID(must(t, l, op(atm.OrderCreate, order)).Result.(string))
	must(t, l, op(atm.OrderCancel, vault.CancelOrder{Order: cancelled}))
	digits, _, _ := strings.Cut(must(t, l, transfer(from, to, 40)).Receipt, " ")
	index, _ := strconv.ParseInt(digits, 10, 64)
	must(t, l, op(atm.Reverse, vault.Reverse{Amount: 15, Movement: vault.Movement{
		Index: vault.JournalIndex(index), From: from, To: to, Amount: 40,
	}}))
}

// furnishFeeds makes subscriptions, and cursors of some of them.
func furnishFeeds(t testing.TB, l *ledger.Ledger, store vault.Store) {
	t.Helper()
	size, err := vault.JournalSize(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	var ids []feeds.ID
	for i := range 3 {
		name := fmt.Sprintf("shop-%d-%d", size, i)
		id, _ := feeds.ParseID(must(t, l, op(atm.FeedAdd, vault.FeedRule{Rule: feeds.Add{
			Owner: "user:eva", Subscription: feeds.Subscription{
				Name: name, URL: "https://shop.example/?i=1", From: -1, Proofs: i == 1,
				Filter: feeds.Filter{Operation: atm.Deposit, Status: "OK", Above: 5, Below: 7},
			},
		}})).Result.(string))
		ids = append(ids, id)
		for _, act := range []feeds.Act{feeds.Rotate, feeds.Test, feeds.Stop("gone")}[i:] {
			must(t, l, op(atm.FeedTest, vault.FeedRule{Rule: feeds.Change{
				Owner: "user:eva", Name: name, Do: act,
			}}))
		}
	}
	must(t, l, op(atm.FeedSourceAdd, vault.FeedRule{Rule: feeds.AddSource{
		Owner: "user:eva", Name: fmt.Sprint("s-", size),
	}}))
	told, err := store.ClaimCursors(t.Context(), "furnish", time.Minute, ids[:2])
	if err != nil {
		t.Fatal(err)
	}
	told[0].Next, told[0].Last, told[0].Sent = feeds.Position(size)+9, feeds.Position(size)+8, 3
	told[0].Error, told[0].Delivered = "no route", time.Now().UTC().Truncate(time.Microsecond)
	told[0].TestError, told[0].Again = "gone", told[0].Delivered.Add(time.Hour)
	if kept, err := store.SaveCursors(t.Context(), "furnish", told, true); len(kept) != 2 {
		t.Fatalf("%d of 2 cursors kept: %v", len(kept), err)
	}
}

// Contents is everything in a store, in an order of its own.
func Contents(t testing.TB, store vault.Backend) (vault.Part, *vault.Trail) {
	t.Helper()
	var all vault.Part
	trail, err := store.Dump(t.Context(), func(p *vault.Part) error {
		if len(p.Leaves) > 0 && len(all.Leaves) == 0 {
			all.First = p.First
		}
		if next := all.First + vault.JournalIndex(len(all.Leaves)); len(p.Leaves) > 0 &&
			p.First != next {
			return fmt.Errorf("entries from %d after %d", p.First, next)
		}
		for _, leaf := range p.Leaves {
			all.Leaves = append(all.Leaves, bytes.Clone(leaf))
		}
		all.Add(&p.Records)
		all.Requests = append(all.Requests, p.Requests...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all.Accounts, func(a, b vault.Account) int {
		return cmp.Compare(a.Name, b.Name)
	})
	slices.SortFunc(all.Holds, func(a, b vault.Hold) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(all.Mandates, func(a, b vault.Mandate) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(all.Orders, func(a, b vault.Order) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(all.Reversals, func(a, b vault.Reversal) int { return cmp.Compare(a.Of, b.Of) })
	slices.SortFunc(all.Feeds, func(a, b feeds.Book) int { return cmp.Compare(a.Owner, b.Owner) })
	slices.SortFunc(all.Cursors, func(a, b feeds.Cursor) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(all.Requests, func(a, b vault.KeptRequest) int {
		return cmp.Compare(a.Index, b.Index)
	})
	slices.SortFunc(all.Users, func(a, b people.User) int {
		return cmp.Compare(a.Subject, b.Subject)
	})
	slices.SortFunc(all.Grants, func(a, b vault.Grant) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(all.Revocations, func(a, b people.Revocation) int {
		return cmp.Compare(a.Name, b.Name)
	})
	slices.SortFunc(all.Certificates, func(a, b people.Certificate) int {
		return cmp.Compare(a.Serial, b.Serial)
	})
	slices.SortFunc(all.Passkeys, func(a, b people.Passkey) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(all.Sessions, func(a, b people.Session) int { return cmp.Compare(a.ID, b.ID) })
	return all, trail
}

// Same reports where two stores differ, and "" when they hold the same.
func Same(t testing.TB, a, b vault.Backend) string {
	t.Helper()
	partA, trailA := Contents(t, a)
	partB, trailB := Contents(t, b)
	return gocmp.Diff(partA, partB) + gocmp.Diff(trailA, trailB)
}

// Sound fails the test when a store says that something in it is wrong.
func Sound(t testing.TB, store vault.Backend) {
	t.Helper()
	if err := store.Check(t.Context(), func(problem string) { t.Error(problem) }); err != nil {
		t.Error(err)
	}
}

// testMove fills a store with what another one dumps.
func testMove(t *testing.T, place func(*testing.T) Place) {
	from, to := backend(t, place(t)), backend(t, place(t))
	signer := Furnish(t, from)
	Sound(t, from)
	if err := to.Fill(t.Context(), from.Dump); err != nil {
		t.Fatal(err)
	}
	Sound(t, to)
	if diff := Same(t, from, to); diff != "" {
		t.Error(diff)
	}
	if err := to.Fill(t.Context(), from.Dump); !errors.Is(err, vault.ErrNotEmpty) {
		t.Errorf("filled again: %v", err)
	}
	broken := errors.New("broken")
	calls := 0
	_, err := from.Dump(t.Context(), func(*vault.Part) error { calls++; return broken })
	if !errors.Is(err, broken) || calls != 1 {
		t.Errorf("what cannot be taken is dumped %d times: %v", calls, err)
	}
	err = backend(t, place(t)).Fill(t.Context(), func(ctx context.Context,
		yield func(*vault.Part) error,
	) (*vault.Trail, error) {
		_, err := from.Dump(ctx, yield)
		return nil, errors.Join(err, broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("what breaks off is filled in: %v", err)
	}

	// It goes on where the other one was: request ids have their answers, and
	// the journal grows.
	all, _ := Contents(t, from)
	l := NewLedger(t, ledger.Config{Store: to, Signer: signer})
	last := all.Accounts[0].Name // not one of the bank's own: ':' sorts behind digits
	must(t, l, deposit(last, 1))
	Sound(t, to)
}

// testRebuild throws the accounts away that a store has, and makes them again.
func testRebuild(t *testing.T, p Place) {
	store := backend(t, p)
	Furnish(t, store)
	before, _ := Contents(t, store)
	derived, err := store.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wrong := &vault.Records{
		Accounts: slices.Clone(derived.Accounts), Holds: derived.Holds[1:],
		Mandates: derived.Mandates, Orders: derived.Orders, Reversals: derived.Reversals,
	}
	wrong.Accounts[0].Balance++
	give := func(r *vault.Records) func(vault.Store) (*vault.Records, error) {
		return func(vault.Store) (*vault.Records, error) { return r, nil }
	}
	if err := store.Rebuild(t.Context(), give(wrong)); err != nil {
		t.Fatal(err)
	}
	problems := 0
	if err := store.Check(t.Context(), func(string) {
		problems++
	}); !errors.Is(err, vault.ErrDamaged) || problems < 2 {
		t.Errorf("a check of wrong records tells of %d problems: %v", problems, err)
	}
	if err := store.Rebuild(t.Context(), give(derived)); err != nil {
		t.Fatal(err)
	}
	Sound(t, store)
	after, _ := Contents(t, store)
	if diff := gocmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
}

func backend(t *testing.T, p Place) vault.Backend {
	t.Helper()
	b, is := p.Open(t).(vault.Backend)
	if !is {
		t.Fatal("the store cannot be moved")
	}
	return b
}
