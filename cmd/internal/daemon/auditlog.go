package daemon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/policy"
	"example.com/atm/audit/publish"
	"example.com/atm/audit/search"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/published"
	"example.com/atm/cmd/internal/replica"
	"example.com/atm/internal/durable"
	"example.com/atm/vault"
	"golang.org/x/mod/sumdb/tlog"
)

// An auditLog is the published audit log of a folder.
type auditLog struct {
	*publish.Publisher
	index     *search.Index
	witnessed atomic.Int64 // entries that enough witnesses have cosigned since the start

	watched *watched

	dir     *datadir.Dir
	files   audit.Files      // those in the folder, and those in the archive
	archive *archive.Archive // nil without one
	signer  *checkpoint.Signer
	replica *replica.Replica // nil without a database
	policy  *policy.Policy   // of witnesses; nil for none
	log     *slog.Logger
}

// openAuditLog compares the published log with the vault before anything new is signed, and
// publishes what is missing. empty says that the folder has nothing of the log.
func openAuditLog(ctx context.Context, dir *datadir.Dir, a accounts, signer *checkpoint.Signer,
	opts Options, empty bool,
) (*auditLog, error) {
	if err := durable.MkdirAll(dir.Audit(), 0o700); err != nil {
		return nil, err
	}
	log, err := vault.OpenLog(ctx, a)
	if err != nil {
		return nil, err
	}
	l := &auditLog{
		index: search.NewIndex(), dir: dir, signer: signer, replica: a.replica,
		policy: opts.Witnesses, log: opts.Log,
	}
	if err := l.openArchive(ctx, opts.Retention.Archive); err != nil {
		return nil, err
	}
	if l.watched, err = openWatched(dir.Watched(), time.Now(), opts.Log); err != nil {
		return nil, err
	}
	if l.replica != nil {
		if err := l.forgetOldKey(); err != nil {
			return nil, err
		}
	}
	cfg := publish.Config{
		Dir: dir.Audit(), Keys: signer.AllKeys, Complete: signer.Complete, Source: log,
		Log: opts.Log, Index: l.index, New: empty,
	}
	if opts.Republish {
		cfg.Index = nil // nobody asks this process for entries
	}
	if l.archive != nil {
		cfg.Archived = l.archive
	}
	l.Publisher, err = publish.New(cfg)
	if err != nil {
		return nil, err
	}
	if opts.Unpublished {
		return l, nil
	}
	extends, err := l.sawArchive(ctx, log)
	if err != nil {
		return nil, err
	}
	if err := l.recover(ctx); err != nil {
		return nil, err
	}
	return l, extends()
}

// openArchive opens the archive at a location, empty for none, and notes the location for commands
// that read the folder later.
func (l *auditLog) openArchive(ctx context.Context, location string) (err error) {
	if location == "" {
		l.files, err = published.Files(ctx, l.dir.Audit(), "")
		return err
	}
	if !strings.Contains(location, "://") {
		if location, err = filepath.Abs(location); err != nil {
			return err
		}
	}
	if l.archive, err = published.Archive(ctx, location); err != nil {
		return err
	}
	l.files = archive.Over(audit.Dir(l.dir.Audit()), l.archive)
	return l.dir.Archived().Write(&datadir.Archived{Location: location})
}

// recover brings the published log up to date. It returns an error if the store is behind the
// log that this folder published, or behind a state noted in the folder.
func (l *auditLog) recover(ctx context.Context) error {
	seen, err := l.dir.Seen().Read()
	if err != nil {
		return err
	}
	// the log of another origin was given up by a recovery
	if seen != nil && seen.Origin == l.dir.Config.Origin {
		root, err := tlog.ParseHash(seen.Root)
		if err != nil {
			return err
		}
		l.Saw(checkpoint.Checkpoint{Origin: seen.Origin, Size: seen.Size, Root: root})
	}
	err = l.Recover(ctx)
	if newest := l.Newest(); errors.Is(err, publish.ErrAhead) && l.replica != nil &&
		newest.Size > 0 {
		// Replicas that run have seen less of the log than this folder has. A checkpoint with a
		// wrong signature would be damage of this folder, and no reason to stop them.
		l.replica.Store.TellRollback(ctx, newest.Size)
	}
	if err != nil || seen == nil {
		return err
	}
	if l.Published() < seen.Size && seen.Origin == l.dir.Config.Origin {
		return nil // perhaps the disk is full
	}
	return l.dir.Seen().Write(nil)
}

// noteRollback notes the last state that was seen of a database that was rolled back, so that
// no start accepts the database as it is now.
func (l *auditLog) noteRollback() {
	if l.replica == nil || l.replica.Store.RolledBack() == nil {
		return
	}
	head := l.replica.Store.Newest()
	err := l.dir.Seen().Write(&datadir.Seen{
		Origin: l.dir.Config.Origin, Size: head.Size,
		Root: head.Root().String(),
	})
	if err != nil {
		l.log.Error("noting what was seen of the database", slog.Any("error", err))
	}
}

