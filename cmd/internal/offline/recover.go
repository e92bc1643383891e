package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/replica"
	"example.com/atm/internal/durable"
	"example.com/atm/teller/events"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/replicated"
	"golang.org/x/mod/sumdb/tlog"
)

// A Recovered is the result of a recovery of the audit log.
type Recovered struct {
	Origin    string `json:"origin"`     // of the new log
	OldOrigin string `json:"old_origin"` // of the log that was given up
	OldSize   int64  `json:"old_size"`
	OldRoot   string `json:"old_root"`
	Archive   string `json:"archive"` // folder to which the old log was moved

	// Behind is the number of entries of the old log that the vault lacks. Their effects are not in
	// the accounts.
	Behind int64 `json:"behind"`

	// Looked are the copies of the old log that were read.
	Looked []string `json:"looked"`

	// Missed are replicas that have seen more of the old log than any copy that was read.
	Missed []string `json:"missed,omitempty"`
}

// Recover gives up the audit log of a data folder and begins another one, of another origin,
// whose first entry commits to the last state of the old log. The old log is kept beside it.
// Recover is for a vault that is older than its published log, or contradicts it. The accounts
// stay as in the vault. A write-ahead log that does not belong to the vault is kept beside it,
// too.
func (f Folder) Recover(ctx context.Context, log *slog.Logger) (*Recovered, error) {
	dir, _, store, err := f.open(ctx)
	if errors.Is(err, boltstore.ErrWAL) {
		log.WarnContext(ctx, "what was committed last is given up; the write-ahead log is kept "+
			"under another name")
		dir, _, store, err = f.openWith(ctx, boltstore.OpenOlder)
	}
	if err != nil {
		return nil, err
	}
	r, err := f.beginLog(ctx, dir, store, log)
	if err := errors.Join(err, store.Close(), dir.Close()); err != nil {
		return nil, err
	}
	return r, f.publish(ctx, log)
}

// beginLog makes a plan, unless there is one, and carries it out. Each step checks whether an
// interrupted recovery has done it.
func (f Folder) beginLog(ctx context.Context, dir *datadir.Dir, store vault.Backend,
	log *slog.Logger,
) (*Recovered, error) {
	if database, is := store.(replicated.Store); is {
		if err := database.Alone(ctx); err != nil {
			return nil, err
		}
	}
	plan, err := dir.Plan().Read()
	if err != nil {
		return nil, err
	}
	if plan == nil {
		if plan, err = newPlan(ctx, dir, store, f.Logs); err != nil {
			return nil, err
		}
		if err := dir.Plan().Write(plan); err != nil {
			return nil, err
		}
	}
	if err := newAuditKey(dir, plan); err != nil {
		return nil, err
	}
	// Other replicas must learn of the key before the log begins. A replica that still runs then
	// ends, because the key belongs to another log.
	if err := replica.ShareFolder(ctx, dir, store); err != nil {
		return nil, err
	}
	logs, err := store.Logs(ctx)
	if err != nil {
		return nil, err
	}
	if len(logs) == plan.Logs {
		if err := store.BeginLog(ctx); err != nil {
			return nil, err
		}
	}
	archive, err := archiveLog(dir, plan)
	if err != nil {
		return nil, err
	}
	if err := dir.SetOrigin(plan.Origin); err != nil {
		return nil, err
	}
	if err := replica.ShareFolder(ctx, dir, store); err != nil {
		return nil, err
	}
	if err := firstEntry(ctx, dir, store, plan, log); err != nil {
		return nil, err
	}
	if err := stopFeeds(ctx, dir, store, log); err != nil {
		return nil, err
	}
	return &Recovered{
		Origin: plan.Origin, OldOrigin: plan.OldOrigin, OldSize: plan.OldSize,
		OldRoot: plan.OldRoot, Archive: archive,
		Behind: plan.Behind, Looked: plan.Looked, Missed: plan.Missed,
	}, dir.Plan().Write(nil)
}

