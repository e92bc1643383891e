package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
)

// defaultLog is where a server publishes.
const defaultLog = "./atm-data/audit"

func (p *program) auditCommand() *cobra.Command {
	return group(&cobra.Command{Use: "audit", Short: "Verify and read the audit log"},
		p.verifyCommand(), p.listCommand(), p.tailCommand(), p.showCommand(), p.exportCommand(),
		p.reconcileCommand(), p.rotateKeyCommand(), p.proveCommand(), p.checkCommand(),
		p.checkpointCommand(), p.witnessCommand())
}

func (p *program) verifyCommand() *cobra.Command {
	var vkey, saved, policy string
	var maxAge, within time.Duration
	cmd := &cobra.Command{
		Use:   "verify [DIR|URL]",
		Short: "Verify the audit log, offline",
		Long: `Verify every entry of a published audit log against its signed checkpoint.

Exit codes: 0 verified, 10 cannot be verified, 11 signature, key or origin,
12 content differs from the signed tree, 13 rollback or fork against the saved
checkpoint, 14 the newest entry is too old, or fewer witnesses cosigned than the
policy (C2SP tlog-policy) asks for. Without --checkpoint, the one that
"audit checkpoint save" pinned is used, with the key that it was pinned with. From a
key that is trusted, in --vkey or a pin, entries key.rotate are followed to the one
that signs the log today.`,
		Args: exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			where := defaultLog
			if len(args) == 1 {
				where = args[0]
			}
			opts := audit.VerifyOptions{MaxAge: maxAge, Now: time.Now()}
			if maxAge < 0 {
				return exit.Usagef("--max-age is not negative")
			}
			if within <= 0 {
				return exit.Usagef("--within is more than zero")
			}
			return p.bounded(cmd.Context(), where, within, func(ctx context.Context) error {
				return p.verify(ctx, where, vkey, saved, policy, opts)
			})
		},
	}
	cmd.Flags().StringVar(&vkey, "vkey", "", vkeyHelp)
	cmd.Flags().StringVar(&saved, "checkpoint", "", "`file` with a checkpoint of this log saved "+
		"before")
	cmd.Flags().StringVar(&policy, "policy", "", "`file` with a policy: known logs, witnesses, "+
		"and how many of them")
	cmd.Flags().DurationVar(&maxAge, "max-age", 0, "how old the newest entry may be")
	cmd.Flags().DurationVar(&within, "within", verifyWithin, "how long all of it may take at a URL")
	return cmd
}

// verifyWithin is how long the verification of a log at a URL may take unless --within
// says otherwise.
const verifyWithin = time.Hour

