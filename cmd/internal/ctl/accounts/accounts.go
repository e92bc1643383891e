// Package accounts has the commands of atmctl about accounts, and about the holds, grants and
// standing orders on them.
package accounts

import (
	"example.com/atm/cmd/internal/ctl"
	"github.com/spf13/cobra"
)

// New returns the commands, each a group.
func New(env *ctl.Env) []*cobra.Command {
	return []*cobra.Command{
		accountCommand(env), holdCommand(env), grantCommand(env), orderCommand(env),
	}
}
