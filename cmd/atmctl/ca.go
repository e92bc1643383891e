package main

import (
	"time"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

func (p *program) caCommand() *cobra.Command {
	var data, out string
	export := &cobra.Command{
		Use: "export --out FILE", Short: "Move the key of the root out of the data folder",
		Long: `Move the key of the root out of the data folder into a new file, for a place that is
not online. A server needs it neither to run nor to start: the authorities under the
root sign for it.`,
		Example: "  atmctl ca export --data atm-data --out /media/safe/root.key",
		Args:    exit.Args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return exit.Usagef("--out is missing: a new file for the key")
			}
			if err := daemon.ExportRoot(data, out); err != nil {
				return err
			}
			return p.tell(map[string]string{"file": out}, "the key of the root is in %s, and here no longer\n", out)
		},
	}
	export.Flags().StringVar(&out, "out", "", "new `file` for the key")
	show := &cobra.Command{
		Use: "show", Short: "Show the authorities, and which keys are here", Args: exit.Args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			list, err := daemon.Authorities(data)
			if err != nil {
				return err
			}
			rows := make([]any, len(list))
			for i, a := range list {
				rows[i] = map[string]any{"name": a.Name, "not_after": a.NotAfter.Format(time.RFC3339), "key": a.Key, "fingerprint": a.Fingerprint}
			}
			return p.print([]string{"name", "not_after", "key", "fingerprint"}, rows)
		},
	}
	for _, cmd := range []*cobra.Command{export, show} {
		cmd.Flags().StringVar(&data, "data", "./atm-data", "the data `folder`")
	}
	return group(&cobra.Command{Use: "ca", Short: "Authorities of the data folder"}, export, show)
}
