package replay_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/auth"
	"example.com/atm/teller/bookings"
	"example.com/atm/teller/replay"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/vaulttest"
)

// A forger is a ledger whose commands can say one thing and do another.
type forger struct {
	t      *testing.T
	store  vault.Backend
	ledger *ledger.Ledger
	signer *checkpoint.Signer
	clock  atomic.Int64 // microseconds since 1970
	after  int64        // how many entries there are after the lie
}

var (
	office = caller("user:office", atm.Operator)
	alice  = caller("user:alice", atm.Customer) // has account 100
	bob    = caller("user:bob", atm.Customer)   // has account 200
	gas    = caller("service:gas", atm.Service) // has account 300
	desk   = caller("user:desk", atm.Teller)
)

func caller(subject string, role atm.Role) *atm.Caller {
	return &atm.Caller{Principal: atm.Principal{Subject: subject, Roles: []atm.Role{role}}}
}

func newForger(t *testing.T) *forger {
	t.Helper()
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"),
		bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	f := &forger{t: t, store: store, signer: vaulttest.NewSigner(t)}
	f.set(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC))
	f.ledger = vaulttest.NewLedger(t, ledger.Config{
		Store: store, Signer: f.signer, Now: f.now,
	})
	by := caller("system:init", atm.Operator)
	for _, who := range []*atm.Caller{office, alice, bob, gas, desk} {
		f.do(by, atm.UserAdd, vault.People(people.Enrol{
			Subject: who.Subject, Roles: who.Roles, Result: "",
		}), "roles", string(who.Roles[0]), "subject", who.Subject)
	}
	for account, owner := range map[vault.Name]*atm.Caller{"100": alice, "200": bob, "300": gas} {
		f.do(office, atm.AccountOpen, vault.OpenAccount{
			Account: account, Owner: owner.Subject, Opening: 100_000,
		}, "account", string(account), "opening", "1000.00", "owner", owner.Subject)
	}
	return f
}

func (f *forger) set(now time.Time) { f.clock.Store(now.UnixMicro()) }

func (f *forger) now() time.Time { return time.UnixMicro(f.clock.Load()).UTC() }

// do carries a rule out, with an entry of other words. It returns the index of the entry.
func (f *forger) do(by *atm.Caller, op atm.Operation, rule vault.Rule, words ...string) string {
	f.t.Helper()
	return f.write(by, op, rule, nil, words...)
}

// write is do, with an entry that is changed before it is written.
func (f *forger) write(by *atm.Caller, op atm.Operation, rule vault.Rule,
	change func(*audit.Entry), words ...string,
) string {
	f.t.Helper()
	var args []audit.Arg
	for i := 0; i < len(words); i += 2 {
		args = append(args, audit.Arg{Name: words[i], Value: words[i+1]})
	}
	event := audit.EventOp
	if op.Administrative() {
		event = audit.EventAdmin
	}
	s := f.ledger.Do(f.t.Context(), vault.Command{
		Event: event, Operation: op, Args: args, Caller: by, Rule: rule, Note: change,
	})
	if s.Code != atm.OK {
		f.t.Fatalf("%s %v: %s %s", op, words, s.Code, s.Reason)
	}
	index, _, _ := strings.Cut(s.Receipt, " ")
	return index
}

// pay transfers ten dollars from account 100 to 200, and returns the index of the entry and what
// it moved.
func (f *forger) pay() (string, vault.Movement) {
	f.t.Helper()
	index := f.do(alice, atm.Transfer, vault.Transfer{From: "100", To: "200", Amount: 1000},
		"amount", "10.00", "from", "100", "to", "200")
	var n vault.JournalIndex
	for _, digit := range index {
		n = n*10 + vault.JournalIndex(digit-'0')
	}
	return index, vault.Movement{Index: n, From: "100", To: "200", Amount: 1000, Paid: true}
}

// mandate gives service:gas a mandate for 50 dollars a month on account 100.
func (f *forger) mandate() (text string, id vault.MandateID) {
	f.t.Helper()
	text = "m" + f.do(alice, atm.MandateCreate, vault.CreateMandate{
		Account: "100", Creditor: gas.Subject,
		Terms: vault.MandateTerms{Total: 5000, Period: calendar.Month},
	}, "account", "100", "creditor", gas.Subject, "period", "month", "total", "50.00")
	id, _ = vault.ParseMandateID(text)
	return text, id
}

