package accounts

import (
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"github.com/spf13/cobra"
)

func grantCommand(env *ctl.Env) *cobra.Command {
	var limit, to, out string
	var accounts, operations []string
	var life time.Duration
	create := &cobra.Command{
		Use:   "create --account N --operation OPERATION --cap AMOUNT --to KIND:NAME --out FILE",
		Short: "Let another subject act on an account of yours, up to a total and for a time",
		Long: `Let another subject act on an account of yours. The grant is a token in FILE, for that
subject. The server counts what is spent under it. Operators cannot move money and cannot
grant: sign in as the owner, with --cert and --key.`,
		Example: "  atmctl --ca ca.crt --cert client.crt --key client.key grant create --account " +
			"100 --operation withdraw --cap 50 --to service:billing --out billing.grant",
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, account := range accounts {
				if _, ok := atm.ParseAccountID(account); !ok {
					return exit.Usagef("--account %q is no account number", account)
				}
			}
			if _, code := atm.ParseAmount(limit); code != atm.OK {
				return exit.Usagef("--cap %q is no amount", limit)
			}
			grantee, err := ctl.Subject(to)
			if err != nil {
				return err
			}
			if out == "" || len(operations) == 0 || len(accounts) == 0 {
				return exit.Usagef("--account, --operation and --out are needed")
			}
			if err := output.CheckNew(out); err != nil {
				return err
			}
			if life < time.Second || life > time.Hour {
				return exit.Usagef("--ttl is a second to an hour")
			}
			result, err := env.Call(cmd.Context(), string(atm.GrantCreate), accounts[0],
				strings.Join(operations, " "), limit, grantee, strconv.Itoa(int(life/time.Second)),
				strings.Join(accounts[1:], " "))
			if err != nil {
				return err
			}
			return env.SaveToken(cmd.Context(), result, out)
		},
	}
	create.Flags().StringArrayVar(&accounts, "account", nil, "`number` of the account; repeatable")
	create.Flags().StringArrayVar(&operations, "operation", nil, "`operation`: inquiry, deposit, "+
		"withdraw, transfer or authorize; repeatable")
	create.Flags().StringVar(&limit, "cap", "", "`dollars` that may be moved in total")
	create.Flags().StringVar(&to, "to", "", "`subject` who may act: user:NAME or service:NAME")
	create.Flags().DurationVar(&life, "ttl", 5*time.Minute, "life of the grant, at most an hour")
	create.Flags().StringVar(&out, "out", "", "`file` for the token")
	return ctl.Group(&cobra.Command{Use: "grant", Short: "Let another subject act on an account"},
		create,
		grantListCommand(env), grantRevokeCommand(env))
}

func grantListCommand(env *ctl.Env) *cobra.Command {
	return ctl.Listing{
		Short: "List the grants that have not ended",
		Long: `List the grants that have not ended. An operator sees all of them, a customer the grants
that this customer gave.`,
		Operation: atm.GrantList, Member: "grants", ByAccount: true,
		Columns: []string{
			"grant", "grantor", "grantee", "accounts", "operations", "cap", "spent",
			"expires", "revoked",
		},
	}.Command(env)
}

func grantRevokeCommand(env *ctl.Env) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Revoke a grant",
		Args: exit.Args(cobra.ExactArgs(1)),
		Long: `Revoke a grant, on open connections too. An operator may revoke any grant, a customer those
that this customer gave. atmctl grant list has the ids.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := env.Call(cmd.Context(), string(atm.GrantRevoke), args[0]); err != nil {
				return err
			}
			return env.Tell(map[string]string{"grant": args[0]}, "grant %s is revoked\n", args[0])
		},
	}
}
