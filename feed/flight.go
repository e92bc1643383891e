package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"example.com/atm/feed/webhook"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

// A flight is one try to send an item of a line.
type flight struct {
	line  *line
	chain uint64 // that the item is of
	item  item
	sub   feeds.Subscription
	keys  []webhook.Key
	logs  []vault.JournalIndex
}

// A result is what became of a flight.
type result struct {
	flight
	answer webhook.Answer
	err    error // nil when it was delivered
}

// errNotNow reports an item that cannot be made yet, which is not the receiver's fault.
var errNotNow = errors.New("not now")

// depart begins the tries that are due, as many as may be under way, and returns when the next
// one is. It begins with the line that came too late the last time, so one that is far behind does
// not hold up the others.
func (f *Feed) depart(ctx context.Context) (next time.Time) {
	now := time.Now()
	next = now.Add(f.timing.poll)
	for i := range f.order {
		at := (f.first + i) % len(f.order)
		l := f.order[at]
		if l.busy || !now.Before(l.until) {
			continue
		}
		it, due := l.due(now)
		if it == nil {
			if !due.IsZero() && due.Before(next) {
				next = due
			}
			continue
		}
		if f.flying[l.owner] >= maxOwnFlights {
			continue // until one lands
		}
		if f.flights >= maxFlights {
			f.first = at
			return next
		}
		if !f.limiter.Allow() {
			f.first = at
			return now.Add(time.Duration(float64(time.Second) / f.cfg.Rate))
		}
		l.busy = true
		f.flights++
		f.flying[l.owner]++
		keys := l.signers(f.cfg.Keys, now)
		go f.fly(ctx, flight{l, l.sub.Chain, *it, l.sub, keys, f.logs})
	}
	return next
}

// due is what is to be sent now; nil for nothing, and when there is something then.
func (l *line) due(now time.Time) (it *item, at time.Time) {
	switch {
	case l.sub.Tests > l.cursor.Test:
		return &item{kind: testItem, test: l.sub.Tests, prev: -1}, now
	case l.sub.State != feeds.Active || len(l.queue) == 0:
		return nil, time.Time{}
	case now.Before(l.again):
		return nil, l.again
	}
	return &l.queue[0], now
}

// fly makes one try. It never blocks for longer than that.
func (f *Feed) fly(ctx context.Context, fl flight) {
	r := result{flight: fl}
	id, body, err := f.event(ctx, &fl)
	if err == nil {
		r.answer, err = f.cfg.Sender.Send(ctx, fl.sub.URL, webhook.Message{
			ID: fl.webhookID(id), Time: time.Now(), ContentType: ContentType, Body: body,
		}, fl.keys...)
	}
	r.err = err
	f.results <- r
}

// webhookID is the id of the webhook with an event. In an audit log that took the place of
// another one the ids of events begin anew, and those of webhooks must not: receivers pass over
// what they have.
func (fl *flight) webhookID(event string) string {
	id := fl.sub.ID.String() + "-"
	if n := logOf(fl.logs, vault.JournalIndex(fl.item.index)); n > 0 {
		id += number(int64(n+1)) + "-"
	}
	return id + event
}

// why says why a try failed. What a receiver says is for those alone who see everything: where
// --allow-net lets events go into a network of the bank, others could read there.
func (r *result) why() string {
	var answer *webhook.AnswerError
	if !r.sub.Everything && errors.As(r.err, &answer) {
		return answer.Sentence
	}
	return r.err.Error()
}

