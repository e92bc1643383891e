package boltstore

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

var secret = bytes.Repeat([]byte("s"), 32)

// begins is a store that tells of each commit before it is durable.
type begins struct {
	*Store
	begun func(durable func() error) func() error
}

func (b begins) Commit(ctx context.Context, keys vault.Keys,
	decide func(*vault.Books) error,
) (func() error, error) {
	durable, err := b.Store.Commit(ctx, keys, decide)
	if err != nil {
		return nil, err
	}
	return b.begun(durable), nil
}

func deposit(account vault.Name) vault.Command {
	return vault.Command{
		Event: audit.EventOp, Operation: atm.Deposit,
		Caller: &atm.Caller{Principal: atm.Principal{Subject: "user:teller"}},
		Rule:   vault.Deposit{Account: account, Cash: "cash:user:teller", Amount: 1},
	}
}

func open(account vault.Name) vault.Command {
	c := deposit(account)
	c.Operation, c.Rule = atm.AccountOpen, vault.OpenAccount{Account: account}
	return c
}

// TestWhatSignedReturnsIsDurable looks at what readers may publish while a commit is on its
// way to the disk, and after the disk has failed: nothing that is not there.
func TestWhatSignedReturnsIsDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	store, err := Create(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		_, head, err := store.Signed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return head.Size
	}
	var before, after []int64
	l := ledger.New(ledger.Config{
		Signer: vaulttest.NewSigner(t),
		Store: begins{store, func(durable func() error) func() error {
			before = append(before, size())
			return func() error {
				err := durable()
				after = append(after, size())
				return err
			}
		}},
	})
	for i, cmd := range []vault.Command{open("1"), deposit("1")} {
		if s := l.Do(t.Context(), cmd); s.Code != atm.OK {
			t.Fatal(s)
		}
		if before[i] != int64(i) || after[i] != int64(i+1) {
			t.Errorf("commit %d: readers saw %d entries before it was durable and %d after", i,
				before[i], after[i])
		}
	}
	store.engine.log.Close() // the disk fails
	if s := l.Do(t.Context(), deposit("1")); s.Code != atm.OutcomeUnknown {
		t.Errorf("a commit without a disk was answered %v", s)
	}
	if size() != 2 || l.Err() == nil {
		t.Errorf("after it readers see %d entries, and the ledger says %v", size(), l.Err())
	}
	l.Close()
	if store.Close() == nil {
		t.Error("the failed log was not reported when the store was closed")
	}
	again, err := Open(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if a, err := again.Account(t.Context(), "1"); err != nil || a.Balance != 1 {
		t.Errorf("the next start finds %s, %v; want what was answered", a.Balance, err)
	}
}

// TestGrowingFileBlocksNoCommit commits while many read and the memory map of the file grows many
// times, which waits for readers: everybody gets to the end.
func TestGrowingFileBlocksNoCommit(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	usual := initialMap
	initialMap = 64 << 10
	defer func() { initialMap = usual }()
	store, err := Create(filepath.Join(t.TempDir(), "vault.db"), secret)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	l := ledger.New(ledger.Config{Store: store, Signer: vaulttest.NewSigner(t)})
	if s := l.Do(t.Context(), open("1")); s.Code != atm.OK {
		t.Fatal(s)
	}
	ctx, stop := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				size, _ := vault.JournalSize(ctx, store)
				err := store.Entries(ctx, max(0, size-2000), size,
					func(vault.JournalIndex, []byte) error {
						return nil
					})
				_, accountErr := store.Account(ctx, "1")
				if err := errors.Join(err, accountErr); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 32 {
		writers.Go(func() {
			for range 250 {
				if s := l.Do(t.Context(), deposit("1")); s.Code != atm.OK {
					t.Error(s)
					return
				}
			}
		})
	}
	writers.Wait()
	stop()
	readers.Wait()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestGroupsAreDecidedAheadOfTheDisk holds the disk up behind a command that is alone, and looks at
// how many
// groups are decided meanwhile: some, when they are full, and one, when more commands
// could join it.
func TestGroupsAreDecidedAheadOfTheDisk(t *testing.T) {
	for _, tt := range []struct {
		name        string
		first, then int // commands
		begun       int // groups, before the one that was alone is durable
		groups      []int
	}{
		{"full groups", 1024, 256, 5, []int{1, 256, 256, 256, 256, 256}},
		{"small groups", 3, 12, 2, []int{1, 3, 12}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := Create(filepath.Join(t.TempDir(), "vault.db"), secret)
				if err != nil {
					t.Fatal(err)
				}
				// closed when it may be, and when the disk does
				begun, decided, works := 0, make(chan struct{}), make(chan struct{})
				var groups []int
				l := ledger.New(ledger.Config{
					Signer:    vaulttest.NewSigner(t),
					Admit:     func() error { <-decided; return nil },
					Committed: func(c ledger.Commit) { groups = append(groups, c.Operations) },
					Store: begins{store, func(durable func() error) func() error {
						begun++
						return func() error { <-works; return durable() }
					}},
				})
				var replies []ledger.Reply
				begin := func(commands int) {
					for range commands {
						replies = append(replies, l.Begin(t.Context(), deposit("1")))
					}
					synctest.Wait()
				}
				begin(1)
				begin(tt.first)
				close(decided)
				synctest.Wait()
				begin(tt.then)
				if begun != tt.begun {
					t.Errorf("%d groups were decided, want %d", begun, tt.begun)
				}
				close(works)
				for _, reply := range replies {
					if s := reply(); s.Code != atm.AccountNotFound {
						t.Error(s)
					}
				}
				if err := errors.Join(l.Close(), store.Close()); err != nil {
					t.Error(err)
				}
				if !slices.Equal(groups, tt.groups) {
					t.Errorf("groups of %d, want %d", groups, tt.groups)
				}
			})
		})
	}
}

// TestSingleCallerNeverWaits has a clock that moves while everything waits, and at no other
// time. A single caller never waits for a group to fill. The first that comes back of a
// group waits for the others, not for ever, and only once when they stay away.
func TestSingleCallerNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := Create(filepath.Join(t.TempDir(), "vault.db"), secret)
		if err != nil {
			t.Fatal(err)
		}
		var groups []int
		full := make(chan struct{}) // closed when the first group need not wait any more
		l := ledger.New(ledger.Config{
			Store: store, Signer: vaulttest.NewSigner(t),
			Admit:     func() error { <-full; return nil },
			Committed: func(c ledger.Commit) { groups = append(groups, c.Operations) },
		})
		begin := func(commands ...vault.Command) (wait func()) {
			var replies []ledger.Reply
			for _, cmd := range commands {
				replies = append(replies, l.Begin(t.Context(), cmd))
			}
			return func() {
				for _, reply := range replies {
					if s := reply(); s.Code != atm.OK {
						t.Error(s)
					}
				}
			}
		}
		first := begin(open("1"))
		synctest.Wait()
		eight := slices.Repeat([]vault.Command{deposit("1")}, 8)
		second := begin(eight...)
		close(full)
		first()
		second()
		begun := time.Now()
		begin(eight...)()
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("a group that was whole waited for %s", waited)
		}
		begin(eight[0])()
		if waited := time.Since(begun); waited == 0 || waited > time.Millisecond {
			t.Errorf("the one that came back of eight waited for %s", waited)
		}
		begun = time.Now()
		begin(eight[0])()
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("the one that was alone waited for %s", waited)
		}
		if want := []int{1, 8, 8, 1, 1}; !slices.Equal(groups, want) {
			t.Errorf("groups of %d, want %d", groups, want)
		}
		if err := errors.Join(l.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
}
