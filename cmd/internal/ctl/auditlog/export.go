package auditlog

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"example.com/atm/audit/export"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/version"
	"github.com/spf13/cobra"
)

func exportCommand(env *ctl.Env) *cobra.Command {
	s := &inspection{}
	var format, out string
	cmd := &cobra.Command{
		Use:   "export [DIR|URL] --format FORMAT",
		Short: "Write entries of the audit log for other programs",
		Long: `Write entries of the audit log for other programs, each checked against the signed tree.
The formats are jsonl, an object per line with index, leaf hash and entry; csv, a column
for each thing that an auditor looks for; ocsf, events of the Open Cybersecurity Schema
Framework 1.3, of the class Authentication for failed sign-ins and API Activity for the
rest; and cef, the Common Event Format of ArcSight. Each row has index and leaf hash.`,
		Args: exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.check(time.Now()); err != nil {
				return err
			}
			if !slices.Contains(export.Forms, format) {
				return exit.Usagef("--format is jsonl, csv, ocsf or cef, not %q%s", format,
					exit.DidYouMean(format, export.Forms...))
			}
			if s.from < 0 {
				return exit.Usagef("--from-index is not negative")
			}
			return exportEntries(cmd.Context(), env, s, strings.Join(args, ""), format, out)
		},
	}
	s.addFilter(cmd.Flags())
	cmd.Flags().StringVar(&format, "format", "jsonl", "`form`: jsonl, csv, ocsf or cef")
	cmd.Flags().StringVar(&out, "out", "", "`file` to write to (default standard output)")
	cmd.Flags().Int64Var(&s.from, "from-index", 0, "`index` of the first entry")
	return cmd
}

func exportEntries(ctx context.Context, env *ctl.Env, s *inspection, where, format,
	out string,
) (err error) {
	log, err := openLog(ctx, env, where)
	if err != nil {
		return err
	}
	to := env.Stdout
	if out != "" {
		f, cannot := output.Create(ctx, out, 0o600)
		if cannot != nil {
			return cannot
		}
		defer func() { // err is the result of export: an incomplete export is not renamed
			if err == nil {
				err = f.Commit()
			}
			err = errors.Join(err, f.Close())
		}()
		to = f
	}
	if exit.Terminal(to) == nil {
		log.Progress = env.Progress("exporting")
	}
	// each entry is one line to every reader
	w, err := export.NewWriter(to, format, log.Origin, version.String())
	if err != nil {
		return err
	}
	if err := forwards(ctx, env, log, s, w.Add); err != nil {
		return err
	}
	return w.Flush()
}
