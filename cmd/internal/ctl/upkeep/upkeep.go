// Package upkeep has the commands of atmctl for operating a server: its status, backups, and
// everything that works on the data folder of a stopped one.
package upkeep

import (
	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"github.com/spf13/cobra"
)

// New returns the commands.
func New(env *ctl.Env) []*cobra.Command {
	return []*cobra.Command{
		statusCommand(env), readyCommand(), doctorCommand(env), consoleCommand(env),
		trustCommand(env), demoCommand(env), backupCommand(env),
		restoreCommand(env), fsckCommand(env), rebuildCommand(env), compactCommand(env),
		exportCommand(env), importCommand(env), migrateCommand(env),
		ctl.Group(&cobra.Command{Use: "vault", Short: "Keys of the vault"}, rotateCommand(env),
			newKeyCommand(), passphraseCommand(env), rekeyCommand(env)),
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
			if _, err := env.Call(cmd.Context(), string(atm.VaultRotate)); err != nil {
				return err
			}
			return env.Tell(map[string]bool{"rotated": true}, "keys/vault.key and the data key "+
				"are new; earlier backups open with the old ones\n")
		},
	}
}

func newKeyCommand() *cobra.Command {
	var out string
	var ifMissing bool
	create := &cobra.Command{
		Use:   "key --out FILE",
		Short: "Write a new key for a vault that does not exist yet",
		Long: `Write a new key for a vault that does not exist yet. Give it to every server of an
installation by atmserver's --vault-key-file, from a secret store; the first server makes a bank
with it, and the others join. Keep a copy elsewhere: without the key nobody opens the vault.`,
		Example: "  atmctl vault key --out vault.key",
		Args:    exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return exit.Usagef("--out names the file for the key")
			}
			if ifMissing && datadir.Exists(out) {
				return nil
			}
			text, err := datadir.NewVaultKey().Encode()
			if err != nil {
				return err
			}
			return output.WriteNew(cmd.Context(), out, text, 0o600)
		},
	}
	create.Flags().StringVar(&out, "out", "", "new `file` for the key")
	create.Flags().BoolVar(&ifMissing, "if-missing", false, "leave a file that is there as it is, "+
		"so that a set-up can be run again")
	return create
}
