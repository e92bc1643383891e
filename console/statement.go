package console

import (
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
	"example.com/atm/console/internal/statement"
	"example.com/atm/console/internal/words"
	"example.com/atm/internal/printable"
)

type statementPage struct {
	Number, From, To string
	Range            template.URL // from and to, as a query
	Days             []statement.Day
	Whole            bool   // all movements of the range are on the page
	Older            string // link to the page after this one; empty on the last
	Problem          string // with the range
	statement.Statement
}

// showStatement shows the movements of an account by day.
func showStatement(v *visit, number string) {
	query := v.r.URL.Query()
	from, to, cursor := query.Get("from"), query.Get("to"), query.Get("cursor")
	rows := statementRows
	if printed(v) {
		rows = maxMovements
	}
	status, problem, ok := v.try(atm.Statement, "", text(number), rangeOf(rows,
		"cursor", cursor, "from", words.DayStart(from), "to", words.DayEnd(to)))
	if !ok {
		return
	}
	if problem != "" && status.Code != atm.CursorInvalid { // which is what is wrong with a range
		v.refuse(statusOf(status.Code), problem)
		return
	}
	days := url.Values{"from": {from}, "to": {to}}
	page := statementPage{
		Number: number, From: from, To: to, Range: template.URL(days.Encode()),
		Statement: statement.Read(status), Problem: problem,
	}
	v.offerReversals(number, page.Movements)
	page.Days = statement.ByDay(page.Movements)
	page.Whole = problem == "" && page.Next == "" && cursor == ""
	if page.Next != "" {
		days.Set("cursor", page.Next)
		page.Older = "?" + days.Encode()
	}
	same := []string{"atmclient", "SERVER", "PORT", "statement", number}
	for _, bound := range [][2]string{{"--from", from}, {"--to", to}} {
		if bound[1] != "" {
			same = append(same, bound[0], bound[1])
		}
	}
	v.show(statusOf(status.Code), "statement.html", "Statement of account "+number,
		forms.CommandLine(same...), page)
}

// exportMost bounds the movements, or the entries, of one export.
const exportMost = 10_000

// wholeStatement reads all movements of the range that the query names, or shows why it cannot.
func wholeStatement(v *visit, number string) (s statement.Statement, ok bool) {
	query, cursor := v.r.URL.Query(), ""
	for {
		status, problem, ok := v.try(atm.Statement, "", text(number), rangeOf(maxMovements,
			"cursor", cursor, "from", words.DayStart(query.Get("from")),
			"to", words.DayEnd(query.Get("to"))))
		if !ok {
			return s, false
		}
		if problem != "" {
			v.refuse(statusOf(status.Code), problem)
			return s, false
		}
		page := statement.Read(status)
		if !page.Since.IsZero() {
			v.refuse(http.StatusUnprocessableEntity, "The server has the movements since "+
				page.Since.UTC().Format(time.RFC3339)+" alone. Choose a time that begins later.")
			return s, false
		}
		if cursor == "" {
			s = page
		} else {
			s.Movements = append(s.Movements, page.Movements...)
		}
		if cursor = page.Next; cursor == "" {
			slices.Reverse(s.Movements)
			return s, true
		}
		if len(s.Movements) >= exportMost {
			v.refuse(http.StatusUnprocessableEntity, "There are more than 10,000 movements in "+
				"this time. Choose a shorter one.")
			return s, false
		}
	}
}

// saveStatement sends a statement as a file, the oldest movement first.
func saveStatement(v *visit, number string) {
	s, ok := wholeStatement(v, number)
	if !ok {
		return
	}
	attach(v, "statement-"+number+".csv", "text/csv; charset=utf-8")
	io.WriteString(v.w, printable.CSV("index", "time", "operation", "counterparty", "amount",
		"balance", "memo", "reverses", "reversed"))
	for _, m := range s.Movements {
		// A number below zero begins like a formula, and has to stay a number.
		text := printable.CSV(strconv.FormatInt(m.Index, 10),
			m.Time.UTC().Format(time.RFC3339Nano), m.Operation, m.Counterparty)
		reverses, reversed := "", ""
		if m.Reverses > 0 {
			reverses = strconv.FormatInt(m.Reverses, 10)
		}
		if m.Reversed > 0 {
			reversed = m.Reversed.String()
		}
		fmt.Fprintf(v.w, "%s,%s,%s,%s", strings.TrimSuffix(text, "\n"), m.Amount, m.Balance,
			printable.CSV(m.Memo, reverses, reversed))
	}
}
