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

// A task is the work of a command in the folder of a stopped server.
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
			Data: data, Store: at, Archive: archiveFlag(cmd),
			Passphrase: settings.Passphrase(passphraseFile, vaultPassphrase),
			Progress:   env.Progress(cmd.Name()),
		}
		return asUsage(heed(cmd.Context(), func() error {
			return run(cmd.Context(), env, on, args)
		}))
	}
	return cmd
}

// withArchive gives a command that replays a journal the flag for the archive with the snapshot
// that a trimmed one begins with.
func withArchive(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().String("archive", "", "`location` of the archive with the snapshot that a trimmed "+
		"journal begins with, when that is not in the data folder: a folder, or "+
		"s3://BUCKET/PREFIX (default the archive of the server of the data folder)")
	return cmd
}

// archiveFlag is the archive that a command was given; empty for none.
func archiveFlag(cmd *cobra.Command) string {
	if f := cmd.Flags().Lookup("archive"); f != nil {
		return f.Value.String()
	}
	return ""
}

// vaultPassphrase is the prompt for the passphrase.
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

// heed calls do. If the program is told to end, do has a second to end. After that the program
// exits as in a crash, and leaves what a crash would leave.
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
	return withArchive(stopped(env, &cobra.Command{
		Use: "restore FILE [INCREMENT...] --data DIR", Short: "Create a data folder from a backup",
		Long: `Create a data folder from a backup, or from a chain: a full backup and the increments on it
in order. DIR must not exist, or be empty. The vault is checked and the audit log is
published again before DIR gets its name. An empty folder that exists, such as a mount point
or the target of a link, is filled.

With increments, the folder gets the journal of all of them, and the accounts, keys and
configuration of the last one. If one is missing, changed, out of order or of another server,
nothing is made.

The backup does not have operations that were answered after it was taken. If anybody has
seen more of the published log than the size that this command prints, do not start a
server on the folder: a log that forgot entries is a fork.`,
	}, cobra.MinimumNArgs(1), restore))
}

func fsckCommand(env *ctl.Env) *cobra.Command {
	return withArchive(stopped(env, &cobra.Command{
		Use: "fsck", Short: "Check the vault of a stopped server",
		Long: `Check everything in the vault: its pages, that every value opens, the chain of versions of
each account, that all movements sum to zero, and the signed tree with its signature. Then
replay the journal by the rules of the ledger, and compare accounts, holds, users, grants,
revocations and request ids with what follows from it, and what each caller did with the
accounts and roles that the caller had at that time.

A journal that was trimmed is replayed from the snapshot that it begins with, which is in
snapshots/ of the data folder, and in the archive. The older part of the log is for "atmctl
audit verify".`,
	}, cobra.NoArgs, fsck))
}

func rebuildCommand(env *ctl.Env) *cobra.Command {
	var from string
	cmd := stopped(env, &cobra.Command{
		Use:   "rebuild [--from ARCHIVE]",
		Short: "Write the accounts again, from the journal, or from an archive",
		Long: `Write the accounts again, from the journal alone. The journal has keyed hashes of the names of
holders: a name that the vault has stays if it fits its hash. A name that does not, or cannot be
read, is left out, and the account is named.

With --from the vault is made from an archive, in a data folder of which nothing but
keys/vault.key and keys/audit.key need be left: from the newest snapshot in the archive, and
the entries of the log after it. A published log in the folder that goes further counts as
well. What neither of them has is listed, with the commands that make it anew.

The log goes on after the last entry that was found. If anybody has seen more of it than the
command says, start no server on DIR: a log that forgot entries is a fork. Look for a longer
copy, such as that of a mirror or a monitor, and put it into DIR/audit before.`,
	}, cobra.NoArgs, func(ctx context.Context, env *ctl.Env, on offline.Folder, _ []string) error {
		switch {
		case from == "":
			return rebuild(ctx, env, on, nil)
		case on.Archive != "":
			return exit.Usagef("--archive is for a rebuild from the journal; --from names the " +
				"archive")
		}
		on.Archive = from
		return rebuildFrom(ctx, env, on)
	})
	withArchive(cmd)
	cmd.Flags().StringVar(&from, "from", "", "`location` of an archive to rebuild from: a folder, or "+
		"s3://BUCKET/PREFIX")
	return cmd
}