// landed notes what became of a try.
func (f *Feed) landed(ctx context.Context, r result) {
	l, now := r.line, moment()
	f.flights--
	if f.flying[r.line.owner]--; f.flying[r.line.owner] == 0 {
		delete(f.flying, r.line.owner)
	}
	l.busy = false
	if f.lines[r.sub.ID] != l || l.sub.Chain != r.chain || errors.Is(r.err, context.Canceled) {
		return // it was removed, or begins anew, or this server ends
	}
	if errors.Is(r.err, errNotNow) {
		f.notNow(ctx, &r, now)
		return
	}
	f.cfg.Tried(r.err == nil)
	l.dirty = true
	if r.item.kind == testItem {
		l.cursor.Test, l.cursor.TestError = r.item.test, ""
		f.saved = time.Time{} // somebody waits for it
	}
	switch {
	case r.err == nil:
		f.delivered(l, &r.item, now)
		return
	case r.item.kind == testItem: // it says nothing about what is delivered
		l.cursor.TestError = r.why()
		return
	}
	l.cursor.Error = r.why()
	if l.cursor.Failing.IsZero() {
		l.cursor.Failing = now
		f.cfg.Log.WarnContext(ctx, "a subscription cannot be delivered",
			slog.String("subscription", r.sub.ID.String()), slog.String("name", r.sub.Name),
			slog.String("owner", r.line.owner), slog.Any("error", r.err))
	}
	l.cursor.Tries++
	l.again = now.Add(max(pause(l.cursor.Tries, &f.timing), r.answer.RetryAfter))
	l.cursor.Again = l.again
	failing, often := now.Sub(l.cursor.Failing), l.cursor.Tries
	switch {
	case errors.Is(r.err, ErrNotAllowed):
		if often > 1 { // another server may have heard of a right first
			f.stop(ctx, l, Denied, "Its owner may not see these entries any more")
		}
	case r.answer.Status == http.StatusGone:
		f.stop(ctx, l, Gone, "The receiver answered 410 Gone")
	case failing >= f.timing.giveUp && often >= leastTries:
		f.stop(ctx, l, Unreachable, fmt.Sprintf("Nothing could be delivered for %s: %s",
			failing.Round(time.Second), l.cursor.Error))
	}
}

// leastTries is how many fail before a subscription is stopped: while this server was off, it was
// not the receiver that failed. In three days there are about 80.
const leastTries = 20

// notNow notes that an item could not be made. Its owner is told no more of the reason.
func (f *Feed) notNow(ctx context.Context, r *result, now time.Time) {
	const sentence = "the server cannot make the event at the moment"
	l := r.line
	l.again = now.Add(f.timing.poll)
	if l.cursor.Error == sentence {
		return
	}
	l.cursor.Error, l.dirty = sentence, true
	f.cfg.Log.WarnContext(ctx, "an event cannot be made",
		slog.String("subscription", r.sub.ID.String()), slog.Any("error", r.err))
}

// moment is now as a store keeps it.
func moment() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// delivered notes that an item has arrived.
func (f *Feed) delivered(l *line, it *item, now time.Time) {
	l.cursor.Delivered, l.cursor.Failing = now, time.Time{}
	l.cursor.Tries, l.cursor.Error = 0, ""
	l.cursor.Again, l.again = time.Time{}, time.Time{}
	if it.kind == testItem {
		return
	}
	l.cursor.Sent++
	if len(l.queue) == 0 || l.queue[0].kind != it.kind || l.queue[0].index != it.index {
		return // the line has begun anew meanwhile
	}
	l.queued -= len(it.leaf)
	l.queue = slices.Delete(l.queue, 0, 1)
	if it.kind == entryItem {
		l.cursor.Last = it.index
	}
	l.advance()
}

// stop stops a subscription, and says so in the audit log.
func (f *Feed) stop(ctx context.Context, l *line, cause Cause, reason string) {
	err := f.cfg.Stop(ctx, Stopped{l.owner, l.sub.ID, l.sub.Name, cause, reason})
	if err != nil {
		f.cfg.Log.ErrorContext(ctx, "stopping a subscription",
			slog.String("subscription", l.sub.ID.String()), slog.Any("error", err))
		return // it is tried again
	}
	f.cfg.Log.ErrorContext(ctx, "a subscription was stopped",
		slog.String("subscription", l.sub.ID.String()), slog.String("name", l.sub.Name),
		slog.String("owner", l.owner), slog.String("reason", reason))
	l.sub.State, l.sub.Reason = feeds.Stopped, reason
}

