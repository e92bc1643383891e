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
	"github.com/spf13/pflag"
)

// An accountFilter is what the listed accounts match, as the flags say it.
type accountFilter struct {
	owner, standing, inactive string
	limited                   bool
}

func (f *accountFilter) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.owner, "owner", "", "accounts of a `subject`: user:NAME or service:NAME")
	flags.StringVar(&f.standing, "standing", "", "accounts of a `standing`: open (or active), "+
		"frozen or closed")
	flags.BoolVar(&f.limited, "limits", false, "accounts that have limits")
	flags.StringVar(&f.inactive, "inactive-since", "", "accounts that nobody has used since a "+
		"`time`: "+when.Forms)
}

// asked is the filter as the server takes it.
func (f *accountFilter) asked() (map[string]any, error) {
	filter := map[string]any{}
	if f.owner != "" {
		subject, err := ctl.Subject(f.owner)
		if err != nil {
			return nil, err
		}
		filter["owner"] = subject
	}
	switch f.standing {
	case "", "open", "active", "frozen", "closed":
		filter["standing"] = f.standing
	default:
		return nil, exit.Usagef("--standing is open (or active), frozen or closed, not %q",
			f.standing)
	}
	if f.limited {
		filter["limits"] = "any"
	}
	if f.inactive != "" {
		since, err := when.Since(f.inactive, time.Now())
		if err != nil {
			return nil, exit.Usagef("--inactive-since %w", err)
		}
		filter["inactive_since"] = since.UTC().Format(time.RFC3339Nano)
	}
	return filter, nil
}

// listCommand lists accounts, all or those that match.
func listCommand(env *ctl.Env) *cobra.Command {
	var wanted accountFilter
	var cursor string
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
			filter, err := wanted.asked()
			if err != nil {
				return err
			}
			columns := accountColumns
			if wanted.inactive != "" {
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
	wanted.addFlags(flags)
	flags.IntVar(&limit, "limit", 0, "how many accounts at most (default all)")
	flags.StringVar(&cursor, "cursor", "", "list the accounts after this one, as the previous "+
		"page said")
	return cmd
}
