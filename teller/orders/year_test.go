//go:build unix

package orders_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/teller/replay"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/pgstore/pgtest"
)

// A year is how long a test is, and how hard.
type year struct {
	orders, days, kills int
}

// length is a year with ATM_SOAK, and some weeks without.
func length() year {
	if os.Getenv("ATM_SOAK") != "" {
		return year{orders: 1000, days: 365, kills: 200}
	}
	return year{orders: 60, days: 45, kills: 8}
}

// TestEachDueDateHappensOnceOnOneServer has a server with a file killed in the middle of its work.
func TestEachDueDateHappensOnceOnOneServer(t *testing.T) {
	t.Parallel()
	run(t, length(), 1, filepath.Join(t.TempDir(), "vault.db"))
}

// TestEachDueDateHappensOnceOnReplicas has two servers on one database make the same orders
// happen at the same instants, and kills them in the middle of their work.
func TestEachDueDateHappensOnceOnReplicas(t *testing.T) {
	t.Parallel()
	run(t, length(), 2, pgtest.Shared(t).Database(t))
}

// A drive leads replicas through a plan, and a model with them.
type drive struct {
	random   *rand.Rand
	plan     *plan
	model    *model
	replicas []*replica
	ids      []string      // of orders, as the program calls them
	kills    []time.Time   // that are to come, the next one last
	lasts    time.Duration // about how long the replicas work at an instant
	acts     int

	stepsBack, gaps int // how often a clock was set back, and how often nothing ran for days
}

func run(t *testing.T, y year, replicas int, where string) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("ATM_SEED"); text != "" {
		if _, err := fmt.Sscan(text, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ATM_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	p := newPlan(random, y.orders, begin, begin.AddDate(0, 0, y.days))
	key, _, err := checkpoint.GenerateKey("test.example/log")
	if err != nil {
		t.Fatal(err)
	}
	d := &drive{
		random: random, plan: p, model: newModel(p), ids: make([]string, len(p.orders)),
		lasts: 2 * time.Millisecond,
	}
	d.chooseKills(y.kills)
	for range replicas {
		r := &replica{where: where, key: key}
		d.replicas = append(d.replicas, r)
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.process.Process.Kill() })
		// One after the other: the first one creates the store.
		d.do(t, r, job{Now: begin}, never)
	}
	d.openAccounts(t, begin)
	last, instants := begin.Add(-1), 0
	for i := 0; i < len(p.steps); i++ {
		i = d.gap(t, i)
		d.step(t, last, p.steps[i])
		last = p.steps[i]
		instants++
	}
	kills, atWork := 0, 0
	for _, r := range d.replicas {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		kills, atWork = kills+r.kills, atWork+r.atWork
	}
	d.verify(t, where)
	t.Logf("%d orders, %d due dates, %d instants, %d kills, %d of them at work, a clock set back "+
		"%d times, nothing running for days %d times", y.orders, len(d.model.ended), instants,
		kills, atWork, d.stepsBack, d.gaps)
}

// chooseKills chooses instants at which much is due.
func (d *drive) chooseKills(kills int) {
	count := make(map[time.Time]int)
	for _, o := range d.plan.orders {
		for _, due := range o.due {
			count[due]++
		}
	}
	busy := slices.Clone(d.plan.steps)
	slices.SortStableFunc(busy, func(a, b time.Time) int { return count[b] - count[a] })
	busy = busy[:min(len(busy), 3*kills)]
	for range kills {
		d.kills = append(d.kills, busy[d.random.IntN(len(busy))])
	}
	slices.SortFunc(d.kills, func(a, b time.Time) int { return b.Compare(a) })
}

// gap now and then has no replica run for days. It returns the step with which they go on.
func (d *drive) gap(t *testing.T, i int) int {
	if i == 0 || d.random.IntN(len(d.plan.steps)) >= 6 {
		return i
	}
	d.gaps++
	end := d.plan.steps[i].Add(time.Duration(d.random.IntN(9*24)) * time.Hour)
	for _, r := range d.replicas {
		if err := r.kill(); err != nil {
			t.Fatal(err)
		}
	}
	for i < len(d.plan.steps)-1 && d.plan.steps[i].Before(end) {
		i++
	}
	return i
}

