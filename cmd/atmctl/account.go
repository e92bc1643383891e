package main

import (
	"context"

	"example.com/atm"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"github.com/spf13/cobra"
)

func (p *program) accountCommand() *cobra.Command {
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
			return p.account(cmd.Context(), atm.AccountOpen, args[0], owner, opening, holder)
		},
	}
	open.Flags().StringVar(&owner, "owner", "", "`subject` whose account it is: user:NAME or "+
		"service:NAME")
	open.Flags().StringVar(&holder, "name", "", "`name` of the holder, for people")
	open.Flags().StringVar(&opening, "opening", "", "opening balance in `dollars`")
	account := &cobra.Command{Use: "account", Short: "Open, show and close accounts"}
	return group(account, open,
		p.accountAct("show", "Show the record of an account", atm.AccountShow),
		p.accountList(),
		p.accountSet(),
		p.accountImport(),
		p.accountLimit(),
		p.accountAct("freeze", "Freeze an account: no money moves", atm.AccountFreeze),
		p.accountAct("unfreeze", "Let a frozen account be used again", atm.AccountUnfreeze),
		p.accountAct("close", "Close an empty account for good", atm.AccountClose),
	)
}

// accountAct is a command that takes the number of an account and nothing
// else.
func (p *program) accountAct(name, short string, op atm.Operation) *cobra.Command {
	return &cobra.Command{
		Use: name + " NUMBER", Short: short, Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.account(cmd.Context(), op, args[0])
		},
	}
}

func (p *program) account(ctx context.Context, op atm.Operation, number string, more ...any) error {
	id, ok := atm.ParseAccountID(number)
	if !ok {
		return exit.Usagef("%q is no account number", number)
	}
	result, err := p.call(ctx, string(op), append([]any{id.String()}, more...)...)
	if err != nil {
		return err
	}
	return p.printOne(accountColumns, result)
}

var accountColumns = []string{
	"account", "owner", "name", "standing", "balance", "held", "version",
	"limits",
}

// print prints a list of records as a table of these columns, or for programs.
func (p *program) print(columns []string, records []any) error {
	if p.isJSON() {
		array := output.NewArray(p.stdout, p.output)
		for _, record := range records {
			if err := array.AddValue(record); err != nil {
				return err
			}
		}
		return array.End()
	}
	rows := make([][]string, len(records))
	for i, record := range records {
		fields, _ := record.(map[string]any)
		for _, column := range columns {
			text := output.Words(fields[column])
			if limits, is := fields[column].(map[string]any); is {
				text = limitsInWords(limits)
			}
			rows[i] = append(rows[i], text)
		}
	}
	return p.table(columns, rows)
}

// printOne prints one record, which is no list for programs.
func (p *program) printOne(columns []string, record any) error {
	if p.isJSON() {
		return p.writeJSON(record)
	}
	return p.print(columns, []any{record})
}

// table prints rows.
func (p *program) table(columns []string, rows [][]string) error {
	t := output.NewTable(p.stdout, !p.noPager, columns...)
	for _, row := range rows {
		t.Row(row...)
	}
	return t.Flush()
}
