package ctl

import (
	"context"
	"math"

	"example.com/atm"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

// A Listing is a command for a method of the server that lists records, page by page.
type Listing struct {
	Short, Long, Example string

	Operation atm.Operation
	Member    string // member of the answer that has the list
	Columns   []string

	ByAccount bool // adds the flag --account
}

// Command returns the command, whose name is list.
func (l Listing) Command(env *Env) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "list", Short: l.Short, Long: l.Long, Example: l.Example,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, ok := atm.ParseAccountID(account); account != "" && !ok {
				return exit.Usagef("--account %q is no account number", account)
			}
			var more []any
			if l.ByAccount {
				more = append(more, account)
			}
			records, _, err := env.List(cmd.Context(), l.Operation, l.Member, "", math.MaxInt,
				more...)
			if err != nil {
				return err
			}
			return env.Print(l.Columns, records)
		},
	}
	if l.ByAccount {
		cmd.Flags().StringVar(&account, "account", "", "`number` of the account that they are on")
	}
	return cmd
}

// maxPage is the largest number of rows in a page.
const maxPage = 500

// List calls a listing method page by page and returns at most so many rows. member is the
// member of the answers with the rows. next is the cursor of the rows after them, or "" at the
// end.
func (env *Env) List(ctx context.Context, op atm.Operation, member, cursor string, most int,
	more ...any,
) (all []any, next string, err error) {
	for next = cursor; ; {
		result, err := env.Call(ctx, string(op), append([]any{next, min(maxPage, most-len(all))},
			more...)...)
		if err != nil {
			return nil, "", err
		}
		page, _ := result.(map[string]any)
		items, _ := page[member].([]any)
		all = append(all, items...)
		if next, _ = page["next"].(string); next == "" || len(all) >= most {
			return all, next, nil
		}
	}
}

// Pages calls a listing method without filters, page by page, and returns every row.
func (env *Env) Pages(ctx context.Context, op atm.Operation, member string) (all []any, err error) {
	for cursor := ""; ; {
		var items []any
		if items, cursor, err = env.page(ctx, op, member, cursor); err != nil {
			return nil, err
		}
		if all = append(all, items...); cursor == "" {
			return all, nil
		}
	}
}

// FirstPage is the first page of Pages.
func (env *Env) FirstPage(ctx context.Context, op atm.Operation, member string) ([]any, error) {
	items, _, err := env.page(ctx, op, member, "")
	return items, err
}

func (env *Env) page(ctx context.Context, op atm.Operation, member, cursor string) (items []any,
	next string, err error,
) {
	result, err := env.Call(ctx, string(op), cursor)
	if err != nil {
		return nil, "", err
	}
	page, _ := result.(map[string]any)
	items, _ = page[member].([]any)
	next, _ = page["next"].(string)
	return items, next, nil
}
