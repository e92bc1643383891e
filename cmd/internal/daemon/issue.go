package daemon

import (
	"context"
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/inbox"
	"example.com/atm/teller"
	"example.com/atm/vault/people"
)

// systemOwner is the owner of the disk that the data folder is on.
const systemOwner = "system:owner"

// Issue issues a certificate in a folder that is open and not served, and publishes
// the log with its entry.
func (h *Server) Issue(ctx context.Context, request inbox.Issuing) (inbox.Issued, error) {
	answer := h.issueRequested(ctx, request)
	if err := h.publisher.Publish(ctx); err != nil {
		return answer, err
	}
	return answer, answer.Err()
}

// issueRequested issues a certificate for the owner of the disk.
func (h *Server) issueRequested(ctx context.Context, request inbox.Issuing) inbox.Issued {
	// A certificate says in whole seconds when it was issued. It must be younger than what
	// was revoked a moment ago.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	users, err := h.store.Users(ctx)
	if err != nil {
		return inbox.Issued{Error: err.Error()}
	}
	if slices.ContainsFunc(users, func(u people.User) bool {
		return u.Subject == request.Subject && u.Disabled
	}) {
		if _, err := h.asOwner(ctx, atm.UserEnable, text(request.Subject)); err != nil {
			return inbox.Issued{Error: err.Error()}
		}
	}
	record, err := h.asOwner(ctx, atm.CertIssue, text(request.Subject), text(request.Request),
		text(request.Roles), text(request.Life))
	if err != nil {
		return inbox.Issued{Error: err.Error()}
	}
	field := func(name string) string {
		s, _ := record.Get(name).(string)
		return s
	}
	return inbox.Issued{
		Certificate: field("certificate"), Authority: field("authority"), Serial: field("serial"),
		SHA256: field("sha256"), NotAfter: field("not_after"),
	}
}

// asOwner carries out an operation in the name of the owner of the disk.
func (h *Server) asOwner(ctx context.Context, op atm.Operation, args ...atm.Arg) (atm.Record,
	error,
) {
	return h.within(ctx, systemOwner, teller.Call{Operation: op, Args: args})
}
