//go:build unix

package daemon_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/publish"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

// BenchmarkPublishing deposits from 64 callers without a network, with and without a publisher.
func BenchmarkPublishing(b *testing.B) {
	for _, publishing := range []bool{false, true} {
		b.Run(fmt.Sprintf("publish=%v", publishing), func(b *testing.B) {
			dir := b.TempDir()
			store, err := boltstore.Create(filepath.Join(dir, "vault.db"),
				[]byte("the secret of a benchmark......."))
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			signer := vaulttest.NewSigner(b)
			log, err := vault.OpenLog(b.Context(), store)
			if err != nil {
				b.Fatal(err)
			}
			p, err := publish.New(publish.Config{
				Dir: b.TempDir(), Keys: signer.Verifiers, Source: log, Log: daemontest.Discard,
			})
			if err != nil {
				b.Fatal(err)
			}
			if err := p.Recover(b.Context()); err != nil {
				b.Fatal(err)
			}
			cfg := ledger.Config{Store: store, Signer: signer}
			if publishing {
				cfg.Admit = func() error { p.Yield(); return nil }
				cfg.Committed = func(ledger.Commit) { p.Committed() }
			}
			l := ledger.New(cfg)
			caller := &atm.Caller{
				Principal: atm.Principal{Subject: "user:demo", Roles: []atm.Role{atm.Customer}},
				Credential: atm.Credential{
					Method: "mtls",
					SHA256: "jT1fJ7bP3qJ1gqv9gTNr4q8cV7Yw2m0m3m3fF3b0b0A=",
					Serial: "0123456789abcdef",
				}, IP: "192.0.2.1",
			}
			l.Do(b.Context(), vault.Command{
				Event: audit.EventOp, Operation: atm.AccountOpen,
				Caller: caller, Rule: vault.OpenAccount{Account: "100"},
			})
			ctx, cancel := context.WithCancel(b.Context())
			var follower sync.WaitGroup
			if publishing {
				follower.Go(func() { p.Run(ctx) })
			}
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range 64 {
				wg.Go(func() {
					for next.Add(1) <= int64(b.N) {
						l.Do(ctx, vault.Command{
							Event: audit.EventOp, Operation: atm.Deposit, Caller: caller,
							Args: []audit.Arg{
								{Name: "account", Value: "100"},
								{Name: "amount", Value: "0.01"},
							},
							Rule: vault.Deposit{
								Account: "100", Cash: "cash:user:demo", Amount: 1,
								Tell: true,
							},
						})
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
			cancel()
			follower.Wait()
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
