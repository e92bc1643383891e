package vaulttest

import (
	"fmt"
	"sync"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"pgregory.net/rapid"
)

// testManyAtOnce deposits from many callers at once: all are applied, and
// many share a commit.
func testManyAtOnce(t *testing.T, p Place) {
	store := p.Open(t)
	const callers, each = 64, 20
	var mu sync.Mutex
	commits, largest := 0, 0
	l := NewLedger(t, ledger.Config{Store: store, Committed: func(c ledger.Commit) {
		mu.Lock()
		defer mu.Unlock()
		commits++
		largest = max(largest, c.Operations)
	}})
	must(t, l, open("1", 0))
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				if s := l.Do(t.Context(), deposit("1", 1)); s.Code != atm.OK {
					t.Errorf("deposit: %v", s)
				}
			}
		})
	}
	wg.Wait()
	if s := must(t, l, inquiry("1")); s.Result != "12.80" {
		t.Errorf("balance %v after %d deposits of a cent", s.Result, callers*each)
	}
	mu.Lock()
	defer mu.Unlock()
	if commits >= callers*each || largest < 2 {
		t.Errorf("%d commits for %d operations, the largest of %d: nothing shared a commit",
			commits, callers*each, largest)
	}
	t.Logf("%.1f operations per commit, at most %d", float64(callers*each)/float64(commits),
		largest)
	leaves(t, store)
}

// model is the ledger written down as plainly as possible: it shares nothing
// with the rules but the amounts.
type model struct {
	balance map[string]int64
	frozen  map[string]bool
	closed  map[string]bool
	cash    int64
}

func (m *model) known(n string) bool { _, ok := m.balance[n]; return ok }

func (m *model) usable(n string) atm.Code {
	switch {
	case !m.known(n):
		return atm.AccountNotFound
	case m.closed[n]:
		return atm.AccountClosed
	case m.frozen[n]:
		return atm.AccountFrozen
	}
	return atm.OK
}

