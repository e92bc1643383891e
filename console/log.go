package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/console/internal/forms"
)

// filters are the members of a filter of the log, in the order in which a page shows them.
var filters = []string{
	"account", "who", "operation", "event", "status", "code", "since", "until",
}

const logRows = 50 // on a page

// A row is an entry in a list.
type row struct {
	Index  int64
	Time   time.Time
	What   string // operation, or event
	Caller string
	Detail string // accounts and amounts that it changed
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
	r.Detail = strings.Join(changes, ", ")
	return r
}

// A chip is a filter in force, with a link to the list without it.
type chip struct{ Name, Value, Without string }

type logPage struct {
	Rows   []row
	Chips  []chip
	Fields []string
	Total  int64
	Older  string // link to the page after this one; empty on the last
}

// log lists entries of the audit log. The filter is the query of the URL, so a list can be
// shared.
func (v *visit) log() {
	query := v.r.URL.Query()
	pairs := []string{"before", query.Get("before")}
	page := logPage{Fields: filters}
	same := []string{"atmctl", "audit", "list"}
	kept := url.Values{}
	for _, name := range filters {
		if value := strings.TrimSpace(query.Get(name)); value != "" {
			pairs = append(pairs, name, value)
			kept.Set(name, value)
			same = append(same, "--"+name, value)
		}
	}
	for _, name := range filters {
		if value := kept.Get(name); value != "" {
			without := url.Values{}
			for other := range kept {
				if other != name {
					without.Set(other, kept.Get(other))
				}
			}
			page.Chips = append(page.Chips, chip{name, value, "?" + without.Encode()})
		}
	}
	status, ok := v.do(atm.AuditList, rangeOf(logRows, pairs...))
	if !ok {
		return
	}
	if status.Code != atm.OK {
		v.refuse(statusOf(status.Code), status.Reason+".")
		return
	}
	record, _ := status.Result.(atm.Record)
	entries, _ := record.Get("entries").([]atm.Record)
	for _, e := range entries {
		index, _ := e.Get("index").(int64)
		leaf, _ := e.Get("entry").(string)
		entry, err := audit.ParseEntry([]byte(leaf))
		if err != nil {
			v.refuse(http.StatusInternalServerError, "Entry "+strconv.FormatInt(index, 10)+
				" cannot be read.")
			return
		}
		page.Rows = append(page.Rows, newRow(index, []byte(leaf), entry))
	}
	page.Total, _ = record.Get("total").(int64)
	if next, _ := record.Get("next").(string); next != "" {
		kept.Set("before", next)
		page.Older = "?" + kept.Encode()
	}
	v.show(http.StatusOK, "log.html", "Audit log", forms.CommandLine(same...), page)
}

// verifyLog is the page on which a browser verifies the whole log.
func (v *visit) verifyLog() {
	if !v.cfg.Bank.MayReadAudit(v.caller) {
		v.refuse(http.StatusForbidden, "The audit log is for auditors.")
		return
	}
	v.show(http.StatusOK, "verify.html", "Verify the audit log", "atmctl audit verify",
		nil)
}

// An entryPage shows one entry: as an auditor's entry, or as the slip of the person it is of.
type entryPage struct {
	row
	Entry *audit.Entry
	Hash  string // of the leaf, in base64
	Proof string // that it is in the log; empty while it is not published
}

// entry shows an entry to an auditor.
func (v *visit) entry(index string) {
	if !v.cfg.Bank.MayReadAudit(v.caller) {
		v.refuse(http.StatusForbidden, "The audit log is for auditors.")
		return
	}
	page, ok := v.entryPage(index)
	if !ok {
		return
	}
	v.show(http.StatusOK, "entry.html", "Entry "+index, "atmctl audit show "+index, page)
}

// slip shows a person what became of an act, with the proof that it is in the log.
func (v *visit) slip(index string) {
	page, ok := v.entryPage(index)
	if !ok {
		return
	}
	v.show(http.StatusOK, "entry.html", "Slip "+index, "atmclient SERVER PORT receipt "+index, page)
}

// entryPage reads an entry and the proof that it is in the log, or shows why it cannot.
func (v *visit) entryPage(written string) (page entryPage, ok bool) {
	index, err := strconv.ParseInt(written, 10, 64)
	if err != nil || index < 0 {
		v.refuse(http.StatusNotFound, "There is no such entry.")
		return page, false
	}
	slip, err := v.cfg.Bank.Slip(v.r.Context(), v.caller, index)
	if err != nil {
		v.refuse(http.StatusServiceUnavailable, "The entry cannot be read at the moment.")
		return page, false
	}
	if slip == nil {
		v.refuse(http.StatusNotFound, "There is no such entry.")
		return page, false
	}
	page = entryPage{
		row: newRow(index, slip.Leaf, slip.Entry), Entry: slip.Entry, Hash: slip.Hash.String(),
	}
	status, ok := v.do(atm.Receipt, text(written))
	if ok && status.Code == atm.OK {
		page.Proof, _ = status.Result.(string)
	}
	return page, ok
}

// proof answers with the proof of an entry alone, for a page that was made before the entry was
// published.
func (v *visit) proof(index string) {
	status, ok := v.do(atm.Receipt, text(index))
	if !ok {
		return
	}
	if status.Code != atm.OK {
		v.refuse(statusOf(status.Code), status.Reason+".")
		return
	}
	written, _ := status.Result.(string)
	v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	v.w.Write([]byte(written))
}
