package accounts

import (
	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/vault"
	"github.com/spf13/cobra"
)

var orderColumns = []string{
	"order", "account", "to", "amount", "every", "on", "at", "zone", "next", "state", "paid",
	"failed", "outcome",
}

func orderCommand(env *ctl.Env) *cobra.Command {
	list := &cobra.Command{
		Use: "list NUMBER", Short: "List the standing orders of an account that go on",
		Long: `List the standing orders of an account that go on. It is for auditors and tellers; the owner of
the account has atmclient order list.`,
		Example: "  atmctl order list 100",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, ok := atm.ParseAccountID(args[0]); !ok {
				return exit.Usagef("%q is not the number of an account", args[0])
			}
			result, err := env.Call(cmd.Context(), string(atm.OrderList), args[0])
			if err != nil {
				return err
			}
			orders, _ := result.([]any)
			return env.Print(orderColumns, orders)
		},
	}
	show := &cobra.Command{
		Use: "show ID", Short: "Show a standing order, and how its newest payment went",
		Long: `Show a standing order, also one that has ended: when it is due next, how often it was paid and
how often it could not be, and how the newest payment went. It is for auditors and tellers.`,
		Example: "  atmctl order show o4711",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, ok := vault.ParseOrderID(args[0]); !ok {
				return exit.Usagef("%q is not a standing order such as o4711", args[0])
			}
			record, err := env.Call(cmd.Context(), string(atm.OrderShow), args[0])
			if err != nil {
				return err
			}
			return env.PrintOne(orderColumns, record)
		},
	}
	return ctl.Group(&cobra.Command{Use: "order", Short: "List and show standing orders"},
		list, show)
}
