package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"example.com/atm/auth/throttle"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/keys"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/durable"
	"example.com/atm/vault/replicated"
)

// Config is everything that Open needs. All fields but Passphrase and Modules are required.
type Config struct {
	Dir        *datadir.Dir
	Fresh      bool // the folder is new
	Location   storage.Location
	Passphrase func() ([]byte, error) // asks for it; nil if there is no terminal
	Modules    keys.Modules           // keys that are not in the folder
	Log        *slog.Logger
}

// ErrJoin reports a folder without the key of the installation that it is to join.
var ErrJoin = errors.New("copy the keys/vault.key of another replica into the keys folder of " +
	"this one first")

// Open opens the database, and returns the key that seals it. A new folder either begins an
// installation in an empty database, or joins the existing one.
func Open(ctx context.Context, cfg Config) (*Replica, datadir.VaultKey, error) {
	r := &Replica{
		Throttle: throttle.New(time.Now), log: cfg.Log,
		files: files{dir: cfg.Dir, log: cfg.Log, known: make(map[string][]byte)},
	}
	database, key, err := r.prepare(ctx, cfg)
	if err != nil {
		return nil, key, err
	}
	if r.Store, err = database(ctx); err != nil {
		return nil, key, err
	}
	if err := r.fetch(ctx, cfg.Fresh, cfg.Modules); err != nil {
		return nil, key, errors.Join(err, r.Store.Close())
	}
	return r, key, nil
}

// prepare determines the installation of the database, and prepares the folder for it. It
// returns the configuration with which to open or create the database.
func (r *Replica) prepare(ctx context.Context, cfg Config) (
	open func(context.Context) (replicated.Store, error), key datadir.VaultKey, err error,
) {
	dir := cfg.Dir
	at := storage.Config{Location: cfg.Location, Log: cfg.Log}
	there, err := at.Find(ctx)
	empty := errors.Is(err, replicated.ErrNoBooks)
	switch {
	case empty && cfg.Fresh:
		if err := keys.Make(dir, cfg.Modules); err != nil {
			return nil, key, err
		}
	case err != nil:
		return nil, key, err
	case cfg.Fresh && !datadir.Exists(dir.VaultKey()):
		return nil, key, fmt.Errorf("the database has the books of %s already; to start one more "+
			"replica on them, %w", there.Name, ErrJoin)
	case !cfg.Fresh && there.Name != dir.Config.Name:
		return nil, key, fmt.Errorf("the database has the books of %s; this folder is of %s",
			there.Name, dir.Config.Name)
	}
	if !cfg.Fresh {
		if err := keys.FinishRollover(dir); err != nil {
			return nil, key, err
		}
	}
	if err := storage.FinishRekey(ctx, dir, at, cfg.Passphrase); err != nil {
		return nil, key, err
	}
	if key, err = dir.ReadVaultKey(cfg.Passphrase); err != nil {
		return nil, key, err
	}
	at.Secret, at.Adopt = key.Secret, r.files.adopt
	if at.Replica, err = name(dir.Root); err != nil {
		return nil, key, err
	}
	return func(ctx context.Context) (replicated.Store, error) {
		if empty {
			return at.Create(ctx, dir.Config.Name)
		}
		return at.Open(ctx)
	}, key, nil
}

// name identifies a running replica for people.
func name(folder string) (string, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	machine, err := os.Hostname()
	return fmt.Sprintf("%s on %s (process %d)", folder, machine, os.Getpid()), err
}

// fetch writes the shared files into the folder, or, if the installation is new, the folder's
// files into the database.
func (r *Replica) fetch(ctx context.Context, fresh bool, modules keys.Modules) error {
	dir := r.files.dir
	shared, err := r.Store.AllFiles(ctx)
	if err != nil {
		return err
	}
	if len(shared) == 0 {
		if !fresh {
			return fmt.Errorf("the database of %s has no keys; restore it, they are not made anew",
				dir.Config.Name)
		}
		// whatever an interrupted init has not created
		if err := keys.Make(dir, modules); err != nil {
			return err
		}
		_, err := r.Share(ctx)
		return err
	}
	installation, err := r.Store.Installation(ctx)
	if err != nil {
		return err
	}
	// otherwise this folder is running its own init
	if fresh && !installation.Complete && !datadir.Exists(dir.AuditKey()) {
		return fmt.Errorf("the init of %s has not come to its end; start its first replica again",
			installation.Name)
	}
	r.Joined = fresh && installation.Complete
	return r.write(ctx, shared, fresh)
}

// write writes the shared files into the folder.
func (r *Replica) write(ctx context.Context, shared []replicated.File, fresh bool) error {
	for _, folder := range []string{"ca", "tls", "keys"} {
		if err := durable.MkdirAll(r.files.dir.Path(folder), 0o700); err != nil {
			return err
		}
	}
	for _, f := range shared {
		if f.Name == configName {
			if err := r.files.adoptConfig(f.Data, fresh); err != nil {
				return err
			}
		}
	}
	if err := r.files.keepChanges(shared); err != nil {
		return err
	}
	if err := r.files.adopt(shared); err != nil {
		return err
	}
	if !fresh {
		_, err := r.Share(ctx)
		return err
	}
	_, key := r.files.dir.Server()
	return datadir.Ensure(key, keys.New)
}
