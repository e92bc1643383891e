package subscriptions

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// A model is what the subscriptions and sources of each owner should be.
type model map[string]*feeds.Book

func (m model) book(owner string) *feeds.Book {
	if m[owner] == nil {
		m[owner] = &feeds.Book{Owner: owner}
	}
	return m[owner]
}

func (m model) find(owner, name string) *feeds.Subscription {
	list := m.book(owner).Subscriptions
	for i := range list {
		if s := &list[i]; s.Name == name || s.ID.String() == name {
			return s
		}
	}
	return nil
}

// testModel runs random operations on the ledger and on the model. It compares every answer, and
// what the store has in the end.
func testModel(t *testing.T, b *bank) {
	number := 0
	all := make(model)
	rapid.Check(t, func(rt *rapid.T) {
		number++
		r := &run{T: rt, bank: b, model: make(model), owners: []string{
			fmt.Sprintf("user:%d.1", number), fmt.Sprintf("service:%d.2", number),
		}}
		steps := []func(){
			r.add, r.add, r.add, r.pause, r.resume, r.replay, r.test, r.rotate, r.stop, r.remove,
			r.addSource, r.rotateSource, r.removeSource,
		}
		for range rapid.IntRange(5, 80).Draw(rt, "steps") {
			steps[rapid.IntRange(0, len(steps)-1).Draw(rt, "step")]()
		}
		for owner, book := range r.model {
			all[owner] = book
		}
	})
	for owner, book := range b.books() {
		if diff := cmp.Diff(all[owner], &book, equalTimes, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s\n%s", owner, diff)
		}
		delete(all, owner)
	}
	for owner, book := range all {
		if len(book.Subscriptions)+len(book.Sources) > 0 {
			t.Errorf("the store has nothing of %s", owner)
		}
	}
}

// equalTimes compares when a secret was replaced as known or not: the model has no clock.
var equalTimes = cmp.Comparer(func(x, y time.Time) bool { return x.IsZero() == y.IsZero() })

// A run is one random history of owners of its own.
type run struct {
	*rapid.T
	bank   *bank
	model  model
	owners []string
}

func (r *run) owner() string { return rapid.SampledFrom(r.owners).Draw(r.T, "owner") }

// name is one of few, so that many are taken, or an id that there may be.
func (r *run) name(owner string) string {
	names := []string{"a", "b", "shop-1", "none"}
	for _, s := range r.model.book(owner).Subscriptions {
		names = append(names, s.ID.String())
	}
	return rapid.SampledFrom(names).Draw(r.T, "name")
}

// says decides a rule, and fails the run unless it is answered by this code and result.
func (r *run) says(rule vault.Rule, want atm.Code, result any) {
	s := r.bank.do(rule)
	if s.Code != want || s.Result != result {
		r.Fatalf("%+v: %s %v, and %s %v in the model", rule, s.Code, s.Result, want, result)
	}
}

func (r *run) add() {
	owner := r.owner()
	s := feeds.Subscription{
		Name: rapid.SampledFrom([]string{"a", "b", "shop-1", "c", "d", "e"}).Draw(r.T, "name"),
		URL:  "https://shop.example/" + strconv.Itoa(rapid.IntRange(0, 9).Draw(r.T, "path")),
		Filter: feeds.Filter{
			Operation: atm.Operation(rapid.SampledFrom([]string{"", "deposit"}).Draw(r.T, "op")),
			Account:   rapid.SampledFrom([]string{"", "7"}).Draw(r.T, "account"),
			Below:     atm.Amount(rapid.IntRange(0, 3).Draw(r.T, "below")),
		},
		Proofs:     rapid.Bool().Draw(r.T, "proofs"),
		Everything: rapid.Bool().Draw(r.T, "everything"),
		From:       feeds.Position(rapid.IntRange(-1, 3).Draw(r.T, "from")),
	}
	here := r.bank.size()
	rule := vault.FeedRule{Rule: feeds.Add{Owner: owner, Subscription: s}}
	switch {
	case r.model.find(owner, s.Name) != nil:
		r.says(rule, atm.FeedExists, "")
		return
	case s.From > here:
		r.says(rule, atm.CursorInvalid, "")
		return
	}
	r.says(rule, atm.OK, fmt.Sprintf("f%d", here))
	if s.From < 0 {
		s.From = here + 1
	}
	s.ID, s.Chain = feeds.ID(here), 1
	book := r.model.book(owner)
	book.Subscriptions = append(book.Subscriptions, s)
}

// change does something to a subscription, in the ledger and in the model.
func (r *run) change(do feeds.Act, in func(*feeds.Subscription) (result string)) {
	owner := r.owner()
	name := r.name(owner)
	s := r.model.find(owner, name)
	if s == nil {
		r.says(change(owner, name, do), atm.FeedNotFound, "")
		return
	}
	r.says(change(owner, name, do), atm.OK, in(s))
}

