package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/internal/durable"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
)

func (p *program) checkpointCommand() *cobra.Command {
	var vkey string
	save := &cobra.Command{
		Use:   "save [DIR|URL]",
		Short: "Verify the audit log, and remember how far it went",
		Long: `Verify the audit log and pin its checkpoint in your own configuration. From then on
verify notices when the log forgets or rewrites what you have seen.`,
		Args: exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			where := defaultLog
			if len(args) == 1 {
				where = args[0]
			}
			return p.bounded(cmd.Context(), where, verifyWithin, func(ctx context.Context) error {
				return p.pin(ctx, where, vkey)
			})
		},
	}
	save.Flags().StringVar(&vkey, "vkey", "", "`file` with the public key of the log (default the one beside it)")
	return group(&cobra.Command{Use: "checkpoint", Short: "Checkpoints that you have seen"}, save)
}

func (p *program) pin(ctx context.Context, where, vkey string) error {
	if err := p.verify(ctx, where, vkey, "", "", audit.VerifyOptions{}); err != nil {
		return err
	}
	files, err := p.log(where)
	if err != nil {
		return err
	}
	signed, c, err := audit.ReadCheckpoint(ctx, files)
	if err != nil {
		return err
	}
	path, err := pinPath(c.Origin)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := output.Write(ctx, path, signed, 0o600); err != nil {
		return err
	}
	return printable.Linef(p.stdout, "pinned: %d entries of %s in %s", c.Size, c.Origin, path)
}

// pinPath is where the checkpoint of a log that somebody has seen is kept.
func pinPath(origin string) (string, error) {
	config, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(config, "atm", "checkpoints", url.PathEscape(origin)), nil
}

// pinned returns the file with the pinned checkpoint of a log, and "" when
// there is none.
func pinned(ctx context.Context, files audit.Files) string {
	_, c, err := audit.ReadCheckpoint(ctx, files)
	if err != nil {
		return ""
	}
	path, err := pinPath(c.Origin)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

func (p *program) witnessCommand() *cobra.Command {
	var policy string
	push := &cobra.Command{
		Use:   "push [DIR] --policy FILE",
		Short: "Have the checkpoint cosigned by the witnesses of a policy",
		Long: `Send the checkpoint of a published log, with the proof that it extends what they
have seen, to the witnesses in the policy that have a URL (C2SP tlog-witness), and
keep their cosignatures with it. A server does that every minute by itself when it
has --witness-policy.`,
		Args: exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if policy == "" {
				return exit.Usagef("--policy is missing: a file with witnesses and their URLs")
			}
			where := defaultLog
			if len(args) == 1 {
				where = args[0]
			}
			return p.pushWitnesses(cmd.Context(), where, policy)
		},
	}
	push.Flags().StringVar(&policy, "policy", "", "`file` with the witnesses")
	return group(&cobra.Command{Use: "witness", Short: "Witnesses of the audit log"}, push)
}

func (p *program) pushWitnesses(ctx context.Context, dir, policyFile string) error {
	text, err := readBounded(policyFile)
	if err != nil {
		return err
	}
	policy, err := audit.ParsePolicy(text)
	if err != nil {
		return exit.Usagef("%s: %w", policyFile, err)
	}
	if strings.Contains(dir, "://") {
		return exit.Usagef("cosignatures are kept in a folder, not at %s", dir)
	}
	vkey, err := audit.ReadKey(ctx, audit.Dir(dir))
	if err != nil {
		return err
	}
	log, err := audit.OpenLog(ctx, audit.Dir(dir), vkey)
	if err != nil {
		return err
	}
	lines, errs := log.CosignAll(ctx, &http.Client{Timeout: 30 * time.Second}, policy)
	for _, err := range errs {
		p.warn(err.Error())
	}
	if len(lines) == 0 {
		return errors.New("no witness cosigned the checkpoint")
	}
	if err := log.SaveCosigned(lines); err != nil {
		return err
	}
	names := policy.Cosigned(log.WithCosignatures(lines))
	if err := printable.Linef(p.stdout, "cosigned: %d entries by %s", log.Size, strings.Join(names, ", ")); err != nil {
		return err
	}
	if !policy.Satisfied(names) {
		return silent(audit.TooOld)
	}
	return nil
}