// step leads everybody to an instant.
func (d *drive) step(t *testing.T, last, now time.Time) {
	t.Helper()
	if d.random.IntN(15) == 0 {
		d.stepsBack++
		before := last.Add(-time.Duration(d.random.IntN(40*24*60)) * time.Minute)
		d.do(t, d.anyone(), job{Now: before, Orders: true}, never)
	}
	d.change(t, last, now)
	d.model.pay(now)
	begun, kill := time.Now(), d.kill(now)
	victim, failed := d.random.IntN(len(d.replicas)), make([]error, len(d.replicas))
	var wg sync.WaitGroup
	for i, r := range d.replicas {
		after := never
		if i == victim {
			after = kill
		}
		wg.Go(func() { _, failed[i] = r.do(job{Now: now, Orders: true}, after) })
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	if kill == never {
		d.lasts = (9*d.lasts + time.Since(begun)) / 10
	}
}

// kill is when a process is killed that works at an instant: never at most of them.
func (d *drive) kill(now time.Time) time.Duration {
	if len(d.kills) == 0 || d.kills[len(d.kills)-1].After(now) {
		return never
	}
	d.kills = d.kills[:len(d.kills)-1]
	return time.Duration(d.random.Int64N(int64(d.lasts)))
}

func (d *drive) anyone() *replica { return d.replicas[d.random.IntN(len(d.replicas))] }

func (d *drive) do(t *testing.T, r *replica, j job, after time.Duration) done {
	t.Helper()
	answer, err := r.do(j, after)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// Those who act.
var (
	operator = atm.Principal{Subject: "user:operator", Roles: []atm.Role{atm.Operator}}
	cashier  = atm.Principal{Subject: "user:teller", Roles: []atm.Role{atm.Teller}}
	customer = atm.Principal{Subject: "user:demo", Roles: []atm.Role{atm.Customer}}
)

func text(s string) atm.Arg { return atm.Arg{Kind: atm.String, Text: s} }

// openAccounts opens all accounts. Those that are rich never lack money.
func (d *drive) openAccounts(t *testing.T, now time.Time) {
	t.Helper()
	const rich = atm.Amount(1_000_000_000_00)
	open := func(account vault.Name, opening atm.Amount) {
		if _, known := d.model.balance[account]; known {
			return
		}
		d.model.balance[account] = opening
		args := []atm.Arg{text(string(account)), text(customer.Subject)}
		if opening > 0 {
			args = append(args, text(opening.String()))
		}
		d.act(t, now, act{By: operator, Operation: atm.AccountOpen, Args: args})
	}
	for _, o := range d.plan.orders {
		if o.poor {
			open(o.account, 0)
		} else {
			open(o.account, rich)
		}
		open(o.to, 0)
	}
}

// act has somebody do something, in spite of kills.
func (d *drive) act(t *testing.T, now time.Time, acts ...act) (results []string) {
	t.Helper()
	for i := range acts {
		d.acts++
		acts[i].ID = atm.RequestID(fmt.Sprint("act ", d.acts))
	}
	after := never
	if d.random.IntN(4) == 0 {
		after = d.kill(now)
	}
	return d.do(t, d.anyone(), job{Now: now, Acts: acts}, after).Results
}

// change has orders created and cancelled and money paid in that an instant has for it, and tells
// the model.
func (d *drive) change(t *testing.T, last, now time.Time) {
	t.Helper()
	var acts []act
	var created []*planned
	passed := func(at time.Time) bool { return at.After(last) && !at.After(now) }
	for _, o := range d.plan.orders {
		if passed(o.created) {
			created = append(created, o)
			acts = append(acts, act{
				By: customer, Operation: atm.OrderCreate,
				Args: []atm.Arg{text(string(o.account)), o.terms()},
			})
			for len(o.due) > 0 && !o.due[0].After(now) { // nobody could create it before
				o.due = o.due[1:]
			}
		}
	}
	if len(acts) > 0 {
		for i, id := range d.act(t, now, acts...) {
			d.ids[created[i].number] = id
		}
	}
	acts = nil
	for _, o := range d.plan.orders {
		if passed(o.cancelled) {
			acts = append(acts, act{
				By: customer, Operation: atm.OrderCancel,
				Args: []atm.Arg{text(d.ids[o.number])},
			})
		}
		if o.poor && !o.hopeless && d.random.IntN(2) == 0 && d.plan.triedBetween(o, last, now) {
			amount := o.amount * atm.Amount(1+d.random.IntN(2))
			d.model.balance[o.account] += amount
			acts = append(acts, act{
				By: cashier, Operation: atm.Deposit,
				Args: []atm.Arg{text(string(o.account)), text(amount.String())},
			})
		}
	}
	if len(acts) > 0 {
		d.act(t, now, acts...)
	}
}

// terms are what an order is created with.
func (o *planned) terms() atm.Arg {
	s, terms := o.schedule, atm.Arg{Kind: atm.Struct}
	add := func(name, value string) {
		if value != "" {
			terms.Members = append(terms.Members, atm.Member{Name: name, Arg: text(value)})
		}
	}
	add("to", string(o.to))
	add("amount", o.amount.String())
	add("every", s.Every.String())
	if s.On > 0 {
		add("on", fmt.Sprint(s.On))
	}
	add("at", calendar.FormatTimeOfDay(s.At))
	add("zone", s.Zone)
	add("from", s.From.String())
	add("until", s.Until.String())
	return terms
}

// verify compares the journal and the balances of a store with the model.
func (d *drive) verify(t *testing.T, where string) {
	t.Helper()
	store, err := openStore(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	d.verifyOutcomes(t, store)
	var sum atm.Amount
	if _, err = store.Balances(t.Context(), func(a vault.Account) {
		sum += a.Balance
		want, known := d.model.balance[a.Name]
		if known && a.Balance != want {
			t.Errorf("account %s has %s, want %s", a.Name, a.Balance, want)
		}
		delete(d.model.balance, a.Name)
	}); err != nil {
		t.Fatal(err)
	}
	if sum != 0 || len(d.model.balance) > 0 {
		t.Errorf("all balances together are %s, and %d accounts are missing", sum,
			len(d.model.balance))
	}
	if err := store.Check(t.Context(), func(problem string) { t.Error(problem) }); err != nil {
		t.Error(err)
	}
	if _, err := replay.Reconcile(t.Context(), store, replay.Rules{}); err != nil {
		t.Error(err)
	}
}

// verifyOutcomes reads the outcome of each due date in the journal.
func (d *drive) verifyOutcomes(t *testing.T, store vault.Store) {
	t.Helper()
	numbers := make(map[string]int)
	for number, id := range d.ids {
		numbers[id] = number
	}
	size, err := vault.JournalSize(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	wrong, left := 0, maps.Clone(d.model.ended)
	newest := make(map[int]time.Time)
	err = store.Entries(t.Context(), 0, size, func(i vault.JournalIndex, leaf []byte) error {
		entry, err := audit.ParseEntry(leaf)
		if err != nil || entry.Operation != atm.OrderPay {
			return err
		}
		args := make(map[string]string)
		for _, arg := range entry.Args {
			args[arg.Name] = arg.Value
		}
		due, err := time.Parse(time.RFC3339, args["due"])
		if err != nil {
			return err
		}
		key := dated{numbers[args["order"]], due.UTC()}
		want, planned := left[key]
		got := outcome{entry.Status.Code, entry.Time.UTC()}
		if !planned || got != want || !due.After(newest[key.order]) {
			if wrong++; wrong <= 10 {
				t.Errorf("entry %d: order %s, due %s after %v: %s, want %s", i, args["order"],
					args["due"], newest[key.order], got, want)
			}
		}
		newest[key.order] = due
		delete(left, key)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range left {
		if wrong++; wrong <= 20 {
			t.Errorf("order %s, due %v, has no outcome, want %s", d.ids[key.order], key.due, want)
		}
	}
	codes := make(map[atm.Code]int)
	for _, o := range d.model.ended {
		codes[o.code]++
	}
	t.Logf("outcomes: %v; %d wrong", codes, wrong)
	if codes[atm.OK] == 0 || codes[atm.InsufficientFunds] == 0 {
		t.Error("the plan does not have payments with and without funds")
	}
}
