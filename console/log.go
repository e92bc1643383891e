package console

import (
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/export"
	"example.com/atm/console/internal/forms"
	"example.com/atm/console/internal/words"
)

const logRows = 50 // on a page

// A row is an entry in a list.
type row struct {
	Index  int64
	Time   time.Time
	What   string // operation, or event
	Caller string
	Detail string // accounts and amounts that it changed, or the accounts that it is about
	Code   string
	Reason string
	Leaf   string // the exact bytes; empty when they say more than the caller may know
}

func newRow(index int64, leaf []byte, entry *audit.Entry) row {
	r := row{
		Index: index, Leaf: string(leaf), Time: entry.Time, What: string(entry.Operation),
		Reason: entry.Reason,
	}
	if r.What == "" {
		r.What = string(entry.Event)
	}
	if entry.Caller != nil {
		r.Caller = entry.Caller.Subject
	}
	if entry.Status != nil {
		r.Code = string(entry.Status.Code)
		if entry.Status.Reason != "" {
			r.Reason = entry.Status.Reason
		}
	}
	var changes []string
	for _, c := range entry.State {
		changes = append(changes, c.Account+" "+forms.Signed(c.After-c.Before))
	}
	if len(changes) == 0 { // what was refused, or only asked for
		changes = accountsOf(entry.Args)
	}
	r.Detail = strings.Join(changes, ", ")
	if entry.ReplayOf >= 0 {
		r.Detail = fmt.Sprintf("(repeated: the answer of entry %d)", entry.ReplayOf)
	}
	return r
}

// accountsOf are the accounts that arguments name. Function shown of page.mjs must find the same.
func accountsOf(args []audit.Arg) (numbers []string) {
	for _, name := range []string{"account", "from", "to"} {
		for _, arg := range args {
			if arg.Name == name && arg.Value != "" {
				numbers = append(numbers, arg.Value)
			}
		}
	}
	return numbers
}

// A chip is a filter in force, with a link to the list without it.
type chip struct{ Name, Value, Without string }

type logPage struct {
	Rows    []row
	Chips   []chip
	Filters []forms.Input
	Problem string
	Total   int64
	Query   template.URL // of the filters
	Older   string       // link to the page after this one; empty on the last
	Follow  bool         // new entries are shown as they come
	Newest  int64        // index of the first row; -1 without one
	Oldest  int64        // index of the last row
	Forms   []string
}

// A filter is what a query asks of the log.
type filter struct {
	kept   url.Values // members that were given, as they were typed
	member []string   // names and values, as the bank takes them
	wrong  string     // what is wrong with it, in a sentence
}

// filterOf reads the filter of a query, so that a list can be shared by its URL.
func filterOf(query url.Values, now time.Time) filter {
	f := filter{kept: url.Values{}}
	for _, field := range forms.LogFilters {
		value := strings.TrimSpace(query.Get(field.Name))
		if value == "" {
			continue
		}
		f.kept.Set(field.Name, value)
		switch field.Name {
		case "since":
			value = words.DayStart(words.Ago(value, now))
		case "until":
			value = words.DayEnd(words.Ago(value, now))
		}
		if field.Name == "since" || field.Name == "until" {
			if _, err := time.Parse(time.RFC3339, value); err != nil {
				f.wrong = field.Label + " is a day such as 2026-01-31, a time such as " +
					"2026-01-31T12:00:00Z, or how long ago, such as 24h."
			}
		}
		f.member = append(f.member, field.Name, value)
	}
	return f
}

// command is a command of atmctl with the same filter.
func (f *filter) command(words ...string) string {
	for _, field := range forms.LogFilters {
		if value := f.kept.Get(field.Name); value != "" {
			words = append(words, "--"+field.Name, value)
		}
	}
	return forms.CommandLine(words...)
}

// chips are links that remove one member of the filter each.
func (f *filter) chips() (list []chip) {
	for _, field := range forms.LogFilters {
		if value := f.kept.Get(field.Name); value != "" {
			without := maps.Clone(f.kept)
			without.Del(field.Name)
			list = append(list, chip{field.Name, value, "?" + without.Encode()})
		}
	}
	return list
}

// findEntries reads a page of entries, the newest first, and the cursor to go on with. problem
// says what is wrong with the filter. When there is nothing to show, it shows that and returns
// false.
func findEntries(v *visit, f *filter, limit int, before string) (page entries, problem string,
	ok bool,
) {
	if f.wrong != "" && v.may(atm.AuditList) {
		return page, f.wrong, true
	}
	status, problem, ok := v.try(atm.AuditList, "", rangeOf(limit,
		append([]string{"before", before}, f.member...)...))
	if !ok {
		return page, "", false
	}
	if status.Code == atm.PermissionDenied {
		v.refuse(http.StatusForbidden, problem)
		return page, "", false
	}
	record, _ := status.Result.(atm.Record)
	page.next, _ = record.Get("next").(string)
	page.total, _ = record.Get("total").(int64)
	found, _ := record.Get("entries").([]atm.Record)
	for _, e := range found {
		index, _ := e.Get("index").(int64)
		leaf, _ := e.Get("entry").(string)
		page.found = append(page.found, leafAt{index, []byte(leaf)})
	}
	return page, problem, true
}

