package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"example.com/atm/audit"
	"example.com/atm/internal/durable"
	"example.com/atm/teller"
)

// rotateVault replaces keys/vault.key and the data key. At every moment the
// file on disk opens the vault: the data keys are sealed under the new secret
// before the file is replaced, and forgotten under the old one after it.
func (h *House) rotateVault() error {
	if h.file == nil {
		return teller.ErrSharedVault
	}
	h.keys.Lock()
	defer h.keys.Unlock()
	next := h.key.Next()
	text, err := next.Encode()
	if err != nil {
		return err
	}
	if err := h.file.RotateDataKey(h.key.Secret); err != nil {
		return fmt.Errorf("new data key: %w", err)
	}
	if err := h.file.Rewrap(next.Secret); err != nil {
		return fmt.Errorf("seal the data keys: %w", err)
	}
	if err := durable.WriteFile(h.dir.VaultKey(), text, 0o600); err != nil {
		return err
	}
	h.key = next
	if err := h.file.Forget(next.Secret); err != nil {
		return fmt.Errorf("forget the old vault key: %w", err)
	}
	select {
	case h.rotated <- struct{}{}:
	default:
	}
	return nil
}

// rotateAudit makes a new key sign the audit log. The one before it signs as
// well until the next rotation, so that nobody who verifies with it is cut off.
func (h *House) rotateAudit() (old, vkey string, err error) {
	h.keys.Lock()
	defer h.keys.Unlock()
	secret, err := durable.ReadSecret(h.dir.AuditKey())
	if err != nil {
		return "", "", err
	}
	before, _, _ := strings.Cut(string(secret), "\n")
	skey, _, err := audit.GenerateKey(h.signer.Origin())
	if err != nil {
		return "", "", err
	}
	text := skey + "\n" + before + "\n"
	next, err := audit.NewSigner(text)
	if err != nil {
		return "", "", err
	}
	old = h.signer.Verifier()
	if err := durable.WriteFile(h.dir.AuditKey(), []byte(text), 0o600); err != nil {
		return "", "", err
	}
	if err := h.shareRotated(); err != nil {
		return "", "", err
	}
	if err := h.signer.Adopt(next); err != nil {
		return "", "", err
	}
	return old, h.signer.Verifier(), nil // the publisher puts the key beside a checkpoint that it signed
}

// reseal seals values again after each rotation, and at the start what a stop
// interrupted.
func (h *House) reseal(ctx context.Context) {
	for {
		if err := h.file.Reseal(func() bool { return ctx.Err() != nil }); err != nil {
			h.opts.Log.Error("values could not be sealed with the new data key", slog.Any("error", err))
		}
		select {
		case <-h.rotated:
		case <-ctx.Done():
			return
		}
	}
}
