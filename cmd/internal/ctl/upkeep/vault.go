package upkeep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/backup"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
)

func backupCommand(env *ctl.Env) *cobra.Command {
	var passphraseFile, since string
	backup := &cobra.Command{
		Use:   "backup FILE [--since PREVIOUS]",
		Short: "Take a backup of a running server",
		Long: `Take a backup of a running server: its vault, keys, authorities and configuration, in one
tar archive. It has every operation that was answered before the backup began. It is
unpacked and checked before it gets its name.

With --since it is an increment on PREVIOUS, a full backup or another increment: all
accounts and other records, and of the journal only what came after PREVIOUS. To restore it,
name the full backup and every increment up to it. An increment is refused if the server has
another history than PREVIOUS, or has trimmed its journal beyond it: take a full one then.
Whether its accounts are what the journal says needs the whole chain: atmctl backup verify.

FILE has every key of the server: keep it as safe as those.`,
		Example: "  atmctl backup sunday.tar\n  atmctl backup monday.tar --since sunday.tar\n" +
			"  atmctl backup verify sunday.tar monday.tar",
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			take := taking{
				env: env, file: args[0], since: since,
				passphrase: settings.Passphrase(passphraseFile, vaultPassphrase),
			}
			return heed(cmd.Context(), func() error { return take.backup(cmd.Context()) })
		},
	}
	addPassphrase(backup, &passphraseFile)
	backup.Flags().StringVar(&since, "since", "", "`file` of the earlier backup that this one is an increment on")
	backup.AddCommand(verifyBackupCommand(env))
	return backup
}

func verifyBackupCommand(env *ctl.Env) *cobra.Command {
	var passphraseFile string
	verify := &cobra.Command{
		Use:   "verify FILE [INCREMENT...]",
		Short: "Check a backup, or a chain of a full one and increments in order",
		Long: `Check a backup, or a chain of a full one and increments in order, as restore does: that each
builds on the one before, the vault, its signed log, and that all records are what the
journal says. It unpacks them beside the last one, and deletes the copy.`,
		Example: "  atmctl backup verify sunday.tar monday.tar tuesday.tar",
		Args:    exit.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return heed(cmd.Context(), func() error {
				found, err := offline.VerifyBackups(cmd.Context(), args,
					settings.Passphrase(passphraseFile, vaultPassphrase), env.Progress("checking"),
					operatorLog(env))
				if err != nil {
					return err
				}
				return env.Tell(found, "good: %d entries, %d accounts\n", found.Entries,
					found.Accounts)
			})
		},
	}
	addPassphrase(verify, &passphraseFile)
	return verify
}

// migrateCommand changes the schema of a database. Servers never change it.
func migrateCommand(env *ctl.Env) *cobra.Command {
	var store settings.Store
	var role string
	cmd := &cobra.Command{
		Use:   "migrate --store URL",
		Short: "Create the schema in a database, or update it, or create the table in DynamoDB",
		Long: `Create the schema in an empty database, or update an older one, as the owner of the tables.
First stop every server on the database, and take a backup: a migration cannot be undone.

In DynamoDB create the table unless it exists, on demand, with point-in-time recovery and
protected against deletion, and let it remove items that have expired. What a server may do
with it is in the IAM policy of the server.

With --grant a role of PostgreSQL that owns no table gets the permissions that a server needs: it may
add to the journal, and cannot change entries.`,
		Example: "  atmctl migrate --store postgres://owner@db/atm --grant atm_server\n" +
			"  atmctl migrate --store 'dynamodb://atm?region=eu-central-1'",
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := storage.FromFlags(&store)
			if err != nil {
				return asUsage(err)
			}
			if !at.InDatabase() {
				return exit.Usagef("--store says which database; a vault in a data folder needs " +
					"no migration")
			}
			if err := storage.Migrate(cmd.Context(), at, role); err != nil {
				return err
			}
			return env.Tell(map[string]bool{"migrated": true}, "the schema is up to date\n")
		},
	}
	store.AddFlags(cmd.Flags())
	cmd.Flags().StringVar(&role, "grant", "", "`role` of the database that a server signs in as")
	return cmd
}

