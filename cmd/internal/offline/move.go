package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/replica"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/durable"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
)

// Accounts move between a data folder and a database in a file: a vault of its own, sealed with
// the vault key of the installation. Keys, the published log and credentials stay in the
// folder, so everything that clients hold stays valid.

// exportSuffix marks an unfinished file.
const exportSuffix = ".part"

// Export writes the accounts, the journal and everything beside them to file, which must not
// exist, and checks the result.
func (f Folder) Export(ctx context.Context, file string, report func(problem string)) (*Checked,
	error,
) {
	if datadir.Exists(file) {
		return nil, fmt.Errorf("%w: %s exists", datadir.ErrUsage, file)
	}
	dir, key, store, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	defer store.Close()
	if err := notBehind(ctx, dir, store); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(filepath.Dir(file), "."+filepath.Base(file)+"-exporting-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	part := filepath.Join(folder, "vault.db")
	if err := storage.Export(ctx, store, part, key.Secret); err != nil {
		return nil, err
	}
	copied, err := boltstore.OpenChecked(part, key.Secret)
	if err != nil {
		return nil, err
	}
	found, err := f.check(ctx, dir, key, copied, report)
	if err = errors.Join(err, copied.Close()); err != nil {
		return found, err
	}
	return found, durable.RenameNew(part, file)
}

// Import writes the content of file, made by Export, to f.Store, and makes the folder use
// f.Store from then on. f.Store must be empty.
func (f Folder) Import(ctx context.Context, file string, log *slog.Logger,
	report func(problem string),
) (*Checked, error) {
	dir, key, err := f.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	from, err := boltstore.OpenReadOnly(file, key.Secret)
	if err != nil {
		return nil, storage.Advise(err)
	}
	defer from.Close()
	if err := notBehind(ctx, dir, from); err != nil {
		return nil, err
	}
	if f.Store.InDatabase() {
		return f.importShared(ctx, dir, key, from, log, report)
	}
	if dir.Config.Store == "" {
		return nil, fmt.Errorf("%w: the accounts of %s are in its vault.db already",
			datadir.ErrUsage,
			dir.Root)
	}
	part := dir.Vault() + exportSuffix
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := storage.Export(ctx, from, part, key.Secret); err != nil {
		return nil, err
	}
	defer os.Remove(part)
	to, err := boltstore.OpenChecked(part, key.Secret)
	if err != nil {
		return nil, err
	}
	found, err := f.check(ctx, dir, key, to, report)
	if err = errors.Join(err, to.Close()); err != nil {
		return found, err
	}
	if err := durable.Rename(part, dir.Vault()); err != nil {
		return found, err
	}
	return found, dir.SetStore("")
}

// importShared imports into a database. If the database is empty, it creates the schema. It
// continues an interrupted import.
func (f Folder) importShared(ctx context.Context, dir *datadir.Dir, key datadir.VaultKey,
	from vault.Backend, log *slog.Logger, report func(string),
) (*Checked, error) {
	cfg := storage.Config{Location: f.Store, Secret: key.Secret, Log: log}
	to, err := cfg.Create(ctx, dir.Config.Name)
	if err != nil {
		return nil, err
	}
	defer to.Close()
	if err := to.Alone(ctx); err != nil {
		return nil, err
	}
	err = to.Fill(ctx, from.Dump)
	if errors.Is(err, vault.ErrNotEmpty) {
		err = sameJournal(ctx, from, to)
	}
	if err != nil {
		return nil, err
	}
	found, err := f.check(ctx, dir, key, to, report)
	if err != nil {
		return found, err
	}
	if err := dir.SetStore(f.Store.Kind()); err != nil {
		return nil, err
	}
	if err := replica.ShareFolder(ctx, dir, to); err != nil {
		return nil, err
	}
	if err := to.Complete(ctx); err != nil {
		return nil, err
	}
	// The old vault must not be mistaken for the current one.
	if err := durable.Rename(dir.Vault(), dir.Vault()+".moved"); err != nil &&
		!errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return found, nil
}

// sameJournal returns an error unless two stores have the same journal.
func sameJournal(ctx context.Context, from, to vault.Backend) error {
	_, want, err := from.Signed(ctx)
	if err != nil {
		return err
	}
	_, have, err := to.Signed(ctx)
	if err != nil {
		return err
	}
	if have.Size != want.Size || have.Root() != want.Root() {
		return vault.ErrNotEmpty
	}
	return nil
}

// Rekey replaces keys/vault.key of an installation whose accounts are in a database, and seals
// the database's secrets with the new one. No replica may run. Each replica needs the new file.
func (f Folder) Rekey(ctx context.Context) error {
	dir, key, err := f.lock(ctx)
	if err != nil {
		return err
	}
	defer dir.Close()
	if !f.Store.InDatabase() {
		return fmt.Errorf("%w: vault rotate replaces the key of a vault in a data folder, while "+
			"its server runs", datadir.ErrUsage)
	}
	if err := f.Store.Check(dir); err != nil {
		return err
	}
	return storage.Rekey(ctx, dir, key, storage.Config{Location: f.Store}, f.Passphrase)
}
