// Package auditlog has the commands of atmctl that verify, read and export the audit log.
package auditlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/assertion"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/policy"
	"example.com/atm/audit/remote"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/ctl/pins"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/published"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
)

// defaultLog is where a server publishes.
const defaultLog = "./atm-data/audit"

// New returns the group of commands.
func New(env *ctl.Env) *cobra.Command {
	return ctl.Group(&cobra.Command{Use: "audit", Short: "Verify and read the audit log"},
		withArchive(env, verifyCommand(env)), withArchive(env, listCommand(env)),
		withArchive(env, tailCommand(env)), withArchive(env, showCommand(env)),
		withArchive(env, exportCommand(env)), withArchive(env, reconcileCommand(env)),
		rotateKeyCommand(env), withArchive(env, proveCommand(env)), checkCommand(env),
		withArchive(env, signatureCommand(env)),
		checkpointCommand(env), witnessCommand(env), Monitor(env))
}

func verifyCommand(env *ctl.Env) *cobra.Command {
	var vkey, saved, policy string
	var maxAge, within time.Duration
	cmd := &cobra.Command{
		Use:   "verify [DIR|URL]",
		Short: "Verify the audit log, offline",
		Long: `Verify every entry of a published audit log against its signed checkpoint.

Exit codes: 0 verified, 10 cannot be verified, 11 signature, key or origin,
12 content differs from the signed tree, 13 rollback or fork against the saved
checkpoint, 14 the newest entry is too old, or fewer witnesses cosigned than the
policy (C2SP tlog-policy) asks for. Without --checkpoint, the checkpoint and the key that
"audit checkpoint save" pinned are used. From a trusted key, in --vkey or in a pin, the
key.rotate entries lead to the key that signs the log today.`,
		Args: exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			where := defaultLog
			if len(args) == 1 {
				where = args[0]
			}
			opts := audit.VerifyOptions{MaxAge: maxAge, Now: time.Now()}
			if cmd.Flags().Changed("max-age") && maxAge <= 0 {
				return exit.Usagef("--max-age is more than zero")
			}
			if within <= 0 {
				return exit.Usagef("--within is more than zero")
			}
			return bounded(cmd.Context(), where, within, func(ctx context.Context) error {
				return verifyLog(ctx, env, where, vkey, saved, policy, opts)
			})
		},
	}
	cmd.Flags().StringVar(&vkey, "vkey", "", vkeyHelp)
	cmd.Flags().StringVar(&saved, "checkpoint", "", "`file` with a checkpoint of this log saved "+
		"before")
	cmd.Flags().StringVar(&policy, "policy", "", "`file` with a policy: known logs, witnesses, "+
		"and how many of them")
	cmd.Flags().DurationVar(&maxAge, "max-age", 0, "how old the newest entry may be")
	cmd.Flags().DurationVar(&within, "within", verifyWithin, "how long the verification of a log "+
		"at a URL may take")
	return cmd
}

// verifyWithin is how long the verification of a log at a URL may take by default.
const verifyWithin = time.Hour

// bounded calls verify. For a log at a URL it limits the time, because a server may answer
// slowly and claim any size.
func bounded(
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

// vkeyHelp is the help of the flag --vkey.
const vkeyHelp = "`file` with public keys of the log, one a line; of Ed25519 and of ML-DSA-44 " +
	"they require both signatures (default those of the pin, or beside the log)"

// withArchive adds the flag that names the archive of the log that a command reads.
func withArchive(env *ctl.Env, cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&env.Archive, "archive", "", published.ArchiveHelp)
	return cmd
}

// filesAt returns the files of a log in a folder, at a server or in an archive.
func filesAt(ctx context.Context, env *ctl.Env, where string) (audit.Files, error) {
	if published.IsArchive(where) {
		return published.Archive(ctx, where)
	}
	if !isURL(where) {
		return published.Files(ctx, where, env.Archive)
	}
	c, err := env.ConnectTo(where)
	if err != nil {
		return nil, err
	}
	hot := remote.Files{Client: c.HTTP(), Base: strings.TrimSuffix(where, "/") + "/"}
	return published.Over(ctx, hot, env.Archive)
}

// verifyFiles verifies a log with the named key, checkpoint and policy, and prints warnings.
// Without a named checkpoint it uses the pinned one.
func verifyFiles(
	ctx context.Context, env *ctl.Env, files audit.Files, vkey, saved, policy string,
	opts audit.VerifyOptions,
) (*audit.Report, error) {
	pin := ""
	if saved == "" {
		pin = pins.PathOf(ctx, files)
		saved = pin
	}
	opts.Progress = env.Progress("verifying")
	var confirmations assertion.Log
	opts.Entry = confirmations.Entry
	report, err := loadNamed(vkey, saved, policy, &opts)
	if err == nil && report == nil {
		report, err = audit.Verify(ctx, files, opts)
	}
	if err != nil {
		return nil, err
	}
	if n := confirmations.Unknown; n > 0 {
		report.Warnings = append(report.Warnings, fmt.Sprintf("%d confirmations by passkeys whose "+
			"keys are not in this log could not be checked", n))
	}
	for _, warning := range report.Warnings {
		env.Warn(warning)
	}
	if pin != "" && (report.Code == audit.WrongSignature || report.Code == audit.RolledBack) {
		env.Warn("the pin " + pin + " was used; \"atmctl audit checkpoint forget\" deletes it, " +
			"if you know why the log is another one")
	}
	return report, nil
}

