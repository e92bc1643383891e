package auth

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"example.com/atm"
)

// A Member is a subject that may sign in.
type Member struct {
	Roles []atm.Role // sorted

	// HA1 is the hash of a password for Digest (RFC 7616, section 3.4.2), in hexadecimal. Empty if
	// the member has none.
	HA1 string

	// Slow is the hash, made by HashSecret, of a secret that only gets tokens. Empty if the member
	// has none.
	Slow string
}

// A Directory has the subjects that may sign in. Reads take no lock, because every request
// reads it.
type Directory struct {
	members atomic.Pointer[map[string]Member]
	revoked atomic.Pointer[map[string]time.Time]
}

// NewDirectory returns an empty directory.
func NewDirectory() *Directory {
	d := &Directory{}
	d.members.Store(&map[string]Member{})
	d.revoked.Store(&map[string]time.Time{})
	return d
}

// Revoke revokes credentials from the next request on. The names are those of
// people.Revocation.
func (d *Directory) Revoke(names map[string]time.Time) {
	for {
		old := d.revoked.Load()
		all := maps.Clone(*old)
		maps.Copy(all, names)
		if d.revoked.CompareAndSwap(old, &all) {
			return
		}
	}
}

// isRevoked reports whether a credential of subject is revoked. name is the name of the
// credential, and issued the time of its issue.
func (d *Directory) isRevoked(name, subject string, issued time.Time) bool {
	revoked := *d.revoked.Load()
	if _, is := revoked[name]; is {
		return true
	}
	before, is := revoked["subject:"+subject]
	return is && !issued.After(before)
}

// sessionsRevoked reports whether the sessions of subject that had begun at a time were ended.
func (d *Directory) sessionsRevoked(subject string, begun time.Time) bool {
	before, is := (*d.revoked.Load())["sessions:"+subject]
	return is && !begun.After(before)
}

// Update adds or replaces the subjects in changed, and removes those with nil roles, from the
// next request on.
func (d *Directory) Update(changed map[string]Member) {
	for {
		old := d.members.Load()
		all := maps.Clone(*old)
		for subject, member := range changed {
			if member.Roles == nil {
				delete(all, subject)
			} else {
				all[subject] = member
			}
		}
		if d.members.CompareAndSwap(old, &all) {
			return
		}
	}
}

// With returns the subjects with a role that may sign in, in no particular order.
func (d *Directory) With(role atm.Role) []string {
	var found []string
	for subject, m := range *d.members.Load() {
		if slices.Contains(m.Roles, role) {
			found = append(found, subject)
		}
	}
	return found
}

// Member returns the entry of subject.
func (d *Directory) Member(subject string) (Member, bool) {
	m, known := (*d.members.Load())[subject]
	return m, known
}
