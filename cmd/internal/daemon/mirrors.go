package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/policy"
)

// askMirrors looks what mirrors have of the log, each minute, so that a log which they copy is not
// unwatched.
func (l *auditLog) askMirrors(ctx context.Context, mirrors *policy.Policy) {
	client := &http.Client{Timeout: witnessTimeout}
	tick := time.NewTicker(witnessEvery)
	defer tick.Stop()
	for {
		for _, w := range mirrors.Witnesses {
			if err := l.askMirror(ctx, client, w); errors.Is(err, audit.ErrDiffers) {
				l.log.Error("a mirror has another history of the audit log, signed by its key",
					slog.String("mirror", w.Name), slog.Any("error", err))
			} else if err != nil && ctx.Err() == nil {
				l.log.Warn("asking a mirror of the audit log", slog.String("mirror", w.Name),
					slog.Any("error", err))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// askMirror notes when a mirror has seen the log.
func (l *auditLog) askMirror(ctx context.Context, client *http.Client, w policy.Witness) error {
	keys := l.signer.Keys()
	origin, err := checkpoint.OriginOf(keys[0])
	if err != nil {
		return err
	}
	signed, err := audit.AskMirror(ctx, client, w, origin)
	if err != nil {
		return err
	}
	has, err := checkpoint.Parse(signed)
	if err != nil {
		return err
	}
	// A mirror may read another replica, whose folder is a moment ahead of this one.
	for end := time.Now().Add(proveWait); l.Published() < has.Size && time.Now().Before(end); {
		select {
		case <-time.After(proveLookEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	log, err := l.published(ctx)
	if err != nil {
		return fmt.Errorf("the published log: %w", err)
	}
	size, at, err := log.Mirrored(ctx, w, keys, signed)
	if err != nil || size == 0 {
		return err
	}
	if now := time.Now(); at.After(now) {
		at = now
	}
	if at.After(l.watched.last()) {
		l.watched.saw(at)
	}
	return nil
}
