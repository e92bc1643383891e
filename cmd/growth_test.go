package cmd_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
)

// BenchmarkGrowth deposits over TLS from 64 connections, each with a request
// id, and reports how the vault and the published log grow.
func BenchmarkGrowth(b *testing.B) {
	s := startServer(b)
	vault, log := filepath.Join(s.dir, "atm-data", "vault.db"), filepath.Join(s.dir, "atm-data", "audit")
	vaultBefore, logBefore := treeSize(b, vault), treeSize(b, log)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for n := range 64 {
		c := s.demo(b, 1)
		wg.Go(func() {
			for i := 0; next.Add(1) <= int64(b.N); i++ {
				id := atm.RequestID(atm.NewUUID(time.Now()))
				if a, err := c.Deposit(b.Context(), 100, 1, id); err != nil || !a.OK() {
					b.Errorf("%d: %+v, %v", n, a, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	s.stop(b)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
	b.ReportMetric(float64(treeSize(b, vault)-vaultBefore)/float64(b.N), "vault-B/op")
	b.ReportMetric(float64(treeSize(b, log)-logBefore)/float64(b.N), "log-B/op")
}

// treeSize is the number of bytes in a file, or in all files of a folder.
func treeSize(t testing.TB, root string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		sum += info.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
