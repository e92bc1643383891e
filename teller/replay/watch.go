package replay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/assertion"
	"example.com/atm/teller/bookings"
	"example.com/atm/vault"
	"example.com/atm/vault/check"
)

// A Watcher holds each entry of an audit log against those before it, as the entries come: by the
// rules about money, by who owned what, by which roles had been given, by what callers signed in
// with, and by what passkeys confirmed. It sees nothing but the log, so anybody who has the log
// can watch it.
type Watcher struct {
	look      func(ctx context.Context, index int64) (leaf []byte, err error)
	report    func(index int64, problem string)
	replayer  *vault.Replayer
	given     *reversed
	sums      map[vault.JournalIndex]atm.Amount // given back, by the entry that moved it first
	records   *records
	callers   callers
	confirmed assertion.Log
	clock     clock
	index     int64 // of the entry that is looked at
}

// NewWatcher returns a watcher at the beginning of a log that began with its journal. look returns
// the bytes of an entry that came before. report is told of each entry that cannot be right.
func NewWatcher(rules Rules, look func(ctx context.Context, index int64) ([]byte, error),
	report func(index int64, problem string),
) *Watcher {
	w := &Watcher{
		look: look, report: report, replayer: vault.NewReplayer([]vault.JournalIndex{0}),
		given: newReversed([]vault.JournalIndex{0}),
		sums:  make(map[vault.JournalIndex]atm.Amount),
	}
	w.records = newRecords(rules, []vault.JournalIndex{0}, w.replayer,
		check.NewProblems(func(problem string) { w.report(w.index, problem) }))
	w.callers = callers{
		records: w.records, add: w.add, first: make(map[string]time.Time),
		grants: make(map[string]*spending),
	}
	return w
}

func (w *Watcher) add(format string, args ...any) {
	w.report(w.index, fmt.Sprintf(format, args...))
}

// Entry looks at the next entry. An error means that it could not be looked at; what is wrong
// with it is reported.
func (w *Watcher) Entry(ctx context.Context, index int64, leaf []byte) error {
	w.index = index
	if err := w.confirmed.Entry(index, leaf); err != nil {
		w.add("what a passkey confirmed is not what was done: %v", err)
	}
	entry, err := audit.ParseEntry(leaf)
	if err != nil {
		w.add("it is no entry: %v", err)
		return nil
	}
	if at, by := w.clock.entry(index, entry); by > 0 {
		w.report(at, fmt.Sprintf("its time is %s before that of an earlier entry, and nothing "+
			"says that the clock was set", by))
	}
	w.callers.entry(entry)
	if err := w.answered(ctx, entry); err != nil {
		return err
	}
	w.records.entry(vault.JournalIndex(index), entry, answerOf(entry))
	if err := w.given.replay(w.replayer, vault.JournalIndex(index), entry); err != nil {
		w.add("%v", err)
	}
	for i := range w.given.given {
		if err := w.reversal(ctx, &w.given.given[i]); err != nil {
			return err
		}
	}
	w.given.given = w.given.given[:0]
	return nil
}

// entryAt reads an entry that came before. What was no entry has been reported, and is an empty
// one.
func (w *Watcher) entryAt(ctx context.Context, index int64) (*audit.Entry, error) {
	leaf, err := w.look(ctx, index)
	if err != nil {
		return nil, err
	}
	if entry, err := audit.ParseEntry(leaf); err == nil {
		return entry, nil
	}
	return &audit.Entry{ReplayOf: -1}, nil
}

// reversal holds a reversal against the entry that it names.
func (w *Watcher) reversal(ctx context.Context, given *back) error {
	if given.Index < 0 || given.Index >= given.by {
		w.add("%v", given.early())
		return nil
	}
	entry, err := w.entryAt(ctx, int64(given.Index))
	if err != nil {
		return err
	}
	moved, reason := bookings.MovementOf(entry)
	if err := given.check(w.sums, moved, reason); err != nil {
		w.add("%v", err)
	}
	return nil
}

// moving are the operations that change an account whenever they succeed.
var moving = []atm.Operation{
	atm.Deposit, atm.Withdraw, atm.Transfer, atm.Authorize, atm.Capture, atm.Release, atm.Reverse,
	atm.Collect, atm.MandateCreate, atm.OrderCreate, atm.AccountOpen,
}

// answered looks whether an answer was carried out, once.
func (w *Watcher) answered(ctx context.Context, e *audit.Entry) error {
	switch {
	case e.ReplayOf >= 0:
		return w.repetition(ctx, e)
	case e.Caller == nil || e.Status == nil || e.Status.Code != atm.OK:
	case len(e.State) == 0 && slices.Contains(moving, e.Operation):
		w.add("%s of %s succeeded and moved nothing", e.Operation, e.Caller.Subject)
	case e.Operation == atm.Inquiry:
		name := vault.Name(argsOf(e)["account"])
		if balance := w.replayer.Account(name).Balance.String(); e.Status.Result != balance {
			w.add("%s was told that account %s has %v; it has %s", e.Caller.Subject, name,
				e.Status.Result, balance)
		}
	}
	return nil
}

// repetition holds the answer to a repeated request against the first answer.
func (w *Watcher) repetition(ctx context.Context, e *audit.Entry) error {
	if e.ReplayOf >= w.index {
		w.add("it repeats entry %d, which came later", e.ReplayOf)
		return nil
	}
	first, err := w.entryAt(ctx, e.ReplayOf)
	if err != nil {
		return err
	}
	switch {
	case len(e.State) > 0:
		w.add("it repeats entry %d, and changes accounts", e.ReplayOf)
	case first.Request != e.Request || first.Operation != e.Operation ||
		first.Caller == nil || e.Caller == nil || first.Caller.Subject != e.Caller.Subject ||
		!slices.Equal(first.Args, e.Args):
		w.add("it repeats entry %d, which answered another request", e.ReplayOf)
	case first.Status == nil || e.Status == nil || first.Status.Code != e.Status.Code ||
		first.Status.Result != e.Status.Result:
		w.add("it repeats entry %d with another answer", e.ReplayOf)
	}
	return nil
}

// A clock compares the times of entries. A clock that is set has an entry that says so, a second
// or two later; one that was set while the server did not run has the entry of its start.
type clock struct {
	newest time.Time
	back   int64 // the entry whose time is before newest
	since  time.Time
}

const (
	// clockSlack is how far the clocks of servers that share a log may be apart, and how long
	// decided entries may wait.
	clockSlack = time.Minute

	// clockNoticed is how soon a server has noticed that its clock was set.
	clockNoticed = 5 * time.Second
)

// entry returns an entry whose time is that much too early.
func (c *clock) entry(index int64, e *audit.Entry) (at int64, by time.Duration) {
	switch back := c.newest.Sub(e.Time); {
	case e.Event == audit.EventClockStep, e.Event == audit.EventStart, back <= 0:
		c.newest, c.since = e.Time, time.Time{}
	case back <= clockSlack:
	case c.since.IsZero():
		c.back, c.since = index, e.Time
	case e.Time.Sub(c.since) > clockNoticed:
		at, c.newest, c.since = c.back, e.Time, time.Time{}
		return at, back
	}
	return 0, 0
}
