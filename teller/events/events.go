// Package events records what happens and is no operation of a caller: that the server starts and
// stops, that keys were replaced, that sign-ins failed.
//
// Each event is one entry of the audit log, stored like any other.
package events

import (
	"context"
	"net/netip"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/ledger"
)

// A Recorder records events.
type Recorder struct {
	ledger   *ledger.Ledger
	describe func() audit.Program
}

// New returns a recorder that writes to ledger. describe says which program this is.
func New(ledger *ledger.Ledger, describe func() audit.Program) *Recorder {
	return &Recorder{ledger: ledger, describe: describe}
}

// Started records that the server has begun to serve.
func (r *Recorder) Started(ctx context.Context) atm.Status {
	return r.program(ctx, audit.EventStart)
}

// Stopped records that the server has answered every request and ends.
func (r *Recorder) Stopped(ctx context.Context) atm.Status {
	return r.program(ctx, audit.EventStop)
}

// Heartbeat records that the server was alive, so that silence in the log
// means something.
func (r *Recorder) Heartbeat(ctx context.Context) atm.Status {
	return r.program(ctx, audit.EventHeartbeat)
}

// program records an event together with the description of the program.
func (r *Recorder) program(ctx context.Context, event audit.Event) atm.Status {
	p := r.describe()
	return r.event(ctx, event, func(e *audit.Entry) { e.Program = &p })
}

// Reloaded records that the file of a setting was read again, and is in force.
func (r *Recorder) Reloaded(ctx context.Context, setting string) atm.Status {
	p := audit.Program{Settings: r.describe().Settings}
	return r.event(ctx, audit.EventSettings, func(e *audit.Entry) {
		e.Args, e.Program = []audit.Arg{{Name: "setting", Value: setting}}, &p
	})
}

// Recovered records, as the first entry of a log, that it takes the place of
// another one whose checkpoint said old, and how many entries the journal
// had then.
func Recovered(ctx context.Context, ledger *ledger.Ledger, old checkpoint.Checkpoint,
	journal vault.JournalIndex,
) atm.Status {
	return note(ctx, ledger, audit.EventRecover,
		audit.Arg{Name: "origin", Value: old.Origin},
		audit.Arg{Name: "size", Value: strconv.FormatInt(old.Size, 10)},
		audit.Arg{Name: "root", Value: old.Root.String()},
		audit.Arg{Name: "journal", Value: strconv.FormatInt(int64(journal), 10)})
}

// FeedStopped stops a subscription to the event feed, and records why.
func FeedStopped(ctx context.Context, ledger *ledger.Ledger, owner string, id feeds.ID, name,
	reason string,
) atm.Status {
	return ledger.Do(ctx, vault.Command{
		Event: audit.EventFeedStopped,
		Args: []audit.Arg{
			{Name: "subscription", Value: id.String()},
			{Name: "owner", Value: owner},
			{Name: "name", Value: name},
			{Name: "reason", Value: reason},
		},
		Rule: vault.FeedRule{Rule: feeds.Change{
			Owner: owner, Name: id.String(), Do: feeds.Stop(reason),
		}},
	})
}

// ClockStepped records that the clock was set by so much.
func (r *Recorder) ClockStepped(ctx context.Context, by time.Duration) atm.Status {
	return note(ctx, r.ledger, audit.EventClockStep, audit.Arg{Name: "by", Value: by.String()})
}

// LogKeyRotated records that the log is signed with another key from now on.
func (r *Recorder) LogKeyRotated(ctx context.Context, rotation checkpoint.Rotation) atm.Status {
	return note(ctx, r.ledger, audit.EventKeyRotate, audit.RotationArgs(rotation)...)
}

// KeyRotated records that another key, not of the log, took the place of an old one.
func (r *Recorder) KeyRotated(ctx context.Context, old, vkey string) atm.Status {
	return note(ctx, r.ledger, audit.EventKeyRotate, audit.Arg{Name: "old", Value: old},
		audit.Arg{Name: "new", Value: vkey})
}

// note records an event with these arguments.
func note(ctx context.Context, ledger *ledger.Ledger, event audit.Event,
	args ...audit.Arg,
) atm.Status {
	return ledger.Do(ctx, vault.Command{Event: event, Args: args, Rule: vault.Report{}})
}

// SignInFailed records one failed sign-in.
func (r *Recorder) SignInFailed(ctx context.Context, from netip.Addr, reason string) atm.Status {
	return r.event(ctx, audit.EventAuthFail, func(e *audit.Entry) {
		e.Reason, e.Source = reason, from.String()
	})
}

// SignInsSummarised records failed sign-ins that were counted instead.
func (r *Recorder) SignInsSummarised(ctx context.Context, s audit.Summary) atm.Status {
	return r.event(ctx, audit.EventAuthFailSummary, func(e *audit.Entry) {
		e.Reason, e.Source, e.Summary = s.Reason, s.Source, &s
	})
}

// Denied records the counts of denied operations since the last call, and returns the answer
// for each record. The server calls it each minute.
func (r *Recorder) Denied(ctx context.Context) []atm.Status {
	var stored []atm.Status
	for _, s := range r.ledger.Denied() {
		stored = append(stored, r.event(ctx, audit.EventDeniedSummary, func(e *audit.Entry) {
			e.Reason, e.Summary = s.Reason, &s
			if s.Denied != nil {
				e.Caller = &atm.Caller{Principal: *s.Denied}
			}
		}))
	}
	return stored
}

func (r *Recorder) event(ctx context.Context, event audit.Event,
	note func(*audit.Entry),
) atm.Status {
	return r.ledger.Do(ctx, vault.Command{Event: event, Rule: vault.Report{}, Note: note})
}
