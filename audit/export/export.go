// Package export writes entries of the audit log for other programs.
//
// Each entry is one line, whatever strangers wrote into it. It has its index and leaf hash, so
// that it can be compared with the log.
package export

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm/audit"
	"example.com/atm/internal/printable"
)

// Forms are the forms of an export: an object per line with index, leaf hash and entry; CSV
// with a column for each field that an auditor searches; events of the Open Cybersecurity
// Schema Framework; and the Common Event Format of ArcSight.
var Forms = []string{"jsonl", "csv", "ocsf", "cef"}

// A Writer writes entries in one form. It is not safe for concurrent use.
type Writer struct {
	w               *bufio.Writer
	write           func(io.Writer, *record) error
	origin, program string
}

// NewWriter returns a Writer to w for entries of the log with this origin. program is the
// version of the exporting program. The form is one of Forms.
func NewWriter(w io.Writer, form, origin, program string) (*Writer, error) {
	to := &Writer{
		w: bufio.NewWriter(printable.NewWriter(w)), origin: origin, program: program,
		write: map[string]func(io.Writer, *record) error{
			"jsonl": writeJSONL, "csv": writeCSV, "ocsf": writeOCSF, "cef": writeCEF,
		}[form],
	}
	if to.write == nil {
		return nil, fmt.Errorf("there is no form %q of an export", form)
	}
	if form != "csv" {
		return to, nil
	}
	_, err := io.WriteString(to.w, printable.CSV(exportColumns...))
	return to, err
}

// Add writes an entry.
func (w *Writer) Add(index int64, leaf []byte) error {
	r, err := newRecord(index, leaf, w.origin, w.program)
	if err != nil {
		return err
	}
	return w.write(w.w, r)
}

// Flush writes buffered entries.
func (w *Writer) Flush() error { return w.w.Flush() }

// severity returns the severity of an entry in the terms of OCSF.
func severity(e *audit.Entry) (id int, word string) {
	switch {
	case e.Event == audit.EventAuthFail, e.Event == audit.EventAuthFailSummary,
		e.Event == audit.EventDeniedSummary, e.Event == audit.EventRecover:
		return 3, "Medium"
	case e.Status != nil && e.Status.Word() == "ERROR":
		return 2, "Low"
	}
	return 1, "Informational"
}

// exportColumns are the columns of CSV. A receipt is the index and the leaf hash, as the caller
// received it.
var exportColumns = []string{
	"index", "receipt", "time", "event", "operation", "who", "address", "account", "from", "to",
	"amount", "target",
	"status", "code", "reason", "count",
}

func writeCSV(w io.Writer, r *record) error {
	count := ""
	if r.count > 0 {
		count = strconv.FormatInt(r.count, 10)
	}
	index := strconv.FormatInt(r.index, 10)
	_, err := io.WriteString(w, printable.CSV(
		index, index+" "+r.hash.String(), r.Time.Format(time.RFC3339), string(r.Event),
		string(r.Operation),
		r.who, r.address, r.account, r.from, r.to, r.amount, r.target, r.outcome, r.code,
		r.reason, count))
	return err
}

// writeJSONL writes the entry byte for byte.
func writeJSONL(w io.Writer, r *record) error {
	_, err := fmt.Fprintf(w, "{\"index\":%d,\"leaf_hash\":\"%s\",\"entry\":%s}\n", r.index,
		r.hash, r.leaf)
	return err
}

// Classes and activities of OCSF.
const (
	ocsfVersion        = "1.3.0"
	ocsfAuthentication = 3002
	ocsfAPIActivity    = 6003
	ocsfLogon          = 1 // activity of Authentication
	ocsfOther          = 99
)