// newPlan makes the plan. The new log commits to the longest known state of the old one.
func newPlan(ctx context.Context, dir *datadir.Dir, store vault.Backend,
	others []string,
) (*datadir.Plan, error) {
	logs, err := store.Logs(ctx)
	if err != nil {
		return nil, err
	}
	old, looked, err := longestLog(ctx, dir, store, others)
	if err != nil {
		return nil, err
	}
	var missed []string
	if database, is := store.(replicated.Store); is {
		told, err := database.Rollbacks(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range told {
			if r.Size > old.Size {
				missed = append(missed, fmt.Sprintf("%s: %d entries", r.Replica, r.Size))
			}
		}
	}
	_, head, err := store.Signed(ctx)
	if err != nil {
		return nil, err
	}
	return &datadir.Plan{
		Origin: fmt.Sprintf("%s/%d", dir.Config.Name, len(logs)+1), Logs: len(logs),
		OldOrigin: old.Origin, OldSize: old.Size, OldRoot: old.Root.String(),
		Behind: max(0, old.Size-head.Size), Looked: looked, Missed: missed,
	}, nil
}

// longestLog is the longest known state of the log, and the copies that were read: the log
// published in this folder, whatever key signed it; the note of a rolled-back database; logs
// published elsewhere, signed by the key of this log; and the last checkpoint in the vault.
func longestLog(ctx context.Context, dir *datadir.Dir, store vault.Backend,
	others []string,
) (longest checkpoint.Checkpoint, looked []string, err error) {
	take := func(where string, c checkpoint.Checkpoint) {
		looked = append(looked, fmt.Sprintf("%s: %d entries", where, c.Size))
		if len(looked) == 1 || c.Size > longest.Size {
			longest = c
		}
	}
	published := filepath.Join(dir.Audit(), "checkpoint")
	if signed, err := os.ReadFile(published); err == nil {
		if c, err := checkpoint.Parse(signed); err == nil {
			take(published, c)
		}
	}
	switch seen, err := dir.Seen().Read(); {
	case err != nil:
		return longest, nil, err
	case seen != nil && seen.Origin == dir.Config.Origin:
		root, err := tlog.ParseHash(seen.Root)
		if err != nil {
			return longest, nil, err
		}
		take("what was seen of the database", checkpoint.Checkpoint{
			Origin: seen.Origin, Size: seen.Size,
			Root: root,
		})
	}
	for _, path := range others {
		c, err := otherLog(dir, path)
		if err != nil {
			return longest, nil, err
		}
		take(path, c)
	}
	signed, _, err := store.Signed(ctx)
	if err != nil {
		return longest, nil, err
	}
	if c, err := checkpoint.Parse(signed); err == nil {
		take("the vault", c)
	}
	if len(looked) == 0 {
		return longest, nil,
			errors.New("neither the published log nor the vault has a checkpoint")
	}
	return longest, looked, nil
}

// otherLog is the checkpoint of another copy of the log, in a folder or a file.
func otherLog(dir *datadir.Dir, path string) (checkpoint.Checkpoint, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "checkpoint")
	}
	signed, err := os.ReadFile(path)
	if err != nil {
		return checkpoint.Checkpoint{}, err
	}
	signer, err := signerOf(dir)
	if err != nil {
		return checkpoint.Checkpoint{}, err
	}
	c, err := checkpoint.Open(signed, strings.Join(signer.Keys(), "\n"))
	if err != nil {
		return c, fmt.Errorf("%w: --log %s: %w", datadir.ErrUsage, path, err)
	}
	return c, nil
}

// signerOf returns the signer of the log.
func signerOf(dir *datadir.Dir) (*checkpoint.Signer, error) {
	secret, err := durable.ReadSecret(dir.AuditKey())
	if err != nil {
		return nil, err
	}
	return checkpoint.NewSigner(string(secret))
}

// newAuditKey creates a key for the new log. The old key is kept beside it.
func newAuditKey(dir *datadir.Dir, plan *datadir.Plan) error {
	secret, err := durable.ReadSecret(dir.AuditKey())
	if err != nil {
		return err
	}
	if signer, err := checkpoint.NewSigner(string(secret)); err == nil &&
		signer.Origin() == plan.Origin {
		return nil
	}
	old := fmt.Sprintf("%s.%d", dir.AuditKey(), plan.Logs)
	if err := durable.CreateFile(old, secret, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	skeys, _, err := checkpoint.GenerateKeys(plan.Origin)
	if err != nil {
		return err
	}
	return durable.WriteFile(dir.AuditKey(), []byte(skeys), 0o600)
}

// archiveLog moves the published old log out of the way.
func archiveLog(dir *datadir.Dir, plan *datadir.Plan) (string, error) {
	archive := fmt.Sprintf("%s.%d", dir.Audit(), plan.Logs)
	if _, err := os.Lstat(archive); err == nil {
		return archive, nil
	}
	if err := os.Rename(dir.Audit(), archive); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return archive, durable.SyncDir(dir.Root)
}

// firstEntry commits the new log to the old one.
func firstEntry(ctx context.Context, dir *datadir.Dir, store vault.Backend, plan *datadir.Plan,
	log *slog.Logger,
) error {
	_, head, err := store.Signed(ctx)
	if err != nil || head.Size > 0 {
		return err
	}
	signer, err := signerOf(dir)
	if err != nil {
		return err
	}
	root, err := tlog.ParseHash(plan.OldRoot)
	if err != nil {
		return err
	}
	journal, err := vault.JournalSize(ctx, store)
	if err != nil {
		return err
	}
	ledger := ledger.New(ledger.Config{Store: store, Signer: signer, Log: log})
	status := events.Recovered(ctx, ledger, checkpoint.Checkpoint{
		Origin: plan.OldOrigin, Size: plan.OldSize,
		Root: root,
	}, journal)
	if err := ledger.Close(); err != nil {
		return err
	}
	if status.Receipt == "" {
		return fmt.Errorf("the first entry was not stored: %s", status.Reason)
	}
	return nil
}
