package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
)

// vaultCommands are those about the vault and its data folder. One of them goes
// to the group about the audit log.
func (p *program) vaultCommands(auditGroup *cobra.Command) []*cobra.Command {
	var data, passphraseFile string
	var store settings.Store
	folder := func() (offline.Folder, error) {
		at, err := storage.FromFlags(&store)
		if errors.Is(err, datadir.ErrUsage) {
			err = exit.Usagef("%w", err)
		}
		return offline.Folder{Data: data, Store: at, Passphrase: settings.Passphrase(passphraseFile,
			"Passphrase of keys/vault.key")}, err
	}
	addPassphrase := func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&passphraseFile, "vault-passphrase-file", "",
			"`file` with the passphrase of keys/vault.key, when it is sealed with one; - for "+
				"standard input")
	}
	stopped := func(use, short, long string, args cobra.PositionalArgs,
		run func(ctx context.Context, on offline.Folder, args []string) error,
	) *cobra.Command {
		cmd := &cobra.Command{
			Use: use, Short: short, Long: long, Args: exit.Args(args),
			RunE: func(cmd *cobra.Command, args []string) error {
				on, err := folder()
				if err != nil {
					return err
				}
				on.Progress = p.progress(cmd.Name())
				err = heed(cmd.Context(), func() error { return run(cmd.Context(), on, args) })
				if errors.Is(err, datadir.ErrUsage) {
					err = exit.Usagef("%w", err)
				}
				return err
			},
		}
		cmd.Flags().StringVar(&data, "data", "./atm-data", "the data `folder`; no server may run "+
			"on it")
		addPassphrase(cmd)
		store.AddFlags(cmd.Flags())
		return cmd
	}
	backup := &cobra.Command{
		Use:   "backup FILE",
		Short: "Take a backup of a running server",
		Long: `Take a backup of a running server: its vault, keys, authorities and
configuration, in one tar archive. It holds every operation that was answered
before it began. It is unpacked and checked before it gets its name.

FILE holds every key of the server: keep it where you would keep those.`,
		Example: "  atmctl backup atm-2026-11-25.tar",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return heed(cmd.Context(), func() error {
				return p.backup(cmd.Context(), args[0], settings.Passphrase(passphraseFile,
					"Passphrase of keys/vault.key"))
			})
		},
	}
	addPassphrase(backup)
	restore := stopped("restore FILE --data DIR", "Make a data folder out of a backup",
		`Make a data folder out of a backup. DIR must not exist, or be empty. The vault is
checked and the audit log published again before DIR is there. An empty folder that
is there, such as a mount point or what a link leads to, is filled and stays.

What was answered after the backup is not in it. If the published log is known to
anybody beyond the size that this command prints, the server must not go on with
it: a log that forgot entries is a fork.`,
		cobra.ExactArgs(1), func(ctx context.Context, on offline.Folder, args []string) error {
			return p.restore(ctx, args[0], on)
		})
	fsck := stopped("fsck", "Check the vault of a stopped server",
		`Check everything in the vault: its pages, that every value opens, the chain of
versions of each account, that all movements sum to zero, the signed tree and its
signature; and replay the journal by the rules of the ledger. Accounts, holds, users,
grants, revocations and request ids are compared with what follows from it, and what
each caller did with the accounts and roles that they had at that time.`,
		cobra.NoArgs, func(ctx context.Context, on offline.Folder, _ []string) error {
			return p.fsck(ctx, on)
		})
	rebuild := stopped("rebuild", "Make the accounts anew from the journal alone", "",
		cobra.NoArgs, func(ctx context.Context, on offline.Folder, _ []string) error {
			return p.rebuild(ctx, on)
		})
	compact := stopped("compact", "Give free pages of the vault back to the disk", "",
		cobra.NoArgs, func(ctx context.Context, on offline.Folder, _ []string) error {
			return p.compact(ctx, on)
		})
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the keys that the vault is sealed with, on a running server",
		Long: `Replace keys/vault.key and the data key that the values in the vault are sealed
with. What is there is sealed again in the background. Backups that were taken
before hold the old keys.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := p.call(cmd.Context(), string(atm.VaultRotate))
			return err
		},
	}
	var newFile string
	var remove bool
	passphrase := stopped("passphrase", "Seal keys/vault.key of a stopped server with a passphrase",
		`Seal keys/vault.key with a passphrase of at least 15 characters, or with --remove
