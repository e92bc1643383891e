package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/internal/durable"
	"example.com/atm/teller"
)

// rotateVault replaces keys/vault.key and the data key. At every moment the
// file on disk opens the vault: the data keys are sealed under the new secret
// before the file is replaced, and forgotten under the old one after it.
func (h *Server) rotateVault() error {
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
// well until the next rotation, so that nobody who verifies with it is cut off, and it
// signs that the new one follows it, which is an entry. A kill in between loses none of
// that: the next start makes the entry.
func (h *Server) rotateAudit(ctx context.Context) (audit.Rotation, error) {
	h.keys.Lock()
	defer h.keys.Unlock()
	if err := h.completeRotation(ctx); err != nil { // of one that had no space for its entry
		return audit.Rotation{}, err
	}
	if err := h.awaitKey(ctx); err != nil {
		return audit.Rotation{}, err
	}
	secret, err := durable.ReadSecret(h.dir.AuditKey())
	if err != nil {
		return audit.Rotation{}, err
	}
	before, _, _ := strings.Cut(string(secret), "\n")
	skey, _, err := audit.GenerateKey(h.signer.Origin())
	if err != nil {
		return audit.Rotation{}, err
	}
	text := skey + "\n" + before + "\n"
	next, err := audit.NewSigner(text)
	if err != nil {
		return audit.Rotation{}, err
	}
	r, err := h.signer.Rotation(next)
	if err != nil {
		return r, err
	}
	if err := h.noteRotation(r); err != nil {
		return r, err
	}
	if err := durable.WriteFile(h.dir.AuditKey(), []byte(text), 0o600); err != nil {
		return r, err
	}
	if err := h.shareRotated(); err != nil {
		return r, err
	}
	if err := h.signer.Adopt(next); err != nil {
		return r, err
	}
	// The key is in use now, whether the caller still waits or not.
	// The publisher puts it beside a checkpoint that it signed.
	return r, h.recordRotation(context.WithoutCancel(ctx), r)
}

// awaitKey waits until the newest key is beside a checkpoint that it signed. Without
// that, two rotations in a row would have no checkpoint published that is signed by the
// key beside the log before and by the one after.
func (h *Server) awaitKey(ctx context.Context) error {
	for end := time.Now().Add(proveWait); h.publisher.Key() != h.signer.Verifier(); {
		if time.Now().After(end) {
			return teller.ErrNotPublished
		}
		select {
		case <-time.After(shortWait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// noteRotation keeps a rotation until its entry is made.
func (h *Server) noteRotation(r audit.Rotation) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return durable.WriteFile(h.dir.AuditRotation(), text, 0o600)
}

// recordRotation makes the entry of a rotation.
func (h *Server) recordRotation(ctx context.Context, r audit.Rotation) error {
	if status := h.teller.LogKeyRotated(ctx, r); status.Code != atm.OK {
		return fmt.Errorf("the entry of a rotation: %s", status.Code)
	}
	return os.Remove(h.dir.AuditRotation())
}

// completeRotation makes the entry of a rotation that a stop interrupted, when its key
// has come into use. An entry that is made twice says the same twice.
func (h *Server) completeRotation(ctx context.Context) error {
	text, err := os.ReadFile(h.dir.AuditRotation())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var r audit.Rotation
	if err := json.Unmarshal(text, &r); err != nil || !slices.Contains(h.signer.Verifiers(),
		r.New) {
		return os.Remove(h.dir.AuditRotation())
	}
	return h.recordRotation(ctx, r)
}

// reseal seals values again after each rotation, and at the start what a stop
// interrupted.
func (h *Server) reseal(ctx context.Context) {
	for {
		if err := h.file.Reseal(func() bool { return ctx.Err() != nil }); err != nil {
			h.opts.Log.Error("values could not be sealed with the new data key",
				slog.Any("error", err))
		}
		select {
		case <-h.rotated:
		case <-ctx.Done():
			return
		}
	}
}