// order pays five dollars from account 100 to 200 each noon, and returns its first due date.
func (f *forger) order() (text string, id vault.OrderID, due time.Time) {
	f.t.Helper()
	text = "o" + f.do(alice, atm.OrderCreate, vault.CreateOrder{
		Account: "100", To: "200", Amount: 500,
		Schedule: calendar.Schedule{Every: calendar.Day, At: 12 * 60},
	}, "account", "100", "amount", "5.00", "at", "12:00", "every", "day", "to", "200")
	id, _ = vault.ParseOrderID(text)
	return text, id, f.now().Truncate(24 * time.Hour).Add(36 * time.Hour)
}

// problems are what a comparison of the store with its journal tells, the error of one that ends
// early too.
func (f *forger) problems(store vault.Backend) string {
	f.t.Helper()
	var all []string
	report := func(problem string) { all = append(all, problem) }
	c, err := replay.Compare(f.t.Context(), store, replay.Rules{Permit: auth.Permit}, report)
	if err != nil {
		all = append(all, err.Error())
	} else {
		all = append(all, c.Differences(&c.Kept, f.now(), nil)...)
	}
	_, again := replay.Reconcile(f.t.Context(), store, replay.Rules{})
	if (err == nil) != (again == nil) {
		f.t.Errorf("fsck says %v, reconcile %v", err, again)
	}
	return strings.Join(all, "\n")
}

// TestPaymentsAreReplayed does everything that there is about payments as the teller does, and
// finds nothing wrong.
func TestPaymentsAreReplayed(t *testing.T) {
	f := newForger(t)
	index, moved := f.pay()
	back := vault.Reverse{Party: vault.Party{Owner: bob.Subject}, Movement: moved, Amount: 300}
	f.do(bob, atm.Reverse, back, "amount", "3.00", "index", index)
	back.Amount = 0
	f.do(bob, atm.Reverse, back, "index", index)
	text, id := f.mandate()
	collect := vault.Collect{Mandate: id, Creditor: gas.Subject, To: "300", Amount: 4000}
	f.do(gas, atm.Collect, collect, "amount", "40.00", "mandate", text, "to", "300")
	_, order, due := f.order()
	f.set(due)
	f.payOrder(order, atm.OK)
	f.set(due.AddDate(0, 1, 0))
	f.do(gas, atm.Collect, collect, "amount", "40.00", "mandate", text, "to", "300")
	f.do(alice, atm.MandateRevoke, vault.RevokeMandate{Mandate: id}, "mandate", text)
	f.do(office, atm.AccountFreeze, vault.SetStanding{Account: "200", Standing: vault.Frozen},
		"account", "200")
	f.payOrder(order, atm.AccountFrozen)
	f.do(office, atm.AccountUnfreeze, vault.SetStanding{Account: "200"}, "account", "200")
	f.payOrder(order, atm.OK)
	f.do(office, atm.AccountSet, vault.SetAccount{Account: "100", Owner: bob.Subject}, "account",
		"100", "owner", bob.Subject)
	f.payOrder(order, atm.AccountNotFound)
	if problems := f.problems(f.store); problems != "" {
		t.Error(problems)
	}
}

// payOrder makes the next payment of a standing order as the server does.
func (f *forger) payOrder(id vault.OrderID, want atm.Code) {
	f.t.Helper()
	err := f.store.Orders(f.t.Context(), f.now(), func(o *vault.Order) error {
		if o.ID != id {
			return nil
		}
		if s := f.ledger.Do(f.t.Context(), bookings.PayOrder(o)); s.Code != want {
			f.t.Errorf("payment for %v: %+v, not %s", o.Next, s, want)
		}
		return errPaid
	})
	if !errors.Is(err, errPaid) {
		f.t.Errorf("%s is not due: %v", id, err)
	}
}

var errPaid = errors.New("paid")

// A lie is what a program that breaks the rules could write, or somebody with all keys, and what
// must be said of its entry: the last one, but for those after it.
type lie struct {
	name, says string
	tell       func(f *forger)
}