func compactCommand(env *ctl.Env) *cobra.Command {
	return stopped(env, &cobra.Command{
		Use: "compact", Short: "Return free pages of the vault to the disk",
	}, cobra.NoArgs, compact)
}

func exportCommand(env *ctl.Env) *cobra.Command {
	return withArchive(stopped(env, &cobra.Command{
		Use:   "export FILE",
		Short: "Write the accounts of a stopped server to a file, to import them elsewhere",
		Long: `Write the accounts, the journal and the other records to FILE, and check it. FILE is a vault
that is sealed under keys/vault.key. The keys, the published log and the credentials stay
in the data folder. With --store the accounts come from a database.`,
	}, cobra.ExactArgs(1), export))
}

func importCommand(env *ctl.Env) *cobra.Command {
	return withArchive(stopped(env, &cobra.Command{
		Use: "import FILE", Short: "Move the accounts of a stopped server to where --store says",
		Long: `Put the accounts in FILE, which atmctl export wrote, into an empty database (--store
postgres://…), into an empty table (--store dynamodb://…) or into the data folder (--store
bolt:), check them, and replay the journal.
From then on the data folder has its accounts there. A vault.db that is no longer used is
renamed.

No server may run on the folder, or on the place that FILE was exported from.`,
	}, cobra.ExactArgs(1), importFrom))
}

// RecoverCommand is the command that begins another audit log. It belongs to the group about
// the audit log, and works on the folder of a stopped server.
func RecoverCommand(env *ctl.Env) *cobra.Command {
	var logs []string
	cmd := stopped(env, &cobra.Command{
		Use:   "recover",
		Short: "Give the audit log of a stopped server up and begin another one",
		Long: `Give up the audit log and begin another one, with another origin. The first entry of the new
log commits to the last checkpoint of the old one. The old log is kept in the data folder.

This is for a vault that is older than its published log, as after a restore, or that
contradicts it. The accounts stay as the vault has them: operations that only the old log
knows are given up.

The command looks for the longest copy of the old log: in the data folder, in the vault,
and in the folders that --log names. Name those of all replicas. Entries that only an
unnamed replica published would be given up without a word.`,
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
		Long: `Replace keys/vault.key, and seal the secrets in the database with the new key. Copy the new
file to every replica before you start it.`,
	}, cobra.NoArgs, func(ctx context.Context, env *ctl.Env, on offline.Folder, _ []string) error {
		if err := on.Rekey(ctx); err != nil {
			return err
		}
		return env.Tell(map[string]bool{"rekeyed": true}, "keys/vault.key is new; copy it to "+
			"every replica\n")
	})
}

func passphraseCommand(env *ctl.Env) *cobra.Command {
	var newFile string
	var remove bool
	cmd := stopped(env, &cobra.Command{
		Use: "passphrase", Short: "Seal keys/vault.key of a stopped server with a passphrase",
		Long: `Seal keys/vault.key with a passphrase of at least 15 characters, or with --remove take the
seal away. A server with a sealed key needs --vault-passphrase-file, or a terminal to ask
for the passphrase.`,
	}, cobra.NoArgs, func(ctx context.Context, env *ctl.Env, on offline.Folder, _ []string) error {
		if remove && newFile != "" {
			return exit.Usagef("--remove and --new-passphrase-file exclude each other")
		}
		if err := setPassphrase(ctx, on, newFile, remove); err != nil {
			return err
		}
		state := "sealed with the passphrase"
		if remove {
			state = "not sealed"
		}
		return env.Tell(map[string]bool{"sealed": !remove}, "keys/vault.key is %s\n", state)
	})
	cmd.Flags().StringVar(&newFile, "new-passphrase-file", "", "`file` with the new "+
		"passphrase; - for standard input")
	cmd.Flags().BoolVar(&remove, "remove", false, "take the seal away")
	return cmd
}
