// Package upkeep has the commands of atmctl for operating a server: its status, backups, and
// everything that works on the data folder of a stopped one.
package upkeep

import (
	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

// New returns the commands.
func New(env *ctl.Env) []*cobra.Command {
	return []*cobra.Command{
		statusCommand(env), doctorCommand(env), consoleCommand(env), trustCommand(env),
		demoCommand(env), backupCommand(env),
		restoreCommand(env), fsckCommand(env), rebuildCommand(env), compactCommand(env),
		exportCommand(env), importCommand(env), migrateCommand(env),
		ctl.Group(&cobra.Command{Use: "vault", Short: "Keys of the vault"}, rotateCommand(env),
			passphraseCommand(env), rekeyCommand(env)),
	}
}

func rotateCommand(env *ctl.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Replace the keys that the vault is sealed with, on a running server",
		Long: `Replace keys/vault.key and the data key that seals the values in the vault. Existing values
are sealed again in the background. Earlier backups have the old keys.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := env.Call(cmd.Context(), string(atm.VaultRotate))
			return err
		},
	}
}
