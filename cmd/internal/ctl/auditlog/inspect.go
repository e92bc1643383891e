package auditlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/balances"
	"example.com/atm/audit/export"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/search"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/when"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// An inspection says which entries of the log to show, and how.
type inspection struct {
	filter       search.Filter
	since, until string
	from, cursor int64
	limit        int
	form         string
}

// addFilter adds the flags of a filter.
func (s *inspection) addFilter(flags *pflag.FlagSet) {
	flags.StringVar(&s.filter.Account, "account", "", "entries about an `account`")
	flags.StringVar(&s.filter.Who, "who", "", "entries of a `subject`, such as user:alice")
	flags.StringVar((*string)(&s.filter.Operation), "operation", "", "entries of an `operation`, "+
		"such as withdraw")
	flags.StringVar((*string)(&s.filter.Event), "event", "", "entries of an `event`, such as op "+
		"or auth.fail")
	flags.StringVar(&s.filter.Status, "status", "", "`OK` or ERROR; failed sign-ins are ERROR")
	flags.StringVar((*string)(&s.filter.Code), "code", "", "entries with a `code`, such as "+
		"INSUFFICIENT_FUNDS")
	flags.StringVar(&s.since, "since", "", "entries since a `time`: "+when.Forms)
	flags.StringVar(&s.until, "until", "", "entries until a `time`; a day counts to its end")
}

func (s *inspection) addForm(flags *pflag.FlagSet) {
	flags.StringVarP(&s.form, "output", "o", "table", "`form` of what is printed: table, json, "+
		"jsonl or csv")
}

// ListForms are the forms of a list of entries.
var ListForms = []string{output.FormTable, output.FormJSON, output.FormJSONL, "csv"}

// check reads the flags that are text.
func (s *inspection) check(now time.Time) error {
	var err error
	if s.since != "" {
		if s.filter.Since, err = when.Since(s.since, now); err != nil {
			return exit.Usagef("--since %w", err)
		}
	}
	if s.until != "" {
		if s.filter.Until, err = when.Until(s.until, now); err != nil {
			return exit.Usagef("--until %w", err)
		}
	}
	if who := s.filter.Who; who != "" && !strings.Contains(who, ":") { // others are system:init
		if s.filter.Who, err = ctl.Subject(who); err != nil {
			return err
		}
	}
	if s.filter.Status != "" && s.filter.Status != "OK" && s.filter.Status != "ERROR" {
		return exit.Usagef("--status is OK or ERROR, not %q%s", s.filter.Status,
			exit.DidYouMean(s.filter.Status, "OK", "ERROR"))
	}
	if s.form != "" && !slices.Contains(ListForms, s.form) {
		return exit.Usagef("--output is table, json, jsonl or csv, not %q%s", s.form,
			exit.DidYouMean(s.form, ListForms...))
	}
	return nil
}

func listCommand(env *ctl.Env) *cobra.Command {
	s := &inspection{}
	cmd := &cobra.Command{
		Use:   "list [DIR|URL]",
		Short: "List entries of the audit log, each checked against the signed tree",
		Long: `List entries of the audit log. Without DIR or URL the server finds them, and does not have
to read the whole log. Each row is hashed again here and checked against the signed tree
before it is shown.`,
		Example: `  atmctl audit list --account 100 --since 24h
  atmctl audit list --status ERROR --limit 500 -o csv`,
		Args: exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.check(time.Now()); err != nil {
				return err
			}
			if s.limit < 1 || s.from < -1 || s.cursor < 0 {
				return exit.Usagef("--limit is above zero, --from-index and --cursor are not " +
					"negative")
			}
			return listEntries(cmd.Context(), env, s, strings.Join(args, ""))
		},
	}
	s.addFilter(cmd.Flags())
	s.addForm(cmd.Flags())
	cmd.Flags().Int64Var(&s.from, "from-index", -1, "list from this `index` on (default so that "+
		"the newest is the last)")
	cmd.Flags().Int64Var(&s.cursor, "cursor", 0, "list the entries before this `index`, as the "+
		"previous "+
		"page said")
	cmd.Flags().IntVar(&s.limit, "limit", 50, "how many entries at most")
	return cmd
}

