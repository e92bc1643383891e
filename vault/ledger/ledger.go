// Package ledger commits commands in groups: it decides them one after the other and lets their
// answers leave when they are durable.
package ledger

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/flood"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/requestid"
)

const (
	// maxBatch is how many commands share one commit at most.
	maxBatch = 256

	// maxAhead is how many full groups are decided while others wait for the disk.
	maxAhead = 3

	// maxQueue is how many commands may wait for the committer. Callers that come
	// when the queue is full wait for space on it.
	maxQueue = 4 * maxBatch
)

// Config is everything a Ledger needs.
type Config struct {
	// Store keeps the books. Required.
	Store vault.Store

	// Signer signs the head of the audit tree in every commit. Required.
	Signer *checkpoint.Signer

	// Now is the clock of the commits. Optional; that of the store, or else
	// time.Now.
	Now func() time.Time

	// Admit is asked before each commit whether there is space for it. An
	// error answers the whole batch UNAVAILABLE. Optional.
	Admit func() error

	// Committed is told of each commit before its answers leave. Optional; it
	// must not block.
	Committed func(Commit)

	// Log receives what stops the ledger. Optional.
	Log *slog.Logger
}

// A Commit is what a group of commands did together.
type Commit struct {
	First vault.JournalIndex // of its entries

	Operations int           // how many commands shared it
	Replays    int           // of them, those that were answered before
	Users      []people.User // those that became known or changed

	Revocations []people.Revocation

	Orders []vault.Order // that are new or changed

	Feeds bool // subscriptions changed
}

// A Ledger decides commands one after the other and commits them in groups.
//
// One goroutine gathers what has arrived while the last commit was on its way
// to the disk, decides it in order of arrival, and commits it once. So there
// are no locks in the rules, no update is lost, and many operations share one
// fsync. A single caller never waits for a group to fill; see gather.
//
// Where commands are waiting already, another goroutine waits until a group is
// durable, and the next group is decided meanwhile. Answers leave in order, and only
// when everything before them is durable.
type Ledger struct {
	cfg   Config
	queue chan *pending

	mu     sync.RWMutex // held for reading while a command is put on the queue
	closed bool         // guarded by mu

	poisoned end
	done     chan struct{} // closed when the last answer has left

	deciding, ending stage
	ahead            pipe

	last int   // size of the last group; of the committer
	most bound // of the committer

	denials *flood.Denials
}

// An end is the end of a ledger because of an error.
type end struct {
	once   sync.Once
	err    error         // why; set before failed is closed
	failed chan struct{} // closed when the ledger is poisoned
}

// A pipe has the groups that endLoop is to end, in order.
type pipe struct {
	groups chan *group
	n      atomic.Int32 // groups that have not ended yet
}

func (p *pipe) add(g *group) {
	p.n.Add(1)
	g.taken = make(chan struct{})
	p.groups <- g
}

// A stage of a commit knows since when a commit is in it; nil for none.
type stage struct{ since atomic.Pointer[time.Time] }

func (s *stage) enter() {
	now := time.Now()
	s.since.Store(&now)
}

func (s *stage) leave() { s.since.Store(nil) }

func (s *stage) elapsed() time.Duration {
	if since := s.since.Load(); since != nil {
		return time.Since(*since)
	}
	return 0
}

// pending is a command on its way through the committer.
type pending struct {
	cmd    vault.Command
	status atm.Status
	done   sync.WaitGroup // at zero when status is final
}

func (p *pending) answer(code atm.Code, reason string) {
	p.status = atm.Status{Code: code, Reason: reason, Result: ""}
	p.done.Done()
}

