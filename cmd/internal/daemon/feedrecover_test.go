//go:build unix

package daemon_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

// TestRecoveryStopsSubscriptionsThatAreAhead gives up the log of a vault that lost entries which
// had been delivered. The entries that take their indexes must not be taken for delivered.
func TestRecoveryStopsSubscriptionsThatAreAhead(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), nil)
	demo := h.As(t, "demo")
	ids := make(map[string]feeds.ID)
	for _, name := range []string{"ahead", "level", "replayed"} {
		ids[name], _ = feeds.ParseID(daemontest.Must(t)(demo.Call(t.Context(), "feed.add", name,
			"https://shop.invalid", map[string]any{"account": "100"})).Text())
	}
	daemontest.Must(t)(demo.Call(t.Context(), "feed.replay", "replayed", 0))
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	store := openStore(t, h.Folder())
	size, err := vault.JournalSize(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	cursors, err := store.ClaimCursors(t.Context(), "test", time.Minute,
		[]feeds.ID{ids["ahead"], ids["level"], ids["replayed"]})
	if err != nil {
		t.Fatal(err)
	}
	for i := range cursors {
		c := &cursors[i]
		c.Chain, c.Next = 1, feeds.Position(size)+2
		if c.ID == ids["level"] {
			c.Next = feeds.Position(size)
		}
	}
	kept, err := store.SaveCursors(t.Context(), "test", cursors, true)
	if err := errors.Join(err, store.Close()); err != nil || len(kept) != 3 {
		t.Fatalf("kept %v: %v", kept, err)
	}
	for range 2 { // a second one finds nothing to stop
		if _, err := h.Folder().Recover(t.Context(), daemontest.Discard); err != nil {
			t.Fatal(err)
		}
	}
	for _, problem := range checked(t, h.Folder()) {
		t.Error(problem)
	}
	is, _ := contents(t, h.Folder())
	for _, s := range is.Feeds[0].Subscriptions {
		if stopped := s.State == feeds.Stopped; stopped != (s.ID == ids["ahead"]) {
			t.Errorf("%s is %s: %s", s.Name, s.State, s.Reason)
		}
		if s.State == feeds.Stopped && !strings.Contains(s.Reason, "use feed replay") {
			t.Errorf("the reason is %q", s.Reason)
		}
	}
	h = daemontest.StartOne(t, h.Data, nil)
	a := daemontest.Must(t)(h.As(t, "demo").Call(t.Context(), "feed.show", "ahead"))
	if shown, _ := a.Result.(map[string]any); shown["state"] != "stopped" {
		t.Errorf("shown as %+v", a.Result)
	}
	// Resumed without a replay, it delivers everything again, not what comes after entries that
	// have taken the place of others.
	for range 5 {
		daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), 100, 1, ""))
	}
	daemontest.Must(t)(h.As(t, "demo").Call(t.Context(), "feed.resume", "ahead"))
	a = daemontest.Must(t)(h.As(t, "demo").Call(t.Context(), "feed.show", "ahead"))
	if shown, _ := a.Result.(map[string]any); shown["state"] != "active" ||
		shown["next"] != shown["from"] {
		t.Errorf("goes on as %+v", a.Result)
	}
}
