package accounts

import (
	"context"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

func accountCommand(env *ctl.Env) *cobra.Command {
	var owner, opening, holder string
	open := &cobra.Command{
		Use:   "open NUMBER",
		Short: "Open an account",
		Example: "  atmctl account open 200 --owner user:alice --name \"Alice Smith\" --opening " +
			"50.00",
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if opening != "" {
				if _, code := atm.ParseAmount(opening); code != atm.OK {
					return exit.Usagef("%q is no amount", opening)
				}
			}
			if err := checkHolder(holder); err != nil {
				return err
			}
			return callOn(cmd.Context(), env, atm.AccountOpen, args[0], owner, opening, holder)
		},
	}
	open.Flags().StringVar(&owner, "owner", "", "`subject` whose account it is: user:NAME or "+
		"service:NAME")
	open.Flags().StringVar(&holder, "name", "", "`name` of the holder, for people")
	open.Flags().StringVar(&opening, "opening", "", "opening balance in `dollars`")
	account := &cobra.Command{Use: "account", Short: "Open, show and close accounts"}
	return ctl.Group(account, open,
		act(env, "show", "Show the record of an account", atm.AccountShow),
		listCommand(env),
		setCommand(env),
		importCommand(env),
		limitCommand(env),
		act(env, "freeze", "Freeze an account: no money moves", atm.AccountFreeze),
		act(env, "unfreeze", "Let a frozen account be used again", atm.AccountUnfreeze),
		act(env, "close", "Close an empty account for good", atm.AccountClose),
	)
}

// act returns a command that takes the number of an account and nothing else.
func act(env *ctl.Env, name, short string, op atm.Operation) *cobra.Command {
	return &cobra.Command{
		Use: name + " NUMBER", Short: short, Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return callOn(cmd.Context(), env, op, args[0])
		},
	}
}

func callOn(ctx context.Context, env *ctl.Env, op atm.Operation, number string, more ...any) error {
	id, ok := atm.ParseAccountID(number)
	if !ok {
		return exit.Usagef("%q is no account number", number)
	}
	result, err := env.Call(ctx, string(op), append([]any{id.String()}, more...)...)
	if err != nil {
		return err
	}
	return env.PrintOne(accountColumns, result)
}

var accountColumns = []string{
	"account", "owner", "name", "standing", "balance", "held", "version",
	"limits",
}
