package teller

import (
	"context"
	"net/netip"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
)

// Started records that the server has begun to serve.
func (t *Teller) Started(ctx context.Context) atm.Status {
	return t.program(ctx, audit.EventStart)
}

// Stopped records that the server has answered everybody and ends.
func (t *Teller) Stopped(ctx context.Context) atm.Status {
	return t.program(ctx, audit.EventStop)
}

// Heartbeat records that the server was alive, so that silence in the log
// means something.
func (t *Teller) Heartbeat(ctx context.Context) atm.Status {
	return t.program(ctx, audit.EventHeartbeat)
}

// program records an event with all that is to be known of the program.
func (t *Teller) program(ctx context.Context, event audit.Event) atm.Status {
	p := t.cfg.Installation.Program()
	return t.event(ctx, event, func(e *audit.Entry) { e.Program = &p })
}

// Reloaded records that the file of a setting was read again, and is in force.
func (t *Teller) Reloaded(ctx context.Context, setting string) atm.Status {
	p := audit.Program{Settings: t.cfg.Installation.Program().Settings}
	return t.event(ctx, audit.EventSettings, func(e *audit.Entry) {
		e.Args, e.Program = []audit.Arg{{Name: "setting", Value: setting}}, &p
	})
}

// Recovered records, as the first entry of a log, that it takes the place of
// another one whose checkpoint said old, and that the journal had size entries
// then.
func Recovered(ctx context.Context, ledger *vault.Ledger, old audit.Checkpoint,
	size int64,
) atm.Status {
	return note(ctx, ledger, audit.EventRecover,
		audit.Arg{Name: "origin", Value: old.Origin},
		audit.Arg{Name: "size", Value: strconv.FormatInt(old.Size, 10)},
		audit.Arg{Name: "root", Value: old.Root.String()},
		audit.Arg{Name: "journal", Value: strconv.FormatInt(size, 10)})
}

// ClockStepped records that the clock was set by so much.
func (t *Teller) ClockStepped(ctx context.Context, by time.Duration) atm.Status {
	return note(ctx, t.cfg.Ledger, audit.EventClockStep, audit.Arg{Name: "by", Value: by.String()})
}

// LogKeyRotated records that the log is signed with another key from now on.
func (t *Teller) LogKeyRotated(ctx context.Context, r audit.Rotation) atm.Status {
	return note(ctx, t.cfg.Ledger, audit.EventKeyRotate, r.Args()...)
}

// KeyRotated records that another key, not of the log, took the place of an old one.
func (t *Teller) KeyRotated(ctx context.Context, old, vkey string) atm.Status {
	return note(ctx, t.cfg.Ledger, audit.EventKeyRotate, audit.Arg{Name: "old", Value: old},
		audit.Arg{Name: "new", Value: vkey})
}

// note records an event with what is to be known about it.
func note(ctx context.Context, ledger *vault.Ledger, event audit.Event,
	args ...audit.Arg,
) atm.Status {
	return ledger.Do(ctx, vault.Command{Event: event, Args: args, Rule: vault.Report{}})
}

// SignInFailed records one failed sign-in.
func (t *Teller) SignInFailed(ctx context.Context, from netip.Addr, reason string) atm.Status {
	return t.event(ctx, audit.EventAuthFail, func(e *audit.Entry) {
		e.Reason, e.Source = reason, from.String()
	})
}

// SignInsSummarised records failed sign-ins that were counted instead.
func (t *Teller) SignInsSummarised(ctx context.Context, s audit.Summary) atm.Status {
	return t.event(ctx, audit.EventAuthFailSummary, func(e *audit.Entry) {
		e.Reason, e.Source, e.Summary = s.Reason, s.Source, &s
	})
}

// Denied records what was counted of denied operations since the last call, and returns
// what became of each record. It is to be called each minute.
func (t *Teller) Denied(ctx context.Context) []atm.Status {
	var stored []atm.Status
	for _, s := range t.cfg.Ledger.Denied() {
		stored = append(stored, t.event(ctx, audit.EventDeniedSummary, func(e *audit.Entry) {
			e.Reason, e.Summary = s.Reason, &s
			if s.Denied != nil {
				e.Caller = &atm.Caller{Principal: *s.Denied}
			}
		}))
	}
	return stored
}

// Backup records that caller takes a backup, or was refused it. A backup is
// made only when the answer is OK.
func (t *Teller) Backup(ctx context.Context, caller *atm.Caller) atm.Status {
	cmd := vault.Command{
		Event: audit.EventAdmin, Operation: atm.Backup, Caller: caller,
		Rule: vault.Report{},
	}
	if t.cfg.Permissions.Permit(caller.Principal, atm.Backup) != atm.Everywhere {
		cmd.Rule = denied
	}
	cmd.Warrants = t.warrants(caller, atm.Backup)
	return t.cfg.Ledger.Do(ctx, cmd)
}

func (t *Teller) event(ctx context.Context, event audit.Event, note func(*audit.Entry)) atm.Status {
	return t.cfg.Ledger.Do(ctx, vault.Command{Event: event, Rule: vault.Report{}, Note: note})
}
