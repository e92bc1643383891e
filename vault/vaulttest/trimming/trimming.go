// Package trimming is the part of the suite of every vault.Store that is about a journal which
// does not go back to its beginning.
package trimming

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/check"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/vaulttest"
	gocmp "github.com/google/go-cmp/cmp"
)

// Run runs the suite. place returns a new, empty place each time.
func Run(t *testing.T, place func(t *testing.T) vaulttest.Place) {
	for name, test := range map[string]func(*testing.T, *bank){
		"JournalBeginsAtItsBase":      testBegins,
		"BaseThatDoesNotFitIsRefused": testRefused,
		"TrimmedStoreGoesOn":          testGoesOn,
		"TrimmedAnswerIsNotGivenAnew": testRequest,
		"TrimmedStoreIsMoved":         testMoved(place),
		"SnapshotHasEveryRecord":      testSnapshot(place),
		"TrimmedStoreIsRebuilt":       testRebuilt,
		"InterruptedTrimIsTakenUp":    testInterrupted,
		"OthersGoOnMeanwhile":         testBusy,
	} {
		t.Run(name, func(t *testing.T) {
			b := &bank{t: t, place: place(t)}
			b.open()
			b.signer = vaulttest.Furnish(t, b.store)
			b.ledger = ledger.New(ledger.Config{Store: b.store, Signer: b.signer})
			b.grow(4 * merkle.TileWidth)
			b.note()
			test(t, b)
			b.close()
			vaulttest.Sound(t, b.store)
		})
	}
}

// A bank is a ledger on a store whose journal is long enough to be trimmed.
type bank struct {
	t      *testing.T
	place  vaulttest.Place
	store  vault.Backend
	signer *checkpoint.Signer
	ledger *ledger.Ledger     // nil while it is closed
	log    vault.JournalIndex // where the current audit log begins

	// What there was before the journal was trimmed.
	whole    vault.Part
	versions map[vault.Name][]vault.JournalIndex // the entry that made each version
}

func (b *bank) open() {
	b.t.Helper()
	store, is := b.place.Open(b.t).(vault.Backend)
	if !is {
		b.t.Fatal("the store is no vault.Backend")
	}
	b.store = store
}

// close ends the ledger.
func (b *bank) close() {
	b.t.Helper()
	if b.ledger == nil {
		return
	}
	if err := b.ledger.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.ledger = nil
}

// customers are the accounts that deposits go to; the others stay as they were furnished.
func (b *bank) customers() []vault.Name {
	b.t.Helper()
	accounts, err := b.store.Accounts(b.t.Context(), 0, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	var names []vault.Name
	for i := range accounts {
		if a := &accounts[i]; a.Standing == vault.Open && i%3 != 2 {
			names = append(names, a.Name)
		}
	}
	return names
}

// deposit puts a cent into an account.
func (b *bank) deposit(n vault.Name) {
	b.t.Helper()
	if answer := b.ledger.Do(b.t.Context(), b.depositing(n)); answer.Code != atm.OK {
		b.t.Fatal(answer)
	}
}

func (b *bank) depositing(n vault.Name) vault.Command {
	return vault.Command{
		Event: audit.EventOp, Operation: atm.Deposit,
		Args: []audit.Arg{{Name: "account", Value: string(n)}, {Name: "amount", Value: "0.01"}},
		Caller: &atm.Caller{Principal: atm.Principal{
			Subject: "user:demo", Roles: []atm.Role{atm.Customer},
		}},
		Rule: vault.Deposit{Account: n, Cash: vault.Cash("user:demo"), Amount: 1, Tell: true},
	}
}

// grow makes deposits until the journal has so many entries more.
func (b *bank) grow(entries int) {
	b.t.Helper()
	const workers = 32
	names := b.customers()
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := worker; i < entries; i += workers {
				b.deposit(names[i*i%len(names)])
			}
		})
	}
	all.Wait()
}

// note notes everything that is there.
func (b *bank) note() {
	b.t.Helper()
	var trail *vault.Trail
	b.whole, trail = vaulttest.Contents(b.t, b.store)
	b.log = trail.Logs[len(trail.Logs)-1]
	b.versions = make(map[vault.Name][]vault.JournalIndex)
	for i, leaf := range b.whole.Leaves {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, change := range entry.State {
			name := vault.Name(change.Account)
			b.versions[name] = append(b.versions[name], vault.JournalIndex(i))
		}
	}
}