func listEntries(ctx context.Context, env *ctl.Env, s *inspection, where string) error {
	log, err := openLog(ctx, env, where)
	if err != nil {
		return err
	}
	rows := newRows(env.Stdout, s.form, !env.NoPager)
	if s.from >= 0 {
		if err := forwards(ctx, env, log, s, rows.add); err != nil {
			return err
		}
		return rows.end()
	}
	found, next, err := backwards(ctx, env, log, s, where)
	if err != nil {
		return err
	}
	for _, f := range slices.Backward(found) {
		if err := rows.add(f.Index, f.Leaf); err != nil {
			return err
		}
	}
	if err := rows.end(); err != nil {
		return err
	}
	if next > 0 && len(found) > 0 && !env.Quiet {
		fmt.Fprintf(env.Stderr, "There are older ones: --cursor %d\n", next)
	}
	return nil
}

// errLimit ends a listing.
var errLimit = errors.New("limit reached")

// forwards lists entries that match, from an index on.
func forwards(ctx context.Context, env *ctl.Env, log *audit.Log, s *inspection,
	show func(int64, []byte) error,
) error {
	shown := 0
	err := log.Entries(ctx, s.from, log.Size, func(index int64, leaf []byte, _ merkle.Hash) error {
		fits, err := fitting(&s.filter, index, leaf)
		if err != nil || !fits {
			return err
		}
		if err := show(index, leaf); err != nil {
			return err
		}
		if shown++; shown == s.limit {
			return errLimit
		}
		return nil
	})
	if errors.Is(err, errLimit) {
		err = nil
	}
	return err
}

func fitting(f *search.Filter, index int64, leaf []byte) (bool, error) {
	if !f.May(leaf) {
		return false, nil
	}
	entry, err := audit.ParseEntry(leaf)
	if err != nil {
		return false, fmt.Errorf("entry %d: %w", index, err)
	}
	return f.Fits(entry), nil
}

// backwards finds the newest entries that match. It asks the server for them, or reads a
// folder from the end of the log.
func backwards(ctx context.Context, env *ctl.Env, log *audit.Log, s *inspection,
	where string,
) ([]search.Found, int64, error) {
	before := log.Size
	if s.cursor > 0 {
		before = min(before, s.cursor)
	}
	if where != "" {
		page, err := search.Find(ctx, log.Leaves, nil, &s.filter,
			search.Range{Before: before}, s.limit)
		if err != nil {
			return nil, 0, err
		}
		return page.Found, page.Next, nil
	}
	var found []search.Found
	for len(found) < s.limit {
		result, err := env.Call(ctx, string(atm.AuditList),
			s.wire(before, min(500, s.limit-len(found))))
		if err != nil {
			return nil, 0, err
		}
		page, _ := result.(map[string]any)
		items, _ := page["entries"].([]any)
		for _, item := range items {
			fields, _ := item.(map[string]any)
			leaf, _ := fields["entry"].(string)
			index, _ := fields["index"].(int64)
			if err := log.Holds(ctx, index, []byte(leaf)); err != nil {
				return nil, 0, err
			}
			found = append(found, search.Found{Index: index, Leaf: []byte(leaf)})
		}
		next, _ := page["next"].(string)
		if next == "" {
			return found, 0, nil
		}
		if before, err = strconv.ParseInt(next, 10, 64); err != nil {
			return nil, 0, fmt.Errorf("the server's cursor: %w", err)
		}
	}
	return found, before, nil
}

// wire returns the filter in the form of the protocol.
func (s *inspection) wire(before int64, limit int) map[string]any {
	filter := map[string]any{
		"account": s.filter.Account, "who": s.filter.Who, "operation": string(s.filter.Operation),
		"event":  string(s.filter.Event),
		"status": s.filter.Status, "code": string(s.filter.Code),
		"before": strconv.FormatInt(before, 10), "limit": limit,
	}
	for name, t := range map[string]time.Time{"since": s.filter.Since, "until": s.filter.Until} {
		if !t.IsZero() {
			filter[name] = t.UTC().Format(time.RFC3339Nano)
		}
	}
	return filter
}

func tailCommand(env *ctl.Env) *cobra.Command {
	s := &inspection{}
	var follow bool
	cmd := &cobra.Command{
		Use:   "tail [DIR|URL]",
		Short: "Show the newest entries, and with -f new ones as they come",
		Example: `  atmctl audit tail -f --status ERROR
  atmctl audit tail -f --from-index 4711 -o jsonl`,
		Args: exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.check(time.Now()); err != nil {
				return err
			}
			if s.limit < 0 || s.from < -1 {
				return exit.Usagef("--lines and --from-index are not negative")
			}
			return tailEntries(cmd.Context(), env, s, strings.Join(args, ""), follow)
		},
	}
	s.addFilter(cmd.Flags())
	s.addForm(cmd.Flags())
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "show new entries as they come")
	cmd.Flags().Int64Var(&s.from, "from-index", -1, "begin at this `index`, to resume where "+
		"another tail ended")
	cmd.Flags().IntVarP(&s.limit, "lines", "n", 10, "how many entries to begin with")
	return cmd
}

