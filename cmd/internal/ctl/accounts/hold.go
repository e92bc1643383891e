package accounts

import (
	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/vault"
	"github.com/spf13/cobra"
)

var holdColumns = []string{"hold", "account", "amount", "state", "expires"}

func holdCommand(env *ctl.Env) *cobra.Command {
	list := ctl.Listing{
		Short:     "List the holds that may still be captured",
		Example:   "  atmctl hold list --account 100",
		Operation: atm.HoldList, Member: "holds", Columns: holdColumns, ByAccount: true,
	}.Command(env)
	show := &cobra.Command{
		Use: "show ID", Short: "Show a hold and its state",
		Args: exit.Args(cobra.ExactArgs(1)),
		Long: `Show a hold and its state: pending, captured, released or expired. When it ends or ended is
known as long as the record of its account has it.`,
		Example: "  atmctl hold show h4711",
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, ok := vault.ParseHoldID(args[0]); !ok {
				return exit.Usagef("%q is not a hold such as h4711", args[0])
			}
			record, err := env.Call(cmd.Context(), string(atm.HoldShow), args[0])
			if err != nil {
				return err
			}
			return env.PrintOne(holdColumns, record)
		},
	}
	return ctl.Group(&cobra.Command{Use: "hold", Short: "List and show holds"},
		list, show)
}
