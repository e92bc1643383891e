package replay

import (
	"slices"
	"strings"
	"time"

	"example.com/atm/vault/check"
	"example.com/atm/vault/people"
)

// revocations are those that entries made.
type revocations struct {
	at    map[string]time.Time   // by name
	maybe map[string][]time.Time // when one of this name may have been made as well

	firstRoles time.Time // that the store has, of those that setting roles made
}

// check holds a revocation of a store against the journal.
func (v *revocations) check(problems *check.Problems, row *people.Revocation) {
	at, is := v.at[row.Name]
	switch {
	case slices.ContainsFunc(v.maybe[row.Name], row.At.Equal):
	case !is:
		problems.Add("revocation %s is in no journal entry", row.Name)
	case !at.Equal(row.At):
		problems.Add("revocation %s is of %s; the journal says %s", row.Name, stamp(row.At),
			stamp(at))
	}
	if strings.HasPrefix(row.Name, people.RolesRevocation("")) && (v.firstRoles.IsZero() ||
		row.At.Before(v.firstRoles)) {
		v.firstRoles = row.At
	}
	delete(v.at, row.Name)
}

// revocationKept is how long a store keeps the revocation of a token or an invitation at
// least, none of which lives for more than six days.
const revocationKept = 13 * 24 * time.Hour

// end tells of revocations that the store does not have.
func (v *revocations) end(problems *check.Problems, newest time.Time) {
	for name, at := range v.at {
		// Older programs recorded none of these. From the first one on, the store has all.
		if strings.HasPrefix(name, people.RolesRevocation("")) && (v.firstRoles.IsZero() ||
			at.Before(v.firstRoles)) {
			continue
		}
		if strings.HasPrefix(name, "jti:") && at.Before(newest.Add(-revocationKept)) {
			continue // what it was of is over, and a store may have swept it away
		}
		problems.Add("revocation %s of %s is in the journal and has no record", name, stamp(at))
	}
}
