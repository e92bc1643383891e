package credentials

import (
	"example.com/atm/cmd/internal/browse"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/signin"
	"github.com/spf13/cobra"
)

func loginCommand(env *ctl.Env) *cobra.Command {
	var flags signin.LoginFlags
	cmd := &cobra.Command{
		Use:   "login --profile NAME",
		Short: "Log in with an OpenID provider of the server",
		Long: `Log in with an OpenID provider of the server, for a profile with login = true. A browser of this
machine opens at the provider and comes back to a loopback address; with --device you enter a
code on another device. The token is stored beside the profiles, in a file that only you may
read. Every command of the profile signs in by it, atmclient's too, and renews it in time.`,
		Example: `  atmctl login --profile company
  atmctl login --profile company --device`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var open func(string) error
			if exit.Terminal(env.Stderr) != nil {
				open = browse.Show
			}
			p, err := env.Way.LogIn(cmd.Context(), &flags, env.Stderr, open)
			if err != nil {
				return err
			}
			return env.Tell(p, "%s", p)
		},
	}
	flags.Add(cmd.Flags())
	return cmd
}

func logoutCommand(env *ctl.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "logout --profile NAME",
		Short: "Log out: remove the token of a profile, and have the provider revoke it",
		Long: `Log out: remove the token of a profile with login = true, and have the provider revoke it, if it
can. A provider that cannot be reached is exit code 5; the token is removed here all the same.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			was, err := env.Way.LogOut(cmd.Context())
			if err != nil {
				return err
			}
			text := "nobody was logged in"
			if was {
				text = "you are logged out"
			}
			return env.Tell(map[string]bool{"was_logged_in": was}, "%s", text)
		},
	}
}
