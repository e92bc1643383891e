// Package payments is the part of the suite of every vault.Store that is about reversals,
// mandates and standing orders: a ledger on top of the store against a model, and against many
// callers at once.
package payments

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

// Run runs the suite. place returns a new, empty place each time, of which so many may be open
// at once: as many ledgers share the store where callers meet.
func Run(t *testing.T, place func(t *testing.T) vaulttest.Place, ledgers int) {
	for name, test := range map[string]func(*testing.T, *bank){
		"LedgerAgreesWithAModel":           testModel,
		"HistoriesAreLinearizable":         testLinearizable,
		"OneOfManyReversalsHappens":        testReversalsAtOnce,
		"PartialReversalsThatFitHappen":    testPartsAtOnce,
		"CollectionsThatFitHappen":         testCollectionsAtOnce,
		"RevokedMandateCollectsNothing":    testRevokedAtOnce,
		"DueDateIsPaidOnce":                testPaymentsAtOnce,
		"AgreementsAreBounded":             testBound,
		"MandateEndsWithTheOwner":          testOwners,
		"CapHoldsWhenTheClockGoesBack":     testClockGoesBack,
		"ExpiredHoldMayBeSpent":            testExpired,
		"NothingPassesAnObstacle":          testObstacles,
		"RequestIDHasOneEffect":            testRequests,
		"ForgottenKeyFailsAlone":           testForgottenKey,
		"AmountsArePositive":               testAmountsArePositive,
		"OrdersAreFoundUntilTheyAreDone":   testOrdersAreFound,
		"RecordsAreTheSameAfterOpeningIt":  testReopen,
		"NoticesNeedAGrantAMandateOrReach": testNotes,
	} {
		t.Run(name, func(t *testing.T) {
			where := place(t)
			b := &bank{t: t, place: where, signer: vaulttest.NewSigner(t)}
			b.setClock(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)) // a Monday
			for range ledgers {
				b.join()
			}
			test(t, b)
			if store, is := b.store.(vault.Backend); is {
				vaulttest.Sound(t, store)
			}
		})
	}
}

// A bank is ledgers on one store, with a clock that tests set.
type bank struct {
	t       *testing.T
	place   vaulttest.Place
	store   vault.Store // of the first ledger
	signer  *checkpoint.Signer
	ledgers []*ledger.Ledger
	clock   atomic.Int64 // microseconds since 1970
}

func (b *bank) setClock(now time.Time) { b.clock.Store(now.UnixMicro()) }

func (b *bank) now() time.Time { return time.UnixMicro(b.clock.Load()).UTC() }

// join opens the store once more, for another ledger.
func (b *bank) join() {
	b.t.Helper()
	store := b.place.Open(b.t)
	if b.store == nil {
		b.store = store
	}
	b.ledgers = append(b.ledgers, vaulttest.NewLedger(b.t, ledger.Config{
		Store: store, Signer: b.signer, Now: b.now,
	}))
}

// demo is the caller in the suite.
var demo = &atm.Caller{Principal: atm.Principal{
	Subject: "user:demo", Roles: []atm.Role{atm.Customer},
}}

// cash is the account of the cash in the caller's terminal.
var cash = vault.Cash(demo.Subject)

// command wraps a rule as the teller would.
func command(op atm.Operation, rule vault.Rule) vault.Command {
	return vault.Command{Event: audit.EventOp, Operation: op, Caller: demo, Rule: rule}
}

// do decides a rule on any of the ledgers.
func (b *bank) do(op atm.Operation, rule vault.Rule) atm.Status {
	return b.ledgers[rand.IntN(len(b.ledgers))].Do(b.t.Context(), command(op, rule))
}

// must decides a rule that is OK.
func (b *bank) must(op atm.Operation, rule vault.Rule) atm.Status {
	b.t.Helper()
	s := b.do(op, rule)
	if s.Code != atm.OK {
		b.t.Fatalf("%s %+v: %s %s", op, rule, s.Code, s.Reason)
	}
	return s
}

// refused decides a rule that has this code, and fails the test otherwise.
func (b *bank) refused(op atm.Operation, rule vault.Rule, want atm.Code) {
	b.t.Helper()
	if s := b.do(op, rule); s.Code != want {
		b.t.Errorf("%s %+v: %s %s, not %s", op, rule, s.Code, s.Reason, want)
	}
}

// open opens an account.
func (b *bank) open(n vault.Name, owner string, opening atm.Amount) {
	b.t.Helper()
	b.must(atm.AccountOpen, vault.OpenAccount{Account: n, Owner: owner, Opening: opening})
}

// balance is what an account has.
func (b *bank) balance(n vault.Name) atm.Amount {
	b.t.Helper()
	return b.account(n).Balance
}

func (b *bank) account(n vault.Name) vault.Account {
	b.t.Helper()
	a, err := b.store.Account(b.t.Context(), n)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// index is that of the entry of an answer.
func index(s atm.Status) vault.JournalIndex {
	digits, _, _ := strings.Cut(s.Receipt, " ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return -1
	}
	return vault.JournalIndex(n)
}

// pay transfers an amount, and returns what its entry moved.
func (b *bank) pay(from, to vault.Name, amount atm.Amount) vault.Movement {
	b.t.Helper()
	s := b.must(atm.Transfer, vault.Transfer{From: from, To: to, Amount: amount})
	return vault.Movement{Index: index(s), From: from, To: to, Amount: amount, Paid: true}
}

// mandate gives a mandate on an account to service:gas.
func (b *bank) mandate(n vault.Name, terms vault.MandateTerms) vault.MandateID {
	b.t.Helper()
	text, _ := b.must(atm.MandateCreate, vault.CreateMandate{
		Account: n, Creditor: gas, Terms: terms,
	}).Result.(string)
	id, ok := vault.ParseMandateID(text)
	if !ok {
		b.t.Fatalf("%q is no mandate", text)
	}
	return id
}

const gas = "service:gas"

// order gives a daily standing order at noon.
func (b *bank) order(from, to vault.Name, amount atm.Amount) vault.Order {
	b.t.Helper()
	text, _ := b.must(atm.OrderCreate, vault.CreateOrder{
		Account: from, To: to, Amount: amount,
		Schedule: calendar.Schedule{Every: calendar.Day, At: 12 * 60},
	}).Result.(string)
	id, _ := vault.ParseOrderID(text)
	return b.record(id)
}

// record is that of a standing order.
func (b *bank) record(id vault.OrderID) vault.Order {
	b.t.Helper()
	for _, o := range b.records().Orders {
		if o.ID == id {
			return o
		}
	}
	b.t.Fatalf("there is no %s", id)
	return vault.Order{}
}

// records are all of the store that the journal makes again.
func (b *bank) records() *vault.Records {
	b.t.Helper()
	store, is := b.store.(vault.Backend)
	if !is {
		b.t.Fatal("the store does not show its records")
	}
	all, err := store.All(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}
