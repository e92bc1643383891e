package replay

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/check"
	"example.com/atm/vault/feeds"
)

// feedBooks are the subscriptions to the event feed, and the sources of webhooks, as the entries
// say.
type feedBooks struct {
	rules Rules
	logs  []vault.JournalIndex
	books map[string]*feedBook // by owner
	ever  map[feeds.ID]bool    // subscriptions that were made
}

// A feedBook has the subscriptions and sources of one owner.
type feedBook struct {
	subscriptions []subscription
	sources       []source
	seen          bool // its record was shown
}

// A subscription is one as the entries say. Of what is long, an entry has the beginning alone, so
// that what its URL and its reason are is compared as the entries have it.
type subscription struct {
	feeds.Subscription
	seen bool
}

type source struct {
	feeds.Source
	seen bool
}

func newFeedBooks(rules Rules, logs []vault.JournalIndex) feedBooks {
	return feedBooks{
		rules: rules, logs: logs, books: make(map[string]*feedBook),
		ever: make(map[feeds.ID]bool),
	}
}

func (f *feedBooks) book(owner string) *feedBook {
	b := f.books[owner]
	if b == nil {
		b = &feedBook{}
		f.books[owner] = b
	}
	return b
}

// find returns the subscription that a name or an id tells; nil when there is none.
func (f *feedBooks) find(owner, name string) *subscription {
	book := f.book(owner)
	for i := range book.subscriptions {
		if s := &book.subscriptions[i]; s.Name == name || s.ID.String() == name {
			return s
		}
	}
	return nil
}

// position is the index in the journal of the entry that an argument names: its index in the
// audit log that the entry with the argument is in.
func (f *feedBooks) position(index vault.JournalIndex, arg string) feeds.Position {
	n, err := strconv.ParseInt(arg, 10, 64)
	if err != nil {
		return -1
	}
	return feeds.Position(vault.LogOf(f.logs, index)) + feeds.Position(n)
}

// stopped learns from an entry of the program that a subscription was stopped. It may have been
// removed a moment before.
func (f *feedBooks) stopped(args map[string]string) {
	s := f.find(args["owner"], args["subscription"])
	if s != nil && s.State != feeds.Stopped {
		s.State, s.Reason = feeds.Stopped, args["reason"]
	}
}

// entry learns what an operation on subscriptions changed.
func (f *feedBooks) entry(problems *check.Problems, index vault.JournalIndex, e *audit.Entry,
	args map[string]string,
) {
	switch e.Operation {
	case atm.FeedAdd:
		f.add(index, e, args)
		return
	case atm.FeedSourceAdd, atm.FeedSourceRotate, atm.FeedSourceRemove:
		f.source(problems, index, e, args)
		return
	case atm.FeedPause, atm.FeedResume, atm.FeedReplay, atm.FeedTest, atm.FeedRotate,
		atm.FeedRemove, atm.FeedShow, atm.FeedSecret:
	default:
		return
	}
	owner := cmp.Or(args["owner"], e.Caller.Subject)
	if owner != e.Caller.Subject &&
		f.rules.Permit(e.Caller.Principal, e.Operation) != atm.Everywhere {
		problems.Add("entry %d: %s of %s on a subscription of %s", index, e.Operation,
			e.Caller.Subject, owner)
	}
	s := f.find(owner, args["name"])
	if s == nil {
		problems.Add("entry %d: %s has no subscription %s", index, owner, args["name"])
		return
	}
	switch e.Operation {
	case atm.FeedPause:
		if s.State == feeds.Active {
			s.State = feeds.Paused
		}
	case atm.FeedResume:
		s.State, s.Reason = feeds.Active, ""
		s.Resumed++
	case atm.FeedReplay:
		s.From, s.Chain = f.position(index, args["from"]), s.Chain+1
	case atm.FeedTest:
		s.Tests++
	case atm.FeedRotate:
		s.Generation, s.Rotated = s.Generation+1, e.Time
	case atm.FeedRemove:
		book, id := f.book(owner), s.ID
		book.subscriptions = slices.DeleteFunc(book.subscriptions, func(s subscription) bool {
			return s.ID == id
		})
	}
}

// add is what feeds.Add does.
func (f *feedBooks) add(index vault.JournalIndex, e *audit.Entry, args map[string]string) {
	amount := func(name string) atm.Amount {
		amount, _ := atm.Arg{Kind: atm.String, Text: args[name]}.Amount()
		return amount
	}
	s := feeds.Subscription{
		ID: feeds.ID(index), Name: args["name"], URL: args["url"],
		Filter: feeds.Filter{
			Operation: atm.Operation(args["operation"]), Status: args["status"],
			Account: args["account"], Owner: args["owner"], Subject: args["subject"],
			Above: amount("above"), Below: amount("below"),
		},
		Proofs:     args["proofs"] == "1",
		Everything: f.rules.Permit(e.Caller.Principal, e.Operation) == atm.Everywhere,
		From:       feeds.Position(index) + 1, Chain: 1,
	}
	if from := args["from"]; from != "" {
		s.From = f.position(index, from)
	}
	book := f.book(e.Caller.Subject)
	book.subscriptions = append(book.subscriptions, subscription{Subscription: s})
	f.ever[s.ID] = true
}

