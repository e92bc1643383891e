package retention_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/publish"
	"example.com/atm/cmd/internal/retention"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/teller/events"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

var (
	secret  = []byte("0123456789abcdef0123456789abcdef")
	cashier = &atm.Caller{Principal: atm.Principal{
		Subject: "user:teller", Roles: []atm.Role{atm.Teller},
	}}
)

// perOperation is how far the clock goes on with each operation, so that a window is so many of
// them however fast the machine is.
const perOperation = time.Millisecond

// A bank is a store with a published log and an archive, in one process and without a network.
type bank struct {
	root    string // with hot, snapshots and archive
	signer  *checkpoint.Signer
	store   *boltstore.Store
	ledger  *ledger.Ledger
	log     *publish.Publisher
	runner  *retention.Runner // archives; nil for none
	archive *archive.Archive

	recorded   func(context.Context) // called after an entry about a snapshot; nil for nothing
	operations atomic.Int64
	set        atomic.Int64 // by how much the clock is set ahead
	stop       func()
}

var opened = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (b *bank) now() time.Time {
	return opened.Add(time.Duration(b.operations.Load())*perOperation + time.Duration(b.set.Load()))
}

func (b *bank) path(name string) string { return filepath.Join(b.root, name) }

// newBank opens a bank. With a window it archives, a tenth of the window at a time.
func newBank(t testing.TB, keep time.Duration) *bank {
	t.Helper()
	return newBankEvery(t, keep, keep/10)
}

