package daemon

import (
	"context"
	"log/slog"
	"time"
)

// indexAgain is how long filling the index rests after an error.
const indexAgain = time.Second

// fillIndex puts what was in the audit log before this start into its index; what
// comes later the publisher puts there. What is not there yet is read.
func (h *House) fillIndex(ctx context.Context) {
	for {
		err := h.index.Fill(ctx, h.log)
		if err == nil || ctx.Err() != nil {
			return
		}
		h.opts.Log.Error("indexing the audit log", slog.Any("error", err))
		select {
		case <-time.After(indexAgain):
		case <-ctx.Done():
			return
		}
	}
}