// New returns a ledger that accepts commands. Close ends it.
func New(cfg Config) *Ledger {
	if cfg.Admit == nil {
		cfg.Admit = func() error { return nil }
	}
	if cfg.Committed == nil {
		cfg.Committed = func(Commit) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := &Ledger{
		cfg:   cfg,
		queue: make(chan *pending, maxQueue),
		ahead: pipe{groups: make(chan *group, maxAhead)},
		done:  make(chan struct{}),

		denials:  flood.NewDenials(),
		most:     bound{most: maxBatch},
		poisoned: end{failed: make(chan struct{})},
	}
	go l.commitLoop()
	return l
}

// A Reply is the answer to a command that has been put on the queue; calling
// it waits until the answer is durable.
type Reply func() atm.Status

// Begin puts cmd on the queue and returns at once when there is space on it.
// Commands that one goroutine begins are decided in that order. Once begun, a
// command is carried out even if nobody waits for its answer.
func (l *Ledger) Begin(ctx context.Context, cmd vault.Command) Reply {
	p := &pending{cmd: cmd}
	p.done.Add(1)
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		p.answer(atm.Unavailable, reasonStopping)
		return func() atm.Status { return p.status }
	}
	select {
	case l.queue <- p:
	default: // only now is it worth asking for the channel of ctx, which is made then
		select {
		case l.queue <- p:
		case <-ctx.Done():
			p.answer(atm.Unavailable, "The caller went away before the operation began")
		}
	}
	return func() atm.Status {
		p.done.Wait()
		return p.status
	}
}

// Do carries cmd out and returns its answer when it is durable.
func (l *Ledger) Do(ctx context.Context, cmd vault.Command) atm.Status {
	return l.Begin(ctx, cmd)()
}

// Denied returns what was counted of denied operations since the last call: what has no
// entries of its own. It is to be called each minute, and recorded.
func (l *Ledger) Denied() []audit.Summary { return l.denials.Flush() }

// Failed is closed when a commit failed or its outcome is unknown. The process
// must end then: the next start finds out what is durable.
func (l *Ledger) Failed() <-chan struct{} { return l.poisoned.failed }

// Err returns why the ledger failed, and nil while it works.
func (l *Ledger) Err() error {
	select {
	case <-l.poisoned.failed:
		return l.poisoned.err
	default:
		return nil
	}
}

// Fail ends the ledger because of err, which was found outside of a commit: the store is not
// what it was. Nothing more is committed, and Failed is closed.
func (l *Ledger) Fail(err error) { l.poison(err, nil) }

// Close carries out what is on the queue, ends the committer and returns why
// the ledger failed, if it did. It does not close the store.
func (l *Ledger) Close() error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.queue)
	}
	l.mu.Unlock()
	<-l.done
	return l.Err()
}

// Reasons of answers that no entry holds.
const (
	reasonStopping = "The server is stopping"
	reasonNoRoom   = "The server cannot store anything at the moment"
	reasonUnknown  = "The outcome is unknown: repeat the request with the same request id"
)

// A group is commands that are committed together.
type group struct {
	batch   []*pending
	grows   bool // what comes before the store loads anything may be added
	outcome Commit
	durable func() error
	taken   chan struct{} // closed when endLoop waits for it
}

// keys are those of its commands.
func (g *group) keys() vault.Keys {
	keys := vault.Keys{
		Accounts: make([]vault.Name, 0, 2*len(g.batch)),
		Requests: make([]requestid.Key, 0, len(g.batch)),
	}
	for _, p := range g.batch {
		p.cmd.AppendKeys(&keys)
	}
	return keys
}

func (l *Ledger) commitLoop() {
	go l.endLoop()
	defer close(l.ahead.groups)
	for first := range l.queue {
		g := &group{batch: l.gather([]*pending{first}), grows: true}
		if l.Err() != nil {
			g.refuse(reasonStopping)
			continue
		}
		l.deciding.enter()
		switch {
		case !l.commit(g):
		case len(l.queue) > 0 || l.ahead.n.Load() > 0:
			l.ahead.add(g)
			if len(g.batch) < l.most.most { // until endLoop takes it, more can come together
				<-g.taken
			}
		default: // there is nothing to do meanwhile
			l.end(g)
		}
		l.deciding.leave()
	}
}