// newBankEvery is newBank with another interval between chapters.
func newBankEvery(t testing.TB, keep, every time.Duration) *bank {
	t.Helper()
	b := &bank{root: filepath.Join(t.TempDir(), "[1]"), signer: vaulttest.NewSigner(t)}
	for _, folder := range []string{"audit", "snapshots", "archive"} {
		if err := os.MkdirAll(b.path(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if b.store, err = boltstore.Create(b.path("vault.db"), secret); err != nil {
		t.Fatal(err)
	}
	source, err := vault.OpenLog(t.Context(), b.store)
	if err != nil {
		t.Fatal(err)
	}
	b.archive = archive.New(archive.NewFolder(b.path("archive")))
	b.log, err = publish.New(publish.Config{
		Dir: b.path("audit"), Keys: b.signer.AllKeys, Complete: b.signer.Complete, Source: source,
		Archived: b.archive, Log: slog.New(slog.DiscardHandler), New: true,
	})
	if err == nil {
		err = b.log.Recover(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	b.ledger = ledger.New(ledger.Config{
		Store: b.store, Signer: b.signer, Now: b.now,
		Admit:     func() error { b.log.Yield(); return nil },
		Committed: func(ledger.Commit) { b.log.Committed() },
	})
	if keep > 0 {
		b.newRunner(t, keep, every)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := b.log.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	b.stop = sync.OnceFunc(func() {
		err := b.ledger.Close()
		cancel()
		all.Wait()
		if err != nil {
			t.Error(err)
		}
		if err := b.log.Publish(context.Background()); err != nil {
			t.Error(err)
		}
		b.log.Tidy()
		if err := b.store.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(b.stop)
	return b
}

func (b *bank) newRunner(t testing.TB, keep, every time.Duration) {
	t.Helper()
	var err error
	b.runner, err = retention.New(t.Context(), retention.Config{
		Archive: b.archive, Keep: keep, Every: every, Store: b.store, Now: b.now,
		Dir: b.path("snapshots"), Log: slog.New(slog.DiscardHandler),
		Published: retention.Published{
			Hot: audit.Dir(b.path("audit")), Open: b.open, Publish: b.log.Publish,
			Keys: b.signer.AllKeys, Prune: b.log.Prune,
		},
		Record: func(ctx context.Context, s events.Snapshot) atm.Status {
			status := events.SnapshotTaken(ctx, b.ledger, s)
			if b.recorded != nil {
				b.recorded(ctx)
			}
			return status
		},
		Snapshot: func(ctx context.Context, base vault.Base, file string) (*vault.Trail, error) {
			return storage.ExportFrom(ctx, b.store, base, file, secret)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// open opens the published log, with what was archived of it.
func (b *bank) open(ctx context.Context) (*audit.Log, error) {
	return audit.OpenLog(ctx, archive.Over(audit.Dir(b.path("audit")), b.archive),
		strings.Join(b.signer.AllKeys(), "\n"))
}

// accounts opens so many accounts.
func (b *bank) accounts(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		if s := b.ledger.Do(t.Context(), vault.Command{
			Event: audit.EventOp, Operation: atm.AccountOpen, Caller: cashier,
			Rule: vault.OpenAccount{Account: vault.Name(fmt.Sprint(i + 1)), Owner: "user:demo"},
		}); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
}

// deposit makes n deposits, with many on the way at once.
func (b *bank) deposit(t testing.TB, n, accounts int) {
	t.Helper()
	replies := make(chan ledger.Reply, 2048)
	var all sync.WaitGroup
	all.Go(func() {
		for reply := range replies {
			if s := reply(); s.Code != atm.OK {
				t.Errorf("%v", s)
			}
		}
	})
	for range n {
		name := fmt.Sprint(1 + rand.IntN(accounts))
		replies <- b.ledger.Begin(t.Context(), vault.Command{
			Event: audit.EventOp, Operation: atm.Deposit, Caller: cashier,
			Args: []audit.Arg{{Name: "account", Value: name}, {Name: "amount", Value: "0.01"}},
			Rule: vault.Deposit{
				Account: vault.Name(name), Cash: vault.Cash(cashier.Subject), Amount: 1, Tell: true,
			},
		})
		b.operations.Add(1)
	}
	close(replies)
	all.Wait()
}

// archiving archives and trims until stop is called, round after round.
func (b *bank) archiving(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for ctx.Err() == nil {
			if err := b.runner.Round(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	return func() {
		cancel()
		all.Wait()
	}
}

// await waits until the archive is at most so many operations behind. Without a network between
// them, operations are faster than a disk that makes every object of an archive durable.
func (b *bank) await(t testing.TB, behind int) {
	t.Helper()
	for b.runner.State().Archived < b.operations.Load()-int64(behind) && !t.Failed() {
		time.Sleep(time.Millisecond)
	}
}

// sizes are the bytes of the vault with its write-ahead log, and of the files of the published log.
func (b *bank) sizes(t testing.TB) (vaultBytes, hotBytes int64) {
	t.Helper()
	for _, name := range []string{"vault.db", "vault.db-wal"} {
		if info, err := os.Stat(b.path(name)); err == nil {
			vaultBytes += info.Size()
		}
	}
	err := filepath.WalkDir(b.path("audit"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // removed meanwhile
		}
		if info, err := e.Info(); err == nil {
			hotBytes += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return vaultBytes, hotBytes
}

// operationsOf is a number of operations: few in an ordinary test, with ATM_SOAK two million, and
// as many as ATM_OPERATIONS says.
func operationsOf(t testing.TB) (n int) {
	t.Helper()
	n = 60_000
	if os.Getenv("ATM_SOAK") != "" {
		n = 2_000_000
	}
	if text := os.Getenv("ATM_OPERATIONS"); text != "" {
		if _, err := fmt.Sscan(text, &n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestWindowBoundsTheVaultAndTheLog makes many operations with a window that keeps a tenth of them.
// The vault and the published log stop growing, and the log verifies from its first entry.
func TestWindowBoundsTheVaultAndTheLog(t *testing.T) {
	n := operationsOf(t)
	const parts, pieces, accounts = 20, 10, 1000
	b := newBank(t, time.Duration(n/10)*perOperation)
	b.accounts(t, accounts)
	stop := b.archiving(t)
	begun := time.Now()
	var half, end [2]int64
	for part := range parts {
		for range pieces {
			b.deposit(t, n/parts/pieces, accounts)
			b.await(t, n/parts)
		}
		end[0], end[1] = b.sizes(t)
		if part == parts/2-1 {
			half = end
		}
		base, err := b.store.Base(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%9d operations: vault %4d MB, published log %4d MB, the journal begins at %d; "+
			"%.0f operations a second", (part+1)*n/parts, end[0]>>20, end[1]>>20, base.Index,
			float64((part+1)*n/parts)/time.Since(begun).Seconds())
	}
	stop()
	// The window is a tenth, and what is trimmed at a time another hundredth or two of it.
	if err := b.runner.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	base, err := b.store.Base(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if least := vault.JournalIndex(n) * 3 / 4; base.Index < least {
		t.Errorf("the journal begins at %d of %d entries", base.Index, n)
	}
	for i, what := range []string{"vault", "published log"} {
		if end[i] > half[i]*3/2+(1<<20) {
			t.Errorf("the %s went on growing: %d bytes at half, %d at the end", what, half[i],
				end[i])
		}
	}
	b.stop()
	report, err := audit.Verify(t.Context(), archive.Over(audit.Dir(b.path("audit")), b.archive),
		audit.VerifyOptions{VKey: strings.Join(b.signer.AllKeys(), "\n")})
	if err != nil || !report.OK() || report.Size < int64(n) {
		t.Errorf("the log with its archive: %+v, %v", report, err)
	}
	t.Logf("%d entries verified", report.Size)
}

// TestClockAheadTrimsNoMoreThanAChapter sets the clock ahead by a hundred years, and back again.
// Chapters go on being written when they are due.
func TestClockAheadTrimsNoMoreThanAChapter(t *testing.T) {
	const keep, accounts = 10_000 * perOperation, 10
	b := newBank(t, keep)
	b.accounts(t, accounts)
	round := func() (base vault.JournalIndex, chapters []int64) {
		t.Helper()
		if err := b.log.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.runner.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		at, err := b.store.Base(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if chapters, err = b.archive.Sizes(t.Context()); err != nil {
			t.Fatal(err)
		}
		return at.Index, chapters
	}
	for range 4 {
		b.deposit(t, 1000, accounts)
		round()
	}
	base, chapters := round()
	if base > 0 || len(chapters) != 4 {
		t.Fatalf("the journal begins at %d, with chapters %d", base, chapters)
	}
	b.set.Store(int64(100 * 365 * 24 * time.Hour))
	b.deposit(t, 1000, accounts)
	base, chapters = round()
	if newest := chapters[len(chapters)-2]; len(chapters) != 5 || int64(base) > newest ||
		int64(base) < chapters[len(chapters)-3]-256 {
		t.Errorf("the journal begins at %d, with chapters %d", base, chapters)
	}
	b.set.Store(0)
	for range 3 {
		b.deposit(t, 1000, accounts)
		after, now := round()
		if after != base || len(now) != len(chapters)+1 {
			t.Errorf("with the clock set back, the journal begins at %d, was %d; chapters %d",
				after, base, now)
		}
		chapters = now
	}
	for range 12 {
		b.deposit(t, 1000, accounts)
		round()
	}
	if after, _ := round(); after <= base {
		t.Errorf("the journal still begins at %d", after)
	}
	if kept, err := os.ReadDir(b.path("snapshots")); len(kept) != 2 || err != nil {
		t.Errorf("%d snapshots are kept here, not that of the journal and the one before: %v",
			len(kept), err)
	}
}

// TestChapterHasTheSnapshotOfItsNewestEntry has another server record a snapshot of its own while
// a chapter begins. That chapter is not written, and the next one can be read back.
func TestChapterHasTheSnapshotOfItsNewestEntry(t *testing.T) {
	b := newBank(t, 10_000*perOperation)
	b.accounts(t, 1)
	if err := b.log.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.recorded = func(ctx context.Context) {
		s := events.SnapshotTaken(ctx, b.ledger, events.Snapshot{Size: 1, Bytes: 1})
		if err := b.log.Publish(ctx); err != nil || s.Code != atm.OK {
			t.Errorf("%+v, %v", s, err)
		}
	}
	if err := b.runner.Round(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "another server took a snapshot") {
		t.Errorf("overtaken: %v", err)
	}
	if sizes, err := b.archive.Sizes(t.Context()); err != nil || len(sizes) > 0 {
		t.Errorf("chapters %d, %v", sizes, err)
	}
	b.recorded = nil
	if err := b.runner.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	chapter, err := b.archive.Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log, err := b.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	taken, err := retention.Find(t.Context(), log, chapter.Size)
	if err == nil {
		err = b.archive.ReadBack(t.Context(), chapter, b.signer.AllKeys(), 0, taken.Size, taken.Sum)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestLogIsKeptBehindABaseThatNoServerSet trims a journal as somebody does who has the role of a
// server in a database, and no snapshot in the archive. The published log is then the only copy.
func TestLogIsKeptBehindABaseThatNoServerSet(t *testing.T) {
	b := newBank(t, 10_000*perOperation)
	b.accounts(t, 1)
	round := func() error {
		t.Helper()
		if err := b.log.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b.runner.Round(t.Context())
	}
	b.deposit(t, 300, 1)
	if err := round(); err != nil {
		t.Fatal(err)
	}
	b.deposit(t, 300, 1)
	if err := round(); err != nil {
		t.Fatal(err)
	}
	log, err := b.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const at = 2 * merkle.TileWidth
	edge, err := log.Edge(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.store.Trim(t.Context(), vault.Base{Index: at, State: at, Edge: edge}); err != nil {
		t.Fatal(err)
	}
	if err := round(); err == nil || !strings.Contains(err.Error(), "somebody else trimmed it") {
		t.Errorf("%v", err)
	}
	for _, bundle := range []int64{0, 1} {
		name := merkle.Tile{Level: merkle.EntriesLevel, N: bundle, Width: merkle.TileWidth}
		if _, err := os.Stat(filepath.Join(b.path("audit"), name.Path())); err != nil {
			t.Error(err)
		}
	}
}