take the seal away. The server then needs --vault-passphrase-file, or a terminal
to ask on.`,
		cobra.NoArgs, func(ctx context.Context, on offline.Folder, _ []string) error {
			return setPassphrase(ctx, on, newFile, remove)
		})
	passphrase.Flags().StringVar(&newFile, "new-passphrase-file", "", "`file` with the new "+
		"passphrase; - for standard input")
	passphrase.Flags().BoolVar(&remove, "remove", false, "seal it with none")
	var logs []string
	recoverLog := stopped("recover", "Give the audit log of a stopped server up and begin "+
		"another one",
		`Give the audit log up and begin another one, of another origin, whose first entry
commits to what the old log said last. The old log is kept in the data folder.

The longest copy of the old log that is known counts: that of the folder, what it saw
of a database that went back, what the vault has, and what --log names. Name those of
all replicas: what only they published is given up otherwise without being said.

This is for a vault that is older than its published log, as after a restore, or
contradicts it: operations that only the old log knows have not happened for this
vault. The accounts are as the vault has them.`,
		cobra.NoArgs, func(ctx context.Context, on offline.Folder, _ []string) error {
			on.Logs = logs
			return p.recoverLog(ctx, on)
		})
	recoverLog.Flags().StringArrayVar(&logs, "log", nil, "`folder` or checkpoint of another copy "+
		"of the log, such as another replica's; repeatable")
	auditGroup.AddCommand(recoverLog)
	return []*cobra.Command{
		backup, restore, fsck, rebuild, compact, p.migrateCommand(),
		stopped("export FILE", "Write the accounts of a stopped server to a file, to import them "+
			"elsewhere",
			`Write the accounts, the journal and everything beside them to FILE, a vault that is
