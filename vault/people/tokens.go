package people

import (
	"time"

	"example.com/atm"
)

// IssueToken answers with a token or an invitation for somebody that was made before.
type IssueToken struct {
	For    string
	ID     string
	Scope  string // names of methods, separated by spaces
	Ends   time.Time
	Result any
}

// Keys implements Rule.
func (IssueToken) Keys(*Keys) {}

// Decide implements Rule.
func (r IssueToken) Decide(b *Books) atm.Status {
	b.Issue(Certificate{
		Serial: TokenRevocation("", r.ID), Subject: r.For, NotAfter: r.Ends.UTC(),
		Scope: r.Scope,
	})
	return ok(r.Result)
}
