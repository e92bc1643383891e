// Package subscriptions is what owners of subscriptions to the event feed do with them, and what
// operators do with those of others.
package subscriptions

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/teller/bookings"
	"example.com/atm/teller/methods"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/people"
)

// A Feed is what delivers.
type Feed interface {
	// CheckURL refuses a URL that nothing can be sent to. Its text is for the caller.
	CheckURL(url string) error

	// Secret tells what the events of a subscription are signed with: the secret of v1 and the
	// public key of v1a, as Standard Webhooks write them.
	Secret(owner string, s *feeds.Subscription) (secret, public string)

	// SourceSecret tells what the webhooks of a source are signed with.
	SourceSecret(owner string, s *feeds.Source) string
}

// A Desk has the rules.
type Desk struct {
	Store vault.Store
	Feed  Feed
}

// A rule reads the arguments of a call.
type rule func(ctx context.Context, d Desk, in *bookings.Input) (vault.Rule, error)

var rules = map[atm.Operation]rule{
	atm.FeedAdd:    add,
	atm.FeedList:   list,
	atm.FeedShow:   show,
	atm.FeedSecret: secret,
	atm.FeedPause:  act(feeds.Pause),
	atm.FeedResume: act(feeds.Resume),
	atm.FeedTest:   act(feeds.Test),
	atm.FeedRotate: act(feeds.Rotate),
	atm.FeedReplay: replay,
	atm.FeedRemove: remove,

	atm.FeedSourceAdd:    addSource,
	atm.FeedSourceList:   listSources,
	atm.FeedSourceSecret: sourceSecret,
	atm.FeedSourceRotate: rotateSource,
	atm.FeedSourceRemove: removeSource,
}

// Operations are those of this package.
func Operations() []atm.Operation {
	var ops []atm.Operation
	for op := range rules {
		ops = append(ops, op)
	}
	return ops
}

// Rule reads the arguments of a call into its rule. A *bookings.MalformedError is the caller's
// mistake.
func (d Desk) Rule(ctx context.Context, in *bookings.Input) (vault.Rule, error) {
	return rules[in.Method.Name](ctx, d, in)
}

var denied = vault.Refuse(atm.PermissionDenied, "You may not do this")

// invalid refuses a subscription that makes no sense.
func invalid(reason string) vault.Rule {
	return vault.Refuse(atm.FeedInvalid, strings.ToUpper(reason[:1])+reason[1:])
}

func add(ctx context.Context, d Desk, in *bookings.Input) (vault.Rule, error) {
	name, url := in.Args[0].Text, in.Args[1].Text
	given, err := in.Terms(2)
	if err != nil {
		return nil, err
	}
	everything := in.Reach == atm.Everywhere
	sees := []atm.Operation{atm.Statement}
	if everything {
		sees = []atm.Operation{atm.AuditRead}
	}
	if !in.Caller.InScope(sees...) {
		return vault.Refuse(atm.PermissionDenied, "A token subscribes to nothing that it may not "+
			"read: it needs the scope "+string(sees[0])), nil
	}
	if err := feeds.CheckName(name); err != nil {
		return invalid(err.Error()), nil
	}
	if err := d.Feed.CheckURL(url); err != nil {
		return invalid(err.Error()), nil
	}
	s := feeds.Subscription{Name: name, URL: url, Everything: everything, From: -1}
	var no vault.Rule
	account := vault.Name("")
	if arg := given["account"]; arg != nil {
		id, ok := arg.Account()
		if !ok {
			return vault.Refusal(vault.NotFound(bookings.Shorten(arg.Text))), nil
		}
		account = vault.Numbered(id)
		*arg = atm.Arg{Kind: atm.String, Text: id.String()}
	}
	s.Filter = feeds.Filter{
		Operation: atm.Operation(given.Text("operation")), Status: given.Text("status"),
		Account: string(account), Owner: given.Text("owner"), Subject: given.Text("subject"),
		Above: given.Amount("above", &no), Below: given.Amount("below", &no),
	}
	if no == nil {
		no = check(&s, in.Caller.Subject)
	}
	if s.Proofs, err = yes(given, "proofs"); err != nil {
		return nil, err
	}
	if from := given["from"]; from != nil && no == nil {
		s.From, no, err = d.position(ctx, from.Text)
	}
	if no != nil || err != nil {
		return no, err
	}
	// Somebody who is not known may sign in, but is not found when an event is to be sent.
	in.About = append(in.About, people.Warrant{Subject: in.Caller.Subject, Named: true})
	return vault.FeedRule{
		Rule:    feeds.Add{Owner: in.Caller.Subject, Subscription: s},
		Party:   in.Party(),
		Account: account,
	}, nil
}