// tailEvery is how often tail -f looks for new entries.
const tailEvery = 500 * time.Millisecond

func tailEntries(ctx context.Context, env *ctl.Env, s *inspection, where string,
	follow bool,
) error {
	log, err := openLog(ctx, env, where)
	if err != nil {
		return err
	}
	rows := newRows(env.Stdout, s.form, !env.NoPager && !follow)
	if follow {
		rows.table.Reserve(wideRow...)
	}
	next := s.from
	if next < 0 {
		next = log.Size
		if s.limit > 0 {
			found, _, err := backwards(ctx, env, log, s, where)
			if err != nil {
				return err
			}
			for _, f := range slices.Backward(found) {
				if err := rows.add(f.Index, f.Leaf); err != nil {
					return err
				}
			}
		}
	}
	for {
		all := *s
		all.from, all.limit = next, 0
		if err := forwards(ctx, env, log, &all, rows.add); err != nil {
			return err
		}
		next = log.Size
		if err := rows.flush(); err != nil || !follow {
			return errors.Join(err, rows.end())
		}
		select {
		case <-ctx.Done():
			return rows.end()
		case <-time.After(tailEvery):
		}
		if log, err = openLog(ctx, env, where); err != nil {
			if ctx.Err() != nil {
				return rows.end()
			}
			return err
		}
	}
}

var entryColumns = []string{
	"index", "time", "event", "operation", "who", "account",
	"amount", "code",
}

// tableColumns are the columns of a table for people.
var tableColumns = append(slices.Clone(entryColumns), "address", "reason")

// tableRow returns the row of an entry in a table for people.
func tableRow(index int64, e *audit.Entry) []string {
	why := e.Reason
	if e.Status != nil {
		why = e.Status.Reason
	}
	switch {
	case why != "":
	case e.Reverses > 0:
		why = fmt.Sprintf("of entry %d", e.Reverses)
	case e.Debtor != "":
		why = "by a mandate of " + e.Debtor
	}
	if s := e.Summary; s != nil {
		why = strings.TrimPrefix(fmt.Sprintf("%s, %d times", why, s.N), ", ")
	}
	return append(row(index, e), export.Source(e), why)
}

// wideRow is wider than most rows. It reserves the widths of the columns for tail -f.
var wideRow = []string{
	"1000000", "2026-05-01T00:00:00Z", string(audit.EventAuthFailSummary),
	string(atm.AccountUnfreeze),
	"service:billing", "1000→1000", "1000000.00", string(atm.InsufficientFunds),
	"192.168.100.100", "Account 1000 was not found",
}

// rows prints entries in one of the forms.
type rows struct {
	w     io.Writer
	form  string
	array *output.Array
	table *output.Table
	count int
}

func newRows(w io.Writer, form string, paged bool) *rows {
	return &rows{
		w: w, form: form, array: output.NewArray(w, form), table: output.NewTable(w, paged,
			tableColumns...),
	}
}

func (r *rows) add(index int64, leaf []byte) error {
	r.count++
	if output.IsJSON(r.form) {
		return r.array.Add(fmt.Appendf(nil, `{"index":%d,"entry":%s}`, index, leaf))
	}
	entry, err := audit.ParseEntry(leaf)
	if err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	if r.form == "csv" {
		if r.count == 1 {
			if _, err := io.WriteString(r.w, printable.CSV(entryColumns...)); err != nil {
				return err
			}
		}
		_, err := io.WriteString(r.w, printable.CSV(row(index, entry)...))
		return err
	}
	r.table.Row(tableRow(index, entry)...)
	return nil
}

// flush prints what has been added so far.
func (r *rows) flush() error {
	if r.form == "csv" || output.IsJSON(r.form) {
		return nil
	}
	return r.table.Flush()
}

func (r *rows) end() error {
	if output.IsJSON(r.form) {
		return r.array.End()
	}
	return r.flush()
}

