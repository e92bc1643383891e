package replay

import (
	"context"
	"fmt"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/bookings"
	"example.com/atm/teller/methods"
	"example.com/atm/vault"
	"example.com/atm/vault/check"
)

// A Watcher holds each entry of an audit log against those before it, as the entries come: by the
// rules about money, by who owned what, and by which roles had been given. It sees nothing but
// the log, so anybody who has the log can watch it.
type Watcher struct {
	look     func(ctx context.Context, index int64) (leaf []byte, err error)
	report   func(index int64, problem string)
	replayer *vault.Replayer
	given    reversed
	sums     map[vault.JournalIndex]atm.Amount // given back, by the entry that moved it first
	records  *records
	index    int64 // of the entry that is looked at
}

// NewWatcher returns a watcher at the beginning of a log that began with its journal. look returns
// the bytes of an entry that came before. report is told of each entry that cannot be right.
func NewWatcher(rules Rules, look func(ctx context.Context, index int64) ([]byte, error),
	report func(index int64, problem string),
) *Watcher {
	w := &Watcher{
		look: look, report: report, replayer: vault.NewReplayer([]vault.JournalIndex{0}),
		given: reversed{logs: []vault.JournalIndex{0}},
		sums:  make(map[vault.JournalIndex]atm.Amount),
	}
	w.records = newRecords(rules, []vault.JournalIndex{0}, w.replayer, check.NewProblems(w.add))
	return w
}

func (w *Watcher) add(problem string) { w.report(w.index, problem) }

// Entry looks at the next entry. An error means that it could not be looked at; what is wrong
// with it is reported.
func (w *Watcher) Entry(ctx context.Context, index int64, leaf []byte) error {
	w.index = index
	entry, err := audit.ParseEntry(leaf)
	if err != nil {
		w.add("it is no entry: " + err.Error())
		return nil
	}
	w.permitted(entry)
	w.records.entry(vault.JournalIndex(index), entry)
	if err := w.given.replay(w.replayer, vault.JournalIndex(index), entry); err != nil {
		w.add(err.Error())
	}
	for i := range w.given.given {
		if err := w.reversal(ctx, &w.given.given[i]); err != nil {
			return err
		}
	}
	w.given.given = w.given.given[:0]
	return nil
}

// reversal holds a reversal against the entry that it names.
func (w *Watcher) reversal(ctx context.Context, given *back) error {
	if given.Index < 0 || given.Index >= given.by {
		w.add(given.early().Error())
		return nil
	}
	leaf, err := w.look(ctx, int64(given.Index))
	if err != nil {
		return err
	}
	entry, err := audit.ParseEntry(leaf)
	if err != nil {
		return err
	}
	moved, reason := bookings.MovementOf(entry)
	if err := given.check(w.sums, moved, reason); err != nil {
		w.add(err.Error())
	}
	return nil
}

// permitted looks whether the roles of a caller, as the entry has them, may do what was done.
func (w *Watcher) permitted(e *audit.Entry) {
	if e.Caller == nil || e.Status == nil || e.Status.Code != atm.OK || e.Operation == "" {
		return
	}
	if methods.Of(e.Operation) != nil && w.records.rules.Permit(e.Caller.Principal,
		e.Operation) == atm.Nowhere {
		w.add(fmt.Sprintf("%s of %s, who is %v, which may not do it", e.Operation,
			e.Caller.Subject, e.Caller.Roles))
	}
	if p := w.records.users[e.Caller.Subject]; p != nil && p.disabled {
		w.add(fmt.Sprintf("%s of %s, who is disabled", e.Operation, e.Caller.Subject))
	}
}
