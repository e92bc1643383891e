package console

import (
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
)

// A listPage is a list as a page shows it.
type listPage struct {
	Problem string
	Filters []forms.Input
	Older   string // link to the page after this one; empty on the last
	table
}

// A table is the rows of a list, as the page of the list or of an account shows them.
type table struct {
	Title, For, Empty string
	Columns           []forms.Column
	Rows              [][]forms.Cell
	Acts              [][]link // of each row
	Above             []link
	All               string // link to all rows; empty when these are all
}

func newTable(v *visit, l *forms.List, rows []atm.Record, query url.Values) table {
	t := table{
		Title: l.Title, For: l.For, Empty: l.Empty, Columns: l.Columns,
		Above: offered(v, l.Above, query.Get("account")),
	}
	for _, row := range rows {
		cells := make([]forms.Cell, len(l.Columns))
		for i, c := range l.Columns {
			cells[i] = c.Of(row)
		}
		t.Rows = append(t.Rows, cells)
		t.Acts = append(t.Acts, rowActs(v, l, row, query))
	}
	return t
}

// showList shows what an operation lists.
func showList(v *visit, l *forms.List) {
	query := v.r.URL.Query()
	if l.Lacks(query) && v.may(l.Op) {
		v.show(http.StatusOK, "list.html", l.Title, "", listPage{
			Filters: forms.Inputs(l.Filters, query, nil), table: table{For: l.For, Empty: l.Empty},
		})
		return
	}
	rows, next, problem, ok := readList(v, l, query)
	if !ok {
		return
	}
	page := listPage{
		Problem: problem, Filters: forms.Inputs(l.Filters, query, nil),
		table: newTable(v, l, rows, query),
	}
	if next != "" {
		older := maps.Clone(query)
		older.Set("cursor", next)
		page.Older = "?" + older.Encode()
	}
	shown := http.StatusOK
	if problem != "" {
		shown = http.StatusUnprocessableEntity
	}
	v.show(shown, "list.html", l.Title, l.Command(query), page)
}

// orderedPages bounds the pages that are read for a list with an order of its own.
const orderedPages = 10

// readList returns the rows of the list and the cursor to go on with, or what is wrong with the
// query. When there is nothing to show, it shows that and returns false.
func readList(v *visit, l *forms.List, query url.Values) (rows []atm.Record, next, problem string,
	ok bool,
) {
	query = maps.Clone(query)
	for range orderedPages {
		status, problem, ok := v.try(l.Op, "", l.Args(l, query)...)
		if !ok {
			return nil, "", "", false
		}
		if status.Code == atm.PermissionDenied {
			v.refuse(http.StatusForbidden, problem)
			return nil, "", "", false
		}
		record, _ := status.Result.(atm.Record)
		page, whole := status.Result.([]atm.Record)
		if !whole {
			page, _ = record.Get(l.Member).([]atm.Record)
		}
		rows = append(rows, page...)
		next, _ = record.Get("next").(string)
		if problem != "" || l.Order == nil {
			return rows, next, problem, true
		}
		if next == "" {
			break
		}
		query.Set("cursor", next)
	}
	slices.SortStableFunc(rows, l.Order)
	return rows, next, "", true
}

// offered are links to those of the actions with these paths that the caller may do, on an account
// unless its number is empty.
func offered(v *visit, paths []string, account string) (links []link) {
	for _, path := range paths {
		a := forms.At(path)
		if account != "" {
			path += "?" + url.Values{"account": {account}}.Encode()
		}
		if v.may(a.Op) {
			links = append(links, link{Label: a.Title, Path: Prefix + path})
		}
	}
	return links
}

// rowActs are links to what the caller may do to a row.
func rowActs(v *visit, l *forms.List, row atm.Record, query url.Values) (links []link) {
	for i := range l.Rows {
		act := &l.Rows[i]
		if v.may(forms.At(act.Path).Op) && act.Offered(row) {
			links = append(links, link{Label: act.Label, Path: Prefix + act.Link(row, query)})
		}
	}
	return links
}

// may reports whether the caller may do an operation on some account at least.
func (v *visit) may(op atm.Operation) bool {
	return v.cfg.Bank.Reach(v.caller, op) > atm.Nowhere
}

// unreadable shows that the bank cannot be read at the moment.
func unreadable(v *visit, err error) {
	v.cfg.Log.ErrorContext(v.r.Context(), "page could not be read",
		slog.String("path", v.r.URL.Path), slog.Any("error", err))
	v.refuse(http.StatusServiceUnavailable, "The bank cannot be read at the moment.")
}