// row returns the row of an entry.
func row(index int64, e *audit.Entry) []string {
	who, code := "", ""
	if e.Caller != nil {
		who = e.Caller.Subject
	}
	if e.Status != nil {
		code = string(e.Status.Code)
	}
	args := make(map[string]string)
	for _, arg := range e.Args {
		args[arg.Name] = arg.Value
	}
	account, amount := args["account"], args["amount"]
	from, to := args["from"], args["to"]
	if account == "" && len(e.State) == 2 { // where the money went, whatever the arguments name
		less, more := e.State[0], e.State[1]
		if less.After > less.Before {
			less, more = more, less
		}
		from, to = less.Account, more.Account
		amount = cmp.Or(amount, (more.After - more.Before).String())
	}
	if account == "" && to != "" {
		account = from + "→" + to
	}
	return []string{
		strconv.FormatInt(index, 10), e.Time.Format(time.RFC3339), string(e.Event),
		string(e.Operation),
		who, account, amount, code,
	}
}

func reconcileCommand(env *ctl.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "reconcile",
		Short: "Replay the audit log against the balances of a running server",
		Long: `Verify and replay the audit log, and compare the balances that follow from it with those
of the server, taken in one snapshot. Exit code 15 says that they disagree.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return reconcile(cmd.Context(), env) },
	}
}

func reconcile(ctx context.Context, env *ctl.Env) error {
	result, err := env.Call(ctx, string(atm.AuditBalances))
	if err != nil {
		return err
	}
	theirs, _ := result.(map[string]any)
	size, _ := theirs["size"].(int64)
	logs, _ := theirs["logs"].(int64)
	hash, _ := theirs["hash"].(string)
	if logs != 1 {
		return coded(audit.CannotVerify, errors.New("this log took the place of another one: the "+
			"balances do not follow from it alone; see atmctl fsck"))
	}
	log, err := openLog(ctx, env, "")
	for end := time.Now().Add(env.Timeout); err == nil && log.Size < size; log,
		err = openLog(ctx, env, "") {
		if time.Now().After(end) {
			return fmt.Errorf("the log has %d entries, and the balances are of %d", log.Size, size)
		}
		time.Sleep(tailEvery)
	}
	if err != nil {
		return ctl.Explain(err)
	}
	log.Progress = env.Progress("reconciling")
	said, err := balances.Of(ctx, log, size)
	var contradiction *balances.ContradictionError
	if errors.As(err, &contradiction) {
		return coded(audit.BalancesDisagree, err)
	}
	if err != nil {
		return err
	}
	ours := balances.NewHash()
	names := make([]string, 0, len(said))
	for name := range said {
		names = append(names, name)
	}
	slices.SortFunc(names, balances.Order)
	for _, name := range names {
		ours.Add(name, said[name].Version, said[name].Amount)
	}
	agree := ours.Sum() == hash
	reason := ""
	if !agree {
		accounts, _ := theirs["accounts"].(int64)
		reason = fmt.Sprintf("the balances of %d accounts are not what the first %d entries of "+
			"the log say of %d", accounts, size, len(names))
	}
	if env.IsJSON() {
		err := env.WriteJSON(struct {
			OK       bool   `json:"ok"`
			Size     int64  `json:"size"`
			Accounts int    `json:"accounts"`
			Reason   string `json:"reason,omitempty"`
		}{agree, size, len(names), reason})
		if err != nil || agree {
			return err
		}
		return ctl.Silent(audit.BalancesDisagree)
	}
	if !agree {
		return coded(audit.BalancesDisagree, errors.New(reason))
	}
	_, err = fmt.Fprintf(env.Stdout, "reconciled: %d accounts are what %d entries say\n",
		len(names), size)
	return err
}

// coded returns an error that ends the program with a code.
func coded(code int, err error) error { return &exit.Error{Code: code, Err: err} }

func rotateKeyCommand(env *ctl.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-key",
		Short: "Sign the audit log of a running server with a new key",
		Long: `Sign the audit log with new keys, of Ed25519 and of ML-DSA-44. The previous keys sign as
well until the next rotation, so that verifiers have time to change.
Entries of the log say which key follows which. A log that had a key of Ed25519 alone gets
its first one of ML-DSA-44, and programs that know only Ed25519 no longer serve it.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := env.Call(cmd.Context(), string(atm.AuditRotate))
			if err != nil {
				return err
			}
			return env.Tell(map[string]any{"vkey": result}, "the log is signed with another key "+
				"now: %v\n", result)
		},
	}
}
