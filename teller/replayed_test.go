package teller_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/teller/replay"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/holder"
	"example.com/atm/vault/vaulttest"
	"example.com/atm/vault/vaulttest/trimming"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A gambler calls operations at random, by those who may and those who may not.
type gambler struct {
	*rand.Rand
	*bank
	office, desk *atm.Caller
	people       []*atm.Caller // account n+1 is that of n, to begin with

	holds, mandates, orders []string
	creditors               map[string]*atm.Caller // by mandate
	last                    int                    // entry of what happened last
}

func newGambler(t *testing.T, seed uint64) *gambler {
	t.Helper()
	b := newBank(t)
	g := &gambler{
		Rand: rand.New(rand.NewPCG(seed, 0)), bank: b, creditors: make(map[string]*atm.Caller),
		office: b.caller("user:office", atm.Operator), desk: b.caller("user:desk", atm.Teller),
		people: []*atm.Caller{
			b.caller("user:alice", atm.Customer), b.caller("user:bob", atm.Customer),
			b.caller("service:gas", atm.Service),
		},
	}
	for i, p := range g.people {
		b.moved(g.office, atm.AccountOpen, fmt.Sprint(i+1), p.Subject, "100.00")
	}
	return g
}

func (g *gambler) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g *gambler) account() string { return g.pick("1", "2", "3") }

func (g *gambler) amount() string { return atm.Amount(1 + g.IntN(2000)).String() }

func (g *gambler) memo() string { return g.pick("", "rent; „May“ <b>") }

func (g *gambler) subject() string { return g.people[g.IntN(len(g.people))].Subject }

// known is a recent id, or none.
func (g *gambler) known(ids []string) string {
	return g.pick(append([]string{"x"}, ids[max(0, len(ids)-6):]...)...)
}

var (
	gambles = []atm.Operation{
		atm.Deposit, atm.Transfer, atm.Transfer, atm.Withdraw, atm.Authorize, atm.Capture,
		atm.Release, atm.Reverse, atm.Reverse, atm.Reverse, atm.MandateCreate, atm.MandateCreate,
		atm.Collect, atm.Collect, atm.Collect, atm.MandateRevoke, atm.OrderCreate,
		atm.OrderCancel, atm.Notify,
	}
	officeGambles = []atm.Operation{
		atm.AccountFreeze, atm.AccountUnfreeze, atm.AccountUnfreeze, atm.AccountUnfreeze,
		atm.AccountUnfreeze, atm.AccountLimit, atm.AccountSet,
	}
)

// args are arguments of an operation.
func (g *gambler) args(op atm.Operation) []atm.Arg {
	var words []string
	switch op {
	case atm.MandateCreate:
		return []atm.Arg{text(g.account()), terms("creditor", g.subject(), "each", g.pick("", "50"),
			"total", "80", "period", g.pick("day", "week", "month"), "until",
			g.pick("", "2999-12-31", "2999-01-01T00:00:00Z"), "memo", g.memo())}
	case atm.OrderCreate:
		return []atm.Arg{text(g.account()), terms("to", g.account(), "amount", g.amount(), "every",
			"week", "on", g.pick("1", "friday"), "at", g.pick("", "06:30"), "zone",
			g.pick("", "Europe/Berlin"), "until", g.pick("", "2999-12-31"))}
	case atm.Deposit, atm.Withdraw:
		words = []string{g.account(), g.amount(), "", g.memo()}
	case atm.Transfer:
		words = []string{g.account(), g.account(), g.amount(), "", g.memo()}
	case atm.Authorize:
		words = []string{g.account(), g.amount(), g.pick("", "1", "900")}
	case atm.Capture:
		words = []string{g.known(g.holds), g.pick("", g.amount())}
	case atm.Release:
		words = []string{g.known(g.holds)}
	case atm.Reverse:
		words = []string{
			fmt.Sprint(max(1, g.last-g.IntN(20))), g.pick("", g.amount()), "", g.memo(),
		}
	case atm.Collect:
		words = []string{
			g.known(g.mandates), g.pick("0.50", "1", "90"), g.account(), "", g.memo(),
		}
	case atm.MandateRevoke:
		words = []string{g.known(g.mandates)}
	case atm.OrderCancel:
		words = []string{g.known(g.orders)}
	case atm.Notify:
		words = []string{g.account(), "read the meter"}
	case atm.AccountLimit:
		words = []string{
			g.account(), g.pick("", "15"), g.pick("", "900"), g.pick("", "300"),
			g.pick("", "Asia/Tokyo"),
		}
	case atm.AccountSet:
		words = []string{g.account(), g.pick("", g.subject()), g.pick("", "Zoë")}
	default:
		words = []string{g.account()}
	}
	args := make([]atm.Arg, len(words))
	for i, word := range words {
		args[i] = text(word)
	}
	return args
}

