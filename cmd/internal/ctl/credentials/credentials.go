// Package credentials has the commands of atmctl about users, and about what they sign in with:
// passwords, certificates and tokens.
package credentials

import (
	"example.com/atm/cmd/internal/ctl"
	"github.com/spf13/cobra"
)

// New returns the commands.
func New(env *ctl.Env) []*cobra.Command {
	return []*cobra.Command{
		userCommand(env), tokenCommand(env), certCommand(env), enrollCommand(env), caCommand(env),
		loginCommand(env), logoutCommand(env),
	}
}
