package program

import (
	"errors"
	"strings"

	"example.com/atm/cmd/internal/ask"
	"github.com/spf13/cobra"
)

// irrevocable are the commands that cannot be undone, and the question before each. ARG stands
// for the argument.
var irrevocable = map[string]string{
	"atmctl account close":      "Close account ARG for good?",
	"atmctl audit recover":      "Give up the audit log and begin another one?",
	"atmctl ca retire":          "Stop trusting the previous authority?",
	"atmctl cert revoke":        "Revoke certificate ARG for good?",
	"atmctl feed remove":        "Remove subscription ARG for good?",
	"atmctl feed source remove": "Remove source ARG for good?",
	"atmctl grant revoke":       "Revoke grant ARG for good?",
	"atmctl rebuild":            "Write the accounts again, from the journal?",
	"atmctl token revoke":       "Revoke token ARG for good?",
	"atmctl user revoke":        "Revoke every certificate and token of ARG?",
	"atmctl vault rekey":        "Replace keys/vault.key? Every replica then needs the new one.",
}

// errDeclined reports that a question was answered with no.
var errDeclined = errors.New("nothing was done")

// confirmIrrevocable makes commands that cannot be undone ask first, if there is a terminal.
// Scripts have none, and are not asked.
func confirmIrrevocable(root *cobra.Command) {
	each(root, func(cmd *cobra.Command) {
		question, asks := irrevocable[cmd.CommandPath()]
		if !asks {
			return
		}
		if cmd.Long == "" {
			cmd.Long = cmd.Short + "."
		}
		cmd.Long += "\n\nOn a terminal it asks first. It does not ask in a script, or with --yes."
		yes := cmd.Flags().BoolP("yes", "y", false, "do not ask")
		run := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if !*yes && ask.Possible() {
				sure, err := ask.Confirm(strings.ReplaceAll(question, "ARG",
					strings.Join(args, " ")))
				if err != nil {
					return err
				}
				if !sure {
					return errDeclined
				}
			}
			return run(cmd, args)
		}
	})
}