// check refuses filters that make no sense, or tell a caller what an event does not.
func check(s *feeds.Subscription, caller string) vault.Rule {
	f := &s.Filter
	switch {
	case f.Status != "" && f.Status != "OK" && f.Status != "ERROR":
		return invalid("The status of an entry is OK or ERROR")
	case f.Operation != "" && f.Operation != atm.OrderPay && methods.Of(f.Operation) == nil:
		return invalid("There is no operation " + bookings.Shorten(string(f.Operation)))
	case f.Owner != "" && bookings.CheckSubject(f.Owner) != nil,
		f.Subject != "" && bookings.CheckSubject(f.Subject) != nil:
		return invalid(bookings.CheckSubject("").Error())
	case !s.Everything && f.Account == "":
		return invalid("Name an account of yours: auditors alone subscribe to everything")
	case !s.Everything && f.Owner != "":
		return invalid("A subscription to an account names no owner")
	case !s.Everything && f.Subject != "" && f.Subject != caller:
		// Whether an event comes would tell the maker of an entry, which the event does not say.
		return invalid("A subscription to an account names no other caller than you")
	}
	return nil
}

// yes reads a member that is 1 or 0.
func yes(given bookings.Terms, name string) (bool, error) {
	switch given.Text(name) {
	case "", "0":
		return false, nil
	case "1":
		return true, nil
	}
	return false, bookings.Malformed("%s is 1 or 0", name)
}

var noSuchEntry = vault.Refusal(vault.BadCursor("There is no such entry"))

// position is where the entry of the audit log lies that a text is the index of.
func (d Desk) position(ctx context.Context, text string) (feeds.Position, vault.Rule, error) {
	index, ok := int64(0), text == "0"
	if !ok {
		index, ok = bookings.WholeNumber(text, math.MaxInt32<<20)
	}
	if !ok {
		return 0, noSuchEntry, nil
	}
	log, err := vault.OpenLog(ctx, d.Store)
	if err != nil {
		return 0, nil, err
	}
	first, _, err := log.Base(ctx)
	if err == nil && index < first {
		no := vault.BadCursor(fmt.Sprintf("%s; the first one is entry %d", vault.NotKept(index),
			first))
		return 0, vault.Refusal(no), nil
	}
	return feeds.Position(log.InJournal(index)), nil, err
}

// owner reads whose subscription a call is about, the argument at position i.
func owner(in *bookings.Input, i int) (string, vault.Rule, error) {
	arg := in.Args[i]
	if !arg.Given() || arg.Text == in.Caller.Subject {
		return in.Caller.Subject, nil, nil
	}
	if in.Reach != atm.Everywhere {
		return "", denied, nil
	}
	return arg.Text, nil, bookings.CheckSubject(arg.Text)
}

// found reads which subscription a call is about: a name, and an owner at position i.
func found(in *bookings.Input, i int) (of, name string, no vault.Rule, err error) {
	if of, no, err = owner(in, i); no != nil || err != nil {
		return "", "", no, err
	}
	name, no = named(in)
	return of, name, no, nil
}

// named reads the name of a subscription, or its id.
func named(in *bookings.Input) (name string, no vault.Rule) {
	name = in.Args[0].Text
	if _, isID := feeds.ParseID(name); !isID && feeds.CheckName(name) != nil {
		no = vault.Refusal(feeds.NotFound(bookings.Shorten(name)))
	}
	return name, no
}

// act changes a subscription.
func act(do feeds.Act) rule {
	return func(_ context.Context, _ Desk, in *bookings.Input) (vault.Rule, error) {
		of, name, no, err := found(in, 1)
		if no != nil || err != nil {
			return no, err
		}
		return change(of, name, do), nil
	}
}

func change(of, name string, do feeds.Act) vault.Rule {
	return vault.FeedRule{Rule: feeds.Change{Owner: of, Name: name, Do: do}}
}

func replay(ctx context.Context, d Desk, in *bookings.Input) (vault.Rule, error) {
	of, name, no, err := found(in, 2)
	if no != nil || err != nil {
		return no, err
	}
	from, no, err := d.position(ctx, in.Args[1].Text)
	if no != nil || err != nil {
		return no, err
	}
	return change(of, name, feeds.Replay(from)), nil
}

func remove(_ context.Context, _ Desk, in *bookings.Input) (vault.Rule, error) {
	of, name, no, err := found(in, 1)
	if no != nil || err != nil {
		return no, err
	}
	return vault.FeedRule{Rule: feeds.Remove{Owner: of, Name: name}}, nil
}

var secretHasNoScope = vault.Refuse(atm.PermissionDenied, "A secret has no scope: sign in "+
	"without a token, or with one for everything")