// at is the index of an entry that a journal can begin with.
func (b *bank) at(tiles int) vault.JournalIndex {
	return b.log + vault.JournalIndex(tiles*merkle.TileWidth)
}

// Snapshot fills an empty store with the records of another one, which has one audit log, and
// with next to nothing of its journal. It returns the base behind which the journal can be
// trimmed then.
func Snapshot(t testing.TB, store, empty vault.Backend) vault.Base {
	t.Helper()
	size, err := vault.JournalSize(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	base := vault.Base{Index: size &^ (merkle.TileWidth - 1), State: size}
	var tree merkle.Builder
	if err := store.Entries(t.Context(), 0, base.Index, func(_ vault.JournalIndex,
		leaf []byte,
	) error {
		return tree.Add(leaf)
	}); err != nil {
		t.Fatal(err)
	}
	base.Edge = tree.Edge
	if err := empty.Fill(t.Context(), func(ctx context.Context, yield func(*vault.Part) error) (
		*vault.Trail, error,
	) {
		return store.DumpFrom(ctx, base, yield)
	}); err != nil {
		t.Fatal(err)
	}
	return base
}

// base is the base at an index, with the records as of some entries more.
func (b *bank) base(index, more vault.JournalIndex) vault.Base {
	b.t.Helper()
	var tree merkle.Builder
	for _, leaf := range b.whole.Leaves[b.log:index] {
		if err := tree.Add(leaf); err != nil {
			b.t.Fatal(err)
		}
	}
	return vault.Base{
		Index: index, State: index + more, Sum: merkle.LeafHash([]byte("a snapshot")),
		Edge: tree.Edge,
	}
}

func (b *bank) trim(base vault.Base) {
	b.t.Helper()
	if err := b.store.Trim(b.t.Context(), base); err != nil {
		b.t.Fatal(err)
	}
}

// begins makes sure that a store has of the journal what there was from an index on, and no more.
func (b *bank) begins(store vault.Backend, begin vault.JournalIndex) {
	t := b.t
	t.Helper()
	base, err := store.Base(t.Context())
	if err != nil || base.Index != begin {
		t.Errorf("the journal begins at entry %d, not %d: %v", base.Index, begin, err)
	}
	size, err := vault.JournalSize(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	err = store.Entries(t.Context(), begin-1, size, func(vault.JournalIndex, []byte) error {
		return errors.New("an entry before the base was yielded")
	})
	if !errors.Is(err, vault.ErrTrimmed) {
		t.Errorf("entry %d: %v", begin-1, err)
	}
	next := begin
	err = store.Entries(t.Context(), begin, size, func(i vault.JournalIndex, leaf []byte) error {
		if i != next {
			return fmt.Errorf("entry %d after %d", i, next-1)
		}
		if next++; int(i) < len(b.whole.Leaves) && !bytes.Equal(leaf, b.whole.Leaves[i]) {
			return fmt.Errorf("entry %d is another one", i)
		}
		return nil
	})
	if err != nil || next != size {
		t.Errorf("%d of %d entries: %v", next, size, err)
	}
	for name := range b.versions {
		b.history(store, name, begin)
	}
	if _, err := check.Scrub(t.Context(), store, 0, 1000, func(problem string) {
		t.Error(problem)
	}); err != nil {
		t.Error(err)
	}
}

// history reads the history of an account from its newest version, and from each older one.
func (b *bank) history(store vault.Backend, name vault.Name, begin vault.JournalIndex) {
	t := b.t
	t.Helper()
	made := b.versions[name]
	for from := len(made); from > 0; from -= 1 + from/3 {
		var want, got []vault.JournalIndex
		for _, index := range slices.Backward(made[:from]) {
			if index >= begin {
				want = append(want, index)
			}
		}
		err := store.History(t.Context(), name, uint64(from), func(v uint64, i vault.JournalIndex,
			leaf []byte,
		) bool {
			if made[v-1] != i || !bytes.Equal(leaf, b.whole.Leaves[i]) {
				t.Errorf("account %s: version %d in entry %d", name, v, i)
			}
			got = append(got, i)
			return true
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("account %s from version %d: entries %v, not %v: %v", name, from, got, want,
				err)
		}
	}
}

// testBegins trims a journal twice, and once more to where it begins.
func testBegins(_ *testing.T, b *bank) {
	for _, begin := range []vault.JournalIndex{b.at(1), b.at(3), b.at(3)} {
		b.trim(b.base(begin, 3))
		b.begins(b.store, begin)
		vaulttest.Sound(b.t, b.store)
	}
	now, trail := vaulttest.Contents(b.t, b.store)
	now.First, now.Leaves = b.whole.First, b.whole.Leaves
	if diff := gocmp.Diff(b.whole, now); diff != "" {
		b.t.Error(diff)
	}
	if diff := gocmp.Diff(b.base(b.at(3), 3), trail.Base); diff != "" {
		b.t.Error(diff)
	}
}

// testRefused asks for bases that do not fit.
func testRefused(t *testing.T, b *bank) {
	b.trim(b.base(b.at(2), 0))
	size := vault.JournalIndex(len(b.whole.Leaves))
	for name, spoil := range map[string]func(*vault.Base){
		"before the one that is there": func(base *vault.Base) { *base = b.base(b.at(1), 0) },
		"within a bundle":              func(base *vault.Base) { *base = b.base(b.at(3)-9, 0) },
		"records before the base":      func(base *vault.Base) { base.State = base.Index - 1 },
		"records after the end":        func(base *vault.Base) { base.State = size + 1 },
		"edge of another size":         func(base *vault.Base) { base.Edge[1] = base.Edge[1][1:] },
		"no edge":                      func(base *vault.Base) { base.Edge = nil },
	} {
		base := b.base(b.at(3), 0)
		spoil(&base)
		if err := b.store.Trim(t.Context(), base); err == nil {
			t.Errorf("%s: it was trimmed", name)
		}
	}
	b.begins(b.store, b.at(2))
}

// testGoesOn changes accounts whose history was trimmed in part and as a whole.
func testGoesOn(t *testing.T, b *bank) {
	b.trim(b.base(b.at(4), 1))
	b.grow(300)
	b.noteMore(b.at(4))
	b.begins(b.store, b.at(4))
	b.close()
	vaulttest.Sound(t, b.store)
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	b.open()
	b.begins(b.store, b.at(4))
	b.ledger = ledger.New(ledger.Config{Store: b.store, Signer: b.signer})
	b.grow(50)
}

// testRequest sends a request id again whose answer was trimmed within the life of the id.
func testRequest(t *testing.T, b *bank) {
	requests, err := requestid.NewHasher([]byte("the secret of a test"))
	if err != nil {
		t.Fatal(err)
	}
	name := b.customers()[0]
	cmd := b.depositing(name)
	cmd.Request = requests.Hash(cmd.Caller, "once")
	first := b.ledger.Do(t.Context(), cmd)
	if again := b.ledger.Do(t.Context(), cmd); first.Code != atm.OK || again != first {
		t.Fatalf("%+v, then %+v", first, again)
	}
	b.grow(2 * merkle.TileWidth)
	b.note()
	size, err := vault.JournalSize(t.Context(), b.store)
	if err != nil {
		t.Fatal(err)
	}
	b.trim(b.base(b.log+(size-b.log)/merkle.TileWidth*merkle.TileWidth, 0))
	before, err := b.store.Account(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		late := b.ledger.Do(t.Context(), cmd)
		index, _, _ := strings.Cut(first.Receipt, " ")
		if late.Code != atm.IdempotencyKeyExpired ||
			!strings.Contains(late.Reason, "by entry "+index+",") || late.Receipt == "" {
			t.Errorf("%+v", late)
		}
	}
	if after, err := b.store.Account(t.Context(), name); err != nil ||
		after.Balance != before.Balance {
		t.Errorf("%d became %d, %v", before.Balance, after.Balance, err)
	}
}

// noteMore notes what has come since the journal was trimmed at an index.
func (b *bank) noteMore(begin vault.JournalIndex) {
	b.t.Helper()
	before, versions := b.whole.Leaves[:begin], b.versions
	now, _ := vaulttest.Contents(b.t, b.store)
	had := vault.JournalIndex(len(b.whole.Leaves))
	now.First, now.Leaves = 0, slices.Concat(before, now.Leaves)
	b.whole = now
	for i, leaf := range now.Leaves[had:] {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, change := range entry.State {
			name := vault.Name(change.Account)
			versions[name] = append(versions[name], had+vault.JournalIndex(i))
		}
	}
}

// testMoved fills an empty store with a trimmed one, and goes on there.
func testMoved(place func(*testing.T) vaulttest.Place) func(*testing.T, *bank) {
	return func(t *testing.T, b *bank) {
		b.trim(b.base(b.at(2), 9))
		b.close()
		other := &bank{t: t, place: place(t), log: b.log, whole: b.whole, versions: b.versions}
		other.open()
		if err := other.store.Fill(t.Context(), b.store.Dump); err != nil {
			t.Fatal(err)
		}
		if diff := vaulttest.Same(t, b.store, other.store); diff != "" {
			t.Error(diff)
		}
		vaulttest.Sound(t, other.store)
		other.begins(other.store, b.at(2))
		other.ledger = ledger.New(ledger.Config{Store: other.store, Signer: b.signer})
		other.grow(200)
		other.noteMore(b.at(2))
		other.begins(other.store, b.at(2))
		other.trim(other.base(b.at(4), 2))
		other.begins(other.store, b.at(4))
		other.close()
		vaulttest.Sound(t, other.store)
	}
}

// testSnapshot fills a store with the records of another one, and next to nothing of its journal.
func testSnapshot(place func(*testing.T) vaulttest.Place) func(*testing.T, *bank) {
	return func(t *testing.T, b *bank) {
		size := vault.JournalIndex(len(b.whole.Leaves))
		begin := size - (size-b.log)%merkle.TileWidth
		other := &bank{t: t, place: place(t), log: b.log, whole: b.whole, versions: b.versions}
		other.open()
		base := b.base(begin, size-begin)
		if err := other.store.Fill(t.Context(), func(ctx context.Context,
			yield func(*vault.Part) error,
		) (*vault.Trail, error) {
			return b.store.DumpFrom(ctx, base, yield)
		}); err != nil {
			t.Fatal(err)
		}
		vaulttest.Sound(t, other.store)
		other.begins(other.store, begin)
		now, trail := vaulttest.Contents(t, other.store)
		now.First, now.Leaves = b.whole.First, b.whole.Leaves
		if diff := gocmp.Diff(b.whole, now) + gocmp.Diff(base, trail.Base); diff != "" {
			t.Error(diff)
		}
	}
}

// testRebuilt puts the records in the place of themselves, which makes the histories anew.
func testRebuilt(t *testing.T, b *bank) {
	b.trim(b.base(b.at(2), 0))
	b.close()
	derived, err := b.store.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.store.Rebuild(t.Context(), func(vault.Store) (*vault.Records, error) {
		return derived, nil
	}); err != nil {
		t.Fatal(err)
	}
	b.begins(b.store, b.at(2))
}

// testInterrupted breaks a trim off, and trims again after the store was opened again.
func testInterrupted(t *testing.T, b *bank) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.store.Trim(ctx, b.base(b.at(3), 0)); err == nil {
		t.Log("the store is trimmed in one step")
	}
	b.close()
	vaulttest.Sound(t, b.store)
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	b.open()
	vaulttest.Sound(t, b.store)
	b.trim(b.base(b.at(3), 0))
	b.begins(b.store, b.at(3))
}

// testBusy trims step by step while others commit and read.
func testBusy(t *testing.T, b *bank) {
	done, names := make(chan struct{}), b.customers()
	var all sync.WaitGroup
	for worker := range 3 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				name := names[i%len(names)]
				err := errors.Join(
					b.store.History(t.Context(), name, 1<<60, func(uint64, vault.JournalIndex,
						[]byte,
					) bool {
						return true
					}),
					b.store.Entries(t.Context(), vault.JournalIndex(worker*300),
						vault.JournalIndex(worker*300+300), func(i vault.JournalIndex,
							leaf []byte,
						) error {
							if !bytes.Equal(leaf, b.whole.Leaves[i]) {
								return fmt.Errorf("entry %d is another one", i)
							}
							return nil
						}))
				if err != nil && !errors.Is(err, vault.ErrTrimmed) {
					t.Errorf("account %s: %v", name, err)
				}
				b.deposit(name)
			}
		})
	}
	for _, begin := range []vault.JournalIndex{b.at(1), b.at(2), b.at(3), b.at(4)} {
		b.trim(b.base(begin, 0))
	}
	close(done)
	all.Wait()
}
