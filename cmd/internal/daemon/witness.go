package daemon

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"example.com/atm/audit"
)

const (
	// witnessEvery is how often witnesses are asked.
	witnessEvery = time.Minute

	// witnessTimeout bounds the answer of one.
	witnessTimeout = 10 * time.Second

	// witnessLag is how long the policy may be unsatisfied before the operator
	// is told.
	witnessLag = 10 * time.Minute
)

// askWitnesses has the published log cosigned, beside the operations, which
// never wait for it.
func (h *Server) askWitnesses(ctx context.Context) {
	client := &http.Client{Timeout: witnessTimeout}
	satisfied := time.Now()
	tick := time.NewTicker(witnessEvery)
	defer tick.Stop()
	for {
		size, err := h.askOnce(ctx, client)
		switch {
		case err != nil:
			h.opts.Log.Warn("asking the witnesses of the audit log", slog.Any("error", err))
		case size > 0:
			satisfied = time.Now()
			h.metrics.Witnessed(size)
			h.witnessed.Store(size)
		}
		if lag := time.Since(satisfied); lag > witnessLag {
			h.opts.Log.Error("too few witnesses have cosigned the audit log",
				slog.Duration("for", lag))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// askOnce returns the size of the log that enough witnesses have cosigned now,
// and 0 when they have not.
func (h *Server) askOnce(ctx context.Context, client *http.Client) (int64, error) {
	if h.publisher.Published() == 0 {
		return 0, nil
	}
	log, err := audit.OpenLog(ctx, audit.Dir(h.dir.Audit()), strings.Join(h.signer.Keys(), "\n"))
	if err != nil {
		return 0, err
	}
	lines, errs := log.CosignAll(ctx, client, h.opts.Witnesses)
	for _, err := range errs {
		h.opts.Log.Warn("a witness did not cosign the audit log", slog.Any("error", err))
	}
	if len(lines) == 0 {
		return 0, nil
	}
	if err := log.SaveCosigned(lines); err != nil {
		return 0, err
	}
	if !h.opts.Witnesses.Satisfied(h.opts.Witnesses.Cosigned(log.WithCosignatures(lines))) {
		return 0, nil
	}
	return log.Size, nil
}
