package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/internal/durable"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/pgstore"
)

// Accounts move between a data folder and a database in a file: a vault of its
// own, sealed with the vault key of the installation. The keys, the published log and
// the credentials stay in the folder, and so does everything that clients hold.

// export writes everything in a store to a new vault at path.
func export(ctx context.Context, from vault.Backend, path string, secret []byte) (err error) {
	to, err := boltstore.Create(path, secret)
	if err != nil {
		return err
	}
	if err := errors.Join(to.Fill(ctx, from.Dump), to.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// exportSuffix marks a file that is on its way.
const exportSuffix = ".part"

// Export writes the accounts, the journal and everything beside them to file,
// which must not exist, and checks what it wrote.
func (f Folder) Export(ctx context.Context, file string, report func(problem string)) (*Checked,
	error,
) {
	if exists(file) {
		return nil, fmt.Errorf("%w: %s exists", ErrUsage, file)
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
	if err := export(ctx, store, part, key.Secret); err != nil {
		return nil, err
	}
	copied, err := boltstore.OpenChecked(part, key.Secret)
	if err != nil {
		return nil, err
	}
	found, err := f.check(ctx, dir, copied, report)
	if err = errors.Join(err, copied.Close()); err != nil {
		return found, err
	}
	return found, durable.RenameNew(part, file)
}

// Import puts what Export wrote to file where f.Store says, and lets the folder
// have its accounts there from then on. What is there must be empty.
func (f Folder) Import(ctx context.Context, file string, log *slog.Logger,
	report func(problem string),
) (*Checked, error) {
	dir, key, err := f.lock()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	from, err := explained(boltstore.OpenReadOnly)(file, key.Secret)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	if err := notBehind(ctx, dir, from); err != nil {
		return nil, err
	}
	if f.Store.InDatabase() {
		return f.importShared(ctx, dir, key, from, log, report)
	}
	if dir.Config.Store == "" {
		return nil, fmt.Errorf("%w: the accounts of %s are in its vault.db already", ErrUsage,
			dir.Root)
	}
	part := dir.Vault() + exportSuffix
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := export(ctx, from, part, key.Secret); err != nil {
		return nil, err
	}
	defer os.Remove(part)
	to, err := boltstore.OpenChecked(part, key.Secret)
	if err != nil {
		return nil, err
	}
	found, err := f.check(ctx, dir, to, report)
	if err = errors.Join(err, to.Close()); err != nil {
		return found, err
	}
	return found, errors.Join(durable.Rename(part, dir.Vault()), dir.SetStore(""))
}

// importShared imports into a database, which it makes the schema in when it is
// empty. An import that was interrupted goes on.
func (f Folder) importShared(ctx context.Context, dir *datadir.Dir, key datadir.VaultKey,
	from vault.Backend, log *slog.Logger, report func(string),
) (*Checked, error) {
	cfg, err := f.Store.config(key.Secret, log)
	if err != nil {
		return nil, err
	}
	to, err := pgstore.Create(ctx, cfg, dir.Config.Name)
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
	found, err := f.check(ctx, dir, to, report)
	if err != nil {
		return found, err
	}
	if err := dir.SetStore(datadir.Postgres); err != nil {
		return nil, err
	}
	if err := shareFolder(ctx, dir, to); err != nil {
		return nil, err
	}
	if err := to.Complete(ctx); err != nil {
		return nil, err
	}
	// What is there must not be taken for the accounts any more.
	if err := durable.Rename(dir.Vault(), dir.Vault()+".moved"); err != nil &&
		!errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return found, nil
}

// shareFolder gives the replicas on a store what a folder has; there are none on
// a store in the folder itself.
func shareFolder(ctx context.Context, dir *datadir.Dir, store vault.Backend) error {
	database, is := store.(*pgstore.Store)
	if !is {
		return nil
	}
	h := &Server{dir: dir, shared: &shared{store: database, known: make(map[string][]byte)}}
	_, err := h.share(ctx)
	return err
}

// sameJournal makes sure that a store has what another one would fill it with.
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

// Migrate makes the schema in a database or brings it up to date, and lets a
// role that owns nothing do what a server does; empty for none.
func Migrate(ctx context.Context, store Store, role string) error {
	cfg, err := store.config(nil, nil)
	if err != nil {
		return err
	}
	if err := pgstore.Migrate(ctx, cfg); err != nil {
		return err
	}
	if role == "" {
		return nil
	}
	return pgstore.Grant(ctx, cfg, role)
}

// StoreOf is the store that flags name.
func StoreOf(flags *settings.Store) (Store, error) {
	url, err := flags.URL()
	if err != nil || url == "" {
		return Store{}, err
	}
	if err := pgstore.CheckURL(url); err != nil {
		return Store{}, fmt.Errorf("%w: --store: %w", ErrUsage, err)
	}
	return Store{URL: url, Password: flags.Password()}, nil
}

// nextKey is where the next vault key waits for the database to be sealed with it.
func nextKey(dir *datadir.Dir) string { return dir.VaultKey() + ".next" }

// Rekey replaces keys/vault.key of an installation whose accounts are in a database, and
// seals with the new one what is sealed there. No replica may run; each gets the
// new file.
func (f Folder) Rekey(ctx context.Context) error {
	dir, key, err := f.lock()
	if err != nil {
		return err
	}
	defer dir.Close()
	if !f.Store.InDatabase() {
		return fmt.Errorf("%w: vault rotate replaces the key of a vault in a data folder, while "+
			"its server runs", ErrUsage)
	}
	if err := f.Store.fits(dir); err != nil {
		return err
	}
	cfg, err := f.Store.config(key.Secret, nil)
	if err != nil {
		return err
	}
	store, err := pgstore.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.Alone(ctx); err != nil {
		return err
	}
	next := key.Next()
	text, err := next.Encode()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(nextKey(dir), text, 0o600); err != nil {
		return err
	}
	if err := store.Rekey(ctx, next.Secret); err != nil {
		if errors.Is(err, pgstore.ErrRunning) { // nothing has begun
			err = errors.Join(err, os.Remove(nextKey(dir)))
		}
		return err
	}
	return placeKey(ctx, dir, cfg, f.Passphrase)
}

// oldKey is where the vault key of before stays until everything was read back with the one
// that took its place.
func oldKey(dir *datadir.Dir) string { return dir.VaultKey() + ".old" }

// placeKey puts the next vault key in the place of the one of before, which stays beside it.
func placeKey(ctx context.Context, dir *datadir.Dir, cfg pgstore.Config,
	ask func() ([]byte, error),
) error {
	text, err := durable.ReadSecret(dir.VaultKey())
	if err != nil {
		return err
	}
	if err := durable.WriteFile(oldKey(dir), text, 0o600); err != nil {
		return err
	}
	if err := durable.Rename(nextKey(dir), dir.VaultKey()); err != nil {
		return err
	}
	return forgetKey(ctx, dir, cfg, ask)
}

// forgetKey removes the vault key of before, when every sealed value opens with the new one.
func forgetKey(ctx context.Context, dir *datadir.Dir, cfg pgstore.Config,
	ask func() ([]byte, error),
) error {
	if !exists(oldKey(dir)) {
		return nil
	}
	key, err := dir.ReadVaultKey(ask)
	if err != nil {
		return err
	}
	cfg.Secret, cfg.Adopt = key.Secret, nil
	store, err := pgstore.Open(ctx, cfg)
	if err != nil {
		return err
	}
	if err := errors.Join(store.ReadSealed(ctx), store.Close()); err != nil {
		return fmt.Errorf("the vault key of before is kept as %s, because not everything opens "+
			"with the new one: %w", oldKey(dir), err)
	}
	return os.Remove(oldKey(dir))
}

// settleKey puts the next vault key in its place when an interrupted Rekey has
// sealed the database with it.
func settleKey(ctx context.Context, dir *datadir.Dir, cfg pgstore.Config,
	ask func() ([]byte, error),
) error {
	if !exists(nextKey(dir)) {
		return forgetKey(ctx, dir, cfg, ask)
	}
	next, err := dir.ReadVaultKeyFrom(nextKey(dir), ask)
	if err != nil {
		return err
	}
	cfg.Secret, cfg.Adopt = next.Secret, nil
	store, err := pgstore.Open(ctx, cfg)
	if errors.Is(err, pgstore.ErrWrongSecret) {
		return os.Remove(nextKey(dir)) // it did not come to that
	}
	if err != nil {
		return err
	}
	if err := store.Close(); err != nil {
		return err
	}
	return placeKey(ctx, dir, cfg, ask)
}
