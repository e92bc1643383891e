package main

import (
	"context"
	"math"

	"example.com/atm"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/vault"
	"github.com/spf13/cobra"
)

// A listing is a command that lists what a method of the server lists, page by page.
type listing struct {
	use, short, long, example string

	op      atm.Operation
	name    string // of the list in an answer
	columns []string

	account string // that all of it is on; empty for any
}

// listCommandOf makes the command; one with byAccount has the flag --account.
func (p *program) listCommandOf(l listing, byAccount bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: l.use, Short: l.short, Long: l.long, Example: l.example, Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, ok := atm.ParseAccountID(l.account); l.account != "" && !ok {
				return exit.Usagef("--account %q is no account number", l.account)
			}
			var more []any
			if byAccount {
				more = append(more, l.account)
			}
			records, err := p.listed(cmd.Context(), l.op, l.name, more...)
			if err != nil {
				return err
			}
			return p.print(l.columns, records)
		},
	}
	if byAccount {
		cmd.Flags().StringVar(&l.account, "account", "", "`number` of the account that they are on")
	}
	return cmd
}

// pageMost is how many rows a page has at most that the server is asked for.
const pageMost = 500

// listed calls a method with a cursor, the size of a page and more, page by page, and returns
// all that it lists.
func (p *program) listed(ctx context.Context, op atm.Operation, name string, more ...any) ([]any,
	error,
) {
	all, _, err := p.listedUpTo(ctx, op, name, "", math.MaxInt, more...)
	return all, err
}

// listedUpTo is listed from a cursor on, for so many rows at most. next is the cursor of what
// comes after them, "" at the end.
func (p *program) listedUpTo(ctx context.Context, op atm.Operation, name, cursor string, most int,
	more ...any,
) (all []any, next string, err error) {
	for next = cursor; ; {
		result, err := p.call(ctx, string(op), append([]any{next, min(pageMost, most-len(all))},
			more...)...)
		if err != nil {
			return nil, "", err
		}
		page, _ := result.(map[string]any)
		items, _ := page[name].([]any)
		all = append(all, items...)
		if next, _ = page["next"].(string); next == "" || len(all) >= most {
			return all, next, nil
		}
	}
}

var holdColumns = []string{"hold", "account", "amount", "state", "expires"}

func (p *program) holdCommand() *cobra.Command {
	list := p.listCommandOf(listing{
		use: "list", short: "List the holds that may still be captured",
		example: "  atmctl hold list --account 100",
		op:      atm.HoldList, name: "holds", columns: holdColumns,
	}, true)
	show := &cobra.Command{
		Use: "show ID", Short: "Show a hold and what became of it",
		Args: exit.Args(cobra.ExactArgs(1)),
		Long: `Show a hold: pending, captured, released or expired. When it ends, or ended, is known as
long as it stands in the record of its account.`,
		Example: "  atmctl hold show h4711",
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, ok := vault.ParseHoldID(args[0]); !ok {
				return exit.Usagef("%q is no hold such as h4711", args[0])
			}
			record, err := p.call(cmd.Context(), string(atm.HoldShow), args[0])
			if err != nil {
				return err
			}
			return p.printOne(holdColumns, record)
		},
	}
	return group(&cobra.Command{Use: "hold", Short: "List and show money that is set aside"},
		list, show)
}

func (p *program) grantList() *cobra.Command {
	return p.listCommandOf(listing{
		use: "list", short: "List the grants that have not ended",
		long: `List the grants that have not ended: an operator all of them, and a customer those that
they gave.`,
		op: atm.GrantList, name: "grants",
		columns: []string{
			"grant", "grantor", "grantee", "accounts", "operations", "cap", "spent",
			"expires", "revoked",
		},
	}, true)
}

func (p *program) grantRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Make a grant count no longer",
		Args: exit.Args(cobra.ExactArgs(1)),
		Long: `Make a grant count no longer, on open connections too. A customer revokes a grant that
they gave, and an operator any. Its id is in atmctl grant list.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := p.call(cmd.Context(), string(atm.GrantRevoke), args[0]); err != nil {
				return err
			}
			return p.tell(map[string]string{"grant": args[0]}, "grant %s is revoked\n", args[0])
		},
	}
}

func (p *program) tokenList() *cobra.Command {
	return p.listCommandOf(listing{
		use: "list", short: "List the tokens of this server that have not ended",
		long: `List the tokens of this server that have not ended. Those of grants are among them, with
whoever acts by them, and invitations, whose scope is enroll.`,
		op: atm.TokenList, name: "tokens",
		columns: []string{"jti", "subject", "actor", "scope", "issued", "expires", "revoked"},
	}, false)
}
