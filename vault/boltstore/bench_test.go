package boltstore_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/query"
	"example.com/atm/vault/vaulttest"
)

var teller = &atm.Caller{Principal: atm.Principal{
	Subject: "user:teller",
	Roles:   []atm.Role{atm.Teller},
}}

func command(op atm.Operation, rule vault.Rule, args ...audit.Arg) vault.Command {
	return vault.Command{
		Event: audit.EventOp, Operation: op, Caller: teller, Args: args,
		Rule: rule,
	}
}

func depositTo(n uint64) vault.Command {
	name := vault.Name(fmt.Sprint(n))
	return command(atm.Deposit, vault.Deposit{
		Account: name, Cash: vault.Cash(teller.Subject),
		Amount: 1, Tell: true,
	},
		audit.Arg{Name: "account", Value: string(name)}, audit.Arg{Name: "amount", Value: "0.01"})
}

func inquiryOf(n uint64) vault.Command {
	name := vault.Name(fmt.Sprint(n))
	return command(atm.Inquiry, vault.Inquiry{Account: name}, audit.Arg{
		Name:  "account",
		Value: string(name),
	})
}

// begin carries out commands with many on the way at once.
func begin(b *testing.B, l *ledger.Ledger, n int, cmd func(i int) vault.Command) {
	b.Helper()
	replies := make(chan ledger.Reply, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for reply := range replies {
			if s := reply(); s.Code != atm.OK {
				b.Errorf("%v", s)
			}
		}
	}()
	for i := range n {
		replies <- l.Begin(b.Context(), cmd(i))
	}
	close(replies)
	<-done
}

// BenchmarkAccounts compares a vault of a hundred accounts with one of a
// million: opening it, and operations of 64 callers on accounts at random.
func BenchmarkAccounts(b *testing.B) {
	signer := vaulttest.NewSigner(b)
	for _, accounts := range []uint64{100, 1_000_000} {
		path := filepath.Join(b.TempDir(), "vault.db")
		store, err := boltstore.Create(path, secret)
		if err != nil {
			b.Fatal(err)
		}
		l := ledger.New(ledger.Config{Store: store, Signer: signer})
		begin(b, l, int(accounts), func(i int) vault.Command {
			return command(atm.AccountOpen,
				vault.OpenAccount{Account: vault.Name(fmt.Sprint(i + 1)), Owner: "user:demo"})
		})
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		if err := store.Close(); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("accounts=%d/open", accounts), func(b *testing.B) {
			for b.Loop() {
				s, err := boltstore.Open(path, secret)
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
		store, err = boltstore.Open(path, secret)
		if err != nil {
			b.Fatal(err)
		}
		l = ledger.New(ledger.Config{Store: store, Signer: signer})
		for name, cmd := range map[string]func(uint64) vault.Command{"inquiry": inquiryOf, "deposit": depositTo} {
			b.Run(fmt.Sprintf("accounts=%d/%s", accounts, name), func(b *testing.B) {
				size := fileSize(b, path)
				var next atomic.Int64
				var wg sync.WaitGroup
				begun := time.Now()
				for range 64 {
					wg.Go(func() {
						for next.Add(1) <= int64(b.N) {
							if s := l.Do(b.Context(),
								cmd(1+rand.Uint64N(accounts))); s.Code != atm.OK {
								b.Errorf("%v", s)
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "op/s")
				b.ReportMetric(float64(fileSize(b, path)-size)/float64(b.N), "file-B/op")
			})
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		b.Logf("%d accounts: file %d MiB, heap %d MiB", accounts, fileSize(b, path)>>20,
			m.HeapAlloc>>20)
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		store.Close()
	}
}

func fileSize(b *testing.B, path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return info.Size()
}

// BenchmarkHistory reads pages of 50 of the statement of an account with a
// thousand movements and of one with a million: the newest page, one in the
// middle, and one found by its time.
func BenchmarkHistory(b *testing.B) {
	signer := vaulttest.NewSigner(b)
	for _, entries := range []int{1_000, 1_000_000} {
		path := filepath.Join(b.TempDir(), "vault.db")
		store, err := boltstore.Create(path, secret)
		if err != nil {
			b.Fatal(err)
		}
		var clock atomic.Int64 // a second for each commit
		l := ledger.New(ledger.Config{Store: store, Signer: signer, Now: func() time.Time {
			return time.Unix(clock.Add(1), 0)
		}})
		begin(b, l, entries, func(i int) vault.Command {
			if i == 0 {
				return command(atm.AccountOpen, vault.OpenAccount{Account: "1"})
			}
			return depositTo(1)
		})
		middle := time.Unix(clock.Load()/2, 0)
		for name, r := range map[string]query.Statement{
			"newest": {Account: "1", Limit: 50},
			"middle": {Account: "1", Limit: 50, Cursor: fmt.Sprintf("1.%d", entries/2)},
			"time":   {Account: "1", Limit: 50, From: middle.Add(-time.Hour), To: middle},
			"500":    {Account: "1", Limit: 500},
		} {
			b.Run(fmt.Sprintf("entries=%d/%s", entries, name), func(b *testing.B) {
				for b.Loop() {
					page := r
					a, err := store.Account(b.Context(), "1")
					if err != nil {
						b.Fatal(err)
					}
					err = page.Prepare(a, func(n vault.Name, from uint64,
						yield func(uint64, vault.JournalIndex, []byte) bool,
					) error {
						return store.History(b.Context(), n, from, yield)
					})
					if err != nil {
						b.Fatal(err)
					}
					if s := l.Do(b.Context(), command(atm.Statement, page)); s.Code != atm.OK {
						b.Fatal(s)
					}
				}
			})
		}
		b.Logf("%d entries: file %d MiB", entries, fileSize(b, path)>>20)
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		store.Close()
	}
}
