package daemon

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"example.com/atm/audit"
)

// proveWait bounds how long a proof waits for its entry to be published.
const proveWait = 5 * time.Second

var errNotPublished = errors.New("the entry has not been published yet")

// prove returns the proof that an entry is in the published log.
func (h *Server) prove(ctx context.Context, index int64) ([]byte, error) {
	for end := time.Now().Add(proveWait); h.publisher.Published() <= index; {
		if time.Now().After(end) {
			return nil, errNotPublished
		}
		select {
		case <-time.After(shortWait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	text, err := h.proof(ctx, index)
	if errors.Is(err, audit.ErrDiffers) { // the caller learns no more than that
		h.opts.Log.ErrorContext(ctx, "proving an entry of the audit log",
			slog.Int64("index", index), slog.Any("error", err))
	}
	return text, err
}

func (h *Server) proof(ctx context.Context, index int64) ([]byte, error) {
	log, err := audit.OpenLog(ctx, audit.Dir(h.dir.Audit()), strings.Join(h.signer.Keys(), "\n"))
	if err != nil {
		return nil, err
	}
	proof, err := log.Prove(ctx, index)
	if err != nil {
		return nil, err
	}
	return proof.MarshalText()
}

// shortWait is between two looks at what is published.
const shortWait = 5 * time.Millisecond