// forgetOldKey removes the public key beside the published log if it is an earlier key of this
// log, because other replicas rotated the key while this one was stopped. The published log is
// compared with the database, whichever key signed it.
func (l *auditLog) forgetOldKey() error {
	file := filepath.Join(l.dir.Audit(), "log.vkey")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	old, _, _ := strings.Cut(string(text), "\n") // the others were rotated with the first
	if origin, _, _ := strings.Cut(old, "+"); err != nil || origin != l.signer.Origin() ||
		slices.Contains(l.signer.Keys(), old) {
		return err
	}
	l.log.Warn("the key beside the published audit log was rotated by other replicas",
		slog.String("was", old))
	return os.Remove(file)
}

const (
	proveWait      = 5 * time.Second // how long a proof waits for its entry to be published
	proveLookEvery = 5 * time.Millisecond
)

var errNotPublished = errors.New("the entry has not been published yet")

// prove returns the proof that an entry is in the published log.
func (l *auditLog) prove(ctx context.Context, index int64) ([]byte, error) {
	if err := l.await(ctx, index+1); err != nil {
		return nil, err
	}
	text, err := l.proof(ctx, index)
	if errors.Is(err, audit.ErrDiffers) { // the caller does not learn the details
		l.log.ErrorContext(ctx, "proving an entry of the audit log",
			slog.Int64("index", index), slog.Any("error", err))
	}
	return text, err
}

// await waits until so many entries are published.
func (l *auditLog) await(ctx context.Context, size int64) error {
	for end := time.Now().Add(proveWait); l.Published() < size; {
		if time.Now().After(end) {
			return errNotPublished
		}
		select {
		case <-time.After(proveLookEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (l *auditLog) proof(ctx context.Context, index int64) ([]byte, error) {
	log, err := l.published(ctx)
	if err != nil {
		return nil, err
	}
	proof, err := log.Prove(ctx, index)
	if err != nil {
		return nil, err
	}
	return proof.MarshalText()
}

// published opens the published log, with what was archived of it.
func (l *auditLog) published(ctx context.Context) (*audit.Log, error) {
	return audit.OpenLog(ctx, l.files, strings.Join(l.signer.Keys(), "\n"))
}

// sweep removes unfinished tiles of an earlier process. opened is when this process locked the
// folder.
func (l *auditLog) sweep(ctx context.Context, opened time.Time) {
	const coarse = time.Second // file times may lag by the resolution of the file system
	removed, err := l.dir.SweepTiles(ctx, opened.Add(-coarse))
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.log.Warn("removing unfinished files of the audit log", slog.Any("error", err))
	case removed > 0:
		l.log.Info("removed unfinished files of the audit log", slog.Int("files", removed))
	}
}

const (
	// witnessEvery is how often witnesses are asked.
	witnessEvery = time.Minute

	// witnessTimeout bounds the answer of one witness.
	witnessTimeout = 10 * time.Second

	// witnessLag is how long the policy may be unsatisfied before the operator is told.
	witnessLag = 10 * time.Minute
)

// askWitnesses has witnesses cosign the published log, concurrently with operations. It calls
// cosigned with the size of each log that enough witnesses have cosigned.
func (l *auditLog) askWitnesses(ctx context.Context, cosigned func(size int64)) {
	client := &http.Client{Timeout: witnessTimeout}
	satisfied := time.Now()
	tick := time.NewTicker(witnessEvery)
	defer tick.Stop()
	for {
		size, err := l.askOnce(ctx, client)
		switch {
		case err != nil:
			l.log.Warn("asking the witnesses of the audit log", slog.Any("error", err))
		case size > 0:
			satisfied = time.Now()
			l.witnessed.Store(size)
			l.watched.saw(satisfied)
			cosigned(size)
		}
		if lag := time.Since(satisfied); lag > witnessLag {
			l.log.Error("too few witnesses have cosigned the audit log",
				slog.Duration("for", lag))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// askOnce returns the size of the log that enough witnesses have cosigned, and 0 if they have
// not.
func (l *auditLog) askOnce(ctx context.Context, client *http.Client) (int64, error) {
	if l.Published() == 0 {
		return 0, nil
	}
	log, err := audit.OpenLog(ctx, audit.Dir(l.dir.Audit()), strings.Join(l.signer.Keys(), "\n"))
	if err != nil {
		return 0, err
	}
	lines, errs := log.CosignAll(ctx, client, l.policy)
	for _, err := range errs {
		l.log.Warn("a witness did not cosign the audit log", slog.Any("error", err))
	}
	if len(lines) == 0 {
		return 0, nil
	}
	if err := log.SaveCosigned(lines); err != nil {
		return 0, err
	}
	if !l.policy.Satisfied(l.policy.Cosigned(log.WithCosignatures(lines))) {
		return 0, nil
	}
	return log.Size, nil
}