// source learns what an operation on sources of webhooks changed.
func (f *feedBooks) source(problems *check.Problems, index vault.JournalIndex, e *audit.Entry,
	args map[string]string,
) {
	owner, name := args["owner"], args["name"]
	book := f.book(owner)
	if e.Operation == atm.FeedSourceAdd {
		book.sources = append(book.sources, source{
			Source: feeds.Source{ID: feeds.ID(index), Name: name},
		})
		return
	}
	i := slices.IndexFunc(book.sources, func(s source) bool { return s.Name == name })
	switch {
	case i < 0:
		problems.Add("entry %d: %s has no source %s", index, owner, name)
	case e.Operation == atm.FeedSourceRotate:
		book.sources[i].Generation++
		book.sources[i].Rotated = e.Time
	default:
		book.sources = slices.Delete(book.sources, i, i+1)
	}
}

// check holds the subscriptions and sources of an owner against what the entries said.
func (f *feedBooks) check(problems *check.Problems, row *feeds.Book) {
	book := f.books[row.Owner]
	if book == nil {
		problems.Add("subscriptions of %q are in no journal entry", row.Owner)
		return
	}
	if book.seen {
		problems.Add("subscriptions of %s are there twice", row.Owner)
	}
	book.seen = true
	for i := range row.Subscriptions {
		kept := &row.Subscriptions[i]
		at := slices.IndexFunc(book.subscriptions, func(s subscription) bool {
			return s.ID == kept.ID
		})
		if at < 0 || book.subscriptions[at].seen {
			problems.Add("subscription %s of %s, to %s, is not what the journal says", kept.ID,
				row.Owner, kept.URL)
			continue
		}
		said := &book.subscriptions[at]
		said.seen = true
		for _, d := range said.differences(kept) {
			problems.Add("subscription %s of %s: %s is %s; the journal says %s", kept.ID,
				row.Owner, d.what, d.kept, d.said)
		}
	}
	for i := range row.Sources {
		kept := &row.Sources[i]
		at := slices.IndexFunc(book.sources, func(s source) bool {
			return !s.seen && s.ID == kept.ID && s.Name == kept.Name &&
				s.Generation == kept.Generation && s.Rotated.Equal(kept.Rotated)
		})
		if at < 0 {
			problems.Add("source %s of %s is not what the journal says", kept.Name, row.Owner)
			continue
		}
		book.sources[at].seen = true
	}
}

// A difference is what a record and the journal do not both say.
type difference struct{ what, kept, said string }

// differences compares a record with what the entries said of it.
func (s *subscription) differences(kept *feeds.Subscription) (list []difference) {
	for _, d := range []difference{
		{"the name", kept.Name, s.Name},
		{"the URL", urlArg(kept.URL), s.URL},
		{"the operation", string(kept.Filter.Operation), string(s.Filter.Operation)},
		{"the status", kept.Filter.Status, s.Filter.Status},
		{"the account", kept.Filter.Account, s.Filter.Account},
		{"the owner of accounts", kept.Filter.Owner, s.Filter.Owner},
		{"the subject", kept.Filter.Subject, s.Filter.Subject},
		{"the amount above", kept.Filter.Above.String(), s.Filter.Above.String()},
		{"the balance below", kept.Filter.Below.String(), s.Filter.Below.String()},
		{"whether it has proofs", fmt.Sprint(kept.Proofs), fmt.Sprint(s.Proofs)},
		{"whether it is to everything", fmt.Sprint(kept.Everything), fmt.Sprint(s.Everything)},
		{"the first entry", fmt.Sprint(kept.From), fmt.Sprint(s.From)},
		{"the number of chains", fmt.Sprint(kept.Chain), fmt.Sprint(s.Chain)},
		{"the generation", fmt.Sprint(kept.Generation), fmt.Sprint(s.Generation)},
		{"the time of rotation", stamp(kept.Rotated), stamp(s.Rotated)},
		{"the number of tests", fmt.Sprint(kept.Tests), fmt.Sprint(s.Tests)},
		{"how often it was resumed", fmt.Sprint(kept.Resumed), fmt.Sprint(s.Resumed)},
		{"the state", kept.State.String(), s.State.String()},
		{"the reason", audit.ArgText(kept.Reason), s.Reason},
	} {
		if d.kept != d.said {
			list = append(list, difference{d.what, strconv.Quote(d.kept), strconv.Quote(d.said)})
		}
	}
	return list
}

// urlArg is a URL as an argument of an entry has it. One that looks like what became of a longer
// one is none.
func urlArg(url string) string {
	if !whole(url) {
		return "shortened: " + url
	}
	return audit.ArgText(url)
}

// checkCursor makes sure that a cursor is of a subscription that was made at some time. How far
// it is, no entry says: it may be behind or ahead, and what delivers finds that out. One that
// says nothing may be of a subscription that a power cut took back.
func (f *feedBooks) checkCursor(problems *check.Problems, c *feeds.Cursor) {
	if !f.ever[c.ID] && (c.Sent > 0 || c.Last >= 0) {
		problems.Add("cursor %s is of a subscription that no journal entry made", c.ID)
	}
}

// end tells of what the store does not have.
func (f *feedBooks) end(problems *check.Problems) {
	for owner, book := range f.books {
		for i := range book.subscriptions {
			if s := &book.subscriptions[i]; !s.seen {
				problems.Add("subscription %s of %s is in the journal and has no record", s.ID,
					owner)
			}
		}
		for i := range book.sources {
			if s := &book.sources[i]; !s.seen {
				problems.Add("source %s of %s has no record as the journal says", s.Name, owner)
			}
		}
	}
}
