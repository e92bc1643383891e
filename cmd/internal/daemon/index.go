package daemon

import (
	"context"
	"log/slog"
	"time"
)

// indexEvery is how often new bundles of entries are put into the index. What
// is not there yet is read.
const indexEvery = time.Second

// fillIndex keeps the index of the audit log up to date.
func (h *House) fillIndex(ctx context.Context) {
	tick := time.NewTicker(indexEvery)
	defer tick.Stop()
	for {
		if err := h.index.Fill(ctx, h.log); err != nil && ctx.Err() == nil {
			h.opts.Log.Error("indexing the audit log", slog.Any("error", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
