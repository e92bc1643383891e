package daemon

import (
	"context"
	"errors"
	"log/slog"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/datadir"
	"golang.org/x/mod/sumdb/tlog"
)

// What a database that went back behind what was acknowledged means for the next start.

// recoverTrail brings the published log up to date, and refuses a store that is behind what
// this folder published, or noted to have seen.
func (h *Server) recoverTrail(ctx context.Context) error {
	seen, err := h.dir.ReadSeen()
	if err != nil {
		return err
	}
	// a recovery gave up the log of another origin
	if seen != nil && seen.Origin == h.dir.Config.Origin {
		root, err := tlog.ParseHash(seen.Root)
		if err != nil {
			return err
		}
		h.publisher.Saw(audit.Checkpoint{Origin: seen.Origin, Size: seen.Size, Root: root})
	}
	err = h.publisher.Recover(ctx)
	if newest := h.publisher.Newest(); errors.Is(err, audit.ErrAhead) && h.shared != nil &&
		newest.Size > 0 {
		// Replicas that run on it already saw less of it than this folder. A checkpoint
		// that is not signed would be damage here, and no concern of theirs.
		h.shared.store.TellRollback(ctx, newest.Size)
	}
	if err != nil || seen == nil {
		return err
	}
	if h.publisher.Published() < seen.Size && seen.Origin == h.dir.Config.Origin {
		return nil // the disk is full, perhaps
	}
	return h.dir.WriteSeen(nil)
}

// noteRollback keeps what was seen of a database that went back, so that no start takes the
// database as it is now.
func (h *Server) noteRollback() {
	if h.shared == nil || h.shared.store.RolledBack() == nil {
		return
	}
	head := h.shared.store.Newest()
	err := h.dir.WriteSeen(&datadir.Seen{
		Origin: h.dir.Config.Origin, Size: head.Size,
		Root: head.Root().String(),
	})
	if err != nil {
		h.opts.Log.Error("noting what was seen of the database", slog.Any("error", err))
	}
}
