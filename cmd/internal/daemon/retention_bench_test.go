//go:build unix

package daemon_test

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// BenchmarkDepositsWhileArchiving has 32 clients deposit over TLS: without an archive, and on a
// server that writes a chapter every five seconds and keeps two of them.
func BenchmarkDepositsWhileArchiving(b *testing.B) {
	for _, every := range []time.Duration{0, 5 * time.Second} {
		name := "without"
		if every > 0 {
			name = "archiving"
		}
		b.Run(name, func(b *testing.B) {
			away := b.TempDir()
			h := daemontest.StartOne(b, filepath.Join(b.TempDir(), "atm-data"),
				func(o *daemon.Options) {
					if every > 0 {
						o.Retention = daemon.Retention{Archive: away, Keep: 2 * every, Every: every}
					}
				})
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			b.ResetTimer()
			begun := time.Now()
			for range 32 {
				c := h.As(b, "demo")
				all.Go(func() {
					for left.Add(-1) >= 0 {
						a, err := c.Deposit(b.Context(), daemontest.Account, 1,
							atm.RequestID(atm.NewUUID(time.Now())))
						if err != nil || !a.OK() {
							b.Errorf("%+v, %v", a, err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "op/s")
		})
	}
}
