// Package feed tells subscribers of the entries of the audit log: it follows the journal of a
// store, as the publisher does, and sends each entry that a subscription selects to its URL.
//
// An event is sent only when its entry is durable, in order of index, and until the receiver has
// said that it arrived: at least once, each time with the same id. Each event says which one came
// before it, and each minute a checkpoint says up to where the journal was looked at, so a
// receiver notices what is missing. Nothing here holds up a commit.
//
// One goroutine has all the state: it reads the journal, and decides what is sent when. Others
// each make one try, and report what became of it. How far each subscription was delivered is a
// cursor in the store. Where servers share a store, each subscription is delivered by the one
// that has claimed its cursor.
package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/feed/webhook"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/ledger"
	"golang.org/x/time/rate"
)

// A Store has the journal, the subscriptions and their cursors. It is a part of vault.Store.
type Store interface {
	Signed(ctx context.Context) (checkpoint []byte, head merkle.Head, err error)
	Logs(ctx context.Context) ([]vault.JournalIndex, error)
	Base(ctx context.Context) (vault.Base, error)
	Entries(ctx context.Context, from, to vault.JournalIndex,
		yield func(index vault.JournalIndex, leaf []byte) error) error
	Account(ctx context.Context, name vault.Name) (vault.Account, error)
	vault.FeedStore
}

// Config is everything that a Feed needs. What is not called optional is required.
type Config struct {
	Store  Store
	Keys   *Keys
	Sender *webhook.Sender

	// Origin is that of the n-th audit log of the journal, from 0 on.
	Origin func(n int) string

	// May returns ErrNotAllowed when the owner of a subscription may not have what it is for any
	// more.
	May func(ctx context.Context, owner string, s *feeds.Subscription) error

	// See says what the owner of a subscription may see of an entry at the moment. It returns
	// nil when that is nothing, and the error of May.
	See func(ctx context.Context, owner string, s *feeds.Subscription, leaf []byte) (*View, error)

	// Prove returns the proof that an entry is in the published log.
	Prove func(ctx context.Context, index int64) ([]byte, error)

	// Complete adds to a checkpoint of the store the signatures that its log promises beyond those.
	// Optional.
	Complete func(signed []byte) ([]byte, error)

	// Stop records that a subscription is delivered no more, and why.
	Stop func(ctx context.Context, s Stopped) error

	// Holder is the name of this process among those that share the store.
	Holder string

	// Rate is how many events a second are sent for long, to all subscribers together; for a
	// moment it may be more. Optional; DefaultRate.
	Rate float64

	// Tried is told of each try. Optional; it must not block.
	Tried func(delivered bool)

	// Log receives what keeps events from being delivered. Optional.
	Log *slog.Logger
}

// A View is what somebody may see of an entry.
type View struct {
	Whole bool         // its bytes
	Known *audit.Entry // what may be known, when its bytes say more
}

// ErrNotAllowed reports an owner who may not have what the subscription is for any more.
var ErrNotAllowed = errors.New("its owner may not see these entries any more")

// A Stopped is a subscription that is delivered no more.
type Stopped struct {
	Owner  string
	ID     feeds.ID
	Name   string
	Cause  Cause
	Reason string // in a sentence
}

// DefaultRate is how many events a second are sent for long. It keeps the feed from taking the
// processor that operations need; docs/feed.md has what an event costs.
const DefaultRate = 200

// burst is how many events may be sent at once after a quiet time.
const burst = 2000

const (
	// maxFlights bounds the tries that are under way, and maxOwnFlights those to the
	// subscriptions of one owner: receivers that hang hold up only each other.
	maxFlights    = 256
	maxOwnFlights = 4

	// scanned is how many entries are read at once.
	scanned = 2048

	// patience is how long the store may take.
	patience = 30 * time.Second
)

// timing is how long everything takes. Tests make it shorter.
type timing struct {
	rest       time.Duration // between two turns
	poll       time.Duration // until commits of other servers are noticed
	sync       time.Duration // until subscriptions of other servers are, and claims renewed
	claim      time.Duration // that a claim lasts
	save       time.Duration // between two writes of cursors
	retry      time.Duration // after the first try that failed; twice as long after each other one
	longest    time.Duration // that a retry waits
	giveUp     time.Duration // until a subscription is stopped
	checkpoint time.Duration // between two checkpoints
	drain      time.Duration // that tries under way may take at the end
}

