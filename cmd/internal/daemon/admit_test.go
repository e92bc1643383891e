//go:build unix

package daemon

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"example.com/atm/audit/publish"
	"example.com/atm/cmd/internal/datadir"
)

// TestCommitsWaitForThePublisher runs on a fake clock. A commit waits if earlier commits have
// been unpublished for long.
func TestCommitsWaitForThePublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p, err := publish.New(publish.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{
			log:          &auditLog{Publisher: p},
			installation: &installation{dir: datadir.At(dir)},
		}
		waited := func() time.Duration {
			t.Helper()
			begun := time.Now()
			if err := s.beforeCommit(); err != nil {
				t.Fatal(err)
			}
			return time.Since(begun)
		}
		p.Committed()
		if took := waited(); took != 0 {
			t.Errorf("a commit waited for %v, though the one before it was just now", took)
		}
		time.Sleep(time.Second)
		if waited() == 0 {
			t.Error("a commit did not wait for a publisher that is a second late")
		}
	})
}