func export(ctx context.Context, env *ctl.Env, on offline.Folder, args []string) error {
	file := args[0]
	found, err := on.Export(ctx, file, problems(env))
	if err != nil {
		return err
	}
	return env.Tell(found, "exported: %d entries, %d accounts in %s\n", found.Entries,
		found.Accounts, file)
}

func importFrom(ctx context.Context, env *ctl.Env, on offline.Folder, args []string) error {
	found, err := on.Import(ctx, args[0], operatorLog(env), problems(env))
	if err != nil {
		return err
	}
	return env.Tell(found, "imported: %d entries, %d accounts\n", found.Entries, found.Accounts)
}

// problems prints each problem that a check finds.
func problems(env *ctl.Env) func(text string) {
	return func(text string) { printable.Linef(env.Stderr, "problem: %s", text) }
}

// operatorLog logs problems to standard error.
func operatorLog(env *ctl.Env) *slog.Logger {
	return slog.New(slog.NewTextHandler(env.Stderr, nil))
}

func setPassphrase(ctx context.Context, folder offline.Folder, file string, remove bool) error {
	if remove {
		return folder.SetPassphrase(ctx, nil)
	}
	text, err := settings.NewPassphrase(file, "New passphrase of keys/vault.key")
	if err != nil {
		return err
	}
	return asUsage(folder.SetPassphrase(ctx, text))
}

// A taking is a backup that is being taken.
type taking struct {
	env        *ctl.Env
	file       string
	since      string // earlier backup; empty for a full one
	passphrase func() ([]byte, error)
}

func (t *taking) backup(ctx context.Context) (err error) {
	if _, err := os.Lstat(t.file); !errors.Is(err, fs.ErrNotExist) {
		return exit.Usagef("%s exists", t.file)
	}
	since, err := checkpointOf(t.since)
	if err != nil {
		return err
	}
	c, err := t.env.Connect()
	if err != nil {
		return err
	}
	f, err := output.CreateNew(ctx, t.file, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := download(ctx, c, since, f)
	if err != nil {
		return ctl.Explain(err)
	}
	found, err := t.verify(ctx, f.Name(), since)
	if err != nil {
		return fmt.Errorf("the backup is not good: %w", err)
	}
	if err := f.Commit(); err != nil {
		return err
	}
	return t.env.Tell(struct {
		*offline.Checked
		File  string `json:"file"`
		Bytes int64  `json:"bytes"`
		Since string `json:"since,omitempty"`
	}{found, t.file, size, t.since}, "backup: %d entries, %d accounts, %d bytes in %s\n",
		found.Entries, found.Accounts, size, t.file)
}

func (t *taking) verify(ctx context.Context, file string, since []byte) (*offline.Checked, error) {
	if len(since) > 0 {
		return offline.VerifyIncrement(ctx, file, since, t.passphrase, operatorLog(t.env))
	}
	return offline.VerifyBackups(ctx, []string{file}, t.passphrase, t.env.Progress("checking"),
		operatorLog(t.env))
}

// checkpointOf returns the checkpoint in a backup; nil if there is no backup.
func checkpointOf(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	label, err := backup.ReadLabel(f)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, err)
	case label.Checkpoint == nil:
		return nil, exit.Usagef("%s is of an older version, and nothing builds on it: take a full "+
			"one", file)
	}
	return label.Checkpoint, nil
}