var usual = timing{
	rest: 50 * time.Millisecond, poll: time.Second, sync: 3 * time.Second,
	claim: 10 * time.Second, save: time.Second, retry: 5 * time.Second, longest: time.Hour,
	giveUp: 72 * time.Hour, checkpoint: time.Minute, drain: 2 * time.Second,
}

// A Feed delivers events. Run runs it.
type Feed struct {
	cfg    Config
	timing timing

	wake    chan struct{} // has a token when there is something new
	changed atomic.Bool   // subscriptions were changed
	stats   atomic.Pointer[Stats]

	// Of Run alone.
	lines    map[feeds.ID]*line
	order    []*line // of lines, each turn another one first
	first    int     // of order, whose turn to depart it is
	owners   owners
	results  chan result
	flights  int
	flying   map[string]int // by owner
	limiter  *rate.Limiter
	logs     []vault.JournalIndex
	signed   []byte // the newest checkpoint
	head     merkle.Head
	begin    vault.JournalIndex // of the journal
	end      vault.JournalIndex // of the journal
	synced   time.Time
	saved    time.Time
	failing  bool // the store
	orphaned bool // cursors without subscriptions were looked for
}

// New returns a feed.
func New(cfg Config) *Feed {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Tried == nil {
		cfg.Tried = func(bool) {}
	}
	cfg.Rate = cmp.Or(cfg.Rate, DefaultRate)
	f := &Feed{
		cfg: cfg, timing: usual, wake: make(chan struct{}, 1), lines: make(map[feeds.ID]*line),
		results: make(chan result, maxFlights), flying: make(map[string]int),
		owners:  owners{store: cfg.Store, known: make(map[vault.Name]string)},
		limiter: rate.NewLimiter(rate.Limit(cfg.Rate), burst),
	}
	f.stats.Store(&Stats{})
	return f
}

// Committed is told of each commit of this server, and does not block.
func (f *Feed) Committed(c ledger.Commit) {
	if c.Feeds {
		f.changed.Store(true)
	}
	select {
	case f.wake <- struct{}{}:
	default: // it is awake
	}
}

// Run delivers until ctx is done. Then it waits a moment for tries that are under way, and keeps
// the cursors.
func (f *Feed) Run(ctx context.Context) {
	flight, land := context.WithCancel(context.WithoutCancel(ctx))
	defer land()
	for ctx.Err() == nil {
		next, err := f.turn(ctx, flight)
		if ctx.Err() == nil {
			f.report(err)
		}
		f.wait(ctx, flight, next)
	}
	f.finish(context.WithoutCancel(ctx), land)
}

// report tells the operator once that the store fails, and once that it does not any more.
func (f *Feed) report(err error) {
	switch failed := err != nil; {
	case failed && !f.failing:
		f.cfg.Log.Warn("events cannot be delivered at the moment", slog.Any("error", err))
	case !failed && f.failing:
		f.cfg.Log.Info("events are delivered again")
	}
	f.failing = err != nil
}