// event makes an event of an item: its id, and its bytes.
func (f *Feed) event(ctx context.Context, fl *flight) (id string, body []byte, err error) {
	e := event{Source: f.cfg.Origin(logOf(fl.logs, vault.JournalIndex(fl.item.index)))}
	if err := mayFail(f.cfg.May(ctx, fl.line.owner, &fl.sub)); err != nil {
		return "", nil, err
	}
	switch fl.item.kind {
	case testItem:
		e.Source = f.cfg.Origin(len(fl.logs) - 1)
		e.ID, e.Type, e.Time = "test-"+number(int64(fl.item.test)), typeTest, stamp(time.Now())
		e.Data = struct {
			Subscription string `json:"subscription"`
		}{fl.sub.Name}
	case checkpointItem:
		e.ID, e.Type, e.Time = "checkpoint-"+number(fl.item.size), typeCheckpoint,
			stamp(time.Now())
		signed := fl.item.leaf
		if f.cfg.Complete != nil {
			if signed, err = f.cfg.Complete(signed); err != nil {
				return "", nil, mayFail(err)
			}
		}
		prev, from := fl.before()
		e.Data = checkpointData{
			Checkpoint: string(signed), Size: fl.item.size, Next: fl.item.size,
			Prev: prev, From: from,
		}
	default:
		if err := f.entryEvent(ctx, fl, &e); err != nil {
			return "", nil, err
		}
	}
	body, err = e.marshal()
	return e.ID, body, err
}

// mayFail is an error of May, See or Complete. One of the store is no fault of the receiver's.
func mayFail(err error) error {
	if err == nil || errors.Is(err, ErrNotAllowed) {
		return err
	}
	return fmt.Errorf("%w: %w", errNotNow, err)
}

// entryEvent makes the event of an entry, as far as the owner of the subscription may see it at
// the moment.
func (f *Feed) entryEvent(ctx context.Context, fl *flight, e *event) error {
	view, err := f.cfg.See(ctx, fl.line.owner, &fl.sub, fl.item.leaf)
	if err == nil && view == nil {
		err = ErrNotAllowed // a moment ago it was
	}
	if err != nil {
		return mayFail(err)
	}
	index := vault.InLog(fl.logs, vault.JournalIndex(fl.item.index))
	e.ID, e.Type = number(index), fl.item.typ
	e.Time, e.Subject = stamp(fl.item.at), fl.item.subject
	data := entryData{Index: index, Leaf: hashWord(fl.item.leaf)}
	data.Prev, data.From = fl.before()
	if view.Whole {
		data.Entry = string(fl.item.leaf)
	} else {
		data.Known = known(view.Known)
		e.Subject = subjectOf(view.Known)
	}
	// What was given up has no proof any more.
	if fl.sub.Proofs && logOf(fl.logs, vault.JournalIndex(fl.item.index)) == len(fl.logs)-1 {
		proof, err := f.cfg.Prove(ctx, index)
		if err != nil {
			return fmt.Errorf("%w: %w", errNotNow, err)
		}
		text := string(proof)
		data.Proof = &text
	}
	e.Data = data
	return nil
}

// before is what came before an item, if it is of the same audit log; else from which entry on
// the log was looked at.
func (fl *flight) before() (prev, from *int64) {
	begin := vault.LogOf(fl.logs, vault.JournalIndex(fl.item.index))
	if before := vault.JournalIndex(fl.item.prev); fl.item.prev >= 0 && before >= begin {
		index := vault.InLog(fl.logs, before)
		return &index, nil
	}
	index := vault.InLog(fl.logs, max(vault.JournalIndex(fl.sub.From), begin))
	return nil, &index
}

// logOf is the number of the audit log that an entry of the journal is in.
func logOf(logs []vault.JournalIndex, index vault.JournalIndex) int {
	n, begins := slices.BinarySearch(logs, index)
	if begins {
		return n
	}
	return max(n-1, 0)
}