// download writes a backup of the server to w: an increment on the one that has the checkpoint
// since, unless that is empty.
func download(ctx context.Context, c *client.Client, since []byte, w io.Writer) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base()+"/admin/backup",
		bytes.NewReader(since))
	if err != nil {
		return 0, err
	}
	hc := c.HTTP()
	hc.Timeout = 0 // without a limit on the time
	resp, err := hc.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		sentence, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return 0, &client.HTTPError{
			StatusCode: resp.StatusCode,
			Sentence:   strings.TrimSpace(string(sentence)),
		}
	}
	return io.Copy(w, resp.Body)
}

func restore(ctx context.Context, env *ctl.Env, folder offline.Folder, args []string) error {
	backups, closeAll, err := offline.OpenBackups(args)
	if err != nil {
		return err
	}
	defer closeAll()
	found, err := folder.Restore(ctx, operatorLog(env), backups...)
	if err != nil {
		return err
	}
	if !env.Quiet {
		fmt.Fprintf(env.Stderr,
			"The log of this vault has %d entries. If anybody has seen more of "+
				"it, do not start a server on it.\n", found.Entries)
	}
	return env.Tell(found, "restored: %d entries, %d accounts in %s\n", found.Entries,
		found.Accounts,
		folder.Data)
}

func fsck(ctx context.Context, env *ctl.Env, folder offline.Folder, _ []string) error {
	found, err := folder.Check(ctx, problems(env))
	if err != nil && !errors.Is(err, offline.ErrProblems) {
		return err
	}
	if err != nil {
		if env.IsJSON() {
			if err := env.Tell(found, ""); err != nil {
				return err
			}
		}
		return fmt.Errorf("%w: %d", err, found.Problems)
	}
	return env.Tell(found, "good: %d entries, %d accounts\n", found.Entries, found.Accounts)
}

func recoverLog(ctx context.Context, env *ctl.Env, folder offline.Folder) error {
	r, err := folder.Recover(ctx, operatorLog(env))
	if err != nil {
		return err
	}
	if !env.IsJSON() {
		for _, where := range r.Looked {
			printable.Linef(env.Stderr, "looked at %s", where)
		}
		for _, replica := range r.Missed {
			printable.Linef(env.Stderr, "not looked at, though it has seen more: the log of %s",
				replica)
		}
		if r.Behind > 0 {
			printable.Linef(env.Stderr, "given up: the last %d entries of the old log, which the "+
				"vault does not have", r.Behind)
		}
	}
	return env.Tell(r, "recovered: the log is %s now; %s with %d entries is in %s\n", r.Origin,
		r.OldOrigin, r.OldSize, r.Archive)
}

func rebuild(ctx context.Context, env *ctl.Env, folder offline.Folder, _ []string) error {
	done, err := folder.Rebuild(ctx)
	if err != nil {
		return err
	}
	for _, account := range done.Unnamed {
		printable.Linef(env.Stderr, "the name of the holder of account %s is lost; give it again: "+
			"atmctl account set %s --name NAME", account, account)
	}
	return env.Tell(done, "rebuilt: %d records were not what the journal says\n", done.Wrong)
}

func rebuildFrom(ctx context.Context, env *ctl.Env, folder offline.Folder) error {
	done, err := folder.RebuildFrom(ctx, operatorLog(env))
	if err != nil {
		return err
	}
	for _, what := range done.Anew {
		printable.Linef(env.Stderr, "to be made anew: %s", what)
	}
	env.Warn(fmt.Sprintf("the log goes on after the %d entries that were found: if anybody has "+
		"seen more of it, start no server on this folder, since a log that forgot entries is a "+
		"fork", done.Found))
	return env.Tell(done, "rebuilt from %s: %d accounts, %d entries; the snapshot had seen %d\n",
		done.Archive, done.Accounts, done.Entries, done.Snapshot)
}

func compact(ctx context.Context, env *ctl.Env, folder offline.Folder, _ []string) error {
	before, after, err := folder.Compact(ctx)
	if err != nil {
		return err
	}
	return env.Tell(map[string]int64{"before": before, "after": after}, "compacted: %d bytes, "+
		"before %d\n", after, before)
}