// secret tells what the events of a subscription of the caller are signed with.
func secret(_ context.Context, d Desk, in *bookings.Input) (vault.Rule, error) {
	if !in.Caller.InScope("*") {
		return secretHasNoScope, nil
	}
	name, no := named(in)
	if no != nil {
		return no, nil
	}
	return change(in.Caller.Subject, name, func(_ *feeds.Books,
		s *feeds.Subscription,
	) atm.Status {
		v1, v1a := d.Feed.Secret(in.Caller.Subject, s)
		return atm.Status{Code: atm.OK, Result: atm.Record{
			{Name: "id", Value: s.ID.String()},
			{Name: "generation", Value: int64(s.Generation)},
			{Name: "secret", Value: v1},
			{Name: "public_key", Value: v1a},
		}}
	}), nil
}

// A reading is what the subscriptions of a store were when it was read.
type reading struct {
	cursors []feeds.Cursor
	logs    []vault.JournalIndex
	end     vault.JournalIndex
}

func (d Desk) read(ctx context.Context) (r reading, err error) {
	if r.cursors, err = d.Store.Cursors(ctx); err != nil {
		return r, err
	}
	if r.logs, err = d.Store.Logs(ctx); err != nil {
		return r, err
	}
	r.end, err = vault.JournalSize(ctx, d.Store)
	return r, err
}

func show(ctx context.Context, d Desk, in *bookings.Input) (vault.Rule, error) {
	of, name, no, err := found(in, 1)
	if no != nil || err != nil {
		return no, err
	}
	r, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	return change(of, name, func(_ *feeds.Books, s *feeds.Subscription) atm.Status {
		return atm.Status{Code: atm.OK, Result: r.record(of, s)}
	}), nil
}

// all stands for every owner.
const all = "*"

func list(ctx context.Context, d Desk, in *bookings.Input) (vault.Rule, error) {
	of := all
	if in.Args[0].Text != all || in.Reach != atm.Everywhere {
		var no vault.Rule
		var err error
		if of, no, err = owner(in, 0); no != nil || err != nil {
			return no, err
		}
	}
	books, err := d.Store.Feeds(ctx)
	if err != nil {
		return nil, err
	}
	r, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	found := []atm.Record{}
	for i := range books {
		if of != all && books[i].Owner != of {
			continue
		}
		for j := range books[i].Subscriptions {
			if len(found) < methods.MaxFeeds {
				found = append(found, r.record(books[i].Owner, &books[i].Subscriptions[j]))
			}
		}
	}
	return vault.Report{Result: atm.Record{{Name: "subscriptions", Value: found}}}, nil
}

// record is a subscription as its owner sees it. Lag is how many entries have not been
// considered yet.
func (r *reading) record(owner string, s *feeds.Subscription) atm.Record {
	c := feeds.NewCursor(s.ID)
	if i := slices.IndexFunc(r.cursors, func(c feeds.Cursor) bool { return c.ID == s.ID }); i >= 0 {
		c = r.cursors[i]
	}
	c = c.At(s)
	last := int64(-1)
	if c.Last >= 0 {
		last = vault.InLog(r.logs, vault.JournalIndex(c.Last))
	}
	f := &s.Filter
	record := atm.Record{
		{Name: "id", Value: s.ID.String()},
		{Name: "name", Value: s.Name},
		{Name: "owner", Value: owner},
		{Name: "url", Value: s.URL},
		{Name: "state", Value: s.State.String()},
		{Name: "reason", Value: s.Reason},
	}
	for _, text := range []atm.Field{
		{Name: "account", Value: f.Account},
		{Name: "operation", Value: string(f.Operation)},
		{Name: "status", Value: f.Status},
		{Name: "account_owner", Value: f.Owner},
		{Name: "subject", Value: f.Subject},
		{Name: "above", Value: amount(f.Above)},
		{Name: "below", Value: amount(f.Below)},
	} {
		if text.Value != "" {
			record = append(record, text)
		}
	}
	return append(record, atm.Record{
		{Name: "proofs", Value: s.Proofs},
		{Name: "everything", Value: s.Everything},
		{Name: "from", Value: vault.InLog(r.logs, vault.JournalIndex(s.From))},
		{Name: "next", Value: vault.InLog(r.logs, vault.JournalIndex(c.Next))},
		{Name: "lag", Value: int64(r.end) - int64(c.Next)},
		{Name: "last", Value: last},
		{Name: "sent", Value: c.Sent},
		{Name: "delivered", Value: stamp(c.Delivered)},
		{Name: "failing", Value: stamp(c.Failing)},
		{Name: "tries", Value: c.Tries},
		{Name: "error", Value: c.Error},
		{Name: "again", Value: stamp(c.Again)},
		{Name: "tests", Value: int64(s.Tests)},
		{Name: "tested", Value: int64(c.Test)},
		{Name: "test_error", Value: c.TestError},
		{Name: "generation", Value: int64(s.Generation)},
		{Name: "rotated", Value: stamp(s.Rotated)},
	}...)
}

func amount(a atm.Amount) string {
	if a == 0 {
		return ""
	}
	return a.String()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
