package daemon

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/inbox"
	"example.com/atm/vault/people"
)

// Issue issues a certificate from an open folder without a running server, and publishes the
// log with its entry.
func (s *Server) Issue(ctx context.Context, request inbox.Issuing) (inbox.Issued, error) {
	answer := s.issueRequested(ctx, request)
	if err := s.log.Publish(ctx); err != nil {
		return answer, err
	}
	return answer, answer.Err()
}

// issueRequested issues a certificate for the owner of the disk.
func (s *Server) issueRequested(ctx context.Context, request inbox.Issuing) inbox.Issued {
	// The issue time of a certificate is in whole seconds. It must be later than a revocation a
	// moment ago.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	users, err := s.accounts.Users(ctx)
	if err != nil {
		return inbox.Issued{Error: err.Error()}
	}
	if slices.ContainsFunc(users, func(u people.User) bool {
		return u.Subject == request.Subject && u.Disabled
	}) {
		if _, err := s.within(ctx, systemOwner, atm.UserEnable, text(request.Subject)); err != nil {
			return inbox.Issued{Error: err.Error()}
		}
	}
	record, err := s.within(ctx, systemOwner, atm.CertIssue, text(request.Subject),
		text(request.Request),
		text(request.Roles), text(request.Life))
	if err != nil {
		return inbox.Issued{Error: err.Error()}
	}
	field := func(name string) string {
		value, _ := record.Get(name).(string)
		return value
	}
	return inbox.Issued{
		Certificate: field("certificate"), Authority: field("authority"), Serial: field("serial"),
		SHA256: field("sha256"), NotAfter: field("not_after"),
	}
}

// inboxEvery is how often the server looks for requests in the data folder.
const inboxEvery = time.Second

// readInbox has issue answer the requests in the data folder until ctx is done.
func readInbox(ctx context.Context, dir *datadir.Dir, log *slog.Logger,
	issue func(context.Context, inbox.Issuing) inbox.Issued,
) {
	tick := time.NewTicker(inboxEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			inbox.Answer(ctx, dir.Requests(), log, issue)
		case <-ctx.Done():
			return
		}
	}
}
