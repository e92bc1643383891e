package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"example.com/atm"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

// importMost is how many rows an import has at most: the server carries out all of them in
// one transaction.
const importMost = 500

// accountFileColumns are the columns of a file of accounts.
var accountFileColumns = []string{"number", "owner", "name", "opening"}

func (p *program) accountImport() *cobra.Command {
	var apply bool
	cmd := &cobra.Command{
		Use:   "import FILE.csv",
		Short: "Open the accounts in a file, all of them or none",
		Long: `Open the accounts in a file of comma-separated values, at most 500. Its first line names
the columns: number, and as wanted owner, name and opening, in any order. Owners must be
known.

Without --apply nothing is changed: the server checks every row, and what it would refuse
is listed with its line. With --apply all of them are opened in one transaction, each with
an entry of its own, or none.`,
		Example: `  atmctl account import accounts.csv
  atmctl account import accounts.csv --apply`,
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			rows, err := readImport(args[0], accountFileColumns, checkAccountRow)
			if err != nil {
				return err
			}
			return p.importAccounts(cmd.Context(), rows, apply)
		},
	}
	cmd.Flags().BoolVar(&apply, "apply", false, "open them; without it they are only checked")
	return cmd
}

// An importRow is a row of a file, in the order of its columns, and its line.
type importRow struct {
	line   int
	fields []string
}

// readImport reads the file of an import, and has each row checked, and completed. The first
// of the columns is needed, the others may be missing, and they may stand in any order.
func readImport(path string, columns []string, check func([]string) error) ([]importRow, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, exit.Usagef("%w", err)
	}
	defer f.Close()
	rows, err := readRows(f, columns, check)
	if err != nil {
		return nil, exit.Usagef("%s: %w", path, err)
	}
	return rows, nil
}

func readRows(
	from io.Reader, columns []string, check func([]string) error,
) (rows []importRow, err error) {
	r := csv.NewReader(from)
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("its first line names the columns: %w", err)
	}
	place := make(map[string]int)
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
		if _, twice := place[name]; twice || !slices.Contains(columns, name) {
			return nil, fmt.Errorf("line 1: %q is no column, or there twice; columns are %s", name,
				strings.Join(columns, ", "))
		}
		place[name] = i
	}
	if _, is := place[columns[0]]; !is {
		return nil, fmt.Errorf("line 1: there is no column %s", columns[0])
	}
	var problems []error
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err // which names the line
		}
		line, _ := r.FieldPos(0)
		row := importRow{line: line, fields: make([]string, len(columns))}
		for i, name := range columns {
			if at, is := place[name]; is {
				row.fields[i] = strings.TrimSpace(record[at])
			}
		}
		if problem := check(row.fields); problem != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", line, problem))
		}
		if rows = append(rows, row); len(rows) > importMost {
			return nil, fmt.Errorf("it has more than %d rows: divide it", importMost)
		}
	}
	if len(rows) == 0 {
		return nil, errors.New("it has no rows")
	}
	return rows, errors.Join(problems...)
}

// checkAccountRow finds what is wrong with a row of a file of accounts by itself.
func checkAccountRow(fields []string) error {
	number, owner, holder, opening := fields[0], fields[1], fields[2], fields[3]
	if _, ok := atm.ParseAccountID(number); !ok {
		return fmt.Errorf("%q is no account number", number)
	}
	if owner != "" {
		subject, err := userSubject(owner)
		if err != nil {
			return err
		}
		fields[1] = subject
	}
	if holder != "" {
		if err := atm.CheckText(holder); err != nil {
			return fmt.Errorf("%q is no name of a holder: it has %w", holder, err)
		}
	}
	if opening != "" {
		if _, code := atm.ParseAmount(opening); code != atm.OK {
			return fmt.Errorf("%q is no amount", opening)
		}
	}
	return nil
}

func (p *program) importAccounts(ctx context.Context, rows []importRow, apply bool) error {
	text, err := p.checkImport(ctx, atm.AccountImport, rows, "opened")
	if err != nil {
		return err
	}
	if !apply {
		return p.tell(map[string]any{"rows": len(rows), "opened": 0},
			"%d accounts can be opened; --apply opens them\n", len(rows))
	}
	if _, err := p.call(ctx, string(atm.AccountImport), text, "apply"); err != nil {
		return err
	}
	return p.tell(map[string]any{"rows": len(rows), "opened": len(rows)},
		"%d accounts are open\n", len(rows))
}

// checkImport has the server check the rows, and returns them as the text that it takes. What
// would be refused is printed with its line, and is an error: nothing was done.
func (p *program) checkImport(
	ctx context.Context, op atm.Operation, rows []importRow, done string,
) (string, error) {
	var text strings.Builder
	w := csv.NewWriter(&text)
	for _, row := range rows {
		if err := w.Write(row.fields); err != nil {
			return "", err
		}
	}
	w.Flush()
	result, err := p.call(ctx, string(op), text.String())
	if err != nil {
		return "", err
	}
	report, _ := result.(map[string]any)
	found, _ := report["problems"].([]any)
	for _, problem := range found {
		fields, _ := problem.(map[string]any)
		if i, _ := fields["row"].(int64); i >= 1 && int(i) <= len(rows) {
			fields["line"] = int64(rows[i-1].line)
		}
		delete(fields, "row")
	}
	if len(found) == 0 {
		return text.String(), nil
	}
	if err := p.print([]string{"line", "code", "reason"}, found); err != nil {
		return "", err
	}
	return "", &exit.Error{
		Code: exit.Refused,
		Err: fmt.Errorf("nothing was %s: %d of %d rows would be refused", done, len(found),
			len(rows)),
	}
}