// wait waits until there may be something to do: until next, or less when something arrives, but
// for a rest at least, in which what has arrived gathers.
func (f *Feed) wait(ctx, flight context.Context, next time.Time) {
	rest := time.NewTimer(f.timing.rest)
	defer rest.Stop()
	for resting := true; resting; {
		select {
		case r := <-f.results:
			f.landed(ctx, r)
			if len(r.line.queue) == 0 && f.behind() != nil && f.scan(ctx) != nil {
				return // the turn meets the error again
			}
			f.depart(flight) // the next event of a line does not wait for the turn
		case <-rest.C:
			resting = false
		case <-ctx.Done():
			return
		}
	}
	if f.behind() != nil && !f.failing { // what has landed left space
		return
	}
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	select {
	case r := <-f.results:
		f.landed(ctx, r)
	case <-f.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// turn does what there is to do, and returns when it is to be called again at the latest.
func (f *Feed) turn(ctx, flight context.Context) (next time.Time, err error) {
	now := time.Now()
	next = now.Add(f.timing.poll)
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if f.changed.Swap(false) || now.Sub(f.synced) >= f.timing.sync {
		if err := f.sync(bounded, now); err != nil {
			f.changed.Store(true)
			return next, err
		}
	}
	if len(f.lines) > 0 {
		if err := f.look(bounded); err != nil {
			return next, err
		}
		f.stopAhead(bounded)
		f.stopBehind(bounded)
		if err := f.scan(bounded); err != nil {
			return next, err
		}
		f.addCheckpoints(now)
	}
	if at := f.depart(flight); at.Before(next) {
		next = at
	}
	if now.Sub(f.saved) >= f.timing.save {
		err = f.save(bounded, false)
	}
	f.count()
	return next, err
}

// look reads how far the journal goes.
func (f *Feed) look(ctx context.Context) (err error) {
	if f.logs, err = f.cfg.Store.Logs(ctx); err != nil {
		return err
	}
	if f.signed, f.head, err = f.cfg.Store.Signed(ctx); err != nil {
		return err
	}
	base, err := f.cfg.Store.Base(ctx)
	if err != nil {
		return err
	}
	f.begin, f.end = base.Index, vault.JournalEnd(f.logs, f.head)
	f.owners.forget()
	return nil
}

// stopAhead stops the subscriptions whose cursors are ahead of the journal: an older store was
// put back, and what was delivered since then is not in it. Nothing is skipped: the owner says
// from which entry on to deliver again, or resumes, and everything is.
//
// One that has not read anything yet is not ahead: it, or its replay, is about to be durable.
func (f *Feed) stopAhead(ctx context.Context) {
	for _, l := range f.order {
		if l.sub.State != feeds.Active || vault.JournalIndex(l.scanned) <= f.end ||
			l.scanned == l.sub.From {
			continue
		}
		f.stop(ctx, l, Restored, fmt.Sprintf("An older journal was restored: it has %d entries, "+
			"and %d were looked at before; use feed replay", f.end, l.scanned))
		if l.sub.State == feeds.Stopped {
			l.rewind() // the journal will be as long again, with other entries
		}
	}
}

// stopBehind stops the subscriptions that come to entries which the journal does not have any
// more. What was read before is still delivered. The owner says from which entry on to go on, and
// so knows which ones are missing.
func (f *Feed) stopBehind(ctx context.Context) {
	for _, l := range f.order {
		next := vault.JournalIndex(l.scanned)
		if l.sub.State != feeds.Active || next >= f.begin || len(l.queue) > 0 {
			continue
		}
		first := vault.InLog(f.logs, f.begin)
		missing := fmt.Sprintf("Entries %d to %d were", vault.InLog(f.logs, next), first-1)
		if vault.LogOf(f.logs, next) != vault.LogOf(f.logs, f.begin) {
			missing = fmt.Sprintf("What came before entry %d was", first)
		}
		f.stop(ctx, l, Trimmed, fmt.Sprintf("%s not delivered, and this server does not keep it "+
			"any more; use feed replay --from %d", missing, first))
	}
}

// An owned is a subscription and whose it is.
type owned struct {
	owner string
	sub   feeds.Subscription
}

// sync reads the subscriptions, and claims those that nobody else has. Claims are renewed when it
// is time, and not for each change of a subscription: one that is paused and resumed all day would
// have all of them written all the time.
func (f *Feed) sync(ctx context.Context, now time.Time) error {
	books, err := f.cfg.Store.Feeds(ctx)
	if err != nil {
		return err
	}
	wanted := make(map[feeds.ID]owned)
	for _, book := range books {
		for _, s := range book.Subscriptions {
			wanted[s.ID] = owned{book.Owner, s}
		}
	}
	isWanted := func(id feeds.ID) bool { _, is := wanted[id]; return is }
	if err := f.forget(ctx, isWanted); err != nil {
		return err
	}
	f.keep(func(l *line) bool { return isWanted(l.sub.ID) })
	ids := slices.Sorted(maps.Keys(wanted))
	renews := now.Sub(f.synced) >= f.timing.sync
	if !renews {
		ids = slices.DeleteFunc(ids, func(id feeds.ID) bool { return f.lines[id] != nil })
	}
	if err := f.claim(ctx, now, wanted, ids); err != nil {
		return err
	}
	for id, l := range f.lines {
		l.update(wanted[id].sub)
	}
	if renews {
		f.synced = now
	}
	return nil
}

// claim claims subscriptions, and drops the lines of those among them that another server has.
func (f *Feed) claim(ctx context.Context, now time.Time, wanted map[feeds.ID]owned, ids []feeds.ID,
) error {
	if len(ids) == 0 {
		return nil
	}
	claimed, err := f.cfg.Store.ClaimCursors(ctx, f.cfg.Holder, f.timing.claim, ids)
	if err != nil {
		return err
	}
	lost := make(map[feeds.ID]bool, len(ids))
	for _, id := range ids {
		lost[id] = true
	}
	until := now.Add(f.timing.claim * 4 / 5) // the clocks of two machines do not run alike
	for _, cursor := range claimed {
		w, is := wanted[cursor.ID]
		if !is {
			continue
		}
		lost[cursor.ID] = false
		l := f.lines[cursor.ID]
		if l != nil && !l.isAt(&cursor) { // another server had the claim meanwhile
			f.keep(func(other *line) bool { return other != l })
			l = nil
		}
		if l == nil {
			l = newLine(w.owner, w.sub, cursor)
			f.lines[cursor.ID], f.order = l, append(f.order, l)
		}
		l.until = until
	}
	f.keep(func(l *line) bool { return !lost[l.sub.ID] })
	return nil
}

// forget removes the cursors of subscriptions that were removed: all there are the first time,
// and then those that are delivered here.
func (f *Feed) forget(ctx context.Context, exists func(feeds.ID) bool) error {
	var gone []feeds.ID
	if !f.orphaned {
		all, err := f.cfg.Store.Cursors(ctx)
		if err != nil {
			return err
		}
		for _, c := range all {
			if !exists(c.ID) {
				gone = append(gone, c.ID)
			}
		}
	}
	for id := range f.lines {
		if !exists(id) {
			gone = append(gone, id)
		}
	}
	if len(gone) > 0 {
		if err := f.cfg.Store.ForgetCursors(ctx, gone); err != nil {
			return err
		}
	}
	f.orphaned = true
	return nil
}

// keep drops the other lines: what they have under way is sent, and counts for nobody here.
func (f *Feed) keep(mine func(*line) bool) {
	maps.DeleteFunc(f.lines, func(_ feeds.ID, l *line) bool { return !mine(l) })
	f.order = slices.DeleteFunc(f.order, func(l *line) bool { return !mine(l) })
}

// save keeps the cursors that have changed.
func (f *Feed) save(ctx context.Context, release bool) error {
	var changed []feeds.Cursor
	for _, l := range f.order {
		if l.dirty || release {
			changed = append(changed, l.cursor)
		}
	}
	f.saved = time.Now()
	if len(changed) == 0 {
		return nil
	}
	kept, err := f.cfg.Store.SaveCursors(ctx, f.cfg.Holder, changed, release)
	if err != nil {
		return err
	}
	lost := make(map[feeds.ID]bool)
	for _, c := range changed {
		if slices.Contains(kept, c.ID) {
			f.lines[c.ID].dirty, f.lines[c.ID].stored = false, c
		} else {
			lost[c.ID] = true
		}
	}
	f.keep(func(l *line) bool { return !lost[l.sub.ID] })
	return nil
}

// finish waits for what is under way, and keeps the cursors.
func (f *Feed) finish(ctx context.Context, land context.CancelFunc) {
	end := time.NewTimer(f.timing.drain)
	defer end.Stop()
	for f.flights > 0 {
		select {
		case r := <-f.results:
			f.landed(ctx, r)
		case <-end.C:
			land() // each ends at once
		}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timing.drain)
	defer cancel()
	if err := f.save(ctx, true); err != nil {
		f.cfg.Log.Warn("keeping the cursors of the event feed", slog.Any("error", err))
	}
}
