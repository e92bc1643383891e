package inbox_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"example.com/atm/cmd/internal/inbox"
)

// TestRequestsAreAnsweredWhateverTheFolderIsCalled asks in a folder whose name would be a pattern
// of file names.
func TestRequestsAreAnsweredWhateverTheFolderIsCalled(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data [1]", "inbox")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		answer, err := inbox.Ask(ctx, folder, inbox.Issuing{Subject: "user:alice"})
		if err == nil && answer.Serial != "of user:alice" {
			t.Errorf("the answer is %+v", answer)
		}
		answered <- err
	}()
	for {
		inbox.Answer(ctx, folder, slog.New(slog.DiscardHandler), func(_ context.Context,
			request inbox.Issuing,
		) inbox.Issued {
			return inbox.Issued{Serial: "of " + request.Subject}
		})
		select {
		case err := <-answered:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
