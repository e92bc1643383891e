package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/cmd/internal/retention"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/durable"
	"example.com/atm/server/metrics"
	"example.com/atm/teller/events"
	"example.com/atm/vault"
)

// Retention is what a server keeps here of its past, and where the rest is.
type Retention struct {
	Archive string        // location of the archive; empty for none
	Keep    time.Duration // what is older is removed here; 0 for nothing
	Every   time.Duration // between chapters; 0 for a tenth of Keep, and a day at most
}

// newRetention returns what archives and trims; nil without an archive.
func (s *Server) newRetention(ctx context.Context) (*retention.Runner, error) {
	if s.log.archive == nil {
		return nil, nil
	}
	if err := durable.MkdirAll(s.dir.Snapshots(), 0o700); err != nil {
		return nil, err
	}
	secret, err := s.keys.SnapshotSecret()
	if err != nil {
		return nil, err
	}
	return retention.New(ctx, retention.Config{
		Archive: s.log.archive, Keep: s.opts.Retention.Keep, Every: s.opts.Retention.Every,
		Store: s.accounts, Lead: s.accounts.leads, Dir: s.dir.Snapshots(),
		Now: s.accounts.replicas().Now, Log: s.opts.Log,
		Published: retention.Published{
			Hot: audit.Dir(s.dir.Audit()), Open: s.log.published, Publish: s.log.Publish,
			Keys: s.keys.Signer.AllKeys, Prune: s.log.Prune,
		},
		Record: func(ctx context.Context, taken events.Snapshot) atm.Status {
			return events.SnapshotTaken(ctx, s.ledger, taken)
		},
		Snapshot: func(ctx context.Context, base vault.Base, file string) (*vault.Trail, error) {
			return storage.ExportFrom(ctx, s.accounts, base, file, secret)
		},
	})
}

// whole is the store with the entries that are in the published log and its archive alone.
func (s *Server) whole() vault.Store {
	return retention.Whole{Store: s.accounts, Open: s.log.published}
}

// archiveWait bounds how long a start waits for an archive.
const archiveWait = 20 * time.Second

// sawArchive makes sure that the archive is of this log, and that no entry is signed that
// contradicts it, because an older vault was put back. What it returns is called when the log is
// published. An archive that cannot be read now is compared before a chapter is written to it.
func (l *auditLog) sawArchive(ctx context.Context, source audit.Source) (extends func() error,
	err error,
) {
	if l.archive == nil {
		return func() error { return nil }, nil
	}
	ctx, cancel := context.WithTimeout(ctx, archiveWait)
	defer cancel()
	newest, err := l.archive.Newest(ctx)
	if err == nil && newest.Origin != l.dir.Config.Origin {
		return nil, fmt.Errorf("%s: %w: its newest chapter is of %s; name another location with "+
			"--archive", l.archive, archive.ErrOtherLog, newest.Origin)
	}
	if err == nil {
		_, _, err = checkpoint.OpenAny(newest.Signed, l.signer.AllKeys())
	}
	if err != nil {
		if !errors.Is(err, archive.ErrEmpty) {
			l.log.Warn("the archive of the audit log cannot be compared with it",
				slog.String("archive", l.archive.String()), slog.Any("error", err))
		}
		return func() error { return nil }, nil
	}
	_, head, err := source.Signed(ctx)
	if err == nil && head.Size < newest.Size {
		err = fmt.Errorf("%s: %w: it has %d entries, the vault %d: an older vault was put back; "+
			"nothing was changed: put the right vault back, or move this one away and make it "+
			"anew with atmctl rebuild --from", l.archive, archive.ErrAhead, newest.Size, head.Size)
	}
	l.Saw(newest.Checkpoint)
	return func() error { return l.extendsArchive(context.WithoutCancel(ctx), newest) }, err
}

// extendsArchive returns an error if the published log contradicts a chapter of its archive.
func (l *auditLog) extendsArchive(ctx context.Context, newest archive.Chapter) error {
	log, err := l.published(ctx)
	if err != nil || log.Size < newest.Size {
		return nil // it could not be published, perhaps because the disk is full
	}
	return l.archive.Compare(ctx, log, newest, l.signer.AllKeys())
}

// base is the index in the log of the first entry that the journal has.
func (i *installation) base(ctx context.Context) (int64, error) {
	base, err := i.accounts.Base(ctx)
	if err != nil {
		return 0, err
	}
	log, err := vault.OpenLog(ctx, i.accounts)
	return max(0, int64(base.Index-log.InJournal(0))), err
}

// archiveStatus reports how far the log is archived.
func (i *installation) archiveStatus() atm.Record {
	if i.retention == nil {
		return atm.Record{{Name: "used", Value: false}}
	}
	state := i.retention.State()
	reason, chapter := "", ""
	if state.Err != nil {
		reason = state.Err.Error()
	}
	if !state.Chapter.IsZero() {
		chapter = state.Chapter.UTC().Format(time.RFC3339)
	}
	return atm.Record{
		{Name: "used", Value: true},
		{Name: "location", Value: i.log.archive.String()},
		{Name: "entries", Value: state.Archived},
		{Name: "chapter", Value: chapter},
		{Name: "lags", Value: state.Lags(i.accounts.replicas().Now())},
		{Name: "reason", Value: reason},
		{Name: "keep", Value: int64(i.opts.Retention.Keep / time.Second)},
	}
}

// archiveState is archiveStatus for metrics.
func (i *installation) archiveState() (m metrics.ArchiveState) {
	ctx, cancel := context.WithTimeout(context.Background(), statusWait)
	defer cancel()
	if base, err := i.base(ctx); err == nil {
		m.Base = base
	}
	if i.retention != nil { // else there is none, or no commit yet
		state := i.retention.State()
		m.Entries, m.Chapter = state.Archived, state.Chapter
		m.Every, m.Failing = state.Every, state.Err != nil
	}
	return m
}

// remarks say what keeps nobody from an operation, but is to be looked at.
func (i *installation) remarks() (list []string) {
	if i.log.watched.unwatched(time.Now()) {
		list = append(list, "audit log: unwatched")
	}
	if i.retention == nil {
		return list
	}
	state := i.retention.State()
	switch now := i.accounts.replicas().Now(); {
	case state.Lags(now) && state.Err != nil:
		list = append(list, "archive: lags: "+state.Err.Error())
	case state.Lags(now):
		list = append(list, "archive: lags")
	case state.Err != nil:
		list = append(list, "archive: "+state.Err.Error())
	}
	return list
}