// endLoop lets answers leave when they are durable.
func (l *Ledger) endLoop() {
	defer close(l.done)
	for g := range l.ahead.groups {
		close(g.taken)
		l.ending.enter()
		l.end(g)
		l.ending.leave()
		l.ahead.n.Add(-1)
	}
}

func (g *group) refuse(reason string) {
	for _, p := range g.batch {
		p.answer(atm.Unavailable, reason)
	}
}

// smallGroup is the size from which on it does not pay to wait for more: what a
// commit costs beside its commands is shared by enough of them.
const smallGroup = 32

// crowd is the size of a group from which on a store that waits for other processes is to take
// what has come meanwhile along, though that costs it a round trip.
const crowd = 4

// comeBack is about how long each of the callers that were answered together takes
// until it is back, on a machine that is busy.
const comeBack = 30 * time.Microsecond

// gather adds what has arrived, and what arrives while it yields the processor to other
// goroutines that are ready to run, up to a full batch.
//
// Callers that were answered together come back together. So a small group waits
// for as many as the last one had, for at most as long as they take. After a group of
// one, it does not wait.
func (l *Ledger) gather(batch []*pending) []*pending {
	for before := 0; len(batch) != before && len(batch) < l.most.most; {
		before = len(batch)
		batch = l.drain(batch)
		if len(batch) < l.most.most {
			runtime.Gosched()
		}
	}
	if want := min(l.last, smallGroup, l.most.most); len(batch) < want {
		batch = l.await(batch, want, time.Duration(want)*comeBack)
	}
	l.last = len(batch)
	return batch
}

// await adds what arrives until there are so many, for a while.
func (l *Ledger) await(batch []*pending, want int, most time.Duration) []*pending {
	enough := time.NewTimer(most)
	defer enough.Stop()
	for len(batch) < want {
		select {
		case p, open := <-l.queue:
			if !open {
				return batch
			}
			batch = append(batch, p)
		case <-enough.C:
			return batch
		}
	}
	return l.drain(batch)
}

// drain adds what is on the queue, up to a full batch.
func (l *Ledger) drain(batch []*pending) []*pending {
	for len(batch) < l.most.most {
		select {
		case p, open := <-l.queue:
			if !open {
				return batch
			}
			batch = append(batch, p)
		default:
			return batch
		}
	}
	return batch
}

// Busy is how long the commit that is under way has taken so far, and 0 when none
// is.
func (l *Ledger) Busy() time.Duration { return max(l.deciding.elapsed(), l.ending.elapsed()) }

// commit decides a group and begins to make it durable. It reports whether there
// are answers that have to wait for that.
func (l *Ledger) commit(g *group) bool {
	if err := l.cfg.Admit(); err != nil {
		g.refuse(reasonNoRoom)
		return false
	}
	keys := g.keys()
	if g.grows && len(g.batch) >= crowd {
		keys.More = func() vault.Keys {
			g.batch = l.drain(g.batch)
			l.last = len(g.batch)
			return g.keys()
		}
	}
	var denials *flood.DenialBatch
	var broken []error
	decide := func(b *vault.Books) error {
		denials = l.denials.Batch()
		b.Now = l.now(b.Now).UTC().Truncate(time.Microsecond)
		b.Expect(len(g.batch))
		for _, p := range g.batch {
			var err error
			if p.status, err = p.cmd.DecideAll(b, denials); err != nil {
				return err
			}
		}
		broken = b.Broken()
		g.outcome = Commit{Operations: len(g.batch), Replays: b.Replays()}
		if err := b.Finish(l.cfg.Signer); err != nil {
			return err
		}
		if c := b.Changes(); c != nil {
			g.outcome.First = c.First
			g.outcome.Users, g.outcome.Revocations = c.Users, c.Revocations
			g.outcome.Orders, g.outcome.Feeds = c.Orders, len(c.Feeds) > 0
		}
		return nil
	}
	var err error
	g.durable, err = l.cfg.Store.Commit(context.Background(), keys, decide)
	var undone *vault.UndoneError
	switch {
	case errors.As(err, &undone) && len(g.batch) == 1:
		g.batch[0].cmd.Undo(undone)
		return l.commit(g)
	case (errors.Is(err, vault.ErrRefused) || undone != nil) && len(g.batch) > 1:
		l.commitApart(g.batch)
	case errors.Is(err, vault.ErrTooLarge) && len(g.batch) > 1:
		l.commitHalves(g.batch)
	case errors.Is(err, vault.ErrUnavailable):
		l.cfg.Log.Error("nothing can be committed", slog.Any("error", err))
		g.refuse(reasonNoRoom)
	case errors.Is(err, vault.ErrRefused):
		l.tellBroken(err)
		g.batch[0].answer(atm.Internal, vault.ReasonOf(err))
	case err != nil:
		l.poison(err, g.batch)
	default:
		l.most.noted(len(g.batch))
		denials.Keep()
		for _, err := range broken {
			l.tellBroken(err)
		}
	}
	return err == nil
}