sealed with keys/vault.key, and check it. The keys, the published log and the
credentials stay in the data folder. With --store it reads a database.`,
			cobra.ExactArgs(1), func(ctx context.Context, on offline.Folder, args []string) error {
				return p.exportTo(ctx, on, args[0])
			}),
		stopped("import FILE", "Move the accounts of a stopped server to where --store says",
			`Put what atmctl export wrote to FILE into an empty database (--store
postgres://…), or into the data folder (--store bolt:), check it, replay the
journal, and let the folder have its accounts there from then on. A vault.db that
is left behind is renamed.

No server may run on the folder, nor on what FILE was exported from.`,
			cobra.ExactArgs(1), func(ctx context.Context, on offline.Folder, args []string) error {
				return p.importFrom(ctx, on, args[0])
			}),
		group(&cobra.Command{Use: "vault", Short: "Keys of the vault"}, rotate, passphrase,
			stopped("rekey", "Replace keys/vault.key of servers that share a database, while all "+
				"are stopped",
				`Replace keys/vault.key, and seal with it what is sealed in the database. Copy the
new file to every replica before it is started.`,
				cobra.NoArgs, func(ctx context.Context, on offline.Folder, _ []string) error {
					return on.Rekey(ctx)
				})),
	}
}

// heed calls do. When the program is told to end, do has a moment to end by itself: what
// it has done so far is left as a crash would leave it.
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

// migrateCommand changes the schema of a database. Servers never do.
func (p *program) migrateCommand() *cobra.Command {
	var store settings.Store
	var role string
	cmd := &cobra.Command{
		Use:   "migrate --store URL",
		Short: "Make the schema in a database, or bring it up to date",
		Long: `Make the schema in an empty database, or bring an older one up to date, as the
owner of the tables. Stop every server on the database before, and take a backup:
there is no way back.

With --grant a role that owns nothing may do what a server has to: it adds to the
journal and cannot change what is there.`,
		Example: "  atmctl migrate --store postgres://owner@db/atm --grant atm_server",
		Args:    exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := storage.FromFlags(&store)
			switch {
			case errors.Is(err, datadir.ErrUsage):
				return exit.Usagef("%w", err)
			case err != nil:
				return err
			case !at.InDatabase():
				return exit.Usagef("--store says which database; a vault in a data folder needs " +
					"no migration")
			}
			if err := storage.Migrate(cmd.Context(), at, role); err != nil {
				return err
			}
			return p.tell(map[string]bool{"migrated": true}, "the schema is up to date\n")
		},
	}
	store.AddFlags(cmd.Flags())
	cmd.Flags().StringVar(&role, "grant", "", "`role` of the database that a server signs in as")
	return cmd
}

func (p *program) exportTo(ctx context.Context, on offline.Folder, file string) error {
	found, err := on.Export(ctx, file, p.problem)
	if err != nil {
		return err
	}
	return p.tell(found, "exported: %d entries, %d accounts in %s\n", found.Entries,
		found.Accounts, file)
}

func (p *program) importFrom(ctx context.Context, on offline.Folder, file string) error {
	found, err := on.Import(ctx, file, p.operatorLog(), p.problem)
	if err != nil {
		return err
	}
	return p.tell(found, "imported: %d entries, %d accounts\n", found.Entries, found.Accounts)
}

// problem tells of what a check found.
func (p *program) problem(text string) { printable.Linef(p.stderr, "problem: %s", text) }

// operatorLog tells of problems on standard error.
func (p *program) operatorLog() *slog.Logger { return slog.New(slog.NewTextHandler(p.stderr, nil)) }

func setPassphrase(ctx context.Context, folder offline.Folder, file string, remove bool) error {
	if remove {
		return folder.SetPassphrase(ctx, nil)
	}
	text, err := settings.NewPassphrase(file, "New passphrase of keys/vault.key")
	if err != nil {
		return err
	}
	if err = folder.SetPassphrase(ctx, text); errors.Is(err, datadir.ErrUsage) {
		return exit.Usagef("%w", err)
	}
	return err
}

func (p *program) backup(ctx context.Context, file string, passphrase func() ([]byte,
	error),
) (err error) {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return exit.Usagef("%s exists", file)
	}
	c, err := p.connect()
	if err != nil {
		return err
	}
	f, err := output.CreateNew(ctx, file, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := download(ctx, c, f)
	if err != nil {
		return explain(err)
	}
	found, err := offline.VerifyBackup(ctx, f.Name(), passphrase, p.progress("checking"),
		p.operatorLog())
	if err != nil {
		return fmt.Errorf("the backup is not good: %w", err)
	}
	if err := f.Commit(); err != nil {
		return err
	}
	return p.tell(struct {
		*offline.Checked
		File  string `json:"file"`
		Bytes int64  `json:"bytes"`
	}{found, file, size}, "backup: %d entries, %d accounts, %d bytes in %s\n", found.Entries,
		found.Accounts, size, file)
}

// download writes a backup of the server to w.
func download(ctx context.Context, c *client.Client, w io.Writer) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base()+"/admin/backup",
		http.NoBody)
	if err != nil {
		return 0, err
	}
	hc := c.HTTP()
	hc.Timeout = 0 // it takes as long as it takes
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

func (p *program) restore(ctx context.Context, file string, folder offline.Folder) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	found, err := folder.Restore(ctx, f, p.operatorLog())
	if err != nil {
		return err
	}
	if !p.quiet {
		fmt.Fprintf(p.stderr, "The log of this vault has %d entries. If anybody has seen more of "+
			"it, do not start a server on it.\n", found.Entries)
	}
	return p.tell(found, "restored: %d entries, %d accounts in %s\n", found.Entries, found.Accounts,
		folder.Data)
}

func (p *program) fsck(ctx context.Context, folder offline.Folder) error {
	found, err := folder.Check(ctx, p.problem)
	if err != nil && !errors.Is(err, offline.ErrProblems) {
		return err
	}
	if err != nil {
		if p.isJSON() {
			if err := p.tell(found, ""); err != nil {
				return err
			}
		}
		return fmt.Errorf("%w: %d", err, found.Problems)
	}
	return p.tell(found, "good: %d entries, %d accounts\n", found.Entries, found.Accounts)
}

func (p *program) recoverLog(ctx context.Context, folder offline.Folder) error {
	r, err := folder.Recover(ctx, p.operatorLog())
	if err != nil {
		return err
	}
	if !p.isJSON() {
		for _, where := range r.Looked {
			printable.Linef(p.stderr, "looked at %s", where)
		}
		for _, replica := range r.Missed {
			printable.Linef(p.stderr, "not looked at, though it has seen more: the log of %s",
				replica)
		}
		if r.Behind > 0 {
			printable.Linef(p.stderr, "given up: the last %d entries of the old log, which the "+
				"vault does not have", r.Behind)
		}
	}
	return p.tell(r, "recovered: the log is %s now; %s with %d entries is in %s\n", r.Origin,
		r.OldOrigin, r.OldSize, r.Archive)
}

func (p *program) rebuild(ctx context.Context, folder offline.Folder) error {
	wrong, err := folder.Rebuild(ctx)
	if err != nil {
		return err
	}
	return p.tell(map[string]int{"wrong": wrong}, "rebuilt: %d records were not what the journal "+
		"says\n", wrong)
}

func (p *program) compact(ctx context.Context, folder offline.Folder) error {
	before, after, err := folder.Compact(ctx)
	if err != nil {
		return err
	}
	return p.tell(map[string]int64{"before": before, "after": after}, "compacted: %d bytes, "+
		"before %d\n", after, before)
}

// tell prints a result as JSON or as a line.
func (p *program) tell(result any, format string, args ...any) error {
	if p.isJSON() {
		return p.writeJSON(result)
	}
	return printable.Linef(p.stdout, strings.TrimSuffix(format, "\n"), args...)
}
