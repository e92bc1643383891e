//go:build unix

package daemon_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
)

// TestRestoredServerGoesOnFromItsBackup takes a backup of a server with many entries while
// clients write, restores it, starts a server on it, verifies its log, and reconciles that with
// its balances, as docs/operations.md tells an operator to do. It prints the time of each step.
func TestRestoredServerGoesOnFromItsBackup(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "a backup is restored without a database")
	entries := int64(20_000)
	if os.Getenv("ATM_SOAK") != "" {
		entries = 1_000_000
	}
	h := daemontest.Start(t, nil)
	calls := make([][]string, 100)
	for i := range calls {
		calls[i] = []string{"deposit", "100", "0.01"}
	}
	var written atomic.Int64
	var done atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer done.Store(true)
	for range 8 {
		c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
		wg.Go(func() {
			for !done.Load() {
				if resp, text := h.Post(t, c, daemontest.Multicall(calls...),
					nil); resp.StatusCode != 200 ||
					strings.Contains(text, "fault") {
					t.Errorf("%s %.300s", resp.Status, text)
					return
				}
				// Write less from now on, so that the backup is taken under load.
				if written.Add(100) > entries {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	for written.Load() < entries && !t.Failed() {
		time.Sleep(10 * time.Millisecond)
	}
	begun := time.Now()
	backup := filepath.Join(t.TempDir(), "backup.tar")
	f, err := os.Create(backup)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	resp, err := daemontest.HTTPClient(t, h.TLS(t, "operator")).Post("https://"+h.Addr+
		"/admin/backup", "",
		http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	size, err := io.Copy(f, resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	done.Store(true)
	wg.Wait()
	taken := time.Since(begun)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	begun = time.Now()
	data := filepath.Join(t.TempDir(), "restored")
	// Restore checks the vault, and replays the journal.
	found, err := offline.Folder{Data: data}.Restore(t.Context(), daemontest.Discard,
		offline.Backup{Content: f})
	if err != nil || found.Entries < entries {
		t.Fatal(found, err)
	}
	restored := time.Since(begun)
	again := daemontest.StartOne(t, data, nil)
	if code, text := again.Get(t, "/readyz"); code != http.StatusOK {
		t.Error(text)
	}
	ready := time.Since(begun)
	report, err := audit.Verify(t.Context(), audit.Dir(filepath.Join(data, "audit")),
		audit.VerifyOptions{})
	if err != nil || !report.OK() {
		t.Errorf("%+v, %v", report, err)
	}
	verified := time.Since(begun)
	t.Logf("%d entries, %d MB: backup taken in %v; restored, checked and replayed after %v, "+
		"ready after %v, verified after %v",
		found.Entries, size>>20, taken.Round(time.Millisecond), restored.Round(time.Millisecond),
		ready.Round(time.Millisecond), verified.Round(time.Millisecond))
}
