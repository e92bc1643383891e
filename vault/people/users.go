package people

import (
	"example.com/atm"
)

// SetDisabled keeps somebody from signing in, in whatever way, or lets them
// again.
type SetDisabled struct {
	Subject  string
	Disabled bool
}

// Keys implements Rule.
func (r SetDisabled) Keys(k *Keys) { k.Users = append(k.Users, r.Subject) }

// Decide implements Rule.
func (r SetDisabled) Decide(b *Books) atm.Status {
	u, known := b.User(r.Subject)
	if !known {
		return noSubject(r.Subject)
	}
	if u.Disabled != r.Disabled {
		u.Disabled = r.Disabled
		b.putUser(u)
	}
	return ok(u.Record())
}

// ShowUser answers with the record of a user.
type ShowUser struct{ Subject string }

// Keys implements Rule.
func (r ShowUser) Keys(k *Keys) { k.Users = append(k.Users, r.Subject) }

// Decide implements Rule.
func (r ShowUser) Decide(b *Books) atm.Status {
	u, known := b.User(r.Subject)
	if !known {
		return noSubject(r.Subject)
	}
	return ok(u.Record())
}

// Record is the user as administration sees them.
func (u User) Record() atm.Record {
	roles := make([]string, len(u.Roles))
	for i, role := range u.Roles {
		roles[i] = string(role)
	}
	return atm.Record{
		{Name: "subject", Value: u.Subject},
		{Name: "roles", Value: roles},
		{Name: "disabled", Value: u.Disabled},
		{Name: "password", Value: len(u.HA1) > 0 || len(u.Slow) > 0},
	}
}

// CheckUsers tells which of the users could not be made known because they are already, and
// changes nothing.
type CheckUsers struct{ Rows []Enrol }

// Keys implements Rule.
func (r CheckUsers) Keys(k *Keys) {
	for i := range r.Rows {
		k.Users = append(k.Users, r.Rows[i].Subject)
	}
}

// Decide implements Rule.
func (r CheckUsers) Decide(b *Books) atm.Status {
	var checked RowCheck
	seen := make(map[string]bool, len(r.Rows))
	for i := range r.Rows {
		subject, reason := r.Rows[i].Subject, ""
		if _, known := b.User(subject); known {
			reason = "There is " + subject + " already"
		} else if seen[subject] {
			reason = subject + " is in two rows"
		}
		seen[subject] = true
		if reason != "" {
			checked.Refuse(i, refuse(atm.AccountExists, reason))
		}
	}
	return checked.Answer(len(r.Rows))
}

// A RowCheck collects the rows of an import that would be refused. Package vault checks rows of
// accounts with it.
type RowCheck struct{ problems []atm.Record }

// Refuse notes why the row with this index would be refused.
func (c *RowCheck) Refuse(index int, no atm.Status) {
	c.problems = append(c.problems, atm.Record{
		{Name: "row", Value: int64(index + 1)},
		{Name: "code", Value: string(no.Code)},
		{Name: "reason", Value: no.Reason},
	})
}

// Answer is the answer to a check of so many rows.
func (c *RowCheck) Answer(rows int) atm.Status {
	problems := c.problems
	if problems == nil {
		problems = []atm.Record{} // an empty list on the wire
	}
	return ok(atm.Record{
		{Name: "rows", Value: int64(rows)},
		{Name: "problems", Value: problems},
	})
}
