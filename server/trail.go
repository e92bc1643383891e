package server

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"example.com/atm"
	"example.com/atm/audit/flood"
	"example.com/atm/auth"
	"example.com/atm/teller"
)

const (
	heartbeatEvery = 10 * time.Minute
	summaryEvery   = time.Minute
)

// trail writes the entries that do not come from operations: failed sign-ins, summaries of
// denials, and heartbeats.
type trail struct {
	teller *teller.Teller
	log    *slog.Logger

	mu       sync.Mutex
	failures *flood.Failures // guarded by mu
}

func newTrail(t *teller.Teller, log *slog.Logger) *trail {
	return &trail{teller: t, log: log, failures: flood.NewFailures()}
}

// signInFailed records a failed sign-in, or counts it for the summary.
func (t *trail) signInFailed(r *http.Request, reason string) {
	from := auth.Address(r.RemoteAddr)
	t.mu.Lock()
	single := t.failures.Note(time.Now(), from, reason)
	t.mu.Unlock()
	if single {
		t.stored("failed sign-in", t.teller.SignInFailed(r.Context(), from, reason))
	}
}

// run writes summaries and heartbeats until ctx is done, and then the last summaries.
func (t *trail) run(ctx context.Context) {
	summary, heartbeat := time.NewTicker(summaryEvery), time.NewTicker(heartbeatEvery)
	defer summary.Stop()
	defer heartbeat.Stop()
	for {
		select {
		case <-summary.C:
			t.summarise()
		case <-heartbeat.C:
			t.stored("heartbeat", t.teller.Heartbeat(ctx))
		case <-ctx.Done():
			t.summarise()
			return
		}
	}
}

func (t *trail) summarise() {
	t.mu.Lock()
	summaries := t.failures.Flush()
	t.mu.Unlock()
	for _, s := range summaries {
		t.stored("summary of failed sign-ins", t.teller.SignInsSummarised(context.Background(), s))
	}
	for _, status := range t.teller.Denied(context.Background()) {
		t.stored("summary of denials", status)
	}
}

// stored logs that an entry could not be written. No caller waits for the entry, so only the
// log can report it.
func (t *trail) stored(what string, status atm.Status) {
	if status.Receipt == "" {
		t.log.Warn("an audit entry was not stored", slog.String("entry", what),
			slog.String("reason", status.Reason))
	}
}
