package accounts

import (
	"context"
	"fmt"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

// accountFileColumns are the columns of a file of accounts.
var accountFileColumns = []string{"number", "owner", "name", "opening"}

func importCommand(env *ctl.Env) *cobra.Command {
	var apply bool
	cmd := &cobra.Command{
		Use:   "import FILE.csv",
		Short: "Open the accounts in a file, all of them or none",
		Long: `Open the accounts in a file of comma-separated values, at most 500. Its first line names
the columns: number, and optionally owner, name and opening, in any order. Owners must be
known to the server.

Without --apply nothing changes: the server checks every row, and the rows that it would
refuse are listed with their lines. With --apply all accounts are opened in one transaction,
each with an entry of its own in the audit log, or none is.`,
		Example: `  atmctl account import accounts.csv
  atmctl account import accounts.csv --apply`,
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			rows, err := ctl.ReadRows(args[0], accountFileColumns, checkAccountRow)
			if err != nil {
				return err
			}
			return importAccounts(cmd.Context(), env, rows, apply)
		},
	}
	cmd.Flags().BoolVar(&apply, "apply", false, "open them; without it they are only checked")
	return cmd
}

// checkAccountRow checks a row of a file of accounts, as far as that is possible without the
// server.
func checkAccountRow(fields []string) error {
	number, owner, holder, opening := fields[0], fields[1], fields[2], fields[3]
	if _, ok := atm.ParseAccountID(number); !ok {
		return fmt.Errorf("%q is no account number", number)
	}
	if owner != "" {
		subject, err := ctl.Subject(owner)
		if err != nil {
			return err
		}
		fields[1] = subject
	}
	if holder != "" {
		if err := atm.CheckText(holder); err != nil {
			return fmt.Errorf("%q is not the name of a holder: it has %w", holder, err)
		}
	}
	if opening != "" {
		if _, code := atm.ParseAmount(opening); code != atm.OK {
			return fmt.Errorf("%q is no amount", opening)
		}
	}
	return nil
}

func importAccounts(ctx context.Context, env *ctl.Env, rows []ctl.Row, apply bool) error {
	text, err := env.CheckImport(ctx, atm.AccountImport, rows, "opened")
	if err != nil {
		return err
	}
	if !apply {
		return env.Tell(map[string]any{"rows": len(rows), "opened": 0},
			"%d accounts can be opened; --apply opens them\n", len(rows))
	}
	if _, err := env.Call(ctx, string(atm.AccountImport), text, "apply"); err != nil {
		return err
	}
	return env.Tell(map[string]any{"rows": len(rows), "opened": len(rows)},
		"%d accounts are open\n", len(rows))
}
