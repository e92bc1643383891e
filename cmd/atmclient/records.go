package main

import (
	"errors"
	"maps"
	"slices"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/internal/printable"
)

// A table says how records are printed: the columns that are always there, and what is not
// printed because another column says it. Whatever else the server tells of a record gets a
// column too, if one of them has it: a newer server may tell more than this program knows.
type table struct {
	columns []string
	hidden  []string
}

var (
	statementTable = table{columns: []string{
		"index", "time", "operation", "amount", "balance", "counterparty",
	}}
	mandateTable = table{
		columns: []string{"mandate", "creditor", "each", "total", "period", "spent"},
		hidden:  []string{"account", "debtor"},
	}
	orderTable = table{
		columns: []string{"order", "to", "amount", "pays", "next", "state"},
		hidden:  []string{"account", "every", "on", "at", "zone", "paid", "failed"},
	}
	noticeTable = table{columns: []string{"index", "time", "by", "text"}}
)

// with returns the columns for these records.
func (t table) with(records []any) []string {
	more := make(map[string]bool)
	for _, record := range records {
		fields, _ := record.(map[string]any)
		for name, value := range fields {
			if output.Words(value) != "" {
				more[name] = true
			}
		}
	}
	for _, name := range slices.Concat(t.columns, t.hidden) {
		delete(more, name)
	}
	return slices.Concat(t.columns, slices.Sorted(maps.Keys(more)))
}

// print prints records, with a row before and a row after them unless these are nil.
func (t table) print(p *printer, before map[string]any, records []any, after map[string]any) error {
	columns := t.with(records)
	headings := make([]string, len(columns))
	for i, name := range columns {
		headings[i] = printable.Text(name)
	}
	to := output.NewTable(p.stdout, !p.noPager, headings...)
	row := func(fields map[string]any) {
		cells := make([]string, len(columns))
		for i, name := range columns {
			cells[i] = output.Words(fields[name])
		}
		to.Row(cells...)
	}
	if before != nil {
		row(before)
	}
	for _, record := range records {
		fields, _ := record.(map[string]any)
		row(fields)
	}
	if after != nil {
		row(after)
	}
	return to.Flush()
}

// older tells how to ask for the next page, if there is one.
func (p *printer) older(page map[string]any) error {
	if next, _ := page["next"].(string); next != "" {
		return printable.Linef(p.stderr, "There are older ones: --cursor %s", next)
	}
	return nil
}

// since tells that the server does not have what was before a time.
func (p *printer) since(page map[string]any) error {
	if since, _ := page["since"].(string); since != "" {
		return printable.Linef(p.stderr, "The server has none from before %s", since)
	}
	return nil
}

// printStatement prints movements, newest first, between the closing and the opening balance.
func (p *printer) printStatement(a *client.Answer) error {
	page, _ := a.Result.(map[string]any)
	entries, _ := page["entries"].([]any)
	err := statementTable.print(p,
		map[string]any{"operation": "closing", "balance": page["closing"]}, entries,
		map[string]any{"operation": "opening", "balance": page["opening"]})
	if err != nil {
		return err
	}
	return errors.Join(p.older(page), p.since(page))
}

func (p *printer) printNotices(a *client.Answer) error {
	page, _ := a.Result.(map[string]any)
	entries, _ := page["entries"].([]any)
	if err := noticeTable.print(p, nil, entries, nil); err != nil {
		return err
	}
	return errors.Join(p.older(page), p.since(page))
}

func (p *printer) printMandates(a *client.Answer) error {
	mandates, _ := a.Result.([]any)
	return mandateTable.print(p, nil, mandates, nil)
}

func (p *printer) printOrders(a *client.Answer) error {
	orders, _ := a.Result.([]any)
	for _, order := range orders {
		if fields, is := order.(map[string]any); is {
			fields["pays"] = pays(fields)
		}
	}
	return orderTable.print(p, nil, orders, nil)
}

// pays says when an order pays, in words.
func pays(order map[string]any) string {
	text := func(name string) string { return output.Words(order[name]) }
	return often(text("every"), text("on"), text("at"), text("zone"))
}

// printOrder prints all that is known of a standing order, a line for each.
func (p *printer) printOrder(a *client.Answer) error {
	order, _ := a.Result.(map[string]any)
	err := printable.Linef(p.stdout, "Standing order %s pays $%s from account %s to account %s %s",
		output.Words(order["order"]), output.Words(order["amount"]),
		output.Words(order["account"]), output.Words(order["to"]), pays(order))
	told := []string{"order", "amount", "account", "to", "every", "on", "at", "zone"}
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(order)), func(name string) bool {
		return slices.Contains(told, name) || output.Words(order[name]) == ""
	})
	for _, name := range rest {
		if err == nil {
			err = printable.Linef(p.stdout, "%-8s %s", name, output.Words(order[name]))
		}
	}
	return err
}
