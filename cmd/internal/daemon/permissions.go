package daemon

import (
	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/teller"
)

// Two subjects for operations inside the program. No certificate can have them.
const (
	systemInit  = "system:init"  // the program itself, while it creates a folder
	systemOwner = "system:owner" // the owner of the disk with the data folder
)

// Permit is the table of permissions. It allows everything to init and to the owner of the
// disk.
func Permit(p atm.Principal, op atm.Operation) atm.Reach {
	if p.Subject == systemInit || p.Subject == systemOwner {
		return atm.Everywhere
	}
	return auth.Permit(p, op)
}

// permissions are the permissions of the callers in a directory.
type permissions struct{ directory *auth.Directory }

var _ teller.Permissions = permissions{}

// Permit is the table of permissions.
func (permissions) Permit(p atm.Principal, op atm.Operation) atm.Reach { return Permit(p, op) }

// maxOperators bounds how many operators are considered when another one has to remain.
const maxOperators = 64

// Operators are some of the subjects that may sign in as operators now.
func (p permissions) Operators() []string {
	all := p.directory.With(atm.Operator)
	return all[:min(len(all), maxOperators)]
}
