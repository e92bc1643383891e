// Package roster updates the directory of sign-in from the users and revocations in the vault.
package roster

import (
	"time"

	"example.com/atm/auth"
	"example.com/atm/vault/people"
)

// Learn applies changed users and revocations to a directory.
func Learn(d *auth.Directory, users []people.User, revoked []people.Revocation) {
	if len(users) > 0 {
		changed := make(map[string]auth.Member, len(users))
		for _, u := range users {
			member := auth.Member{Roles: u.Roles, HA1: string(u.HA1), Slow: string(u.Slow)}
			if u.Disabled {
				member = auth.Member{}
			}
			changed[u.Subject] = member
		}
		d.Update(changed)
	}
	if len(revoked) > 0 {
		names := make(map[string]time.Time, len(revoked))
		for _, r := range revoked {
			names[r.Name] = r.At
		}
		d.Revoke(names)
	}
}
