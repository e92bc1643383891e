package teller

import (
	"context"
	"net/netip"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
)

// Started records that the server has begun to serve.
func (t *Teller) Started(ctx context.Context) atm.Status {
	return t.event(ctx, audit.EventStart, nil)
}

// Stopped records that the server has answered everybody and ends.
func (t *Teller) Stopped(ctx context.Context) atm.Status {
	return t.event(ctx, audit.EventStop, nil)
}

// Heartbeat records that the server was alive, so that silence in the log
// means something.
func (t *Teller) Heartbeat(ctx context.Context) atm.Status {
	return t.event(ctx, audit.EventHeartbeat, nil)
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

// Backup records that caller takes a backup, or was refused it. A backup is
// made only when the answer is OK.
func (t *Teller) Backup(ctx context.Context, caller *atm.Caller) atm.Status {
	cmd := vault.Command{Event: audit.EventAdmin, Operation: atm.Backup, Caller: caller, Rule: vault.Report{}}
	if t.cfg.Permit(caller.Principal, atm.Backup) != atm.Everywhere {
		cmd.Rule = denied
	}
	return t.cfg.Ledger.Do(ctx, cmd)
}

func (t *Teller) event(ctx context.Context, event audit.Event, note func(*audit.Entry)) atm.Status {
	return t.cfg.Ledger.Do(ctx, vault.Command{Event: event, Rule: vault.Report{}, Note: note})
}
