// Package program is the operator's and the auditor's command line as a whole: atmctl, and the
// program of a container image when it is called atmctl.
package program

import (
	"context"
	"io"
	"os"

	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/ctl/accounts"
	"example.com/atm/cmd/internal/ctl/auditlog"
	"example.com/atm/cmd/internal/ctl/credentials"
	"example.com/atm/cmd/internal/ctl/feed"
	"example.com/atm/cmd/internal/ctl/upkeep"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/cmd/internal/version"
	"github.com/spf13/cobra"
)

// Main runs atmctl as a process, and does not return.
func Main() {
	exit.Main(func(ctx context.Context, args []string) int {
		return run(ctx, args, os.Stdout, os.Stderr)
	})
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := newCommand(ctl.New(stdout, stderr))
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := ctl.Explain(cmd.ExecuteContext(ctx))
	return exit.Report(stderr, "atmctl", err, err != nil && output.IsJSON(settings.Form(cmd, args)))
}

// newCommand returns the whole command line.
func newCommand(env *ctl.Env) *cobra.Command {
	root := &cobra.Command{
		Use:               "atmctl",
		Short:             "Operates an ATM server and inspects its audit log",
		Version:           version.String(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return env.Prepare(cmd) },
	}
	exit.OnFlags(root)
	env.AddFlags(root)
	ctl.Group(root, versionCommand(env))
	root.AddCommand(accounts.New(env)...)
	root.AddCommand(credentials.New(env)...)
	root.AddCommand(feed.New(env))
	root.AddCommand(upkeep.New(env)...)
	audit := auditlog.New(env)
	audit.AddCommand(upkeep.RecoverCommand(env))
	root.AddCommand(audit, auditlog.CheckCommand(env), auditlog.Monitor(env))
	completeValues(env, root)
	confirmIrrevocable(root)
	return root
}

func versionCommand(env *ctl.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Args:  exit.Args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return version.Print(env.Stdout, "atmctl", env.IsJSON())
		},
	}
}
