//go:build unix

package daemon_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
)

// TestBackupUnderLoadHoldsAllThatWasAnsweredBefore takes backups while 32 clients write. Each
// restored copy passes every check, its log verifies, and it has everything that was
// acknowledged before the backup began.
func TestBackupUnderLoadHoldsAllThatWasAnsweredBefore(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	const clients = 32
	var acknowledged sync.Map // receipt → true
	var done atomic.Bool
	var wg sync.WaitGroup
	for n := range clients {
		c := h.As(t, "demo")
		wg.Go(func() {
			for i := 0; !done.Load(); i++ {
				a, err := c.Deposit(t.Context(), daemontest.Account, 1,
					atm.RequestID(fmt.Sprintf("%d-%d", n, i)))
				if err != nil || !a.OK() {
					t.Errorf("%+v, %v", a, err)
					return
				}
				acknowledged.Store(a.Receipt, true)
			}
		})
	}
	operator := daemontest.HTTPClient(t, h.TLS(t, "operator"))
	for round := range 3 {
		var before []string
		for len(before) < 100*(round+1) {
			before = before[:0]
			acknowledged.Range(func(receipt, _ any) bool {
				before = append(before, receipt.(string))
				return true
			})
		}
		resp, err := operator.Post("https://"+h.Addr+"/admin/backup", "", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		backup, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status, err)
		}
		data := filepath.Join(t.TempDir(), "restored")
		found, err := offline.Folder{Data: data}.Restore(t.Context(), daemontest.Discard,
			offline.Backup{Content: bytes.NewReader(backup)})
		if err != nil {
			t.Fatal(err)
		}
		files := audit.Dir(filepath.Join(data, "audit"))
		report, err := audit.Verify(t.Context(), files, audit.VerifyOptions{})
		if err != nil || !report.OK() || report.Size != found.Entries {
			t.Fatalf("%+v, %v, of %d entries", report, err, found.Entries)
		}
		log, err := audit.OpenLog(t.Context(), files, report.Key)
		if err != nil {
			t.Fatal(err)
		}
		inside := make(map[string]bool)
		err = log.Entries(t.Context(), 0, log.Size, func(index int64, leaf []byte,
			hash merkle.Hash,
		) error {
			inside[audit.Receipt(index, hash)] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, receipt := range before {
			if !inside[receipt] {
				t.Errorf("%s was acknowledged before the backup, and is not in it", receipt)
			}
		}
		t.Logf("%d acknowledged before, %d entries in the backup, %d bytes", len(before),
			found.Entries, len(backup))
	}
	done.Store(true)
	wg.Wait()
}
