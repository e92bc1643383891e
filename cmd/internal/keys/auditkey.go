package keys

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
// before ML-DSA-44 has the first alone until its next rotation. The Ed25519 key may be in a module:
// then keys/audit.key has its public half.
type AuditKey struct {
	Signer *checkpoint.Signer

	dir       *datadir.Dir
	modules   Modules
	replicas  Replicas
	log       *slog.Logger
	lock      sync.Locker
	teller    *teller.Teller
	publisher *publish.Publisher
}

func openAuditKey(cfg Config, lock sync.Locker) (*AuditKey, error) {
	file := cfg.Dir.AuditKey()
	text, err := durable.ReadSecret(file)
	if err != nil {
		return nil, err
	}
	signer, err := checkpoint.NewSigner(string(text), cfg.Modules.audit...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if signer.Origin() != cfg.Dir.Config.Origin {
		return nil, fmt.Errorf("%s signs for %s, but this log is %s", file, signer.Origin(),
			cfg.Dir.Config.Origin)
	}
	return &AuditKey{
		Signer: signer, dir: cfg.Dir, modules: cfg.Modules, replicas: cfg.Replicas, log: cfg.Log,
		lock: lock,
	}, nil
}

// Signs reports whether entries can be signed: the newest Ed25519 key is here.
func (a *AuditKey) Signs() bool { return signs(a.Signer) == nil }

// signs returns an error unless the newest Ed25519 key of a signer can sign.
func signs(s *checkpoint.Signer) error {
	newest := s.Verifier()
	if slices.Contains(s.Absent(), newest) {
		return fmt.Errorf("the audit log is signed by %s, which is in a PKCS #11 module: start "+
			"the server with the --audit-key of that key", newest)
	}
	return nil
}

// adoptAudit loads the keys that another replica has written to the folder. This server does not
// go on without the key that the others sign by.
func (a *AuditKey) adoptAudit(text []byte) error {
	next, err := checkpoint.NewSigner(string(text), a.modules.audit...)
	if err != nil {
		return err
	}
	if err := signs(next); err != nil {
		return err
	}
	return a.Signer.Adopt(next)
}

// RotateAudit makes new keys sign the audit log, and returns the rotation of the Ed25519 key. The
// old keys continue to sign until the next rotation, for verifiers that only know them, and sign
// the statements that the new keys succeed them, which become entries. If the process is killed
// in between, the next start writes the entries.
func (a *AuditKey) RotateAudit(ctx context.Context) (checkpoint.Rotation, error) {
	if a.Signer.InModule() {
		return checkpoint.Rotation{}, fmt.Errorf("%w first, and that of this one as well (twice "+
			"--audit-key)", teller.ErrKeyElsewhere)
	}
	return a.rotate(ctx)
}

// UseModules makes the first key of the modules that the server was given sign the audit log. If
// another key did so, this is a rotation, as of RotateAudit. It returns an error if entries cannot
// be signed. It publishes the log; call it before the server serves.
func (a *AuditKey) UseModules(ctx context.Context) error {
	if err := signs(a.Signer); err != nil {
		return err
	}
	if err := a.withoutFormer(ctx); err != nil || len(a.modules.audit) == 0 {
		return err
	}
	before := a.Signer.Verifier()
	vkey, err := checkpoint.ModuleKey(a.Signer.Origin(), a.modules.audit[0])
	if err != nil || vkey == before {
		return err
	}
	if slices.Contains(a.Signer.Verifiers(), vkey) {
		return fmt.Errorf("%s succeeded %s as the key of the audit log: name its --audit-key first",
			before, vkey)
	}
	// Nothing publishes yet. A rotation waits until the one before it is complete and published.
	if err := a.CompleteRotation(ctx); err != nil {
		return err
	}
	if err := a.publisher.Publish(ctx); err != nil {
		return err
	}
	if _, err := a.rotate(ctx); err != nil {
		return err
	}
	a.log.InfoContext(ctx, "a key in a module signs the audit log now", slog.String("key", vkey),
		slog.String("before", before))
	return a.publisher.Publish(ctx)
}

// withoutFormer tells the operator which keys before the newest one no longer sign, because their
// modules are not here. It returns an error if they have to: no published checkpoint is signed by
// the newest key yet, and so none by both.
func (a *AuditKey) withoutFormer(ctx context.Context) error {
	for _, vkey := range a.Signer.Absent() {
		if a.publishedKey() != a.Signer.Verifier() {
			return fmt.Errorf("the audit log is not published with its newest key yet: start the "+
				"server with the --audit-key of %s as well, after the newest", vkey)
		}
		a.log.WarnContext(ctx, "the key before the newest one no longer signs the audit log as "+
			"well: it is in a module that was not named", slog.String("key", vkey))
	}
	return nil
}

// rotate makes new keys sign: the first one in a module, if there is one, or one in the folder.
func (a *AuditKey) rotate(ctx context.Context) (checkpoint.Rotation, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	// An earlier rotation may lack its entry because there was no space for it.
	if err := a.CompleteRotation(ctx); err != nil {
		return checkpoint.Rotation{}, err
	}
	if err := a.awaitKey(ctx); err != nil {
		return checkpoint.Rotation{}, err
	}
	before, err := durable.ReadSecret(a.dir.AuditKey())
	if err != nil {
		return checkpoint.Rotation{}, err
	}
	text, next, err := a.nextSigner(string(before))
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

// nextSigner returns new keys and the newest of those before, as a file and as the signer that it
// makes.
func (a *AuditKey) nextSigner(before string) (text string, next *checkpoint.Signer, err error) {
	if before, err = checkpoint.Newest(before); err != nil {
		return "", nil, err
	}
	fresh, err := a.modules.newAuditKeys(a.Signer.Origin())
	if err != nil {
		return "", nil, err
	}
	next, err = checkpoint.NewSigner(fresh+before, a.modules.audit...)
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
	for end := time.Now().Add(publishWait); a.publishedKey() != a.Signer.Verifier(); {
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

// publishedKey is the Ed25519 key that is beside the published log.
func (a *AuditKey) publishedKey() string {
	key, _, _ := strings.Cut(a.publisher.Key(), "\n")
	return key
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
	// Two replicas may begin the rotation to one key in a module; that of one of them counts.
	if err != nil || len(list) == 0 || slices.ContainsFunc(list, func(r checkpoint.Rotation) bool {
		return !slices.Contains(a.Signer.AllKeys(), r.New)
	}) {
		return os.Remove(a.dir.AuditRotation())
	}
	return a.recordRotations(ctx, list)
}
