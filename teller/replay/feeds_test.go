package replay_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/auth"
	"example.com/atm/feed"
	"example.com/atm/feed/webhook"
	"example.com/atm/teller/bookings"
	"example.com/atm/teller/methods"
	"example.com/atm/teller/subscriptions"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/vaulttest"
)

var auditor = caller("user:auditor", atm.Auditor)

// text is an argument as a caller gives it; "" for one that is left out.
func text(s string) atm.Arg {
	if s == "" {
		return atm.Arg{}
	}
	return atm.Arg{Kind: atm.String, Text: s}
}

// options are the optional arguments of feed.add, given as pairs.
func options(words ...string) atm.Arg {
	arg := atm.Arg{Kind: atm.Struct}
	for i := 0; i < len(words); i += 2 {
		arg.Members = append(arg.Members, atm.Member{Name: words[i], Arg: text(words[i+1])})
	}
	return arg
}

// call carries out an operation on subscriptions as the teller does.
func (f *forger) call(by *atm.Caller, op atm.Operation, args ...atm.Arg) atm.Status {
	f.t.Helper()
	secrets, err := feeds.NewSecrets([]byte("the secret of a test"))
	if err != nil {
		f.t.Fatal(err)
	}
	desk := subscriptions.Desk{Store: f.store, Feed: feed.NewKeys(secrets,
		func(url string) error { return webhook.CheckURL(url) })}
	method := methods.Of(op)
	in := &bookings.Input{
		Method: method, Caller: by, Reach: auth.Permit(by.Principal, op),
		Args: append(args, make([]atm.Arg, len(method.Params)-len(args))...),
	}
	rule, err := desk.Rule(f.t.Context(), in)
	if err != nil {
		f.t.Fatalf("%s %v: %v", op, args, err)
	}
	f.clock.Add(1e6)
	return f.ledger.Do(f.t.Context(), vault.Command{
		Event: audit.EventAdmin, Operation: op, Args: in.Named(), Caller: by, Rule: rule,
	})
}

// stop stops a subscription as what delivers does.
func (f *forger) stop(owner string, s *feeds.Subscription, reason string) {
	f.t.Helper()
	if status := f.ledger.Do(f.t.Context(), vault.Command{
		Event: audit.EventFeedStopped,
		Args: []audit.Arg{
			{Name: "subscription", Value: s.ID.String()},
			{Name: "owner", Value: owner},
			{Name: "name", Value: s.Name},
			{Name: "reason", Value: reason},
		},
		Rule: vault.FeedRule{Rule: feeds.Change{
			Owner: owner, Name: s.ID.String(), Do: feeds.Stop(reason),
		}},
	}); status.Code != atm.OK {
		f.t.Fatal(status)
	}
}

// beginLog lets the journal go on in another audit log.
func (f *forger) beginLog() {
	f.t.Helper()
	if err := errors.Join(f.ledger.Close(), f.store.BeginLog(f.t.Context())); err != nil {
		f.t.Fatal(err)
	}
	f.ledger = vaulttest.NewLedger(f.t, ledger.Config{
		Store: f.store, Signer: vaulttest.NewSigner(f.t), Now: f.now,
	})
	f.do(office, atm.UserDisable, vault.People(people.SetDisabled{
		Subject: "user:desk", Disabled: true,
	}), "subject", "user:desk") // the first entry, so that there is one to begin with
}

func pick[T any](of ...T) T { return of[rand.IntN(len(of))] }

