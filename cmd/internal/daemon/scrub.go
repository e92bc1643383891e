package daemon

import (
	"context"
	"log/slog"
	"time"

	"example.com/atm/vault"
)

const (
	// scrubEvery and scrubAtOnce make a running server compare ten accounts a second with
	// the journal, which costs it less than a thousandth of its time.
	scrubEvery  = 5 * time.Second
	scrubAtOnce = 50
)

// scrub compares the accounts with the journal, a few at a time, round and round: somebody who
// may write to the store is noticed while the server runs, not only by fsck.
func (h *Server) scrub(ctx context.Context) {
	tick := time.NewTicker(scrubEvery)
	defer tick.Stop()
	after := uint64(0)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		next, err := vault.Scrub(ctx, h.store, after, scrubAtOnce, func(problem string) {
			h.metrics.Scrubbed(1)
			h.opts.Log.Error("a record is not what the journal says; run atmctl fsck",
				slog.String("problem", problem))
		})
		if err != nil {
			continue // the store is away: it is asked again
		}
		after = next
	}
}