func (r *run) pause() {
	r.change(feeds.Pause, func(s *feeds.Subscription) string {
		if s.State != feeds.Stopped {
			s.State = feeds.Paused
		}
		return ""
	})
}

func (r *run) resume() {
	r.change(feeds.Resume, func(s *feeds.Subscription) string {
		s.State, s.Reason = feeds.Active, ""
		s.Resumed++
		return ""
	})
}

func (r *run) replay() {
	from := feeds.Position(rapid.IntRange(0, int(r.bank.size())).Draw(r.T, "from"))
	r.change(feeds.Replay(from), func(s *feeds.Subscription) string {
		s.From, s.Chain = from, s.Chain+1
		return ""
	})
}

func (r *run) test() {
	r.change(feeds.Test, func(s *feeds.Subscription) string {
		s.Tests++
		return strconv.FormatUint(s.Tests, 10)
	})
}

func (r *run) rotate() {
	r.change(feeds.Rotate, func(s *feeds.Subscription) string {
		s.Generation++
		s.Rotated = time.Unix(1, 0)
		return strconv.FormatUint(s.Generation, 10)
	})
}

func (r *run) stop() {
	reason := rapid.SampledFrom([]string{"gone", "“410 Gone” \\x {}"}).Draw(r.T, "reason")
	r.change(feeds.Stop(reason), func(s *feeds.Subscription) string {
		if s.State != feeds.Stopped {
			s.State, s.Reason = feeds.Stopped, reason
		}
		return ""
	})
}

func (r *run) remove() {
	owner := r.owner()
	name := r.name(owner)
	s := r.model.find(owner, name)
	if s == nil {
		r.says(remove(owner, name), atm.FeedNotFound, "")
		return
	}
	r.says(remove(owner, name), atm.OK, "")
	book, id := r.model.book(owner), s.ID
	book.Subscriptions = slices.DeleteFunc(book.Subscriptions,
		func(s feeds.Subscription) bool { return s.ID == id })
}

// source is the source of a name in the model, and its place; -1 when there is none.
func (r *run) source() (owner, name string, i int) {
	owner = r.owner()
	name = rapid.SampledFrom([]string{"x", "y"}).Draw(r.T, "source")
	return owner, name, slices.IndexFunc(r.model.book(owner).Sources,
		func(s feeds.Source) bool { return s.Name == name })
}

func (r *run) addSource() {
	owner, name, i := r.source()
	rule := vault.FeedRule{Rule: feeds.AddSource{Owner: owner, Name: name}}
	if i >= 0 {
		r.says(rule, atm.FeedExists, "")
		return
	}
	id := feeds.ID(r.bank.size())
	r.says(rule, atm.OK, id.String())
	book := r.model.book(owner)
	book.Sources = append(book.Sources, feeds.Source{ID: id, Name: name})
}

func (r *run) rotateSource() {
	owner, name, i := r.source()
	rule := vault.FeedRule{Rule: feeds.RotateSource{Owner: owner, Name: name}}
	if i < 0 {
		r.says(rule, atm.FeedNotFound, "")
		return
	}
	s := &r.model.book(owner).Sources[i]
	s.Generation, s.Rotated = s.Generation+1, time.Unix(1, 0)
	r.says(rule, atm.OK, strconv.FormatUint(s.Generation, 10))
}

func (r *run) removeSource() {
	owner, name, i := r.source()
	rule := vault.FeedRule{Rule: feeds.RemoveSource{Owner: owner, Name: name}}
	if i < 0 {
		r.says(rule, atm.FeedNotFound, "")
		return
	}
	r.says(rule, atm.OK, "")
	book := r.model.book(owner)
	book.Sources = slices.Delete(book.Sources, i, i+1)
}

// testNamesAtOnce gives one name many times at once.
func testNamesAtOnce(t *testing.T, b *bank) {
	codes := b.atOnce(20, func(int) vault.Rule { return add("user:a", "shop") })
	if codes[atm.OK] != 1 || codes[atm.FeedExists] != 19 {
		t.Errorf("answered %v", codes)
	}
	b.added("user:b", "shop") // which is another one
	if n := len(b.books()["user:a"].Subscriptions); n != 1 {
		t.Errorf("%d subscriptions", n)
	}
}

// testBound makes more subscriptions at once than one owner may have.
func testBound(t *testing.T, b *bank) {
	codes := b.atOnce(feeds.MaxSubscriptions+10, func(i int) vault.Rule {
		return add("user:a", fmt.Sprint("shop-", i))
	})
	if codes[atm.OK] != feeds.MaxSubscriptions || codes[atm.LimitDailyCount] != 10 {
		t.Errorf("answered %v", codes)
	}
	list := b.books()["user:a"].Subscriptions
	if len(list) != feeds.MaxSubscriptions {
		t.Errorf("%d subscriptions", len(list))
	}
	b.added("user:b", "shop")
	b.answered(remove("user:a", list[3].Name), atm.OK)
	b.added("user:a", "one-more")
	b.answered(add("user:a", "too-many"), atm.LimitDailyCount)
	codes = b.atOnce(feeds.MaxSources+10, func(i int) vault.Rule {
		return vault.FeedRule{Rule: feeds.AddSource{Owner: "service:a", Name: fmt.Sprint("s-", i)}}
	})
	if codes[atm.OK] != feeds.MaxSources || codes[atm.LimitDailyCount] != 10 {
		t.Errorf("sources: answered %v", codes)
	}
}