// writeOCSF writes an event of the class Authentication for a failed sign-in, and of the class
// API Activity for every other entry.
func writeOCSF(w io.Writer, r *record) error {
	id, word := severity(r.Entry)
	class, activity, activityName := ocsfAPIActivity, ocsfOther, string(r.Event)
	service := map[string]any{"name": "atm"}
	event := map[string]any{
		"severity_id": id, "severity": word, "time": r.Time.UnixMilli(),
		"metadata": map[string]any{
			"version": ocsfVersion, "uid": r.ID, "sequence": r.index, "log_name": r.origin,
			"product": map[string]any{
				"name": "atmserver", "vendor_name": "atm",
				"version": r.program,
			},
		},
		"src_endpoint": ocsfEndpoint(r),
		"unmapped": withoutEmpty(map[string]any{
			"index": r.index, "leaf_hash": r.hash.String(), "event": string(r.Event),
			"args":    r.args,
			"account": r.account, "from": r.from, "to": r.to, "amount": r.amount,
			"target": r.target,
		}),
	}
	if r.isSignIn() {
		class, activity, activityName = ocsfAuthentication, ocsfLogon, "Logon"
		event["service"] = service
		// The log does not keep a name that was only claimed.
		event["user"] = map[string]any{"name": "Unknown", "type_id": 0, "type": "Unknown"}
	} else {
		event["actor"] = map[string]any{"app_name": "atmserver"}
		if r.who != "" {
			event["actor"] = map[string]any{"user": map[string]any{"name": r.who}}
		}
		event["api"] = map[string]any{"operation": r.name(), "service": service}
		if resources := r.resources(); len(resources) > 0 {
			event["resources"] = resources
		}
	}
	event["class_uid"], event["category_uid"], event["type_uid"] = class, class/1000,
		class*100+activity
	event["activity_id"], event["activity_name"] = activity, activityName
	switch r.outcome {
	case "OK":
		event["status_id"], event["status"] = 1, "Success"
	case "ERROR":
		event["status_id"], event["status"] = 2, "Failure"
	}
	if r.code != "" {
		event["status_code"] = r.code
	}
	if r.reason != "" {
		event["status_detail"] = r.reason
	}
	if r.Summary != nil {
		event["count"] = min(r.count, math.MaxInt32)
		event["start_time"], event["end_time"] = r.Summary.First.UnixMilli(),
			r.Summary.Last.UnixMilli()
	}
	return json.NewEncoder(w).Encode(event)
}

// ocsfEndpoint returns the source of an event: an address, a network, or the server itself.
func ocsfEndpoint(r *record) map[string]any {
	if _, err := netip.ParseAddr(r.address); err == nil {
		return map[string]any{"ip": r.address}
	}
	if r.address != "" {
		return map[string]any{"name": r.address}
	}
	return map[string]any{"svc_name": "atmserver"}
}

func withoutEmpty(m map[string]any) map[string]any {
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == "" })
	return m
}

var (
	cefHeader = strings.NewReplacer(`\`, `\\`, `|`, `\|`)
	cefValue  = strings.NewReplacer(`\`, `\\`, `=`, `\=`) // for printable text
)

// writeCEF writes an event in the Common Event Format, version 0.
func writeCEF(w io.Writer, r *record) error {
	id, _ := severity(r.Entry)
	fields := []string{
		"externalId", strconv.FormatInt(r.index, 10), "rt", strconv.FormatInt(r.Time.UnixMilli(),
			10), "dvchost", r.origin,
		"cat", string(r.Event), "suser", r.who,
	}
	switch addr, err := netip.ParseAddr(r.address); {
	case err == nil && addr.Unmap().Is4():
		fields = append(fields, "src", addr.Unmap().String())
	case err == nil:
		fields = append(fields, "c6a2Label", "Source IPv6 Address", "c6a2", addr.String())
	case r.address != "":
		fields = append(fields, "flexString1Label", "network", "flexString1", r.address)
	}
	reason := r.code
	if reason == "" {
		reason = r.reason
	}
	fields = append(fields, "outcome", r.outcome, "reason", reason, "duser", r.subject)
	if r.count > 0 {
		fields = append(fields, "cnt", strconv.FormatInt(min(r.count, math.MaxInt32), 10))
	}
	for i, custom := range []struct{ label, value string }{
		{"account", r.account},
		{"amount", r.amount},
		{"from", r.from},
		{"to", r.to},
		{"leafHash", r.hash.String()},
		{"target", r.target},
	} {
		if custom.value != "" {
			key := "cs" + strconv.Itoa(i+1)
			fields = append(fields, key+"Label", custom.label, key, custom.value)
		}
	}
	var b strings.Builder
	what := cefHeader.Replace(printable.Text(r.name()))
	fmt.Fprintf(&b, "CEF:0|atm|atmserver|%s|%s|%s|%d|", cefHeader.Replace(r.program), what,
		what, id*3)
	before := ""
	for pair := range slices.Chunk(fields, 2) {
		if pair[1] != "" {
			b.WriteString(before + pair[0] + "=" + cefValue.Replace(printable.Text(pair[1])))
			before = " "
		}
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}
