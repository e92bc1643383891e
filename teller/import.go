package teller

import (
	"context"
	"encoding/csv"
	"strings"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/bookings"
	"example.com/atm/teller/methods"
	"example.com/atm/teller/passwords"
	"example.com/atm/teller/words"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/query"
)

// importAccounts checks rows of accounts, or opens the accounts by commands that follow. Each
// account has its own entry, as if it had been opened alone.
func importAccounts(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	lines, err := importRows(in.Args[0].Text, 4)
	if err != nil {
		return nil, err
	}
	check := query.CheckAccounts{Rows: make([]vault.OpenAccount, len(lines))}
	for i, line := range lines {
		row, args, err := t.importedAccount(line)
		if err != nil {
			return nil, malformed("row %d: %w", i+1, err)
		}
		check.Rows[i] = row
		next := vault.Command{
			Event: audit.EventAdmin, Operation: atm.AccountOpen,
			Caller: in.Caller, Args: args, Rule: row,
		}
		if row.Owner != "" {
			next.Warrants = []people.Warrant{{Subject: row.Owner, Named: true}}
		}
		in.then = append(in.then, next)
	}
	apply := in.Args[1]
	if !apply.Given() {
		in.then = nil
		return check, nil
	}
	if apply.Text != "apply" {
		return nil, malformed("what can be said is apply")
	}
	return imported(len(lines)), nil
}

// importRows reads the rows of an import, of so many fields each.
func importRows(text string, fields int) ([][]string, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = fields
	rows, err := r.ReadAll()
	if err != nil {
		return nil, malformed("the rows: %w", err)
	}
	if len(rows) == 0 || len(rows) > methods.MaxImport {
		return nil, malformed("an import has 1 to %d rows", methods.MaxImport)
	}
	return rows, nil
}

// imported is the answer to an import of so many rows that is done.
func imported(rows int) vault.Rule {
	return vault.Report{Result: atm.Record{
		{Name: "rows", Value: int64(rows)}, {Name: "problems", Value: []atm.Record{}},
	}}
}

// importedAccount reads a row: number, owner, name of the holder, opening balance. All but
// the number may be empty.
func (t *Teller) importedAccount(row []string) (r vault.OpenAccount, args []audit.Arg, err error) {
	id, ok := atm.ParseAccountID(row[0])
	if !ok {
		return r, nil, malformed("the first field is no account number") // it may be a name
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
			return r, nil, malformed("%s", bookings.AmountReasons[code])
		}
		r.Opening = amount
		args = append(args, audit.Arg{Name: "opening", Value: amount.String()})
	}
	if r.Holder != "" {
		if err := atm.CheckText(r.Holder); err != nil {
			return r, nil, malformed("the name of a holder has %w", err)
		}
		args = append(args, audit.Arg{
			Name: "name", Value: t.cfg.Holders.Hash(string(r.Account), r.Holder),
		})
	}
	return r, args, nil
}

// importUsers checks rows of users, or adds the users by commands that follow. Each user has
// its own entry, as if it had been added alone. No entry has a password.
func importUsers(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	lines, err := importRows(in.Args[0].Text, 2)
	if err != nil {
		return nil, err
	}
	rows := make([]people.Enrol, len(lines))
	for i, line := range lines {
		if err := checkSubject(line[0]); err != nil {
			return nil, malformed("row %d: %w", i+1, err)
		}
		roles, err := words.Roles(line[1])
		if err != nil {
			return nil, malformed("row %d: %w", i+1, err)
		}
		rows[i] = people.Enrol{
			Subject: line[0], Roles: roles, Default: words.Newcomer(line[0]), Result: "",
			Expect: people.ExpectNew,
		}
	}
	if !in.Args[1].Given() {
		return vault.People(people.CheckUsers{Rows: rows}), nil
	}
	if !in.Caller.InScope("*") { // a password has no scope
		return tooMuch, nil
	}
	given := strings.Split(strings.TrimSuffix(in.Args[1].Text, "\n"), "\n")
	if len(given) != len(rows) {
		return nil, malformed("each row has one password: there are %d for %d", len(given),
			len(rows))
	}
	then := make([]vault.Command, len(rows))
	for i := range rows {
		_, name, _ := atm.ParseSubject(rows[i].Subject)
		if err := passwords.Check(given[i], name, t.cfg.Realm); err != nil {
			return nil, malformed("row %d: %w", i+1, err)
		}
		rows[i].HA1 = passwords.HA1(name, t.cfg.Realm, given[i])
		args := []audit.Arg{
			{Name: "subject", Value: rows[i].Subject},
			{Name: "expect", Value: string(people.ExpectNew)},
		}
		if roles := lines[i][1]; roles != "" {
			args = append(args, audit.Arg{Name: "roles", Value: roles})
		}
		then[i] = vault.Command{
			Event: audit.EventAdmin, Operation: atm.UserAdd, Caller: in.Caller, Args: args,
			Rule: vault.People(rows[i]),
		}
	}
	in.then = then
	return imported(len(rows)), nil
}