// subscribe does something to subscriptions and sources that owners and operators do, which may
// be refused. It returns whether it was carried out.
func (f *forger) subscribe() bool {
	f.t.Helper()
	size, err := vault.OpenLog(f.t.Context(), f.store)
	if err != nil {
		f.t.Fatal(err)
	}
	_, head, err := size.Signed(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	from := strconv.FormatInt(rand.Int64N(head.Size+2), 10)
	owner := pick(alice, bob, auditor)
	account := map[*atm.Caller]string{alice: "100", bob: "200"}[owner]
	name, by, of := pick("a", "b", "c", "d"), owner, ""
	if rand.IntN(3) == 0 {
		by, of = office, owner.Subject
	}
	if rand.IntN(2) == 0 {
		name = f.idOf(owner.Subject, name)
	}
	var s atm.Status
	switch op := pick(atm.FeedAdd, atm.FeedAdd, atm.FeedPause, atm.FeedResume, atm.FeedTest,
		atm.FeedRotate, atm.FeedReplay, atm.FeedRemove, atm.FeedShow, atm.FeedSourceAdd,
		atm.FeedSourceRotate, atm.FeedSourceRemove, "stop"); op {
	case atm.FeedAdd:
		words := []string{
			"account", account, "operation", pick("", "deposit"), "status", pick("", "OK"),
			"subject", pick("", "user:desk"), "above", pick("", "5.00", "7"),
			"below", pick("", "3.50"), "proofs", pick("", "0", "1"), "from", pick("", from),
		}
		if owner == auditor {
			words = append(words, "owner", pick("", "user:alice"))
		}
		s = f.call(owner, op, text(pick("a", "b", "c", "d")),
			text("https://shop.example/"+strings.Repeat("long/", rand.IntN(2)*100)+from),
			options(words...))
	case atm.FeedReplay:
		s = f.call(by, op, text(name), text(from), text(of))
	case atm.FeedSourceAdd, atm.FeedSourceRotate, atm.FeedSourceRemove:
		s = f.call(office, op, text(pick("x", "y")), text("service:gas"))
	case "stop":
		for _, book := range f.feeds() {
			if book.Owner == owner.Subject && len(book.Subscriptions) > 0 {
				f.stop(owner.Subject, &book.Subscriptions[0],
					pick("gone", strings.Repeat("very gone… ", 40)))
				return true
			}
		}
	default:
		s = f.call(by, op, text(name), text(of))
	}
	return s.Code == atm.OK
}

func (f *forger) feeds() []feeds.Book {
	f.t.Helper()
	books, err := f.store.Feeds(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return books
}

// idOf is the id of a subscription; its name when there is none.
func (f *forger) idOf(owner, name string) string {
	for _, book := range f.feeds() {
		if s := book.Find(name); book.Owner == owner && s != nil {
			return s.ID.String()
		}
	}
	return name
}

// subscribed does many random things to subscriptions, in two audit logs.
func subscribed(t *testing.T) *forger {
	f := newForger(t)
	f.do(office, atm.UserAdd, vault.People(people.Enrol{
		Subject: auditor.Subject, Roles: auditor.Roles, Result: "",
	}), "roles", "auditor", "subject", auditor.Subject)
	done := 0
	for i := range 400 {
		if f.subscribe() {
			done++
		}
		if i == 200 {
			f.beginLog()
		}
	}
	if done < 100 {
		t.Fatalf("%d operations were carried out: the test tests nothing", done)
	}
	// What each of the tests changes is there in any case.
	for _, owner := range []*atm.Caller{alice, auditor} {
		f.call(owner, atm.FeedRemove, text("e"))
		if s := f.call(owner, atm.FeedAdd, text("e"), text("https://shop.example/e"),
			options("account", map[*atm.Caller]string{alice: "100"}[owner])); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
	f.call(office, atm.FeedSourceAdd, text("z"), text("service:gas"))
	return f
}

func TestSubscriptionsAreReplayed(t *testing.T) {
	f := subscribed(t)
	if problems := f.problems(f.store); problems != "" {
		t.Error(problems)
	}
}

// An altered store dumps other subscriptions than it has.
type altered struct {
	vault.Backend
	change func(books []feeds.Book) []feeds.Book
}

// Dump implements vault.Backend.
func (a altered) Dump(ctx context.Context, yield func(*vault.Part) error) (*vault.Trail, error) {
	return a.Backend.Dump(ctx, func(p *vault.Part) error {
		changed := *p
		changed.Feeds = slices.Clone(p.Feeds)
		for i := range changed.Feeds {
			b := &changed.Feeds[i]
			b.Subscriptions = slices.Clone(b.Subscriptions)
			b.Sources = slices.Clone(b.Sources)
		}
		if len(p.Feeds) > 0 {
			changed.Feeds = a.change(changed.Feeds)
		}
		return yield(&changed)
	})
}

// of returns the subscriptions of an owner.
func of(books []feeds.Book, owner string) *feeds.Book {
	i := slices.IndexFunc(books, func(b feeds.Book) bool { return b.Owner == owner })
	return &books[i]
}

// other puts another value into a field.
func other(t *testing.T, field reflect.Value) {
	switch at, isTime := field.Addr().Interface().(*time.Time); {
	case isTime:
		*at = at.Add(time.Microsecond)
	case field.Kind() == reflect.String:
		field.SetString(field.String() + "x")
	case field.Kind() == reflect.Bool:
		field.SetBool(!field.Bool())
	case field.CanInt():
		field.SetInt(field.Int() + 1)
	case field.CanUint():
		field.SetUint(field.Uint() + 1)
	default:
		t.Fatalf("a field of kind %s", field.Kind())
	}
}

// TestEachFieldOfASubscriptionIsHeldAgainstTheJournal changes one field after the other, of which
// a new one would be another.
func TestEachFieldOfASubscriptionIsHeldAgainstTheJournal(t *testing.T) {
	f := subscribed(t)
	first := func(b *feeds.Book) *feeds.Subscription { return &b.Subscriptions[0] }
	last := func(b *feeds.Book) *feeds.Subscription {
		return &b.Subscriptions[len(b.Subscriptions)-1]
	}
	var each func(name string, in func(*feeds.Book) reflect.Value, says string)
	each = func(name string, in func(*feeds.Book) reflect.Value, says string) {
		kind := in(of(f.feeds(), owner(says))).Type()
		for i := range kind.NumField() {
			field := kind.Field(i)
			if field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[time.Time]() {
				each(name+"."+field.Name, func(b *feeds.Book) reflect.Value {
					return in(b).Field(i)
				}, says)
				continue
			}
			problems := f.problems(altered{f.store, func(books []feeds.Book) []feeds.Book {
				other(t, in(of(books, owner(says))).Field(i))
				return books
			}})
			if !strings.Contains(problems, says) {
				t.Errorf("%s.%s was changed, and nothing says %q: %q", name, field.Name, says,
					problems)
			}
		}
	}
	for _, who := range []string{alice.Subject, auditor.Subject} {
		each("Subscription", func(b *feeds.Book) reflect.Value {
			return reflect.ValueOf(first(b)).Elem()
		}, "of "+who)
		each("Subscription", func(b *feeds.Book) reflect.Value {
			return reflect.ValueOf(last(b)).Elem()
		}, "of "+who)
	}
	each("Source", func(b *feeds.Book) reflect.Value {
		return reflect.ValueOf(&b.Sources[len(b.Sources)-1]).Elem()
	}, "of service:gas")
}

// owner is whom a sentence names at its end.
func owner(says string) string { return strings.TrimPrefix(says, "of ") }

// TestSubscriptionOfNoEntryIsNamed adds, moves, doubles and takes away.
func TestSubscriptionOfNoEntryIsNamed(t *testing.T) {
	f := subscribed(t)
	url := "https://shop.example/" + strings.Repeat("long/", 100)
	if s := f.call(bob, atm.FeedAdd, text("long"), text(url),
		options("account", "200")); s.Code != atm.OK {
		t.Fatal(s)
	}
	entry := audit.ArgText(url)
	for _, tt := range []struct {
		name, says string
		change     func(books []feeds.Book) []feeds.Book
	}{
		{
			"another URL", "of user:alice: the URL is \"https://evil.example\"; the journal says " +
				"\"https://shop.example/e\"", func(books []feeds.Book) []feeds.Book {
				of(books, alice.Subject).Find("e").URL = "https://evil.example"
				return books
			},
		},
		{
			"the end of a long URL", "of user:bob: the URL is",
			func(books []feeds.Book) []feeds.Book {
				of(books, bob.Subject).Find("long").URL = url + "x"
				return books
			},
		},
		{
			"what the entry has of a long URL", "of user:bob: the URL is \"shortened",
			func(books []feeds.Book) []feeds.Book {
				of(books, bob.Subject).Find("long").URL = entry
				return books
			},
		},
		{"one more", "subscription f1 of user:alice", func(books []feeds.Book) []feeds.Book {
			b := of(books, alice.Subject)
			b.Subscriptions = append(b.Subscriptions, feeds.Subscription{ID: 1, Name: "more"})
			return books
		}},
		{"one twice", "of user:alice", func(books []feeds.Book) []feeds.Book {
			b := of(books, alice.Subject)
			b.Subscriptions = append(b.Subscriptions, *b.Find("e"))
			return books
		}},
		{"one of another owner", "of user:bob", func(books []feeds.Book) []feeds.Book {
			b := of(books, bob.Subject)
			b.Subscriptions = append(b.Subscriptions, *of(books, alice.Subject).Find("e"))
			return books
		}},
		{"one gone", "is in the journal and has no record", func(books []feeds.Book) []feeds.Book {
			of(books, alice.Subject).Subscriptions = nil
			return books
		}},
		{"all gone", "is in the journal and has no record", func([]feeds.Book) []feeds.Book {
			return nil
		}},
		{"another owner", `subscriptions of "user:eve"`, func(books []feeds.Book) []feeds.Book {
			return append(books, feeds.Book{Owner: "user:eve"})
		}},
		{"an owner twice", "are there twice", func(books []feeds.Book) []feeds.Book {
			return append(books, books[0])
		}},
		{"a source gone", "has no record", func(books []feeds.Book) []feeds.Book {
			of(books, "service:gas").Sources = nil
			return books
		}},
		{"a source more", "source evil of", func(books []feeds.Book) []feeds.Book {
			b := of(books, "service:gas")
			b.Sources = append(b.Sources, feeds.Source{ID: 1, Name: "evil"})
			return books
		}},
	} {
		problems := f.problems(altered{f.store, tt.change})
		if !strings.Contains(problems, tt.says) {
			t.Errorf("%s: nothing says %q: %q", tt.name, tt.says, problems)
		}
	}
}

// TestForgedSubscriptionIsNamed writes entries that a program which breaks the rules could write.
func TestForgedSubscriptionIsNamed(t *testing.T) {
	add := func(owner string) vault.Rule {
		return vault.FeedRule{Rule: feeds.Add{Owner: owner, Subscription: feeds.Subscription{
			Name: "shop", URL: "https://shop.example", From: -1,
			Filter: feeds.Filter{Account: "200"},
		}}}
	}
	change := func(owner string, act feeds.Act) vault.Rule {
		return vault.FeedRule{Rule: feeds.Change{Owner: owner, Name: "shop", Do: act}}
	}
	for _, tt := range []struct {
		name, says string
		forge      func(f *forger)
	}{
		{"to somebody else's account", "on account 200, which was not theirs", func(f *forger) {
			f.do(alice, atm.FeedAdd, add(alice.Subject), "name", "shop", "url",
				"https://shop.example", "account", "200")
		}},
		{
			"of somebody else", "feed.pause of user:alice on a subscription of user:bob",
			func(f *forger) {
				f.do(bob, atm.FeedAdd, add(bob.Subject), "name", "shop", "url",
					"https://shop.example", "account", "200")
				f.do(alice, atm.FeedPause, change(bob.Subject, feeds.Pause), "name", "shop",
					"owner", bob.Subject)
			},
		},
		{"that there is not", "user:bob has no subscription shop", func(f *forger) {
			f.do(bob, atm.FeedPause, vault.Report{Result: ""}, "name", "shop")
		}},
		{"a source that there is not", "service:gas has no source x", func(f *forger) {
			f.do(office, atm.FeedSourceRotate, vault.Report{Result: ""}, "name", "x", "owner",
				"service:gas")
		}},
		{"another act than the entry says", "the state is", func(f *forger) {
			f.do(bob, atm.FeedAdd, add(bob.Subject), "name", "shop", "url",
				"https://shop.example", "account", "200")
			f.do(bob, atm.FeedTest, change(bob.Subject, feeds.Pause), "name", "shop")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newForger(t)
			tt.forge(f)
			if problems := f.problems(f.store); !strings.Contains(problems, tt.says) {
				t.Errorf("nothing says %q: %q", tt.says, problems)
			}
		})
	}
}

// TestCursorOfNoSubscriptionIsNamed has cursors of subscriptions that are, that were, and that
// never were.
func TestCursorOfNoSubscriptionIsNamed(t *testing.T) {
	f := subscribed(t)
	there := of(f.feeds(), alice.Subject).Find("e").ID
	f.call(alice, atm.FeedRemove, text("e"))
	of := func(ids ...feeds.ID) string {
		cursors, err := f.store.ClaimCursors(t.Context(), "x", time.Hour, ids)
		if err != nil {
			t.Fatal(err)
		}
		for i := range cursors {
			cursors[i].Next, cursors[i].Last, cursors[i].Sent = 1<<40, 1<<40-1, 5
		}
		if _, err := f.store.SaveCursors(t.Context(), "x", cursors, false); err != nil {
			t.Fatal(err)
		}
		return f.problems(f.store)
	}
	if problems := of(there); problems != "" {
		t.Error(problems)
	}
	if problems := of(1); !strings.Contains(problems, "cursor f1 is of a subscription") {
		t.Errorf("nothing says that f1 never was: %q", problems)
	}
}
