package daemon

import (
	"context"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/version"
	"example.com/atm/internal/machine"
)

// status says how the server is, to operators and auditors.
func (h *Server) status(ctx context.Context) (atm.Record, error) {
	log, err := h.logStatus(ctx)
	if err != nil {
		return nil, err
	}
	store, err := h.storeStatus(ctx)
	if err != nil {
		return nil, err
	}
	free, err := h.free()
	if err != nil {
		return nil, err
	}
	var parts []atm.Record
	for _, part := range h.parts() {
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
	for _, e := range h.expiry() {
		certificates = append(certificates, atm.Record{
			{Name: "certificate", Value: e.Certificate},
			{Name: "not_after", Value: e.At.UTC().Format(time.RFC3339)},
		})
	}
	program := version.Read()
	return atm.Record{
		{Name: "name", Value: h.Name()},
		{Name: "version", Value: h.opts.Version},
		{Name: "revision", Value: program.Revision},
		{Name: "modified", Value: program.Modified},
		{Name: "go", Value: program.Go},
		{Name: "platform", Value: program.Platform},
		{Name: "started", Value: h.opened.UTC().Format(time.RFC3339)},
		{Name: "uptime", Value: int64(time.Since(h.opened) / time.Second)},
		{Name: "parts", Value: parts},
		{Name: "certificates", Value: certificates},
		{Name: "log", Value: log},
		{Name: "disk", Value: atm.Record{
			{Name: "free", Value: int64(free)}, {Name: "reserve", Value: int64(h.opts.DiskReserve)},
		}},
		{Name: "store", Value: store},
		{Name: "clock", Value: clockState()},
	}, nil
}

// logStatus says how long the audit log is, and how far it is published and cosigned.
func (h *Server) logStatus(ctx context.Context) (atm.Record, error) {
	_, head, err := h.store.Signed(ctx)
	if err != nil {
		return nil, err
	}
	return atm.Record{
		{Name: "origin", Value: h.dir.Config.Origin},
		{Name: "entries", Value: head.Size},
		{Name: "published", Value: h.publisher.Published()},
		{Name: "witnesses", Value: h.opts.Witnesses != nil},
		{Name: "witnessed", Value: h.witnessed.Load()},
	}, nil
}

// storeStatus says where the accounts are, and how many servers have them.
func (h *Server) storeStatus(ctx context.Context) (atm.Record, error) {
	kind, replicas := "bolt", []string{}
	if h.shared != nil {
		kind = "postgres"
		var err error
		if replicas, err = h.shared.store.Running(ctx); err != nil {
			return nil, err
		}
	}
	return atm.Record{{Name: "kind", Value: kind}, {Name: "replicas", Value: replicas}}, nil
}

// clockState says whether something keeps the machine's clock right.
func clockState() string {
	switch clock, ok := machine.ReadClock(); {
	case !ok:
		return "unknown"
	case clock.Synchronised:
		return "synchronised"
	}
	return "not synchronised"
}
