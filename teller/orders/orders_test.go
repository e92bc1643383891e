package orders_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/orders"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

// secret is what the stores of the tests are sealed under.
var secret = []byte("the secret of a vault, in a test")

// A watched store notes when it was asked for orders, and when a payment was to be decided.
type watched struct {
	vault.Store

	mu           sync.Mutex
	reads, tries []time.Time // guarded by mu
}

// Orders implements vault.Store.
func (w *watched) Orders(ctx context.Context, until time.Time,
	yield func(*vault.Order) error,
) error {
	w.mu.Lock()
	w.reads = append(w.reads, time.Now().UTC())
	w.mu.Unlock()
	return w.Store.Orders(ctx, until, yield)
}

// Commit implements vault.Store.
func (w *watched) Commit(ctx context.Context, keys vault.Keys,
	decide func(*vault.Books) error,
) (func() error, error) {
	w.mu.Lock()
	for range keys.Orders {
		w.tries = append(w.tries, time.Now().UTC())
	}
	w.mu.Unlock()
	return w.Store.Commit(ctx, keys, decide)
}

// A bank has a runner that is at work, and the clock of a test.
type bank struct {
	t      *testing.T
	store  *watched
	ledger *ledger.Ledger
	begin  time.Time
	stop   func() // ends the runner
	full   atomic.Bool
	ahead  atomic.Int64 // by how much the clock of the runner is ahead of that of the commits
}

// errFull reports a disk without space.
var errFull = errors.New("the disk is full")

