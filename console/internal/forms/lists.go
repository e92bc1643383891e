package forms

import (
	"net/url"
	"strings"

	"example.com/atm"
)

// A List is a page with what an operation lists.
type List struct {
	Path, Title string
	Op          atm.Operation
	For         string // what the rows are for; empty where the title says it
	Member      string // of the answer, which has the rows; empty if it is the rows
	Filters     []Field
	Args        func(l *List, query url.Values) []atm.Arg // of the operation
	Columns     []Column
	Empty       string // what would fill it
	Same        string // the command that does the same
	Above       []string
	Rows        []RowAct

	// Order is that of all rows; nil for the order of the answer.
	Order func(a, b atm.Record) int
}

// Lists are all lists.
var Lists = []List{
	Holds, grantList, userList, Accounts, certificateList, tokenList,
	sessionList, passkeyList, Mandates, Orders, Notices, Feed, AllFeeds, sourceList,
}

// A RowAct leads from a row to an action on it.
type RowAct struct {
	Label string
	Path  string            // of the action
	Gives map[string]string // fields of the action that the row gives, by column
	When  func(atm.Record) bool
	From  string // column with the account whose page leads to it; empty for none
}

// Offered reports whether the act makes sense for a row.
func (r *RowAct) Offered(row atm.Record) bool { return r.When == nil || r.When(row) }

// Link is the path and the query of the action for a row of a list that query asked for.
func (r *RowAct) Link(row atm.Record, query url.Values) string {
	given := url.Values{}
	for _, f := range At(r.Path).Fields {
		if query.Has(f.Name) {
			given.Set(f.Name, query.Get(f.Name))
		}
	}
	for field, column := range r.Gives {
		given.Set(field, Plain(row.Get(column)).Text)
	}
	if r.From != "" {
		given.Set(FromAccount, Plain(row.Get(r.From)).Text)
	}
	return r.Path + "?" + given.Encode()
}

// cursorOnly are the arguments of an operation that takes a cursor.
func cursorOnly(_ *List, query url.Values) []atm.Arg {
	return []atm.Arg{text(query.Get("cursor"))}
}

// pageAnd are those of one that takes a cursor, a limit, and each filter as a parameter.
func pageAnd(l *List, query url.Values) []atm.Arg {
	args := []atm.Arg{text(query.Get("cursor")), limit}
	for _, f := range l.Filters {
		args = append(args, text(strings.TrimSpace(query.Get(f.Name))))
	}
	return args
}

// pageFiltered are those of one that takes a cursor, a limit, and a struct of filters.
func pageFiltered(l *List, query url.Values) []atm.Arg {
	members := atm.Arg{Kind: atm.Struct}
	for _, f := range l.Filters {
		if value := strings.TrimSpace(query.Get(f.Name)); value != "" {
			members.Members = append(members.Members, atm.Member{Name: f.Name, Arg: text(value)})
		}
	}
	return []atm.Arg{text(query.Get("cursor")), limit, members}
}

var limit = atm.Arg{Kind: atm.Int, Text: "50"} // rows on a page

func text(s string) atm.Arg { return atm.Arg{Kind: atm.String, Text: s} }

// Lacks reports whether a query lacks what the operation needs.
func (l *List) Lacks(query url.Values) bool {
	for _, f := range l.Filters {
		if !f.Optional && strings.TrimSpace(query.Get(f.Name)) == "" {
			return true
		}
	}
	return false
}

// Command is the command line that lists the same.
func (l *List) Command(query url.Values) string {
	words := strings.Fields(l.Same)
	for _, f := range l.Filters {
		switch value := strings.TrimSpace(query.Get(f.Name)); {
		case value == "" && f.Else != "":
			words = append(words, f.Else)
		case value == "":
		case !f.Optional: // an argument
			words = append(words, value)
		default:
			words = append(words, "--"+f.Name, value)
		}
	}
	return CommandLine(words...)
}
