package accounts

import (
	"fmt"
	"math"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/when"
	"github.com/spf13/cobra"
)

// listCommand lists accounts, all or those that match.
func listCommand(env *ctl.Env) *cobra.Command {
	var owner, standing, inactive, cursor string
	var limited bool
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List accounts, all or those that match",
		Long: `List accounts in order of number: all of them, or those that match every flag. The server
searches some thousands at a time.

The last use of an account is when it was opened, or when money moved, was held or was
released. Administration and inquiries do not count.`,
		Example: `  atmctl account list --owner user:alice
  atmctl account list --standing frozen -o json
  atmctl account list --inactive-since 2026-01-01`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, columns := map[string]any{}, accountColumns
			if owner != "" {
				subject, err := ctl.Subject(owner)
				if err != nil {
					return err
				}
				filter["owner"] = subject
			}
			switch standing {
			case "", "open", "active", "frozen", "closed":
				filter["standing"] = standing
			default:
				return exit.Usagef("--standing is open (or active), frozen or closed, not %q",
					standing)
			}
			if limited {
				filter["limits"] = "any"
			}
			if inactive != "" {
				since, err := when.Since(inactive, time.Now())
				if err != nil {
					return exit.Usagef("--inactive-since %w", err)
				}
				filter["inactive_since"] = since.UTC().Format(time.RFC3339Nano)
				columns = append(columns[:len(columns):len(columns)], "last_use")
			}
			most := math.MaxInt
			switch {
			case limit < 0 || limit == 0 && cmd.Flags().Changed("limit"):
				return exit.Usagef("--limit is above zero")
			case limit > 0:
				most = limit
			}
			if _, ok := atm.ParseAccountID(cursor); cursor != "" && !ok {
				return exit.Usagef("--cursor is the number of an account, not %q", cursor)
			}
			accounts, next, err := env.List(cmd.Context(), atm.AccountList, "accounts", cursor,
				most, filter)
			if err != nil {
				return err
			}
			if err := env.Print(columns, accounts); err != nil {
				return err
			}
			if next != "" && !env.Quiet {
				fmt.Fprintf(env.Stderr, "There may be others: --cursor %s\n", next)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&owner, "owner", "", "accounts of a `subject`: user:NAME or service:NAME")
	flags.StringVar(&standing, "standing", "", "accounts of a `standing`: open (or active), "+
		"frozen or closed")
	flags.BoolVar(&limited, "limits", false, "accounts that have limits")
	flags.StringVar(&inactive, "inactive-since", "", "accounts that nobody has used since a "+
		"`time`: "+when.Forms)
	flags.IntVar(&limit, "limit", 0, "how many accounts at most (default all)")
	flags.StringVar(&cursor, "cursor", "", "list the accounts after this one, as the previous "+
		"page said")
	return cmd
}
