package daemon

import (
	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/teller"
)

// Two subjects that no certificate can carry act within the program.
const (
	systemInit  = "system:init"  // the program itself, while it makes a new folder
	systemOwner = "system:owner" // the owner of the disk that the data folder is on
)

// Permit is the table of permissions. It allows everything to init and to the owner
// of the disk.
func Permit(p atm.Principal, op atm.Operation) atm.Reach {
	if p.Subject == systemInit || p.Subject == systemOwner {
		return atm.Everywhere
	}
	return auth.Permit(p, op)
}

// permissions are those of the callers that a directory knows.
type permissions struct{ directory *auth.Directory }

var _ teller.Permissions = permissions{}

// Permit is the table of permissions.
func (permissions) Permit(p atm.Principal, op atm.Operation) atm.Reach { return Permit(p, op) }

// maxOperators is among how many operators another one is looked for, before one is disabled.
const maxOperators = 64

// Operators are some of those who may sign in as operators at the moment.
func (p permissions) Operators() []string {
	all := p.directory.With(atm.Operator)
	return all[:min(len(all), maxOperators)]
}
