package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/version"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
)

// exportForms are those of an export.
var exportForms = []string{"jsonl", "csv", "ocsf", "cef"}

func (p *program) exportCommand() *cobra.Command {
	s := &search{}
	var format, out string
	cmd := &cobra.Command{
		Use:   "export [DIR|URL] --format FORMAT",
		Short: "Write entries of the audit log for other programs",
		Long: `Write entries of the audit log, each found in the signed tree, for other programs:
jsonl, one object with index and entry a line; csv; ocsf, the class API Activity of
the Open Cybersecurity Schema Framework 1.3, one event a line; or cef, the Common
Event Format of ArcSight.`,
		Args: exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.check(time.Now()); err != nil {
				return err
			}
			if !slices.Contains(exportForms, format) {
				return exit.Usagef("--format is jsonl, csv, ocsf or cef, not %q%s", format, exit.DidYouMean(format, exportForms...))
			}
			if s.from < 0 {
				return exit.Usagef("--from-index is not negative")
			}
			return p.export(cmd.Context(), s, strings.Join(args, ""), format, out)
		},
	}
	s.addFilter(cmd.Flags())
	cmd.Flags().StringVar(&format, "format", "jsonl", "`form`: jsonl, csv, ocsf or cef")
	cmd.Flags().StringVar(&out, "out", "", "`file` to write to (default standard output)")
	cmd.Flags().Int64Var(&s.from, "from-index", 0, "`index` of the first entry")
	return cmd
}

func (p *program) export(ctx context.Context, s *search, where, format, out string) (err error) {
	log, err := p.open(ctx, where)
	if err != nil {
		return err
	}
	to := p.stdout
	if out != "" {
		f, cannot := output.Create(ctx, out, 0o600)
		if cannot != nil {
			return cannot
		}
		defer func() { // err is what export returns: half an export gets no name
			if err == nil {
				err = f.Commit()
			}
			err = errors.Join(err, f.Close())
		}()
		to = f
	}
	w := bufio.NewWriter(printable.NewWriter(to)) // each entry is one line to every reader
	if format == "jsonl" || format == "csv" {
		rows := newRows(w, format)
		if err := p.forwards(ctx, log, s, rows.add); err != nil {
			return err
		}
		if err := rows.end(); err != nil {
			return err
		}
		return w.Flush()
	}
	write := writeOCSF
	if format == "cef" {
		write = writeCEF
	}
	err = p.forwards(ctx, log, s, func(index int64, leaf []byte) error {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		return write(w, index, entry, log.Origin)
	})
	if err != nil {
		return err
	}
	return w.Flush()
}

// severity is how much an entry matters, in words and numbers of OCSF.
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

// writeOCSF writes an event of the class API Activity (6003).
func writeOCSF(w io.Writer, index int64, e *audit.Entry, origin string) error {
	id, word := severity(e)
	const class, activity = 6003, 99 // API Activity: Other
	event := map[string]any{
		"activity_id": activity, "activity_name": string(e.Event), "category_uid": 6, "class_uid": class, "type_uid": class*100 + activity,
		"severity_id": id, "severity": word, "time": e.Time.UnixMilli(),
		"metadata": map[string]any{
			"version": "1.3.0", "uid": e.ID, "sequence": index, "log_name": origin,
			"product": map[string]any{"name": "atmserver", "vendor_name": "atm", "version": version.String()},
		},
		"api":      map[string]any{"operation": name(e), "service": map[string]any{"name": "atm"}},
		"unmapped": map[string]any{"index": index, "event": string(e.Event), "args": arguments(e)},
	}
	if e.Status != nil {
		event["status"] = map[string]string{"OK": "Success", "ERROR": "Failure"}[e.Status.Word()]
		event["status_id"] = map[string]int{"OK": 1, "ERROR": 2}[e.Status.Word()]
		event["status_code"], event["status_detail"] = string(e.Status.Code), e.Status.Reason
	}
	if e.Caller != nil {
		event["actor"] = map[string]any{"user": map[string]any{"name": e.Caller.Subject}}
	}
	if ip := source(e); ip != "" {
		event["src_endpoint"] = map[string]any{"ip": ip}
	}
	return json.NewEncoder(w).Encode(event)
}

func name(e *audit.Entry) string {
	if e.Operation != "" {
		return string(e.Operation)
	}
	return string(e.Event)
}

func arguments(e *audit.Entry) map[string]string {
	args := make(map[string]string, len(e.Args))
	for _, arg := range e.Args {
		args[arg.Name] = arg.Value
	}
	return args
}

func source(e *audit.Entry) string {
	if e.Caller != nil {
		return e.Caller.IP
	}
	return e.Source
}

var (
	cefHeader = strings.NewReplacer(`\`, `\\`, `|`, `\|`)
	cefValue  = strings.NewReplacer(`\`, `\\`, `=`, `\=`) // of what is printable
)

// writeCEF writes an event in the Common Event Format, version 0.
func writeCEF(w io.Writer, index int64, e *audit.Entry, origin string) error {
	id, _ := severity(e)
	fields := []string{
		"externalId", strconv.FormatInt(index, 10), "rt", strconv.FormatInt(e.Time.UnixMilli(), 10), "dvchost", origin,
		"cat", string(e.Event),
	}
	if e.Caller != nil {
		fields = append(fields, "suser", e.Caller.Subject)
	}
	if ip := source(e); ip != "" {
		fields = append(fields, "src", ip)
	}
	if e.Status != nil {
		fields = append(fields, "outcome", e.Status.Word(), "reason", string(e.Status.Code))
	}
	for i, arg := range []string{"account", "amount"} {
		if value := arguments(e)[arg]; value != "" {
			n := strconv.Itoa(i + 1)
			fields = append(fields, "cs"+n+"Label", arg, "cs"+n, value)
		}
	}
	var b strings.Builder
	what := cefHeader.Replace(printable.Text(name(e)))
	fmt.Fprintf(&b, "CEF:0|atm|atmserver|%s|%s|%s|%d|", cefHeader.Replace(version.String()), what, what, id*3)
	for i := 0; i < len(fields); i += 2 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(fields[i] + "=" + cefValue.Replace(printable.Text(fields[i+1])))
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}
