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

// An AuditKey is the pair of keys that signs the audit log: Ed25519 and ML-DSA-44. A folder of
// before ML-DSA-44 has the first alone until its next rotation.
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

// RotateAudit makes new keys sign the audit log, and returns the rotation of the Ed25519 key. The
// old keys continue to sign until the next rotation, for verifiers that only know them, and sign
// the statements that the new keys succeed them, which become entries. If the process is killed
// in between, the next start writes the entries.
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
	text, next, err := nextSigner(string(secret), a.Signer.Origin())
	if err != nil {
		return checkpoint.Rotation{}, err
	}
	list, err := a.Signer.Rotations(next)
	if err != nil {
		return checkpoint.Rotation{}, err
	}
	if err := a.noteRotations(list); err != nil {
		return list[0], err
	}
	if err := durable.WriteFile(a.dir.AuditKey(), []byte(text), 0o600); err != nil {
		return list[0], err
	}
	if err := shareRotated(ctx, a.replicas); err != nil {
		return list[0], err
	}
	if err := a.Signer.Adopt(next); err != nil {
		return list[0], err
	}
	// The keys are in use now, whether or not the caller still waits. The publisher writes them
	// beside the first checkpoint that they signed.
	return list[0], a.recordRotations(context.WithoutCancel(ctx), list)
}

// nextSigner returns new keys and the newest of secret, as a file and as the signer that it makes.
func nextSigner(secret, origin string) (text string, next *checkpoint.Signer, err error) {
	before, err := checkpoint.Newest(secret)
	if err != nil {
		return "", nil, err
	}
	fresh, _, err := checkpoint.GenerateKeys(origin)
	if err != nil {
		return "", nil, err
	}
	next, err = checkpoint.NewSigner(fresh + before)
	return fresh + before, next, err
}

const (
	publishWait      = 5 * time.Second // how long a rotation waits for awaitKey
	publishLookEvery = 5 * time.Millisecond
)

// awaitKey waits until the newest key is published beside a checkpoint that it signed.
// Otherwise, after two rotations in quick succession, no published checkpoint would be signed
// by both the key beside the log before them and the key after them.
func (a *AuditKey) awaitKey(ctx context.Context) error {
	published := func() bool {
		key, _, _ := strings.Cut(a.publisher.Key(), "\n")
		return key == a.Signer.Verifier()
	}
	for end := time.Now().Add(publishWait); !published(); {
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

// noteRotations stores rotations until their entries are written.
func (a *AuditKey) noteRotations(list []checkpoint.Rotation) error {
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return durable.WriteFile(a.dir.AuditRotation(), text, 0o600)
}

// recordRotations writes the entries of rotations.
func (a *AuditKey) recordRotations(ctx context.Context, list []checkpoint.Rotation) error {
	for _, r := range list {
		if status := a.teller.LogKeyRotated(ctx, r); status.Code != atm.OK {
			return fmt.Errorf("the entry of a rotation: %s", status.Code)
		}
	}
	return os.Remove(a.dir.AuditRotation())
}

// CompleteRotation writes the entries of an interrupted rotation, if its keys are in use. A
// second entry for the same rotation does no harm.
func (a *AuditKey) CompleteRotation(ctx context.Context) error {
	text, err := os.ReadFile(a.dir.AuditRotation())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var list []checkpoint.Rotation
	if json.Unmarshal(text, &list) != nil { // of a version with one key
		list = make([]checkpoint.Rotation, 1)
		err = json.Unmarshal(text, &list[0])
	}
	if err != nil || len(list) == 0 || !slices.Contains(a.Signer.Verifiers(), list[0].New) {
		return os.Remove(a.dir.AuditRotation())
	}
	return a.recordRotations(ctx, list)
}
