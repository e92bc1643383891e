package keys

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"

	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/durable"
	"example.com/atm/teller"
	"example.com/atm/vault/boltstore"
)

// A VaultKey is the key that seals the vault.
type VaultKey struct {
	dir     *datadir.Dir
	log     *slog.Logger
	lock    sync.Locker
	key     datadir.VaultKey // guarded by lock
	file    *boltstore.Store // the vault; nil if it is in a database
	rotated chan struct{}    // has a token if values are to be sealed again
}

// VaultSecret is the secret that seals data keys. The caller holds Lock.
func (v *VaultKey) VaultSecret() []byte { return v.key.Secret }

// NonceKey is the key with which replicas create and verify nonces of Digest.
func (v *VaultKey) NonceKey() ([]byte, error) {
	return hkdf.Key(sha256.New, v.key.Requests, nil, "atm digest nonce", sha256.Size)
}

// SnapshotSecret is the secret that seals snapshots in an archive.
func (v *VaultKey) SnapshotSecret() ([]byte, error) { return v.key.Snapshots() }

// CookieKey is what the console of replicas seals challenges with.
func (v *VaultKey) CookieKey() ([]byte, error) {
	return hkdf.Key(sha256.New, v.key.Requests, nil, "atm console", sha256.Size)
}

// RotateVault replaces keys/vault.key and the data key. The file on disk opens the vault at
// every moment: the data keys are sealed under the new secret before the file is replaced, and
// removed under the old secret after it.
func (v *VaultKey) RotateVault() error {
	if v.file == nil {
		return teller.ErrSharedVault
	}
	v.lock.Lock()
	defer v.lock.Unlock()
	next := v.key.Next()
	text, err := next.Encode()
	if err != nil {
		return err
	}
	if err := v.file.DataKeys().Rotate(v.key.Secret); err != nil {
		return fmt.Errorf("new data key: %w", err)
	}
	if err := v.file.DataKeys().Rewrap(next.Secret); err != nil {
		return fmt.Errorf("seal the data keys: %w", err)
	}
	if err := durable.WriteFile(v.dir.VaultKey(), text, 0o600); err != nil {
		return err
	}
	v.key = next
	if err := v.file.DataKeys().Forget(next.Secret); err != nil {
		return fmt.Errorf("forget the old vault key: %w", err)
	}
	select {
	case v.rotated <- struct{}{}:
	default:
	}
	return nil
}

// Reseal seals values with the new data key after each rotation, and at the start those that an
// interrupted Reseal left. It returns when ctx is done.
func (v *VaultKey) Reseal(ctx context.Context) {
	for {
		if err := v.file.DataKeys().Reseal(func() bool { return ctx.Err() != nil }); err != nil {
			v.log.Error("values could not be sealed with the new data key",
				slog.Any("error", err))
		}
		select {
		case <-v.rotated:
		case <-ctx.Done():
			return
		}
	}
}