func verifyLog(ctx context.Context, env *ctl.Env, where, vkey, saved, policy string,
	opts audit.VerifyOptions,
) error {
	files, err := filesAt(ctx, env, where)
	if err != nil {
		return err
	}
	report, err := verifyFiles(ctx, env, files, vkey, saved, policy, opts)
	if err != nil {
		return err
	}
	if a, alone := files.(*archive.Archive); alone && report.OK() {
		if err := verifySnapshot(ctx, env, a, report); err != nil {
			return err
		}
	}
	if env.IsJSON() {
		if err := env.WriteJSON(report); err != nil {
			return err
		}
		return ctl.Silent(report.Code)
	}
	return say(env, report)
}

// say prints for people what a verification found.
func say(env *ctl.Env, report *audit.Report) error {
	if report.OK() {
		return output.Verdict(env.Stdout, true, "verified", report.Sentence)
	}
	output.Verdict(env.Stderr, false, "not verified", report.Sentence)
	if bad := report.FirstBad; bad != nil {
		printable.Linef(env.Stderr, "  expected %s", bad.Expected)
		printable.Linef(env.Stderr, "  got      %s", bad.Got)
		sayGood(env, report)
	}
	return ctl.Silent(report.Code)
}

// sayGood prints how much of a log is good although it was not verified.
func sayGood(env *ctl.Env, report *audit.Report) {
	switch {
	case report.LastGood < 0:
	case report.Unproven:
		printable.Linef(env.Stderr, "  the entries up to %d agree with each other; nothing ties "+
			"them to the signed root",
			report.LastGood)
	default:
		printable.Linef(env.Stderr, "  the entries up to %d are good", report.LastGood)
	}
}

// loadNamed reads the key, the saved checkpoint and the policy. If one cannot be read, it
// returns a report: nothing can be verified.
func loadNamed(vkey, saved, witnesses string, opts *audit.VerifyOptions) (*audit.Report, error) {
	for _, named := range []struct {
		path string
		keep func([]byte) error
	}{
		{vkey, func(b []byte) error { opts.VKey = string(b); return nil }},
		{saved, func(b []byte) error { opts.Saved = b; return nil }},
		{witnesses, func(b []byte) (err error) {
			opts.Policy, err = policy.Parse(b)
			return err
		}},
	} {
		path := named.path
		if path == "" {
			continue
		}
		data, err := ctl.ReadNamed(path)
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

// openLog opens the log of the server, or the one at where, for reading.
func openLog(ctx context.Context, env *ctl.Env, where string) (*audit.Log, error) {
	if where == "" {
		where = strings.TrimSuffix(env.Server, "/") + "/audit"
	}
	files, err := filesAt(ctx, env, where)
	if err != nil {
		return nil, err
	}
	return audit.OpenLogBeside(ctx, files)
}

// An entry is published some hundred milliseconds after its answer. So an index that is a little
// behind the end of the log may be that of a receipt that was just given.
const (
	publishedWithin = 2 * time.Second
	littleBehind    = 1000
)

// openEntry reads the arguments INDEX [DIR|URL] and opens the log, which has that entry. It waits
// for an entry that may be on its way into the log.
func openEntry(ctx context.Context, env *ctl.Env, args []string) (*audit.Log, int64, error) {
	index, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil || index < 0 {
		return nil, 0, exit.Usagef("%q is not the index of an entry", args[0])
	}
	where := strings.Join(args[1:], "")
	log, err := openLog(ctx, env, where)
	for end := time.Now().Add(publishedWithin); err == nil && index >= log.Size &&
		index < log.Size+littleBehind && time.Now().Before(end); {
		time.Sleep(publishedWithin / 20)
		log, err = openLog(ctx, env, where)
	}
	if err != nil {
		return nil, 0, err
	}
	if index >= log.Size {
		return nil, 0, &exit.Error{
			Code: exit.Refused, Word: atm.EntryNotFound,
			Err: fmt.Errorf("the log has no entry %d: its last one is %d", index, log.Size-1),
		}
	}
	return log, index, nil
}

func showCommand(env *ctl.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "show INDEX [DIR|URL]",
		Short: "Show one entry of the audit log, checked against the signed tree",
		Args:  exit.Args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			log, index, err := openEntry(cmd.Context(), env, args)
			if err != nil {
				return err
			}
			return showEntry(cmd.Context(), env, log, index)
		},
	}
}

func showEntry(ctx context.Context, env *ctl.Env, log *audit.Log, index int64) error {
	return log.Entries(ctx, index, index+1, func(_ int64, leaf []byte, h merkle.Hash) error {
		if env.IsJSON() {
			_, err := fmt.Fprintf(env.Verbatim(), "%s\n", leaf)
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
		_, err = fmt.Fprintf(env.Stdout, "entry %d, leaf %s, in the tree of %d entries with root "+
			"%s\n%s\n",
			index, h, log.Size, log.Root, text)
		return err
	})
}
