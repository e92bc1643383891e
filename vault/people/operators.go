package people

import (
	"slices"

	"example.com/atm"
)

// A Demoting rule may take the role of operator from its subject, or keep it from signing in.
type Demoting interface {
	Rule

	// demotes returns whom it is about, and whether they are no operator after it.
	demotes() (subject string, is bool)
}

func (r Enrol) demotes() (string, bool) {
	return r.Subject, len(r.Roles) > 0 && !slices.Contains(r.Roles, atm.Operator)
}

func (r SetDisabled) demotes() (string, bool) { return r.Subject, r.Disabled }

// KeepsOperator refuses a rule that would leave nobody who administers: of the last operator
// who may sign in. It looks for another one among Others alone. It is put around the rule
// when that is asked for, and is no part of it: a replay of the journal needs none.
type KeepsOperator struct {
	Demoting
	Others []string
}

// Keys implements Rule.
func (r KeepsOperator) Keys(k *Keys) {
	r.Demoting.Keys(k)
	k.Users = append(k.Users, r.Others...)
}

// Decide implements Rule.
func (r KeepsOperator) Decide(b *Books) atm.Status {
	subject, demotes := r.demotes()
	if demotes && operates(b, subject) && !slices.ContainsFunc(r.Others, func(s string) bool {
		return s != subject && operates(b, s)
	}) {
		return refuse(atm.PermissionDenied, subject+" is the last operator who may sign in: make "+
			"another one first")
	}
	return r.Demoting.Decide(b)
}

// operates reports whether subject may sign in as an operator.
func operates(b *Books, subject string) bool {
	u, known := b.User(subject)
	return known && !u.Disabled && slices.Contains(u.Roles, atm.Operator)
}
