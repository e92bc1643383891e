package accounts

import (
	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

// setCommand changes the owner or the holder of an account.
func setCommand(env *ctl.Env) *cobra.Command {
	var owner, holder string
	cmd := &cobra.Command{
		Use:   "set NUMBER",
		Short: "Give an account another owner, or another name of its holder",
		Long: `Give an account another owner, another name of its holder, or both. The owner must be known
to the server. Grants that the previous owner gave on the account stop working.`,
		Example: "  atmctl account set 200 --owner user:bob --name \"Bob Jones\"",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if owner == "" && holder == "" {
				return exit.Usagef("there is nothing to set: --owner or --name is needed")
			}
			if owner != "" {
				subject, err := ctl.Subject(owner)
				if err != nil {
					return err
				}
				owner = subject
			}
			if err := checkHolder(holder); err != nil {
				return err
			}
			return callOn(cmd.Context(), env, atm.AccountSet, args[0], owner, holder)
		},
	}
	cmd.Flags().StringVar(&owner, "owner", "", "`subject` whose account it is: user:NAME or "+
		"service:NAME")
	cmd.Flags().StringVar(&holder, "name", "", "`name` of the holder, for people")
	return cmd
}

func checkHolder(name string) error {
	if name == "" {
		return nil
	}
	if err := atm.CheckText(name); err != nil {
		return exit.Usagef("--name %q is not the name of a holder: it has %w", name, err)
	}
	return nil
}
