package storage

import (
	"context"
	"errors"
	"fmt"
	"os"

	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/durable"
	"example.com/atm/vault/replicated"
)

// How keys/vault.key is replaced if the accounts are in a database: the next key is written
// beside the old one, the database is sealed with it, and it replaces the old one. The old key
// is kept until everything has been read back with the new one.

// nextKey is the file of the next vault key until the database is sealed with it.
func nextKey(dir *datadir.Dir) string { return dir.VaultKey() + ".next" }

// oldKey is the file of the previous vault key until everything has been read back with the new
// one.
func oldKey(dir *datadir.Dir) string { return dir.VaultKey() + ".old" }

// Rekey replaces keys/vault.key, which contains key, and seals the database at cfg with the new
// key. No replica may run. ask returns the passphrase of the key.
func Rekey(ctx context.Context, dir *datadir.Dir, key datadir.VaultKey, cfg Config,
	ask func() ([]byte, error),
) error {
	cfg.Secret = key.Secret
	store, err := cfg.Open(ctx)
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
		if errors.Is(err, replicated.ErrRunning) { // nothing has been changed
			err = errors.Join(err, os.Remove(nextKey(dir)))
		}
		return err
	}
	return placeKey(ctx, dir, cfg, ask)
}

// FinishRekey completes a Rekey that was interrupted after the database was sealed with the
// next key, and undoes one that was interrupted before.
func FinishRekey(ctx context.Context, dir *datadir.Dir, cfg Config,
	ask func() ([]byte, error),
) error {
	if !datadir.Exists(nextKey(dir)) {
		return forgetKey(ctx, dir, cfg, ask)
	}
	next, err := dir.ReadVaultKeyFrom(nextKey(dir), ask)
	if err != nil {
		return err
	}
	cfg.Secret, cfg.Adopt = next.Secret, nil
	store, err := cfg.Open(ctx)
	if errors.Is(err, replicated.ErrWrongSecret) {
		return os.Remove(nextKey(dir)) // the database is still sealed with the old key
	}
	if err != nil {
		return err
	}
	if err := store.Close(); err != nil {
		return err
	}
	return placeKey(ctx, dir, cfg, ask)
}

// placeKey replaces the vault key by the next one, and keeps the old one beside it.
func placeKey(ctx context.Context, dir *datadir.Dir, cfg Config,
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

// forgetKey removes the old vault key once every sealed value opens with the new one.
func forgetKey(ctx context.Context, dir *datadir.Dir, cfg Config,
	ask func() ([]byte, error),
) error {
	if !datadir.Exists(oldKey(dir)) {
		return nil
	}
	key, err := dir.ReadVaultKey(ask)
	if err != nil {
		return err
	}
	cfg.Secret, cfg.Adopt = key.Secret, nil
	store, err := cfg.Open(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(store.ReadSealed(ctx), store.Close()); err != nil {
		return fmt.Errorf("the old vault key is kept as %s, because not everything opens with "+
			"the new one: %w", oldKey(dir), err)
	}
	return os.Remove(oldKey(dir))
}