// inBank runs a test in a bank with the accounts 1, which has an opening balance, and 2.
func inBank(t *testing.T, opening atm.Amount, test func(*bank)) {
	synctest.Test(t, func(t *testing.T) {
		store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"), secret)
		if err != nil {
			t.Fatal(err)
		}
		b := &bank{t: t, store: &watched{Store: store}, begin: time.Now().UTC()}
		var runner *orders.Runner
		b.ledger = ledger.New(ledger.Config{
			Store: b.store, Signer: vaulttest.NewSigner(t),
			Committed: func(c ledger.Commit) { runner.Committed(c) },
			Admit: func() error {
				if b.full.Load() {
					return errFull
				}
				return nil
			},
		})
		runner = orders.New(orders.Config{
			Ledger: b.ledger, Store: b.store,
			Now: func() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) },
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			runner.Run(ctx)
			close(ended)
		}()
		b.stop = func() {
			cancel()
			<-ended
		}
		b.must(vault.OpenAccount{Account: "1", Owner: "user:demo", Opening: opening})
		b.must(vault.OpenAccount{Account: "2", Owner: "user:demo"})
		test(b)
		b.stop()
		if err := errors.Join(b.ledger.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
}

func (b *bank) must(rule vault.Rule) string {
	b.t.Helper()
	s := b.ledger.Do(b.t.Context(), vault.Command{
		Event: audit.EventAdmin, Operation: "test",
		Caller: &atm.Caller{Principal: atm.Principal{Subject: "system:init"}}, Rule: rule,
	})
	if s.Code != atm.OK {
		b.t.Fatalf("%#v: %s %s", rule, s.Code, s.Reason)
	}
	result, _ := s.Result.(string)
	return result
}

// daily gives an order to pay 10.00 each day, a while after midnight; the tests begin at midnight.
func (b *bank) daily(after time.Duration) {
	b.t.Helper()
	b.must(vault.CreateOrder{
		Account: "1", To: "2", Amount: 1000,
		Schedule: calendar.Schedule{Every: calendar.Day, At: int(after / time.Minute)},
	})
}

// outcomes are the entries of payments: when after the beginning, and how.
func (b *bank) outcomes() (at []time.Duration, codes []atm.Code) {
	b.t.Helper()
	ctx := context.WithoutCancel(b.t.Context())
	size, err := vault.JournalSize(ctx, b.store)
	if err != nil {
		b.t.Fatal(err)
	}
	err = b.store.Entries(ctx, 0, size, func(_ vault.JournalIndex, leaf []byte) error {
		entry, err := audit.ParseEntry(leaf)
		if err == nil && entry.Operation == atm.OrderPay {
			at = append(at, entry.Time.Sub(b.begin))
			codes = append(codes, entry.Status.Code)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return at, codes
}

// since are noted instants, after the beginning.
func (b *bank) since(times *[]time.Time) []time.Duration {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	var all []time.Duration
	for _, at := range *times {
		all = append(all, at.Sub(b.begin))
	}
	return all
}

const day = 24 * time.Hour

func TestPaymentsAreMadeTheMomentTheyAreDue(t *testing.T) {
	inBank(t, 100_000, func(b *bank) {
		b.daily(6 * time.Hour)
		time.Sleep(3 * day)
		at, codes := b.outcomes()
		want := []time.Duration{6 * time.Hour, 6*time.Hour + day, 6*time.Hour + 2*day}
		if !slices.Equal(at, want) || slices.ContainsFunc(codes, func(c atm.Code) bool {
			return c != atm.OK
		}) {
			t.Errorf("payments were made at %v with %v, want at %v", at, codes, want)
		}
		if reads := len(b.since(&b.store.reads)); reads > 3*24*60+10 {
			t.Errorf("in three days the store was asked %d times: more than once a minute", reads)
		}
	})
}

func TestNewOrderWakesTheRunner(t *testing.T) {
	inBank(t, 100_000, func(b *bank) {
		time.Sleep(20*time.Minute - 30*time.Second) // it sleeps for longer than half a minute now
		time.Sleep(10 * time.Second)
		before := len(b.since(&b.store.reads))
		b.daily(20 * time.Minute)
		time.Sleep(20*time.Second + time.Millisecond)
		if at, _ := b.outcomes(); !slices.Equal(at, []time.Duration{20 * time.Minute}) {
			t.Errorf("the payment was made at %v", at)
		}
		if reads := len(b.since(&b.store.reads)) - before; reads > 3 {
			t.Errorf("for one order the store was asked %d times", reads)
		}
	})
}

func TestPaymentWithoutFundsIsTriedOnceOnFourDays(t *testing.T) {
	inBank(t, 1500, func(b *bank) {
		b.daily(6 * time.Hour)
		time.Sleep(day) // one payment is made
		time.Sleep(4 * day)
		at, codes := b.outcomes()
		due := []time.Duration{6 * time.Hour, 6*time.Hour + 4*day}
		if !slices.Equal(at, due) ||
			!slices.Equal(codes, []atm.Code{atm.OK, atm.InsufficientFunds}) {
			t.Errorf("outcomes at %v: %v", at, codes)
		}
		var tries []time.Duration
		for _, at := range b.since(&b.store.tries) {
			if at < due[1] { // then the next due dates have their turn
				tries = append(tries, at)
			}
		}
		want := []time.Duration{
			6 * time.Hour, 6*time.Hour + day, 6*time.Hour + 2*day, 6*time.Hour + 3*day,
		}
		if !slices.Equal(tries, want) {
			t.Errorf("it was tried at %v, want %v", tries, want)
		}
	})
}

func TestPaymentIsMadeOnTheDayOnWhichThereIsMoney(t *testing.T) {
	inBank(t, 0, func(b *bank) {
		b.daily(6 * time.Hour)
		time.Sleep(6*time.Hour + day + time.Hour)
		b.must(vault.Deposit{Account: "1", Cash: vault.Cash("user:teller"), Amount: 2000})
		time.Sleep(day)
		at, codes := b.outcomes() // the first and the second due date
		want := 6*time.Hour + 2*day
		if !slices.Equal(at, []time.Duration{want, want}) ||
			!slices.Equal(codes, []atm.Code{atm.OK, atm.OK}) {
			t.Errorf("outcomes at %v: %v", at, codes)
		}
	})
}

// TestPaymentIsMadeWhenItIsDueByTheClockOfTheCommit has a runner that believes it is later.
func TestPaymentIsMadeWhenItIsDueByTheClockOfTheCommit(t *testing.T) {
	inBank(t, 100_000, func(b *bank) {
		b.ahead.Store(int64(10 * time.Second))
		b.daily(6 * time.Hour)
		time.Sleep(7 * time.Hour)
		at, _ := b.outcomes()
		if len(at) != 1 || at[0] < 6*time.Hour || at[0] > 6*time.Hour+2*time.Second {
			t.Errorf("the payment was made at %v", at)
		}
		if tries := len(b.since(&b.store.tries)); tries > 15 {
			t.Errorf("it was tried %d times within 10 seconds", tries)
		}
	})
}

// TestPaymentIsMadeWhenItIsDueAfterTheClockWentBack has a runner whose clock is hours ahead for two
// minutes, until shortly before the payment is due.
func TestPaymentIsMadeWhenItIsDueAfterTheClockWentBack(t *testing.T) {
	inBank(t, 100_000, func(b *bank) {
		b.daily(2 * time.Hour)
		time.Sleep(2*time.Hour - 130*time.Second)
		b.ahead.Store(int64(5 * time.Hour))
		time.Sleep(2 * time.Minute)
		b.ahead.Store(0)
		time.Sleep(time.Hour)
		at, _ := b.outcomes()
		if len(at) != 1 || at[0] < 2*time.Hour || at[0] > 2*time.Hour+time.Minute {
			t.Errorf("the payment was made at %v", at)
		}
	})
}

func TestPaymentIsMadeWhenTheStoreCanCommitAgain(t *testing.T) {
	inBank(t, 100_000, func(b *bank) {
		b.daily(6 * time.Hour)
		b.full.Store(true)
		time.Sleep(6*time.Hour + time.Minute)
		before := len(b.since(&b.store.reads))
		time.Sleep(time.Minute)
		if reads := len(b.since(&b.store.reads)) - before; reads > 13 {
			t.Errorf("in a minute the store was asked %d times", reads)
		}
		b.full.Store(false)
		time.Sleep(6 * time.Second)
		if at, codes := b.outcomes(); len(at) != 1 || codes[0] != atm.OK {
			t.Errorf("outcomes at %v: %v", at, codes)
		}
	})
}

func TestStoppedRunnerMakesNoPayments(t *testing.T) {
	inBank(t, 100_000, func(b *bank) {
		b.daily(6 * time.Hour)
		b.stop()
		time.Sleep(day)
		if at, _ := b.outcomes(); len(at) > 0 {
			t.Errorf("payments were made at %v", at)
		}
	})
}

// TestRunnersThatPayAtOnceMissNothing has two runners make up what was due in a month without
// them. Each must go on where the other one was faster.
func TestRunnersThatPayAtOnceMissNothing(t *testing.T) {
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"), secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	var now atomic.Pointer[time.Time]
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now.Store(&begin)
	clock := func() time.Time { return *now.Load() }
	b := &bank{
		t: t, store: &watched{Store: store}, begin: begin,
		ledger: vaulttest.NewLedger(t, ledger.Config{Store: store, Now: clock}),
	}
	b.must(vault.OpenAccount{Account: "1", Owner: "user:demo", Opening: 1_000_000_000})
	b.must(vault.OpenAccount{Account: "2", Owner: "user:demo"})
	const count, days = 50, 30
	for i := range count {
		b.daily(time.Duration(1+i) * time.Minute)
	}
	later := begin.AddDate(0, 0, days)
	now.Store(&later)
	cfg := orders.Config{Ledger: b.ledger, Store: store, Now: clock}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := orders.New(cfg).Pay(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if at, _ := b.outcomes(); len(at) != count*days {
		t.Errorf("%d due dates have an outcome, want %d", len(at), count*days)
	}
}
