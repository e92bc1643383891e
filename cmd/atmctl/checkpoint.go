package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
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
		Long: `Verify the audit log, and pin its checkpoint and the key that it was verified with in
your own configuration. From then on verify notices when the log forgets or rewrites
what you have seen, and when a key signs it that does not follow from yours.`,
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
	save.Flags().StringVar(&vkey, "vkey", "", vkeyHelp)
	list := &cobra.Command{
		Use:   "list",
		Short: "List the checkpoints that you have pinned",
		Args:  exit.Args(cobra.NoArgs),
		RunE:  func(*cobra.Command, []string) error { return p.listPins() },
	}
	show := &cobra.Command{
		Use:   "show ORIGIN",
		Short: "Show the checkpoint that you have pinned of a log, and its key",
		Args:  exit.Args(cobra.ExactArgs(1)),
		RunE:  func(_ *cobra.Command, args []string) error { return p.showPin(args[0]) },
	}
	forget := &cobra.Command{
		Use:   "forget ORIGIN",
		Short: "Forget the checkpoint that you have pinned of a log",
		Long: `Forget the checkpoint that you have pinned of a log, and the key with it. What verify
says of the log proves nothing then until you pin it again, or name its key.`,
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return p.forgetPin(args[0]) },
	}
	return group(&cobra.Command{Use: "checkpoint", Short: "Checkpoints that you have seen"},
		save, list, show, forget)
}

func (p *program) pin(ctx context.Context, where, vkey string) error {
	files, err := p.log(where)
	if err != nil {
		return err
	}
	report, err := p.report(ctx, files, vkey, "", "", audit.VerifyOptions{})
	if err != nil {
		return err
	}
	if !report.OK() {
		if !p.isJSON() {
			return p.say(report)
		}
		if err := p.writeJSON(report); err != nil {
			return err
		}
		return silent(report.Code)
	}
	text, err := (&audit.Pin{
		Signed: report.Signed,
		Keys:   []string{strings.TrimSpace(report.Key)},
	}).MarshalText()
	if err != nil {
		return err
	}
	path, err := pinPath(report.Origin)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := output.Write(ctx, path, text, 0o600); err != nil {
		return err
	}
	if p.isJSON() {
		shown, err := readPin(path)
		if err != nil {
			return err
		}
		return p.writeJSON(shown)
	}
	if err := p.say(report); err != nil {
		return err
	}
	return printable.Linef(p.stdout, "pinned: %d entries of %s in %s", report.Size,
		report.Origin, path)
}

// pins is the folder of the checkpoints that somebody has seen.
func pins() (string, error) {
	config, err := os.UserConfigDir()
	return filepath.Join(config, "atm", "checkpoints"), err
}

// pinPath is where the checkpoint of a log that somebody has seen is kept.
func pinPath(origin string) (string, error) {
	dir, err := pins()
	return filepath.Join(dir, url.PathEscape(origin)), err
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

// A shownPin is a pin as it is listed.
type shownPin struct {
	Origin string   `json:"origin"`
	Size   int64    `json:"size"`
	Root   string   `json:"root"`
	Keys   []string `json:"keys"` // none in a pin of before
	Saved  string   `json:"saved"`
	File   string   `json:"file"`

	text string
}

func readPin(path string) (shownPin, error) {
	info, err := os.Stat(path)
	if err != nil {
		return shownPin{}, err
	}
	text, err := readBounded(path)
	if err != nil {
		return shownPin{}, err
	}
	pin, err := audit.ParsePin(text)
	if err != nil {
		return shownPin{}, fmt.Errorf("%s: %w", path, err)
	}
	return shownPin{
		Origin: pin.Origin, Size: pin.Size, Root: pin.Root.String(),
		Keys:  append([]string{}, pin.Keys...),
		Saved: info.ModTime().UTC().Format(time.RFC3339),
		File:  path, text: string(text),
	}, nil
}

func (p *program) listPins() error {
	dir, err := pins()
	if err != nil {
		return err
	}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	list, rows := []shownPin{}, [][]string{}
	for _, file := range files {
		if strings.HasPrefix(file.Name(), ".tmp-") {
			continue // of a save that was interrupted
		}
		pin, err := readPin(filepath.Join(dir, file.Name()))
		if err != nil {
			p.warn(err.Error())
			continue
		}
		list = append(list, pin)
		keys := strings.Join(pin.Keys, " ") // none in a pin of before
		rows = append(rows, []string{pin.Origin, strconv.FormatInt(pin.Size, 10), pin.Saved, keys})
	}
	if p.isJSON() {
		array := output.NewArray(p.stdout, p.output)
		for _, pin := range list {
			if err := array.AddValue(pin); err != nil {
				return err
			}
		}
		return array.End()
	}
	return p.table([]string{"origin", "entries", "saved", "key"}, rows)
}

// found returns the pin of a log, or an error that says that there is none.
func found(origin string) (shownPin, error) {
	path, err := pinPath(origin)
	if err != nil {
		return shownPin{}, err
	}
	pin, err := readPin(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && pin.Origin != origin {
		err = fmt.Errorf("no checkpoint of %q is pinned: see \"atmctl audit checkpoint list\"",
			origin)
		return pin, &exit.Error{Code: exit.Refused, Err: err}
	}
	return pin, err
}

func (p *program) showPin(origin string) error {
	pin, err := found(origin)
	if err != nil {
		return err
	}
	if p.isJSON() {
		return p.writeJSON(pin)
	}
	for line := range strings.Lines(pin.text) {
		if err := printable.Linef(p.stdout, "%s", strings.TrimSuffix(line, "\n")); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) forgetPin(origin string) error {
	path, err := pinPath(origin)
	if err != nil {
		return err
	}
	// one that is damaged goes too
	if _, err := found(origin); err != nil && !errors.Is(err, audit.ErrNoCheckpoint) {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return p.tell(map[string]any{"forgotten": origin}, "forgotten: what was pinned of %s\n", origin)
}
