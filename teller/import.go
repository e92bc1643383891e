package teller

import (
	"context"
	"encoding/csv"
	"strings"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
)

// importMost bounds the rows of an import, which is one transaction.
const importMost = 500

// importAccounts checks rows of accounts, or has them opened by commands that follow: each is
// an entry as if it had been opened by itself.
func importAccounts(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	r := csv.NewReader(strings.NewReader(in.args[0].Text))
	r.FieldsPerRecord = 4
	lines, err := r.ReadAll()
	if err != nil {
		return nil, malformed("the rows: %w", err)
	}
	if len(lines) == 0 || len(lines) > importMost {
		return nil, malformed("an import has 1 to %d rows", importMost)
	}
	check := vault.CheckAccounts{Rows: make([]vault.OpenAccount, len(lines))}
	for i, line := range lines {
		row, args, err := importedAccount(line)
		if err != nil {
			return nil, malformed("row %d: %w", i+1, err)
		}
		check.Rows[i] = row
		next := vault.Command{Event: audit.EventAdmin, Operation: atm.AccountOpen, Caller: in.caller, Args: args, Rule: row}
		if row.Owner != "" {
			next.Warrants = []vault.Warrant{{Subject: row.Owner, Named: true}}
		}
		in.then = append(in.then, next)
	}
	apply := in.args[1]
	if !apply.Given() {
		in.then = nil
		return check, nil
	}
	if apply.Text != "apply" {
		return nil, malformed("what can be said is apply")
	}
	return vault.Report{Result: atm.Record{{Name: "rows", Value: int64(len(lines))}, {Name: "problems", Value: []atm.Record{}}}}, nil
}

// importedAccount reads a row: number, owner, name of the holder, opening balance. All but
// the number may be empty.
func importedAccount(row []string) (r vault.OpenAccount, args []audit.Arg, err error) {
	id, ok := atm.ParseAccountID(row[0])
	if !ok {
		return r, nil, malformed("%q is no account number", shorten(row[0]))
	}
	r = vault.OpenAccount{Account: vault.Numbered(id), Owner: row[1], Holder: row[2]}
	args = []audit.Arg{{Name: "account", Value: id.String()}}
	if r.Owner != "" {
		if err := checkSubject(r.Owner); err != nil {
			return r, nil, err
		}
		args = append(args, audit.Arg{Name: "owner", Value: r.Owner})
	}
	if row[3] != "" {
		amount, code := atm.ParseAmount(row[3])
		if code != atm.OK {
			return r, nil, malformed("%s", amountReasons[code])
		}
		r.Opening = amount
		args = append(args, audit.Arg{Name: "opening", Value: amount.String()})
	}
	if r.Holder != "" {
		if err := atm.CheckText(r.Holder); err != nil {
			return r, nil, malformed("the name of a holder has %w", err)
		}
		args = append(args, audit.Arg{Name: "name", Value: r.Holder})
	}
	return r, args, nil
}
