package upkeep

import (
	"os"
	"path/filepath"

	"example.com/atm/cmd/internal/browse"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

// clientFolders is the folder in which init puts credentials, each in a folder of its own.
const clientFolders = "./atm-data/clients"

func consoleCommand(env *ctl.Env) *cobra.Command {
	var address, as string
	var noBrowser bool
	cmd := &cobra.Command{
		Use:   "console",
		Short: "Open the console of a server in a browser of this machine",
		Long: `Open the console of a server in a browser of this machine, with your credentials.
Without any, you are the demo customer with the certificate in ./atm-data/clients/demo, or
the operator where there is no demo; --as operator makes you the operator, who is an
auditor as well.

The command listens on loopback as long as it runs, and prints a link whose code works
once. The browser needs no certificate: the command speaks to the server as you, and lets
through the console and the audit log alone.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder := filepath.Join(clientFolders, "demo")
			if _, err := os.Stat(folder); err != nil {
				folder = ctl.DefaultCredentials
			}
			if as != "" {
				if folder = filepath.Join(clientFolders, as); filepath.Base(as) != as {
					return exit.Usagef("--as %q is not the name of a folder in %s", as,
						clientFolders)
				}
			}
			c, err := env.ConnectAs(env.Server, folder)
			if err != nil {
				return err
			}
			return browse.Run(cmd.Context(), c, address, env.Stdout, !noBrowser)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&as, "as", "", "`name` of a folder in ./atm-data/clients, such as operator, "+
		"to sign in with what is in it")
	flags.StringVar(&address, "address", "localhost:0", "loopback `address` for the browser")
	flags.BoolVar(&noBrowser, "no-browser", false, "print the link, and open no browser")
	return cmd
}
