package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/atm"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/publish"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/durable"
	"example.com/atm/teller"
)

// An AuditKey is the key that signs the audit log.
type AuditKey struct {
	Signer *checkpoint.Signer

	dir       *datadir.Dir
	replicas  Replicas
	lock      sync.Locker
	teller    *teller.Teller
	publisher *publish.Publisher
}

func openAuditKey(cfg Config, lock sync.Locker) (*AuditKey, error) {
	file := cfg.Dir.AuditKey()
	secret, err := durable.ReadSecret(file)
	if err != nil {
		return nil, err
	}
	signer, err := checkpoint.NewSigner(string(secret))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if signer.Origin() != cfg.Dir.Config.Origin {
		return nil, fmt.Errorf("%s signs for %s, but this log is %s", file, signer.Origin(),
			cfg.Dir.Config.Origin)
	}
	return &AuditKey{Signer: signer, dir: cfg.Dir, replicas: cfg.Replicas, lock: lock}, nil
}

// RotateAudit makes a new key sign the audit log. The old key continues to sign until the next
// rotation, for verifiers that only know it, and signs the statement that the new key succeeds
// it, which becomes an entry. If the process is killed in between, the next start writes the
// entry.
func (a *AuditKey) RotateAudit(ctx context.Context) (checkpoint.Rotation, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	// An earlier rotation may lack its entry because there was no space for it.
	if err := a.CompleteRotation(ctx); err != nil {
		return checkpoint.Rotation{}, err
	}
	if err := a.awaitKey(ctx); err != nil {
		return checkpoint.Rotation{}, err
	}
	secret, err := durable.ReadSecret(a.dir.AuditKey())
	if err != nil {
		return checkpoint.Rotation{}, err
	}
	before, _, _ := strings.Cut(string(secret), "\n")
	skey, _, err := checkpoint.GenerateKey(a.Signer.Origin())
	if err != nil {
		return checkpoint.Rotation{}, err
	}
	text := skey + "\n" + before + "\n"
	next, err := checkpoint.NewSigner(text)
	if err != nil {
		return checkpoint.Rotation{}, err
	}
	r, err := a.Signer.Rotation(next)
	if err != nil {
		return r, err
	}
	if err := a.noteRotation(r); err != nil {
		return r, err
	}
	if err := durable.WriteFile(a.dir.AuditKey(), []byte(text), 0o600); err != nil {
		return r, err
	}
	if err := shareRotated(ctx, a.replicas); err != nil {
		return r, err
	}
	if err := a.Signer.Adopt(next); err != nil {
		return r, err
	}
	// The key is in use now, whether or not the caller still waits. The publisher writes it beside
	// the first checkpoint that it signed.
	return r, a.recordRotation(context.WithoutCancel(ctx), r)
}

const (
	publishWait      = 5 * time.Second // how long a rotation waits for awaitKey
	publishLookEvery = 5 * time.Millisecond
)

// awaitKey waits until the newest key is published beside a checkpoint that it signed.
// Otherwise, after two rotations in quick succession, no published checkpoint would be signed
// by both the key beside the log before them and the key after them.
func (a *AuditKey) awaitKey(ctx context.Context) error {
	for end := time.Now().Add(publishWait); a.publisher.Key() != a.Signer.Verifier(); {
		if time.Now().After(end) {
			return teller.ErrNotPublished
		}
		select {
		case <-time.After(publishLookEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// noteRotation stores a rotation until its entry is written.
func (a *AuditKey) noteRotation(r checkpoint.Rotation) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return durable.WriteFile(a.dir.AuditRotation(), text, 0o600)
}

// recordRotation writes the entry of a rotation.
func (a *AuditKey) recordRotation(ctx context.Context, r checkpoint.Rotation) error {
	if status := a.teller.LogKeyRotated(ctx, r); status.Code != atm.OK {
		return fmt.Errorf("the entry of a rotation: %s", status.Code)
	}
	return os.Remove(a.dir.AuditRotation())
}

// CompleteRotation writes the entry of an interrupted rotation, if its key is in use. A second
// entry for the same rotation does no harm.
func (a *AuditKey) CompleteRotation(ctx context.Context) error {
	text, err := os.ReadFile(a.dir.AuditRotation())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var r checkpoint.Rotation
	if err := json.Unmarshal(text, &r); err != nil || !slices.Contains(a.Signer.Verifiers(),
		r.New) {
		return os.Remove(a.dir.AuditRotation())
	}
	return a.recordRotation(ctx, r)
}
