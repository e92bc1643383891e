package daemon

import (
	"context"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/cmd/internal/retention"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/durable"
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
		Store: s.accounts, Hot: audit.Dir(s.dir.Audit()), Open: s.log.published,
		Keys: s.keys.Signer.AllKeys, Prune: s.log.Prune, Lead: s.accounts.leads,
		Dir: s.dir.Snapshots(), Now: s.accounts.replicas().Now, Log: s.opts.Log,
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
