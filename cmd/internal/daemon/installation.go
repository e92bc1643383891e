package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/keys"
	"example.com/atm/cmd/internal/retention"
	"example.com/atm/cmd/internal/version"
	"example.com/atm/feed"
	"example.com/atm/internal/machine"
	"example.com/atm/server/metrics"
	"example.com/atm/teller"
	"example.com/atm/vault/ledger"
)

// An installation reports the state of the server and its machine to operators, metrics, probes
// and the audit log.
type installation struct {
	opts     Options
	dir      *datadir.Dir
	opened   time.Time // when the folder was locked
	accounts accounts
	keys     *keys.Keys
	log      *auditLog
	ledger   *ledger.Ledger
	metrics  *metrics.Metrics
	feed     *feed.Feed

	retention *retention.Runner // nil without an archive
}

var _ teller.Installation = (*installation)(nil)

// Prove returns the proof that an entry is in the published log.
func (i *installation) Prove(ctx context.Context, index int64) ([]byte, error) {
	return i.log.prove(ctx, index)
}

// statusWait bounds how long a status waits for the store.
const statusWait = 5 * time.Second

// Status reports the state of the server to operators and auditors.
func (i *installation) Status(ctx context.Context) (atm.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	log, err := i.logStatus(ctx)
	if err != nil {
		return nil, err
	}
	store, err := i.storeStatus(ctx)
	if err != nil {
		return nil, err
	}
	free, err := i.free()
	if err != nil {
		return nil, err
	}
	var parts []atm.Record
	for _, part := range i.parts() {
		reason := ""
		if part.Err != nil {
			reason = part.Err.Error()
		}
		parts = append(parts, atm.Record{
			{Name: "part", Value: part.Name},
			{Name: "ready", Value: part.Err == nil},
			{Name: "reason", Value: reason},
		})
	}
	var certificates []atm.Record
	for _, e := range i.keys.Expiries() {
		certificates = append(certificates, atm.Record{
			{Name: "certificate", Value: e.Certificate},
			{Name: "not_after", Value: e.At.UTC().Format(time.RFC3339)},
		})
	}
	program := version.Read()
	return atm.Record{
		{Name: "name", Value: i.dir.Config.Name},
		{Name: "version", Value: i.opts.Version},
		{Name: "revision", Value: program.Revision},
		{Name: "modified", Value: program.Modified},
		{Name: "go", Value: program.Go},
		{Name: "platform", Value: program.Platform},
		{Name: "started", Value: i.opened.UTC().Format(time.RFC3339)},
		{Name: "uptime", Value: int64(time.Since(i.opened) / time.Second)},
		{Name: "parts", Value: parts},
		{Name: "certificates", Value: certificates},
		{Name: "log", Value: log},
		{Name: "disk", Value: atm.Record{
			{Name: "free", Value: int64(free)}, {Name: "reserve", Value: int64(i.opts.DiskReserve)},
		}},
		{Name: "store", Value: store},
		{Name: "clock", Value: clockState()},
	}, nil
}

// logStatus reports the size of the audit log, how much of it is published, cosigned and archived,
// and where the journal begins.
func (i *installation) logStatus(ctx context.Context) (atm.Record, error) {
	_, head, err := i.accounts.Signed(ctx)
	if err != nil {
		return nil, err
	}
	base, err := i.base(ctx)
	if err != nil {
		return nil, err
	}
	return atm.Record{
		{Name: "origin", Value: i.dir.Config.Origin},
		{Name: "entries", Value: head.Size},
		{Name: "published", Value: i.log.Published()},
		{Name: "witnesses", Value: i.opts.Witnesses != nil},
		{Name: "witnessed", Value: i.log.witnessed.Load()},
		{Name: "watched", Value: i.log.watched.last().Format(time.RFC3339)},
		{Name: "unwatched", Value: i.log.watched.unwatched(time.Now())},
		{Name: "base", Value: base},
		{Name: "key_in_module", Value: i.keys.Signer.InModule()},
		{Name: "archive", Value: i.archiveStatus()},
	}, nil
}

// storeStatus reports where the accounts are, and how many servers share them.
func (i *installation) storeStatus(ctx context.Context) (atm.Record, error) {
	kind, replicas := "bolt", []string{}
	if i.accounts.replica != nil {
		kind = i.dir.Config.Store
		var err error
		if replicas, err = i.accounts.replica.Store.Running(ctx); err != nil {
			return nil, err
		}
	}
	return atm.Record{{Name: "kind", Value: kind}, {Name: "replicas", Value: replicas}}, nil
}

// clockState describes whether the machine's clock is synchronised.
func clockState() string {
	switch clock, ok := machine.ReadClock(); {
	case !ok:
		return "unknown"
	case clock.Synchronised:
		return "synchronised"
	}
	return "not synchronised"
}

// gauges are the values of metrics that are read at each scrape.
func (i *installation) gauges() metrics.Gauges {
	return metrics.Gauges{
		Entries:   i.treeSize,
		Published: func() float64 { return float64(i.log.Published()) },
		DiskFree: func() float64 {
			free, err := i.free()
			if err != nil {
				return 0
			}
			return float64(free)
		},
		Synchronised: synchronised,
		Watched:      func() float64 { return float64(i.log.watched.last().Unix()) },
		Expiry: func() (list []metrics.Expiry) {
			for _, e := range i.keys.Expiries() {
				list = append(list, metrics.Expiry(e))
			}
			return list
		},
		Ready: i.parts,
		Feed: func() metrics.FeedState {
			if i.feed == nil { // before the first commit
				return metrics.FeedState{}
			}
			return metrics.FeedState(i.feed.Stats())
		},
		Archive: i.archiveState,
	}
}

// treeSize is the size of the signed log, or 0 if the store does not answer in time.
func (i *installation) treeSize() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), statusWait)
	defer cancel()
	_, head, err := i.accounts.Signed(ctx)
	if err != nil {
		return 0
	}
	return float64(head.Size)
}

// parts reports the health of each part of the server.
func (i *installation) parts() []metrics.Part {
	state := errors.Join(i.ledger.Err(), i.accounts.lost())
	if state == nil && i.accounts.replica != nil {
		state = i.accounts.replica.Ready()
	}
	return []metrics.Part{
		{Name: "vault", Err: state},
		{Name: "audit", Err: i.log.Err()},
		{Name: "disk", Err: i.diskSpace()},
	}
}

func (i *installation) ready() bool {
	for _, part := range i.parts() {
		if part.Err != nil {
			return false
		}
	}
	return true
}

// free is the number of free bytes on the disk of the data folder.
func (i *installation) free() (uint64, error) {
	free, err := machine.Free(i.dir.Root)
	if err != nil {
		return 0, fmt.Errorf("free space of %s: %w", i.dir.Root, err)
	}
	return free, nil
}

// diskSpace returns an error if the disk lacks the space for one more commit.
func (i *installation) diskSpace() error {
	free, err := i.free()
	if err != nil {
		return err
	}
	if free < i.opts.DiskReserve {
		return fmt.Errorf("%d bytes are free on the disk of %s, fewer than the reserve of %d", free,
			i.dir.Root, i.opts.DiskReserve)
	}
	return nil
}
