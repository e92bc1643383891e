package auditlog

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/ctl/pins"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/internal/durable"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
)

func checkpointCommand(env *ctl.Env) *cobra.Command {
	var vkey string
	save := &cobra.Command{
		Use:   "save [DIR|URL]",
		Short: "Verify the audit log, and remember how far it went",
		Long: `Verify the audit log, and pin its checkpoint and the key that verified it in your own
configuration. From then on verify notices when the log forgets or rewrites entries that
you have seen, and when it is signed by a key that does not follow from yours.`,
		Args: exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			where := defaultLog
			if len(args) == 1 {
				where = args[0]
			}
			return bounded(cmd.Context(), where, verifyWithin, func(ctx context.Context) error {
				return savePin(ctx, env, where, vkey)
			})
		},
	}
	save.Flags().StringVar(&vkey, "vkey", "", vkeyHelp)
	list := &cobra.Command{
		Use:   "list",
		Short: "List the checkpoints that you have pinned",
		Args:  exit.Args(cobra.NoArgs),
		RunE:  func(*cobra.Command, []string) error { return listPins(env) },
	}
	show := &cobra.Command{
		Use:   "show ORIGIN",
		Short: "Show the checkpoint that you have pinned of a log, and its key",
		Args:  exit.Args(cobra.ExactArgs(1)),
		RunE:  func(_ *cobra.Command, args []string) error { return showPin(env, args[0]) },
	}
	forget := &cobra.Command{
		Use:   "forget ORIGIN",
		Short: "Forget the checkpoint that you have pinned of a log",
		Long: `Forget the checkpoint that you have pinned of a log, and its key. Until you pin the log
again, or name its key, the answer of verify proves nothing.`,
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return forgetPin(env, args[0]) },
	}
	return ctl.Group(&cobra.Command{Use: "checkpoint", Short: "Checkpoints that you have seen"},
		withArchive(env, save), list, show, forget)
}

func savePin(ctx context.Context, env *ctl.Env, where, vkey string) error {
	files, err := filesAt(ctx, env, where)
	if err != nil {
		return err
	}
	report, err := verifyFiles(ctx, env, files, vkey, "", "", audit.VerifyOptions{})
	if err != nil {
		return err
	}
	if !report.OK() {
		if !env.IsJSON() {
			return say(env, report)
		}
		if err := env.WriteJSON(report); err != nil {
			return err
		}
		return ctl.Silent(report.Code)
	}
	text, err := (&audit.Pin{
		Signed: report.Signed,
		Keys:   strings.Fields(report.Key),
	}).MarshalText()
	if err != nil {
		return err
	}
	path, err := pins.Path(report.Origin)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := output.Write(ctx, path, text, 0o600); err != nil {
		return err
	}
	if env.IsJSON() {
		shown, err := pins.Read(path)
		if err != nil {
			return err
		}
		return env.WriteJSON(shown)
	}
	if err := say(env, report); err != nil {
		return err
	}
	return printable.Linef(env.Stdout, "pinned: %d entries of %s in %s", report.Size,
		report.Origin, path)
}

func listPins(env *ctl.Env) error {
	dir, err := pins.Folder()
	if err != nil {
		return err
	}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	list, rows := []pins.Pin{}, [][]string{}
	for _, file := range files {
		if strings.HasPrefix(file.Name(), ".tmp-") {
			continue // of an interrupted save
		}
		pin, err := pins.Read(filepath.Join(dir, file.Name()))
		if err != nil {
			env.Warn(err.Error())
			continue
		}
		list = append(list, pin)
		keys := checkpoint.Short(pin.Keys...) // none in a pin of an older version
		rows = append(rows, []string{pin.Origin, strconv.FormatInt(pin.Size, 10), pin.Saved, keys})
	}
	if env.IsJSON() {
		array := output.NewArray(env.Stdout, env.Output)
		for _, pin := range list {
			if err := array.AddValue(pin); err != nil {
				return err
			}
		}
		return array.End()
	}
	return env.Table([]string{"origin", "entries", "saved", "key"}, rows)
}

func showPin(env *ctl.Env, origin string) error {
	pin, err := pins.Find(origin)
	if err != nil {
		return err
	}
	if env.IsJSON() {
		return env.WriteJSON(pin)
	}
	for line := range strings.Lines(pin.Text) {
		if err := printable.Linef(env.Stdout, "%s", strings.TrimSuffix(line, "\n")); err != nil {
			return err
		}
	}
	return nil
}

func forgetPin(env *ctl.Env, origin string) error {
	path, err := pins.Path(origin)
	if err != nil {
		return err
	}
	// A damaged pin is deleted, too.
	if _, err := pins.Find(origin); err != nil && !errors.Is(err, checkpoint.ErrNoCheckpoint) {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return env.Tell(map[string]any{"forgotten": origin},
		"forgotten: what was pinned of %s\n", origin)
}