// tellBroken tells the operator why an operation is answered INTERNAL.
func (l *Ledger) tellBroken(err error) {
	message := "a record of the vault is damaged; what needs it is answered INTERNAL"
	if vault.Mistaken(err) {
		message = "a rule has a mistake; its operation is answered INTERNAL"
	}
	l.cfg.Log.Error(message, slog.Any("error", err))
}

// commitApart commits each command by itself, after the store refused them together because
// of one of them.
func (l *Ledger) commitApart(batch []*pending) {
	for _, p := range batch {
		l.commitPart([]*pending{p})
	}
}

// commitHalves commits one half of the commands after the other, after the store found all
// together too large.
func (l *Ledger) commitHalves(batch []*pending) {
	half := (len(batch) + 1) / 2
	l.most.cut(half)
	for part := range slices.Chunk(batch, half) {
		l.commitPart(part)
	}
}

// commitPart commits a part of a group. Groups that are decided before it end before it.
func (l *Ledger) commitPart(batch []*pending) {
	g := &group{batch: batch}
	switch {
	case l.Err() != nil:
		g.refuse(reasonStopping)
	case !l.commit(g):
	case l.ahead.n.Load() > 0:
		l.ahead.add(g)
	default:
		l.end(g)
	}
}

// A bound is how many commands share one commit at most: fewer after the store found as many too
// large, and then slowly more again.
type bound struct{ most, made int }

// growEvery is how many full groups are committed before one may have a command more.
const growEvery = 8

func (b *bound) cut(n int) { *b = bound{most: max(n, 1)} }

// noted notes a group of n commands that was committed.
func (b *bound) noted(n int) {
	if n < b.most || b.most >= maxBatch {
		return
	}
	if b.made++; b.made >= growEvery {
		*b = bound{most: b.most + 1}
	}
}

// end waits until a group is durable, and answers it.
func (l *Ledger) end(g *group) {
	if err := g.durable(); err != nil {
		l.poison(err, g.batch)
		return
	}
	l.cfg.Committed(g.outcome)
	// The answers leave only now. Had they left before the commit was durable, a
	// power cut could take back money that somebody already holds in the hand.
	for _, p := range g.batch {
		p.done.Done()
	}
}

// now is the time of a commit; shared is that by the clock of the store.
func (l *Ledger) now(shared time.Time) time.Time {
	switch {
	case l.cfg.Now != nil:
		return l.cfg.Now()
	case !shared.IsZero():
		return shared
	}
	return time.Now()
}

// poison ends the ledger. Even an error that came before the commit ends it:
// it is a bug or a broken disk, and the ordinary start is the one recovery
// that is tested every day.
func (l *Ledger) poison(err error, batch []*pending) {
	l.poisoned.once.Do(func() {
		l.poisoned.err = err
		close(l.poisoned.failed)
		l.cfg.Log.Error("nothing can be committed any more; the process must end",
			slog.Any("error", err))
	})
	for _, p := range batch {
		p.answer(atm.OutcomeUnknown, reasonUnknown)
	}
}