func dollars(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

func (m *model) open(n string, cents int64) atm.Code {
	if m.known(n) {
		return atm.AccountExists
	}
	m.balance[n] = cents
	return atm.OK
}

func (m *model) deposit(n string, cents int64) atm.Code {
	if code := m.usable(n); code != atm.OK {
		return code
	}
	if m.balance[n]+cents > int64(atm.MaxBalance) {
		return atm.BalanceTooLarge
	}
	m.balance[n] += cents
	m.cash -= cents
	return atm.OK
}

func (m *model) withdraw(n string, cents int64) atm.Code {
	if code := m.usable(n); code != atm.OK {
		return code
	}
	if m.balance[n] < cents {
		return atm.InsufficientFunds
	}
	m.balance[n] -= cents
	m.cash += cents
	return atm.OK
}

func (m *model) transfer(from, to string, cents int64) atm.Code {
	switch {
	case m.usable(from) != atm.OK:
		return m.usable(from)
	case from == to:
		return atm.SameAccount
	case m.usable(to) != atm.OK:
		return m.usable(to)
	case m.balance[from] < cents:
		return atm.InsufficientFunds
	case m.balance[to]+cents > int64(atm.MaxBalance):
		return atm.BalanceTooLarge
	}
	m.balance[from] -= cents
	m.balance[to] += cents
	return atm.OK
}

// inquiry is allowed on a frozen account too.
func (m *model) inquiry(n string) atm.Code {
	if code := m.usable(n); code != atm.AccountFrozen {
		return code
	}
	return atm.OK
}

func (m *model) freeze(n string, frozen bool) atm.Code {
	if code := m.usable(n); code != atm.OK && code != atm.AccountFrozen {
		return code
	}
	m.frozen[n] = frozen
	return atm.OK
}

// close does nothing to an account that is closed.
func (m *model) close(n string) atm.Code {
	switch code := m.usable(n); {
	case code == atm.AccountNotFound:
		return code
	case code == atm.AccountClosed:
		return atm.OK
	case m.balance[n] != 0:
		return atm.AccountNotEmpty
	}
	m.closed[n] = true
	return atm.OK
}

// step carries out one random operation on the ledger and on the model. It returns the
// account, what the ledger answered, and what the model says: no result where there is none
// to compare.
func (m *model) step(t *testing.T, r *rapid.T, l *ledger.Ledger, account *rapid.Generator[string],
	amount *rapid.Generator[int64],
) (n string, got atm.Status, want atm.Code, result string) {
	n = account.Draw(r, "account")
	name, cents := vault.Name(n), amount.Draw(r, "cents")
	standing := func(operation atm.Operation, s vault.Standing) atm.Status {
		return l.Do(t.Context(), op(operation, vault.SetStanding{Account: name, Standing: s}))
	}
	kinds := []string{
		"open", "deposit", "deposit", "withdraw", "withdraw", "transfer", "transfer", "inquiry",
		"freeze", "unfreeze", "close",
	}
	switch rapid.SampledFrom(kinds).Draw(r, "kind") {
	case "open":
		got, want = l.Do(t.Context(), open(name, atm.Amount(cents))), m.open(n, cents)
		return n, got, want, ""
	case "deposit":
		got, want = l.Do(t.Context(), deposit(name, atm.Amount(cents))), m.deposit(n, cents)
	case "withdraw":
		got, want = l.Do(t.Context(), withdraw(name, atm.Amount(cents))), m.withdraw(n, cents)
	case "transfer":
		to := account.Draw(r, "to")
		got = l.Do(t.Context(), transfer(name, vault.Name(to), atm.Amount(cents)))
		want = m.transfer(n, to, cents)
	case "inquiry":
		got, want = l.Do(t.Context(), inquiry(name)), m.inquiry(n)
	case "freeze":
		return n, standing(atm.AccountFreeze, vault.Frozen), m.freeze(n, true), ""
	case "unfreeze":
		return n, standing(atm.AccountFreeze, vault.Open), m.freeze(n, false), ""
	case "close":
		return n, standing(atm.AccountClose, vault.Closed), m.close(n), ""
	}
	if want == atm.OK {
		result = dollars(m.balance[n])
	}
	return n, got, want, result
}

// testModel runs random operations on the ledger and on the model, and
// compares every answer, and the whole after each run.
func testModel(t *testing.T, p Place) {
	store := p.Open(t)
	signer := NewSigner(t)
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		// One store for all runs, because opening one is slow: each run has
		// accounts of its own.
		run++
		l := ledger.New(ledger.Config{Store: store, Signer: signer})
		defer l.Close()
		m := &model{
			balance: map[string]int64{}, frozen: map[string]bool{},
			closed: map[string]bool{},
		}
		account := rapid.Map(rapid.IntRange(1, 4), func(i int) string {
			return fmt.Sprint(run*10 + i)
		})
		amount := rapid.OneOf(rapid.Int64Range(1, 300), rapid.Int64Range(1, int64(atm.MaxAmount)))
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			n, got, want, result := m.step(t, r, l, account, amount)
			if got.Code != want || result != "" && got.Result != result {
				r.Fatalf("account %s: got %s %v, the model says %s %s", n, got.Code, got.Result,
					want, result)
			}
		}
	})
	checkJournal(t, store)
}

// checkJournal rebuilds every account from the entries alone: what each entry
// moved sums to zero, versions have no gap, no customer was ever below zero,
// and the result equals what the store holds.
func checkJournal(t *testing.T, store vault.Store) {
	t.Helper()
	type record struct {
		version uint64
		balance atm.Amount
	}
	rebuilt := map[string]record{}
	for index, leaf := range leaves(t, store) {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			t.Fatalf("entry %d: %v", index, err)
		}
		var sum atm.Amount
		for _, c := range entry.State {
			if was := rebuilt[c.Account]; c.Version != was.version+1 || c.Before != was.balance {
				t.Fatalf("entry %d changes %+v, before it was %+v", index, c, was)
			}
			if c.After < 0 && !vault.Name(c.Account).Internal() {
				t.Fatalf("entry %d leaves account %s at %s", index, c.Account, c.After)
			}
			rebuilt[c.Account] = record{c.Version, c.After}
			sum += c.After - c.Before
		}
		if sum != 0 {
			t.Fatalf("entry %d makes %s out of nothing", index, sum)
		}
		if entry.Status == nil || entry.Status.Code != atm.OK && len(entry.State) > 0 {
			t.Fatalf("entry %d: a refusal changed %v", index, entry.State)
		}
	}
	accounts, err := store.Accounts(t.Context(), 0, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if len(accounts) == 0 {
		t.Fatal("there are no accounts to compare")
	}
	for _, a := range accounts {
		if got := rebuilt[string(a.Name)]; got.version != a.Version || got.balance != a.Balance {
			t.Errorf("account %s: the log says %+v, the store %+v", a.Name, got, a)
		}
	}
}