// testAccounts subscribes to accounts that the party reaches, and to others.
func testAccounts(t *testing.T, b *bank) {
	b.answered(vault.OpenAccount{Account: "1", Owner: "user:a"}, atm.OK)
	to := func(owner string, account vault.Name) vault.Rule {
		rule := add(owner, "shop").(vault.FeedRule)
		rule.Party, rule.Account = vault.Party{Owner: owner}, account
		return rule
	}
	b.answered(to("user:b", "1"), atm.AccountNotFound)
	b.answered(to("user:a", "2"), atm.AccountNotFound)
	b.answered(to("user:a", "1"), atm.OK)
	anybody := to("user:teller", "1").(vault.FeedRule)
	anybody.Party = vault.Party{}
	b.answered(anybody, atm.OK)
	if books := b.books(); len(books["user:b"].Subscriptions) != 0 ||
		len(books["user:a"].Subscriptions) != 1 || len(books["user:teller"].Subscriptions) != 1 {
		t.Errorf("%+v", books)
	}
}

// acts are everything that can be done to a subscription.
var acts = map[string]feeds.Act{
	"pause": feeds.Pause, "resume": feeds.Resume, "replay": feeds.Replay(0), "test": feeds.Test,
	"rotate": feeds.Rotate, "stop": feeds.Stop("gone"),
}

// testOwners names the subscription of another owner, which is that of nobody here.
func testOwners(t *testing.T, b *bank) {
	id := b.added("user:a", "shop")
	b.added("user:b", "other")
	before := b.books()
	for name, act := range acts {
		for _, s := range []string{"shop", id.String()} {
			if got := b.do(change("user:b", s, act)); got.Code != atm.FeedNotFound {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
	b.answered(remove("user:b", "shop"), atm.FeedNotFound)
	b.answered(remove("user:b", id.String()), atm.FeedNotFound)
	b.answered(remove("user:c", id.String()), atm.FeedNotFound)
	if diff := cmp.Diff(before, b.books()); diff != "" {
		t.Error(diff)
	}
}

// testNamesAndIDs does everything by name and by id, with the same outcome.
func testNamesAndIDs(t *testing.T, b *bank) {
	for name, act := range acts {
		byName, byID := b.added("user:a", name), b.added("user:b", name)
		b.answered(change("user:a", name, act), atm.OK)
		b.answered(change("user:b", byID.String(), act), atm.OK)
		one, other := b.one("user:a", byName), b.one("user:b", byID)
		one.ID, one.From = other.ID, other.From
		if diff := cmp.Diff(one, other, equalTimes); diff != "" {
			t.Errorf("%s by name, and by id:\n%s", name, diff)
		}
		b.answered(remove("user:a", name), atm.OK)
		b.answered(remove("user:b", byID.String()), atm.OK)
	}
	if books := b.books(); len(books["user:a"].Subscriptions)+
		len(books["user:b"].Subscriptions) > 0 {
		t.Errorf("removed, and there: %+v", books)
	}
}

// testFrom begins with the entry that follows, with older ones, and with none that there is.
func testFrom(t *testing.T, b *bank) {
	id := b.added("user:a", "next")
	if s := b.one("user:a", id); s.From != feeds.Position(id)+1 || s.Chain != 1 {
		t.Errorf("%s begins with entry %d", id, s.From)
	}
	beyond := add("user:a", "beyond").(vault.FeedRule)
	of := beyond.Rule.(feeds.Add)
	of.From = b.size() + 1
	beyond.Rule = of
	b.answered(beyond, atm.CursorInvalid)
	b.answered(change("user:a", "next", feeds.Replay(b.size()+1)), atm.CursorInvalid)
	b.answered(change("user:a", "next", feeds.Replay(0)), atm.OK)
	if s := b.one("user:a", id); s.From != 0 || s.Chain != 2 {
		t.Errorf("%s begins with entry %d of chain %d", id, s.From, s.Chain)
	}
}

// testRefusals answers what an act refuses, and changes nothing by it.
func testRefusals(t *testing.T, b *bank) {
	b.added("user:a", "shop")
	before := b.books()
	b.answered(change("user:a", "shop", func(_ *feeds.Books, s *feeds.Subscription) atm.Status {
		s.URL = "https://evil.example"
		return atm.Status{Code: atm.FeedInvalid}
	}), atm.FeedInvalid)
	if diff := cmp.Diff(before, b.books()); diff != "" {
		t.Error(diff)
	}
}
