// Package subscriptions is the part of the suite of every vault.Store that is about the event
// feed: the rules about subscriptions, and how far each was delivered, by which process.
package subscriptions

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

// Run runs the suite. place returns a new, empty place each time, of which so many stores may be
// open at once. What needs more than one is not tried where there is one.
func Run(t *testing.T, place func(t *testing.T) vaulttest.Place, stores int) {
	tests := map[string]func(*testing.T, *bank){
		"LedgerAgreesWithAModel":           testModel,
		"NameIsGivenOnce":                  testNamesAtOnce,
		"TwentyAreKept":                    testBound,
		"AccountOfSomebodyElseIsNotFound":  testAccounts,
		"SubscriptionOfAnotherIsNotFound":  testOwners,
		"SubscriptionHasANameAndAnID":      testNamesAndIDs,
		"FirstEntryIsTheNextOrAnOlderOne":  testFrom,
		"RefusalChangesNothing":            testRefusals,
		"CursorIsKeptAsItWasSaved":         testCursors,
		"NewCursorIsKept":                  testNewCursors,
		"ForgottenCursorIsNotSaved":        testForgotten,
		"RecordsAreTheSameAfterOpeningIt":  testReopen,
		"MovedStoreGoesOnWhereTheOtherWas": testMove(place),
	}
	if stores > 1 {
		for name, test := range claimTests {
			tests[name] = test
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := &bank{t: t, place: place(t), signer: vaulttest.NewSigner(t)}
			b.clock.Store(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC).UnixMicro())
			for range stores {
				b.join()
			}
			test(t, b)
			vaulttest.Sound(t, b.stores[0])
		})
	}
}

// A bank is ledgers on one store, which is open as often.
type bank struct {
	t       *testing.T
	place   vaulttest.Place
	stores  []vault.Backend
	signer  *checkpoint.Signer
	ledgers []*ledger.Ledger
	clock   atomic.Int64 // microseconds since 1970; a second more each time
}

// join opens the store once more, for another ledger.
func (b *bank) join() {
	b.t.Helper()
	store, is := b.place.Open(b.t).(vault.Backend)
	if !is {
		b.t.Fatal("the store cannot be moved")
	}
	b.stores = append(b.stores, store)
	b.ledgers = append(b.ledgers, vaulttest.NewLedger(b.t, ledger.Config{
		Store: store, Signer: b.signer, Now: b.now,
	}))
}

func (b *bank) now() time.Time { return time.UnixMicro(b.clock.Add(1e6)).UTC() }

// close closes the ledgers and the stores.
func (b *bank) close() {
	b.t.Helper()
	for i, l := range b.ledgers {
		if err := l.Close(); err != nil {
			b.t.Fatal(err)
		}
		if err := b.stores[i].Close(); err != nil {
			b.t.Fatal(err)
		}
	}
	b.ledgers, b.stores = nil, nil
}

// do decides a rule on any of the ledgers.
func (b *bank) do(rule vault.Rule) atm.Status {
	return b.ledgers[rand.IntN(len(b.ledgers))].Do(b.t.Context(), command(rule))
}

// command wraps a rule as the teller would. Its operation is of no account here.
func command(rule vault.Rule) vault.Command {
	return vault.Command{
		Event: audit.EventAdmin, Operation: atm.FeedAdd, Rule: rule,
		Caller: &atm.Caller{Principal: atm.Principal{Subject: "user:demo"}},
	}
}

// answered decides a rule, fails the test unless it is answered by this code, and returns the
// result.
func (b *bank) answered(rule vault.Rule, want atm.Code) string {
	b.t.Helper()
	s := b.do(rule)
	if s.Code != want {
		b.t.Fatalf("%+v: %s %s, not %s", rule, s.Code, s.Reason, want)
	}
	result, _ := s.Result.(string)
	return result
}

// atOnce decides as many rules at once, on all ledgers, and counts the codes of the answers.
func (b *bank) atOnce(n int, rule func(i int) vault.Rule) map[atm.Code]int {
	answers := make([]atm.Status, n)
	var wg sync.WaitGroup
	for i := range answers {
		l := b.ledgers[i%len(b.ledgers)]
		wg.Go(func() { answers[i] = l.Do(b.t.Context(), command(rule(i))) })
	}
	wg.Wait()
	codes := make(map[atm.Code]int)
	for _, s := range answers {
		codes[s.Code]++
	}
	return codes
}

// add is the rule that makes a subscription which says no more than it must.
func add(owner, name string) vault.Rule {
	return vault.FeedRule{Rule: feeds.Add{Owner: owner, Subscription: feeds.Subscription{
		Name: name, URL: "https://" + name + ".example/events", From: -1,
	}}}
}

// change is the rule that does something to a subscription.
func change(owner, name string, do feeds.Act) vault.Rule {
	return vault.FeedRule{Rule: feeds.Change{Owner: owner, Name: name, Do: do}}
}

func remove(owner, name string) vault.Rule {
	return vault.FeedRule{Rule: feeds.Remove{Owner: owner, Name: name}}
}

// added makes a subscription, and returns its id.
func (b *bank) added(owner, name string) feeds.ID {
	b.t.Helper()
	id, ok := feeds.ParseID(b.answered(add(owner, name), atm.OK))
	if !ok {
		b.t.Fatal("the answer is no id")
	}
	return id
}

// books returns all subscriptions and sources as any of the stores has them, by owner.
func (b *bank) books() map[string]feeds.Book {
	b.t.Helper()
	list, err := b.stores[rand.IntN(len(b.stores))].Feeds(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	if !slices.IsSortedFunc(list, func(x, y feeds.Book) int {
		return cmp.Compare(x.Owner, y.Owner)
	}) {
		b.t.Errorf("subscriptions not in order of owner: %+v", list)
	}
	books := make(map[string]feeds.Book)
	for _, book := range list {
		books[book.Owner] = book
	}
	return books
}

// one returns a subscription.
func (b *bank) one(owner string, id feeds.ID) feeds.Subscription {
	b.t.Helper()
	list := b.books()[owner].Subscriptions
	i := slices.IndexFunc(list, func(s feeds.Subscription) bool { return s.ID == id })
	if i < 0 {
		b.t.Fatalf("%s has no subscription %s", owner, id)
	}
	return list[i]
}

// size is how many entries the journal has.
func (b *bank) size() feeds.Position {
	b.t.Helper()
	size, err := vault.JournalSize(b.t.Context(), b.stores[0])
	if err != nil {
		b.t.Fatal(err)
	}
	return feeds.Position(size)
}