// entries are a page of the log.
type entries struct {
	found []leafAt
	next  string
	total int64
}

// A leafAt is an entry as the log has it.
type leafAt struct {
	index int64
	leaf  []byte
}

// readRows reads entries for people. It shows when one cannot be read, and returns false.
func readRows(v *visit, found []leafAt) (rows []row, ok bool) {
	for _, e := range found {
		entry, err := audit.ParseEntry(e.leaf)
		if err != nil {
			v.refuse(http.StatusInternalServerError, "Entry "+strconv.FormatInt(e.index, 10)+
				" cannot be read.")
			return nil, false
		}
		rows = append(rows, newRow(e.index, e.leaf, entry))
	}
	return rows, true
}

// showLog lists entries of the audit log.
func showLog(v *visit) {
	query := v.r.URL.Query()
	f := filterOf(query, time.Now())
	found, problem, ok := findEntries(v, &f, logRows, query.Get("before"))
	if !ok {
		return
	}
	page := logPage{
		Chips: f.chips(), Filters: forms.Inputs(forms.LogFilters, f.kept, nil), Problem: problem,
		Total: found.total, Query: template.URL(f.kept.Encode()), Newest: -1, Forms: export.Forms,
		Follow: query.Get("follow") != "",
	}
	if page.Rows, ok = readRows(v, found.found); !ok {
		return
	}
	if len(page.Rows) > 0 {
		page.Newest, page.Oldest = page.Rows[0].Index, page.Rows[len(page.Rows)-1].Index
	}
	if found.next != "" {
		f.kept.Set("before", found.next)
		page.Older = "?" + f.kept.Encode()
		f.kept.Del("before")
	}
	code, command := http.StatusOK, []string{"atmctl", "audit", "list"}
	if page.Follow {
		command = []string{"atmctl", "audit", "tail", "-f"}
	}
	if problem != "" {
		code = http.StatusUnprocessableEntity
	}
	v.show(code, "log.html", "Audit log", f.command(command...), page)
}

// sendRows answers with the newest entries that fit and are above an index, as JSON and with
// their bytes, for a page that verifies its rows or follows the log.
func sendRows(v *visit) {
	query := v.r.URL.Query()
	after, err := strconv.ParseInt(query.Get("after"), 10, 64)
	if err != nil {
		v.refuse(http.StatusUnprocessableEntity, "The index is missing.")
		return
	}
	f := filterOf(query, time.Now())
	found, problem, ok := findEntries(v, &f, logRows, query.Get("before"))
	if !ok {
		return
	}
	if problem != "" {
		v.refuse(http.StatusUnprocessableEntity, problem)
		return
	}
	rows, ok := readRows(v, slices.DeleteFunc(found.found, func(e leafAt) bool {
		return e.index <= after
	}))
	if !ok {
		return
	}
	v.w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(v.w).Encode(append([]row{}, rows...)) // an empty list is no null
}

// exportBytes bounds the entries of one export.
const exportBytes = 16 << 20

// exportLog sends the entries that fit as a file, the oldest first, in one of the forms of
// atmctl audit export. It sends all of them or none.
func exportLog(v *visit) {
	query := v.r.URL.Query()
	form := query.Get("form")
	f, before, size := filterOf(query, time.Now()), "", 0
	var all []leafAt
	for {
		page, problem, ok := findEntries(v, &f, maxMovements, before)
		if !ok {
			return
		}
		if problem != "" || !slices.Contains(export.Forms, form) {
			v.refuse(http.StatusUnprocessableEntity, "This cannot be exported. "+problem)
			return
		}
		for _, e := range page.found {
			size += len(e.leaf)
		}
		all = append(all, page.found...)
		if before = page.next; before == "" {
			break
		}
		if len(all) >= exportMost || size >= exportBytes {
			v.refuse(http.StatusUnprocessableEntity, "More entries fit than one download has. Add "+
				"a filter, such as since, or use "+f.command("atmctl", "audit", "export")+".")
			return
		}
	}
	key, err := v.cfg.LogKey()
	if err != nil {
		unreadable(v, err)
		return
	}
	origin, _, _ := strings.Cut(key, "+")
	name, kind := "audit."+form, exportKinds[form]
	attach(v, name, kind)
	w, err := export.NewWriter(v.w, form, origin, v.cfg.Version)
	for _, e := range slices.Backward(all) {
		if err != nil {
			break
		}
		err = w.Add(e.index, e.leaf)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil { // half of it was sent: what ends early is no file
		panic(http.ErrAbortHandler)
	}
}

// exportKinds are the media types of the forms of an export.
var exportKinds = map[string]string{
	"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8",
	"ocsf": "application/jsonl", "cef": "text/plain; charset=utf-8",
}
