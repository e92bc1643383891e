package replay_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/teller/replay"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
)

// watched are what a watcher says of the entries of the forger, each with its index.
func (f *forger) watched() string {
	f.t.Helper()
	var said []string
	leaf := func(ctx context.Context, index int64) (found []byte, err error) {
		at := vault.JournalIndex(index)
		err = f.store.Entries(ctx, at, at+1, func(_ vault.JournalIndex, leaf []byte) error {
			found = append(found, leaf...)
			return nil
		})
		return found, err
	}
	w := replay.NewWatcher(replay.Rules{Permit: auth.Permit}, leaf, func(index int64, s string) {
		said = append(said, fmt.Sprintf("%d: %s", index, s))
	})
	size, err := vault.JournalSize(f.t.Context(), f.store)
	if err == nil {
		err = f.store.Entries(f.t.Context(), 0, size, func(at vault.JournalIndex,
			leaf []byte,
		) error {
			return w.Entry(f.t.Context(), int64(at), leaf)
		})
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.Join(said, "\n")
}

// lies are what a server could be made to do beside those of payments, each in its last entry.
var lies = []struct {
	name, says string
	lie        func(f *forger)
}{
	{"a withdrawal above the balance", "answers INSUFFICIENT_FUNDS", func(f *forger) {
		f.do(alice, atm.Withdraw, vault.Transfer{From: "300", To: "100", Amount: 1},
			"account", "100", "amount", "1000.01")
	}},
	{"a cent more than was asked for", "the rule of deposit changes", func(f *forger) {
		f.do(alice, atm.Deposit, vault.Deposit{
			Account: "100", Cash: vault.Cash(alice.Subject), Amount: 101,
		}, "account", "100", "amount", "1.00")
	}},
	{"a deposit that takes from somebody", "the rule of deposit changes", func(f *forger) {
		f.do(alice, atm.Deposit, vault.Transfer{From: "200", To: "100", Amount: 100},
			"account", "100", "amount", "1.00")
	}},
	{"a transfer to another account", "the rule of transfer changes", func(f *forger) {
		f.do(alice, atm.Transfer, vault.Transfer{From: "100", To: "300", Amount: 100},
			"from", "100", "to", "200", "amount", "1.00")
	}},
	{"a limit that is skipped", "answers LIMIT_PER_OPERATION", func(f *forger) {
		limit := vault.Limits{PerOperation: 500}
		f.do(office, atm.AccountLimit, vault.SetLimits{Account: "100", Limits: limit},
			"account", "100", "per_operation", "5.00")
		f.do(alice, atm.Withdraw, vault.Reverse{Amount: 501, Movement: vault.Movement{
			From: "200", To: "100", Amount: 501,
		}}, "account", "100", "amount", "5.01")
	}},
	{"a withdrawal from a frozen account", "answers ACCOUNT_FROZEN", func(f *forger) {
		f.do(office, atm.AccountFreeze, vault.SetStanding{
			Account: "100", Standing: vault.Frozen,
		}, "account", "100")
		f.do(alice, atm.Withdraw, vault.SetStanding{Account: "100"}, "account", "100", "amount",
			"1.00")
	}},
	{"money of somebody else", "which was not theirs", func(f *forger) {
		f.do(bob, atm.Withdraw, vault.Withdraw{
			Account: "100", Cash: vault.Cash(bob.Subject), Amount: 100,
		}, "account", "100", "amount", "1.00")
	}},
	{"administration by a customer", "may not do it", func(f *forger) {
		f.do(alice, atm.AccountFreeze, vault.SetStanding{
			Account: "200", Standing: vault.Frozen,
		}, "account", "200")
	}},
	{"a role that nobody gave", "which nobody had made them", func(f *forger) {
		f.do(caller(alice.Subject, atm.Operator), atm.AccountFreeze, vault.SetStanding{
			Account: "200", Standing: vault.Frozen,
		}, "account", "200")
	}},
	{"somebody who is disabled", "who is disabled", func(f *forger) {
		f.do(office, atm.UserDisable, vault.People(people.SetDisabled{
			Subject: desk.Subject, Disabled: true,
		}), "subject", desk.Subject)
		f.do(desk, atm.Deposit, vault.Deposit{
			Account: "100", Cash: vault.Cash(desk.Subject), Amount: 100,
		}, "account", "100", "amount", "1.00")
	}},
	{"an account that is opened twice", "answers ACCOUNT_EXISTS", func(f *forger) {
		f.do(office, atm.AccountOpen, vault.Transfer{From: "300", To: "100", Amount: 1},
			"account", "100", "opening", "0.01", "owner", alice.Subject)
	}},
	{
		"an opening of more than it says", "the rule of admin.account.open changes",
		func(f *forger) {
			f.do(office, atm.AccountOpen, vault.OpenAccount{
				Account: "400", Owner: alice.Subject, Opening: 5000,
			}, "account", "400", "opening", "0.50", "owner", alice.Subject)
		},
	},
	{"a change of money by what changes none", "is not among the bookings", func(f *forger) {
		f.do(alice, atm.Inquiry, vault.Transfer{From: "100", To: "200", Amount: 1}, "account",
			"100")
	}},
	{"a capture of more than was held", "answers HOLD_AMOUNT_EXCEEDED", func(f *forger) {
		hold := "h" + f.do(alice, atm.Authorize, vault.Authorize{
			Account: "100", Amount: 500, Life: time.Hour, Expires: f.now().Add(time.Hour),
		}, "account", "100", "amount", "5.00", "seconds", "3600")
		f.do(alice, atm.Capture, vault.Transfer{From: "100", To: "200", Amount: 600}, "hold", hold, "amount", "6.00")
	}},
}

func TestWatcherNamesTheEntryOfEachLie(t *testing.T) {
	for _, tt := range lies {
		t.Run(tt.name, func(t *testing.T) {
			f := newForger(t)
			tt.lie(f)
			size, err := vault.JournalSize(t.Context(), f.store)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(f.watched(), "\n")
			if !strings.HasPrefix(first, fmt.Sprintf("%d: ", size-1)) ||
				!strings.Contains(f.watched(), tt.says) {
				t.Errorf("of entry %d nothing says %q:\n%s", size-1, tt.says, f.watched())
			}
		})
	}
}

func TestWatcherNamesForgedPayments(t *testing.T) {
	for _, tt := range forgeries {
		if tt.name == "a mandate of other terms" {
			continue // its entry is right: the record in the store is not
		}
		t.Run(tt.name, func(t *testing.T) {
			f := newForger(t)
			tt.forge(f)
			if said := f.watched(); !strings.Contains(said, tt.says) {
				t.Errorf("nothing says %q:\n%s", tt.says, said)
			}
		})
	}
}

func TestWatcherSaysNothingOfWhatIsRight(t *testing.T) {
	f := newForger(t)
	f.pay()
	f.mandate()
	_, order, due := f.order()
	f.set(due)
	f.payOrder(order, atm.OK)
	if said := f.watched(); said != "" {
		t.Error(said)
	}
}
