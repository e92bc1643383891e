package upkeep

import (
	"context"
	"slices"

	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/doctor"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
)

func doctorCommand(env *ctl.Env) *cobra.Command {
	opts := doctor.Options{Reserve: 64 << 20}
	var passphraseFile string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at a data folder, and say what needs repair",
		Long: `Look at the data folder of a stopped or a running server, without changing anything, and
say what needs repair and which command does it. It looks at permissions and owners,
leftovers of a crash, disk, clock, keys and whether they belong together, the layout of
the vault, the days that certificates have left, the published log against the vault, the
archive, and which alerts would fire.

Exit code 0 says that nothing needs repair, 1 that something does. The vault of a running
server cannot be read; "atmctl status" asks the server. No server can start on the folder
while doctor looks at it.

doctor does not read every entry; "atmctl fsck" and "atmctl audit verify" do.`,
		Example: "  atmctl doctor --data /var/lib/atm",
		Args:    exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.Passphrase = settings.Passphrase(passphraseFile, "Passphrase of keys/vault.key")
			return examine(cmd.Context(), env, opts)
		},
	}
	cmd.Flags().StringVar(&opts.Data, "data", "./atm-data", "the data `folder`")
	cmd.Flags().Uint64Var(&opts.Reserve, "disk-reserve", opts.Reserve,
		"free `bytes` that the server keeps, as its own flag says")
	cmd.Flags().StringVar(&passphraseFile, "vault-passphrase-file", "",
		"`file` with the passphrase of keys/vault.key, when it is sealed with one; - for "+
			"standard input")
	return cmd
}

func examine(ctx context.Context, env *ctl.Env, opts doctor.Options) error {
	findings := doctor.Examine(ctx, opts)
	if err := tellFindings(env, findings); err != nil {
		return err
	}
	if slices.ContainsFunc(findings, doctor.Finding.Asks) {
		return exit.Silent(exit.Internal)
	}
	return nil
}

// tellFindings prints findings, with --quiet only those that ask for a repair.
func tellFindings(env *ctl.Env, findings []doctor.Finding) error {
	if env.Quiet {
		findings = slices.DeleteFunc(findings, func(f doctor.Finding) bool { return !f.Asks() })
	}
	if env.IsJSON() {
		array := output.NewArray(env.Stdout, env.Output)
		for _, f := range findings {
			if err := array.AddValue(f); err != nil {
				return err
			}
		}
		return array.End()
	}
	for _, f := range findings {
		if err := printable.Linef(env.Stdout, "%-9s%-14s%s", f.Severity, f.Check,
			f.Text); err != nil {
			return err
		}
		if f.Mend != "" {
			if err := printable.Linef(env.Stdout, "%23s→ %s", "", f.Mend); err != nil {
				return err
			}
		}
	}
	return nil
}
