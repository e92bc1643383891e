package auth

import (
	"maps"
	"sync/atomic"

	"example.com/atm"
)

// A Directory knows the subjects that may sign in and their roles. Reading
// takes no lock, because every request reads it.
type Directory struct {
	roles atomic.Pointer[map[string][]atm.Role]
}

// NewDirectory returns a directory of nobody.
func NewDirectory() *Directory {
	d := &Directory{}
	d.roles.Store(&map[string][]atm.Role{})
	return d
}

// Update makes the subjects in changed known with these roles, and those with
// nil roles unknown, from the next request on.
func (d *Directory) Update(changed map[string][]atm.Role) {
	for {
		old := d.roles.Load()
		all := maps.Clone(*old)
		for subject, roles := range changed {
			if roles == nil {
				delete(all, subject)
			} else {
				all[subject] = roles
			}
		}
		if d.roles.CompareAndSwap(old, &all) {
			return
		}
	}
}

// Roles returns the roles of subject today, sorted, and whether the directory
// knows the subject.
func (d *Directory) Roles(subject string) ([]atm.Role, bool) {
	roles, known := (*d.roles.Load())[subject]
	return roles, known
}