// gamble calls one operation, and reports which and whether it happened.
func (g *gambler) gamble() (op atm.Operation, happened bool) {
	by, op := g.people[g.IntN(len(g.people))], gambles[g.IntN(len(gambles))]
	switch n := g.IntN(20); {
	case n < 6:
		by = g.desk
	case n < 7:
		by, op = g.office, officeGambles[g.IntN(len(officeGambles))]
	}
	args := g.args(op)
	if creditor := g.creditors[args[0].Text]; op == atm.Collect && creditor != nil {
		by = creditor
	}
	s := g.do(by, op, args...)
	if s.Code != atm.OK {
		return op, false
	}
	digits, _, _ := strings.Cut(s.Receipt, " ")
	fmt.Sscan(digits, &g.last)
	id, _ := s.Result.(string)
	switch op {
	case atm.Authorize:
		g.holds = append(g.holds, id)
	case atm.OrderCreate:
		g.orders = append(g.orders, id)
	case atm.MandateCreate:
		g.mandates = append(g.mandates, id)
		for _, p := range g.people {
			if p.Subject == args[1].Members[0].Arg.Text {
				g.creditors[id] = p
			}
		}
	}
	return op, true
}

// TestTrimmedJournalIsReplayedFromItsSnapshot calls operations at random, takes a snapshot, goes
// on, and trims the journal behind the snapshot. Everything is what the snapshot and the entries
// since say. A replay without the snapshot, or with an older one, says what it lacks.
func TestTrimmedJournalIsReplayedFromItsSnapshot(t *testing.T) {
	const each = 700
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := newGambler(t, seed)
	store := g.store.(vault.Backend)
	snapshot := func() (vault.Backend, vault.Base) {
		for range each {
			g.gamble()
		}
		s, err := boltstore.Create(filepath.Join(t.TempDir(), "snapshot"), make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s, trimming.Snapshot(t, store, s)
	}
	once := func() atm.Status {
		return g.do(g.desk, atm.Deposit, text("1"), text("1.00"), text("once"))
	}
	if s := once(); s.Receipt == "" || s.Code == atm.IdempotencyKeyExpired {
		t.Fatalf("%+v", s)
	}
	older, _ := snapshot()
	newer, base := snapshot()
	snapshot()
	if err := store.Trim(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	if s := once(); s.Code != atm.IdempotencyKeyExpired {
		t.Errorf("a request id whose answer was trimmed: %+v", s)
	}
	holders, err := holder.NewHasher([]byte("the secret of a test"))
	if err != nil {
		t.Fatal(err)
	}
	compare := func(s vault.Backend) error {
		rules := replay.Rules{Permit: auth.Permit, Snapshot: s, Holders: holders}
		c, err := replay.Compare(t.Context(), store, rules, func(problem string) {
			t.Error(problem)
		})
		if err != nil {
			return err
		}
		for _, problem := range c.Differences(&c.Kept, time.Now(), holders) {
			t.Error(problem)
		}
		_, err = replay.Reconcile(t.Context(), store, rules)
		return err
	}
	if err := compare(newer); err != nil {
		t.Error(err)
	}
	if err := compare(nil); !errors.Is(err, replay.ErrNoSnapshot) {
		t.Errorf("without a snapshot: %v", err)
	}
	if err := compare(older); err == nil || !strings.Contains(err.Error(), "the snapshot has") {
		t.Errorf("with an older snapshot: %v", err)
	}
}

// TestSnapshotAndLaterEntriesRestoreTheStore calls operations at random, takes a snapshot, and goes
// on. The snapshot and the entries after it come to what the store has.
func TestSnapshotAndLaterEntriesRestoreTheStore(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := newGambler(t, seed)
	store := g.store.(vault.Backend)
	for range 700 {
		g.gamble()
	}
	snapshot, err := boltstore.Create(filepath.Join(t.TempDir(), "snapshot"), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { snapshot.Close() })
	base := trimming.Snapshot(t, store, snapshot)
	for range 700 {
		g.gamble()
	}
	holders, err := holder.NewHasher([]byte("the secret of a test"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := replay.NewRestorer(t.Context(), replay.Rules{
		Permit: auth.Permit, Snapshot: snapshot, Holders: holders,
	}, []vault.JournalIndex{0})
	if err != nil {
		t.Fatal(err)
	}
	want, trail := vaulttest.Contents(t, store)
	if err := store.Entries(t.Context(), base.State, trail.Size(), func(i vault.JournalIndex,
		leaf []byte,
	) error {
		return r.Entry(i, leaf)
	}); err != nil {
		t.Fatal(err)
	}
	got, err := r.Restored(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Accounts { // a name that was given after the snapshot is in no entry
		a := &want.Accounts[i]
		if slices.ContainsFunc(got.Anew, func(said string) bool {
			return strings.HasPrefix(said, "the name of the holder of account "+string(a.Name)+":")
		}) {
			a.Holder = ""
		}
	}
	if diff := gocmp.Diff(want.Records, got.Records, cmpopts.EquateEmpty()) +
		gocmp.Diff(want.Requests, got.Requests, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// TestRandomPaymentsAreReplayed calls operations at random until each has happened. What a replay
// of the journal ends with is what the store has.
func TestRandomPaymentsAreReplayed(t *testing.T) {
	const least, most = 1500, 50_000
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := newGambler(t, seed)
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(gambles, officeGambles))))
	counts := make(map[atm.Operation]int)
	for n := 0; n < least || n < most && len(counts) < len(all); n++ {
		if op, happened := g.gamble(); happened {
			counts[op]++
		}
	}
	for _, op := range all {
		if counts[op] == 0 {
			t.Errorf("%s never happened", op)
		}
	}
	replayed, err := replay.Reconcile(t.Context(), g.store, replay.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := g.store.(vault.Backend).All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range replayed.Differences(kept, time.Now(), nil) {
		t.Error(problem)
	}
}