// bounded carries out the verification of a log. One at a URL has so much time, however
// slowly a server answers and whatever size it claims.
func (p *program) bounded(
	ctx context.Context, where string, within time.Duration, verify func(context.Context) error,
) error {
	if !isURL(where) {
		return verify(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := verify(ctx)
	var silent exit.Silent
	if err != nil && !errors.As(err, &silent) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = coded(exit.NoConnection, fmt.Errorf("the log was not verified within %s", within))
	}
	return err
}

func isURL(where string) bool { return strings.Contains(where, "://") }

// vkeyHelp is what the flag --vkey of a verification says.
const vkeyHelp = "`file` with public keys of the log, one a line " +
	"(default that of the pin, or the one beside the log)"

// log returns the files of a log in a folder or at a server.
func (p *program) log(where string) (audit.Files, error) {
	if !isURL(where) {
		return audit.Dir(where), nil
	}
	c, err := p.connectTo(where)
	if err != nil {
		return nil, err
	}
	return audit.HTTP{Client: c.HTTP(), Base: strings.TrimSuffix(where, "/") + "/"}, nil
}

// report verifies a log against the files that are named, and gives the warnings out. With
// no saved checkpoint named, a pinned one is used.
func (p *program) report(
	ctx context.Context, files audit.Files, vkey, saved, policy string, opts audit.VerifyOptions,
) (*audit.Report, error) {
	pin := ""
	if saved == "" {
		pin = pinned(ctx, files)
		saved = pin
	}
	opts.Progress = p.progress("verifying")
	report, err := loadNamed(vkey, saved, policy, &opts)
	if err == nil && report == nil {
		report, err = audit.Verify(ctx, files, opts)
	}
	if err != nil {
		return nil, err
	}
	for _, warning := range report.Warnings {
		p.warn(warning)
	}
	if pin != "" && (report.Code == audit.WrongSignature || report.Code == audit.RolledBack) {
		p.warn("the pin " + pin + " was used; \"atmctl audit checkpoint forget\" deletes it, " +
			"if you know why the log is another one")
	}
	return report, nil
}

func (p *program) verify(ctx context.Context, where, vkey, saved, policy string,
	opts audit.VerifyOptions,
) error {
	files, err := p.log(where)
	if err != nil {
		return err
	}
	report, err := p.report(ctx, files, vkey, saved, policy, opts)
	if err != nil {
		return err
	}
	if p.isJSON() {
		if err := p.writeJSON(report); err != nil {
			return err
		}
		return silent(report.Code)
	}
	return p.say(report)
}

// say tells a person what a verification found.
func (p *program) say(report *audit.Report) error {
	if report.OK() {
		return output.Verdict(p.stdout, true, "verified", report.Sentence)
	}
	output.Verdict(p.stderr, false, "not verified", report.Sentence)
	if bad := report.FirstBad; bad != nil {
		printable.Linef(p.stderr, "  expected %s", bad.Expected)
		printable.Linef(p.stderr, "  got      %s", bad.Got)
		p.sayGood(report)
	}
	return silent(report.Code)
}

// sayGood says how much of a log that is not verified can be relied on.
func (p *program) sayGood(report *audit.Report) {
	switch {
	case report.LastGood < 0:
	case report.Unproven:
		printable.Linef(p.stderr, "  the entries up to %d agree with each other; nothing ties "+
			"them to the signed root",
			report.LastGood)
	default:
		printable.Linef(p.stderr, "  the entries up to %d are good", report.LastGood)
	}
}

// progress shows how far something long has come, on a terminal.
func (p *program) progress(what string) func(done, total int64) {
	if p.quiet || p.isJSON() {
		return func(int64, int64) {}
	}
	return output.NewProgress(p.stderr, what)
}

func silent(code int) error {
	if code == exit.Done {
		return nil
	}
	return exit.Silent(code)
}

// maxNamed bounds a key or a checkpoint that was named.
const maxNamed = 64 << 10

// loadNamed reads the key, the saved checkpoint and the policy. One that cannot be read is
// a finding of the verification: nothing can be proved.
func loadNamed(vkey, saved, policy string, opts *audit.VerifyOptions) (*audit.Report, error) {
	for _, named := range []struct {
		path string
		keep func([]byte) error
	}{
		{vkey, func(b []byte) error { opts.VKey = string(b); return nil }},
		{saved, func(b []byte) error { opts.Saved = b; return nil }},
		{policy, func(b []byte) (err error) {
			opts.Policy, err = audit.ParsePolicy(b)
			return err
		}},
	} {
		path := named.path
		if path == "" {
			continue
		}
		data, err := readBounded(path)
		if err != nil {
			return audit.Unverifiable(err), nil
		}
		if len(data) == 0 {
			return audit.Unverifiable(errors.New(path + " is empty")), nil
		}
		if err := named.keep(data); err != nil {
			return audit.Unverifiable(fmt.Errorf("%s: %w", path, err)), nil
		}
	}
	return nil, nil
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxNamed+1))
	if err == nil && len(data) > maxNamed {
		err = fmt.Errorf("%s has more than %d bytes", path, maxNamed)
	}
	return data, err
}

func (p *program) warn(text string) {
	if !p.quiet {
		printable.Linef(p.stderr, "atmctl: warning: %s", text)
	}
}

// open opens the log for reading: that of the server unless another one is
// named.
func (p *program) open(ctx context.Context, where string) (*audit.Log, error) {
	if where == "" {
		where = strings.TrimSuffix(p.server, "/") + "/audit"
	}
	files, err := p.log(where)
	if err != nil {
		return nil, err
	}
	return audit.OpenLogBeside(ctx, files)
}

func (p *program) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show INDEX [DIR|URL]",
		Short: "Show one entry of the audit log, found in the signed tree",
		Args:  exit.Args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			index, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || index < 0 {
				return exit.Usagef("%q is no index of an entry", args[0])
			}
			log, err := p.open(cmd.Context(), strings.Join(args[1:], ""))
			if err != nil {
				return err
			}
			if index >= log.Size {
				return exit.Usagef("the log has no entry %d: its last one is %d", index, log.Size-1)
			}
			return p.show(cmd.Context(), log, index)
		},
	}
}

// verbatim is where to print what another program reads byte for byte: an entry, whose
// hash is that of its bytes, or a proof. On a terminal it is made printable all the same.
func (p *program) verbatim() io.Writer {
	if exit.Terminal(p.exact) != nil {
		return p.stdout
	}
	return p.exact
}

func (p *program) show(ctx context.Context, log *audit.Log, index int64) error {
	return log.Entries(ctx, index, index+1, func(_ int64, leaf []byte, h audit.Hash) error {
		if p.isJSON() {
			_, err := fmt.Fprintf(p.verbatim(), "%s\n", leaf)
			return err
		}
		var members map[string]any
		if err := json.Unmarshal(leaf, &members); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		text, err := json.MarshalIndent(members, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "entry %d, leaf %s, in the tree of %d entries with root "+
			"%s\n%s\n",
			index, h, log.Size, log.Root, text)
		return err
	})
}