// forgeries are lies about payments.
var forgeries = []lie{
	{"a reversal of more than was moved", "reverses more than entry", func(f *forger) {
		index, moved := f.pay()
		moved.Amount = 5000
		f.do(bob, atm.Reverse, vault.Reverse{Movement: moved, Amount: 1001}, "amount", "10.01",
			"index", index)
	}},
	{"parts that are together more than was moved", "reverses more than entry", func(f *forger) {
		index, moved := f.pay()
		moved.Amount = 5000
		for range 3 {
			f.do(bob, atm.Reverse, vault.Reverse{Movement: moved, Amount: 400}, "amount", "4.00",
				"index", index)
		}
	}},
	{"a reversal from another account", "along the legs of entry", func(f *forger) {
		index, moved := f.pay()
		moved.To = "300"
		f.do(gas, atm.Reverse, vault.Reverse{Movement: moved, Amount: 400}, "amount", "4.00",
			"index", index)
	}},
	{"a reversal to another account", "along the legs of entry", func(f *forger) {
		index, moved := f.pay()
		moved.From = "300"
		f.do(bob, atm.Reverse, vault.Reverse{Movement: moved, Amount: 400}, "amount", "4.00",
			"index", index)
	}},
	{"a reversal of the wrong way", "along the legs of entry", func(f *forger) {
		index, moved := f.pay()
		moved.From, moved.To = moved.To, moved.From
		f.do(alice, atm.Reverse, vault.Reverse{Movement: moved, Amount: 400}, "amount", "4.00",
			"index", index)
	}},
	{"a part in place of all", "reverses less than was left", func(f *forger) {
		index, moved := f.pay()
		f.do(bob, atm.Reverse, vault.Reverse{Movement: moved, Amount: 400}, "index", index)
	}},
	{"another amount than asked for", "the rule of reverse changes", func(f *forger) {
		index, moved := f.pay()
		f.do(bob, atm.Reverse, vault.Reverse{Movement: moved, Amount: 400}, "amount", "3.00",
			"index", index)
	}},
	{"a reversal that names another entry", "it reverses entry", func(f *forger) {
		_, moved := f.pay()
		other, _ := f.pay()
		f.do(bob, atm.Reverse, vault.Reverse{Movement: moved, Amount: 400}, "amount", "4.00",
			"index", other)
	}},
	{"a reversal of what comes later", "it reverses entry", func(f *forger) {
		_, moved := f.pay()
		moved.Index += 5
		f.do(bob, atm.Reverse, vault.Reverse{Movement: moved, Amount: 400}, "amount", "4.00",
			"index", vault.MandateID(moved.Index).String()[1:])
		for range 6 {
			f.pay()
			f.after++
		}
	}},
	{"a reversal of an opening", "cannot be reversed", func(f *forger) {
		f.do(desk, atm.Reverse, vault.Reverse{Amount: 400, Movement: vault.Movement{
			Index: 5, From: vault.Equity, To: "100", Amount: 400,
		}}, "amount", "4.00", "index", "5")
	}},
	{"a reversal by somebody else", "which was not theirs", func(f *forger) {
		index, moved := f.pay()
		f.do(alice, atm.Reverse, vault.Reverse{Movement: moved, Amount: 400}, "amount", "4.00",
			"index", index)
	}},
	{"a reversal that moves without saying so", "it reverses entry", func(f *forger) {
		index, _ := f.pay()
		f.do(bob, atm.Reverse, vault.Transfer{From: "200", To: "100", Amount: 400}, "amount",
			"4.00", "index", index)
	}},
	{"a collection by somebody else", "collected by mandate", func(f *forger) {
		text, id := f.mandate()
		f.do(bob, atm.Collect, vault.Collect{Mandate: id, To: "200", Amount: 400}, "amount", "4.00",
			"mandate", text, "to", "200")
	}},
	{"a collection for somebody else", "which was not theirs", func(f *forger) {
		text, id := f.mandate()
		f.do(gas, atm.Collect, vault.Collect{Mandate: id, To: "200", Amount: 400}, "amount", "4.00",
			"mandate", text, "to", "200")
	}},
	{"a collection above the cap", "answers MANDATE_EXCEEDED", func(f *forger) {
		text, _ := f.mandate()
		f.do(gas, atm.Collect, vault.Transfer{From: "100", To: "300", Amount: 5001}, "amount",
			"50.01", "mandate", text, "to", "300")
	}},
	{"a collection that is not counted", "answers MANDATE_EXCEEDED", func(f *forger) {
		text, id := f.mandate()
		f.do(gas, atm.Collect, vault.Collect{Mandate: id, To: "300", Amount: 3000}, "amount",
			"30.00", "mandate", text, "to", "300")
		f.do(gas, atm.Collect, vault.Transfer{From: "100", To: "300", Amount: 3000}, "amount",
			"30.00", "mandate", text, "to", "300")
	}},
	{"a collection after the mandate was revoked", "answers MANDATE_ENDED", func(f *forger) {
		text, id := f.mandate()
		f.do(alice, atm.MandateRevoke, vault.RevokeMandate{Mandate: id}, "mandate", text)
		f.do(gas, atm.Collect, vault.Transfer{From: "100", To: "300", Amount: 1}, "amount", "0.01",
			"mandate", text, "to", "300")
	}},
	{"a mandate that somebody else revoked", "which was not theirs", func(f *forger) {
		text, id := f.mandate()
		f.do(bob, atm.MandateRevoke, vault.RevokeMandate{Mandate: id}, "mandate", text)
	}},
	{"a mandate that somebody else gave", "which was not theirs", func(f *forger) {
		f.do(bob, atm.MandateCreate, vault.CreateMandate{
			Account: "100", Creditor: gas.Subject, Terms: vault.MandateTerms{Each: 100},
		}, "account", "100", "creditor", gas.Subject, "each", "1.00")
	}},
	{"a mandate of other terms", "is not what the journal says", func(f *forger) {
		f.do(alice, atm.MandateCreate, vault.CreateMandate{
			Account: "100", Creditor: gas.Subject, Terms: vault.MandateTerms{Each: 1000},
		}, "account", "100", "creditor", gas.Subject, "each", "1.00")
	}},
	{"a due date that is paid twice", "has nothing to do", func(f *forger) {
		text, id, due := f.order()
		f.set(due)
		f.payOrder(id, atm.OK)
		f.forgePayment(text, due)
	}},
	{"a due date that is paid before it is there", "has nothing to do", func(f *forger) {
		text, _, due := f.order()
		f.set(due.Add(-time.Second))
		f.forgePayment(text, due)
	}},
	{"a due date that is left out", "has nothing to do", func(f *forger) {
		text, _, due := f.order()
		f.set(due.AddDate(0, 0, 1))
		f.forgePayment(text, due.AddDate(0, 0, 1))
	}},
	{"an order of a day that is none", "names no standing order and due date", func(f *forger) {
		text, _, due := f.order()
		f.set(due)
		f.do(caller(bookings.SystemOrders, atm.Operator), atm.OrderPay,
			vault.Transfer{From: "100", To: "200", Amount: 500}, "due", "tomorrow", "order", text)
	}},
	{"an order that somebody else cancelled", "which was not theirs", func(f *forger) {
		text, id, _ := f.order()
		f.do(bob, atm.OrderCancel, vault.CancelOrder{Order: id}, "order", text)
	}},
	{"an order that somebody else gave", "which was not theirs", func(f *forger) {
		f.do(bob, atm.OrderCreate, vault.CreateOrder{
			Account: "100", To: "200", Amount: 100, Schedule: calendar.Schedule{Every: calendar.Day},
		}, "account", "100", "amount", "1.00", "every", "day", "to", "200")
	}},
}

// forgePayment writes an entry that pays a standing order for a date, and does so whatever the
// rules say.
func (f *forger) forgePayment(order string, due time.Time) {
	f.t.Helper()
	f.do(&atm.Caller{Principal: atm.Principal{Subject: bookings.SystemOrders}}, atm.OrderPay,
		vault.Transfer{From: "100", To: "200", Amount: 500}, "due", due.Format(time.RFC3339),
		"order", order)
}

// TestForgedPaymentsAreNamed writes entries that break one rule each.
func TestForgedPaymentsAreNamed(t *testing.T) {
	for _, tt := range forgeries {
		t.Run(tt.name, func(t *testing.T) {
			f := newForger(t)
			tt.tell(f)
			if problems := f.problems(f.store); !strings.Contains(problems, tt.says) {
				t.Errorf("nothing says %q:\n%s", tt.says, problems)
			}
		})
	}
}
