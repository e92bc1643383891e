package upkeep

import (
	"context"
	"errors"
	"time"

	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/cmd/internal/storage"
	"github.com/spf13/cobra"
)

// A task is what a command does in the folder of a stopped server.
type task func(ctx context.Context, env *ctl.Env, on offline.Folder, args []string) error

// stopped completes a command that runs a task in the folder of a stopped server.
func stopped(env *ctl.Env, cmd *cobra.Command, args cobra.PositionalArgs, run task) *cobra.Command {
	var data, passphraseFile string
	var store settings.Store
	cmd.Flags().StringVar(&data, "data", "./atm-data", "the data `folder`; no server may run "+
		"on it")
	addPassphrase(cmd, &passphraseFile)
	store.AddFlags(cmd.Flags())
	cmd.Args = exit.Args(args)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := storage.FromFlags(&store)
		if err != nil {
			return asUsage(err)
		}
		on := offline.Folder{
			Data: data, Store: at,
			Passphrase: settings.Passphrase(passphraseFile, vaultPassphrase),
			Progress:   env.Progress(cmd.Name()),
		}
		return asUsage(heed(cmd.Context(), func() error {
			return run(cmd.Context(), env, on, args)
		}))
	}
	return cmd
}

// vaultPassphrase is what a person is asked for.
const vaultPassphrase = "Passphrase of keys/vault.key"

func addPassphrase(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "vault-passphrase-file", "",
		"`file` with the passphrase of keys/vault.key, when it is sealed with one; - for "+
			"standard input")
}

// asUsage gives errors of usage their exit code.
func asUsage(err error) error {
	if errors.Is(err, datadir.ErrUsage) {
		return exit.Usagef("%w", err)
	}
	return err
}

// heed calls do. When the program is told to end, do has a second to end by itself; after that
// the program ends as if it had crashed, and leaves what a crash would leave.
func heed(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(time.Second):
		return errors.New("interrupted")
	}
}

func restoreCommand(env *ctl.Env) *cobra.Command {
	return stopped(env, &cobra.Command{
		Use: "restore FILE --data DIR", Short: "Make a data folder out of a backup",
		Long: `Make a data folder out of a backup. DIR must not exist, or be empty. The vault is
checked and the audit log published again before DIR is there. An empty folder that
is there, such as a mount point or what a link leads to, is filled and stays.

What was answered after the backup is not in it. If the published log is known to
anybody beyond the size that this command prints, the server must not go on with
it: a log that forgot entries is a fork.`,
	}, cobra.ExactArgs(1), restore)
}

func fsckCommand(env *ctl.Env) *cobra.Command {
	return stopped(env, &cobra.Command{
		Use: "fsck", Short: "Check the vault of a stopped server",
		Long: `Check everything in the vault: its pages, that every value opens, the chain of
versions of each account, that all movements sum to zero, the signed tree and its
signature; and replay the journal by the rules of the ledger. Accounts, holds, users,
grants, revocations and request ids are compared with what follows from it, and what
each caller did with the accounts and roles that they had at that time.`,
	}, cobra.NoArgs, fsck)
}

func rebuildCommand(env *ctl.Env) *cobra.Command {
	return stopped(env, &cobra.Command{
		Use: "rebuild", Short: "Make the accounts anew from the journal alone",
	}, cobra.NoArgs, rebuild)
}

func compactCommand(env *ctl.Env) *cobra.Command {
	return stopped(env, &cobra.Command{
		Use: "compact", Short: "Give free pages of the vault back to the disk",
	}, cobra.NoArgs, compact)
}

func exportCommand(env *ctl.Env) *cobra.Command {
	return stopped(env, &cobra.Command{
		Use:   "export FILE",
		Short: "Write the accounts of a stopped server to a file, to import them elsewhere",
		Long: `Write the accounts, the journal and everything beside them to FILE, a vault that is
sealed with keys/vault.key, and check it. The keys, the published log and the
credentials stay in the data folder. With --store it reads a database.`,
	}, cobra.ExactArgs(1), export)
}

func importCommand(env *ctl.Env) *cobra.Command {
	return stopped(env, &cobra.Command{
		Use: "import FILE", Short: "Move the accounts of a stopped server to where --store says",
		Long: `Put what atmctl export wrote to FILE into an empty database (--store
postgres://…), or into the data folder (--store bolt:), check it, replay the
journal, and let the folder have its accounts there from then on. A vault.db that
is left behind is renamed.

No server may run on the folder, nor on what FILE was exported from.`,
	}, cobra.ExactArgs(1), importFrom)
}

// RecoverCommand is the command that begins another audit log. It belongs to the group about
// the audit log, and works on the folder of a stopped server.
func RecoverCommand(env *ctl.Env) *cobra.Command {
	var logs []string
	cmd := stopped(env, &cobra.Command{
		Use:   "recover",
		Short: "Give the audit log of a stopped server up and begin another one",
		Long: `Give the audit log up and begin another one, of another origin, whose first entry
commits to what the old log said last. The old log is kept in the data folder.

The longest copy of the old log that is known counts: that of the folder, what it saw
of a database that went back, what the vault has, and what --log names. Name those of
all replicas: what only they published is given up otherwise without being said.

This is for a vault that is older than its published log, as after a restore, or
contradicts it: operations that only the old log knows have not happened for this
vault. The accounts are as the vault has them.`,
	}, cobra.NoArgs, func(ctx context.Context, env *ctl.Env, on offline.Folder, _ []string) error {
		on.Logs = logs
		return recoverLog(ctx, env, on)
	})
	cmd.Flags().StringArrayVar(&logs, "log", nil, "`folder` or checkpoint of another copy "+
		"of the log, such as another replica's; repeatable")
	return cmd
}

func rekeyCommand(env *ctl.Env) *cobra.Command {
	return stopped(env, &cobra.Command{
		Use: "rekey",
		Short: "Replace keys/vault.key of servers that share a database, while all are " +
			"stopped",
		Long: `Replace keys/vault.key, and seal with it what is sealed in the database. Copy the
new file to every replica before it is started.`,
	}, cobra.NoArgs, func(ctx context.Context, _ *ctl.Env, on offline.Folder, _ []string) error {
		return on.Rekey(ctx)
	})
}

func passphraseCommand(env *ctl.Env) *cobra.Command {
	var newFile string
	var remove bool
	cmd := stopped(env, &cobra.Command{
		Use: "passphrase", Short: "Seal keys/vault.key of a stopped server with a passphrase",
		Long: `Seal keys/vault.key with a passphrase of at least 15 characters, or with --remove
take the seal away. The server then needs --vault-passphrase-file, or a terminal
to ask on.`,
	}, cobra.NoArgs, func(ctx context.Context, _ *ctl.Env, on offline.Folder, _ []string) error {
		return setPassphrase(ctx, on, newFile, remove)
	})
	cmd.Flags().StringVar(&newFile, "new-passphrase-file", "", "`file` with the new "+
		"passphrase; - for standard input")
	cmd.Flags().BoolVar(&remove, "remove", false, "seal it with none")
	return cmd
}
