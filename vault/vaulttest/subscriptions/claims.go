package subscriptions

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	gocmp "github.com/google/go-cmp/cmp"
)

// claimTests are about several processes that deliver.
var claimTests = map[string]func(*testing.T, *bank){
	"ClaimIsOfOneHolder":          testExclusive,
	"ReleasedClaimIsFree":         testRelease,
	"ClaimEndsByItself":           testClaimEnds,
	"SaveAfterTheLossKeepsNone":   testLoss,
	"SaveAfterTheEndKeepsNone":    testLateSave,
	"ClaimsAtOnceAreDisjoint":     testClaimsAtOnce,
	"NoHolderSavesOverAnotherOne": testStorm,
}

// testExclusive claims what another holder has.
func testExclusive(t *testing.T, b *bank) {
	one, other := b.stores[0], b.stores[1]
	b.claim(one, "x", long, 1, 2)
	if claimed := b.claim(other, "y", long, 1, 2); len(claimed) > 0 {
		t.Errorf("claimed %v of another holder", claimed)
	}
	if claimed := b.claim(other, "y", long, 1, 2, 3); len(claimed) != 1 || claimed[0].ID != 3 {
		t.Errorf("claimed %v, not 3 alone", claimed)
	}
	if kept := b.save(other, "y", true, full(1), full(3)); !slices.Equal(kept, []feeds.ID{3}) {
		t.Errorf("kept %v", kept)
	}
	if claimed := b.claim(one, "x", long, 1, 2); len(claimed) != 2 {
		t.Errorf("claimed %v of its own", claimed)
	}
	want := []feeds.Cursor{feeds.NewCursor(1), feeds.NewCursor(2), full(3)}
	if diff := gocmp.Diff(want, b.cursors(one)); diff != "" {
		t.Error(diff)
	}
}

// testRelease lets go of some of what was claimed, with the last save.
func testRelease(t *testing.T, b *bank) {
	one, other := b.stores[0], b.stores[1]
	b.claim(one, "x", long, 1, 2)
	if kept := b.save(one, "x", true, full(1)); !slices.Equal(kept, []feeds.ID{1}) {
		t.Errorf("kept %v", kept)
	}
	if kept := b.save(one, "x", false, full(1)); len(kept) > 0 {
		t.Errorf("kept %v after the claim was released", kept)
	}
	claimed := b.claim(other, "y", long, 1, 2)
	if diff := gocmp.Diff([]feeds.Cursor{full(1)}, claimed); diff != "" {
		t.Error(diff)
	}
	if claimed := b.claim(one, "x", long, 1, 2); len(claimed) != 1 || claimed[0].ID != 2 {
		t.Errorf("claimed %v, not 2 alone", claimed)
	}
}

// eventually tries until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// testClaimEnds lets a claim end, which another holder waits for.
func testClaimEnds(t *testing.T, b *bank) {
	one, other := b.stores[0], b.stores[1]
	b.claim(one, "x", brief, 1)
	eventually(t, "the claim does not end", func() bool {
		return len(b.claim(other, "y", long, 1)) == 1
	})
	if claimed := b.claim(one, "x", long, 1); len(claimed) > 0 {
		t.Errorf("claimed %v back", claimed)
	}
}

// testLoss saves what another holder has claimed by then.
func testLoss(t *testing.T, b *bank) {
	one, other := b.stores[0], b.stores[1]
	b.claim(one, "x", brief, 1)
	eventually(t, "the claim does not end", func() bool {
		return len(b.claim(other, "y", long, 1)) == 1
	})
	if kept := b.save(one, "x", false, full(1)); len(kept) > 0 {
		t.Errorf("kept %v", kept)
	}
	if kept := b.save(one, "x", true, full(1)); len(kept) > 0 {
		t.Errorf("kept %v", kept)
	}
	if diff := gocmp.Diff([]feeds.Cursor{feeds.NewCursor(1)}, b.cursors(one)); diff != "" {
		t.Error(diff)
	}
	if kept := b.save(other, "y", false, full(1)); len(kept) != 1 {
		t.Errorf("a save of the other one released the claim: kept %v", kept)
	}
}

// testLateSave saves after the claim is over, and nobody else has made one. Its holder may claim
// it again.
func testLateSave(t *testing.T, b *bank) {
	store, last := b.stores[0], feeds.NewCursor(1)
	b.claim(store, "x", brief, 1)
	eventually(t, "the claim does not end", func() bool {
		next := last
		next.Sent++
		if len(b.save(store, "x", false, next)) == 0 {
			return true
		}
		last = next
		return false
	})
	if diff := gocmp.Diff([]feeds.Cursor{last}, b.claim(store, "x", long, 1)); diff != "" {
		t.Error(diff)
	}
	if kept := b.save(store, "x", false, full(1)); len(kept) != 1 {
		t.Errorf("kept %v", kept)
	}
}

// testClaimsAtOnce claims many cursors by many holders at once, on all stores, each in an order
// of its own. Each is claimed, by one of them.
func testClaimsAtOnce(t *testing.T, b *bank) {
	const holders, cursors = 8, 60
	var mu sync.Mutex
	by := make(map[feeds.ID][]string) // guarded by mu
	var wg sync.WaitGroup
	for i := range holders {
		wg.Go(func() {
			holder, store := fmt.Sprint("holder-", i), b.stores[i%len(b.stores)]
			ids := make([]feeds.ID, cursors)
			for n, at := range rand.Perm(cursors) {
				ids[at] = feeds.ID(n + 1)
			}
			had := make(map[feeds.ID]bool)
			for len(ids) > 0 { // what another one was about to claim is skipped
				some := ids[:min(len(ids), 1+rand.IntN(20))]
				ids = ids[len(some):]
				claimed, err := store.ClaimCursors(t.Context(), holder, long, some)
				if err != nil {
					t.Error(err)
				}
				for _, c := range claimed {
					had[c.ID] = true
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for id := range had {
				by[id] = append(by[id], holder)
			}
		})
	}
	wg.Wait()
	for id := range feeds.ID(cursors) {
		if n := len(by[id+1]); n > 1 {
			t.Errorf("cursor %d is claimed by %v", id+1, by[id+1])
		}
		for range holders { // the last ones may have skipped each other
			if len(by[id+1]) == 0 && len(b.claim(b.stores[0], "late", long, id+1)) == 1 {
				by[id+1] = []string{"late"}
			}
		}
		if len(by[id+1]) == 0 {
			t.Errorf("cursor %d is claimed by nobody", id+1)
		}
	}
}

// testStorm lets holders claim cursors for a moment, add one to how many were sent, and save
// them, while they are in each other's way. Each of them adds to what it claimed, so as many were
// sent in the end as saves were kept: none was saved over that of another holder.
func testStorm(t *testing.T, b *bank) {
	const holders, rounds, cursors = 6, 60, 4
	ids := []feeds.ID{1, 2, 3, 4}
	var kept [cursors + 1]atomic.Int64
	var wg sync.WaitGroup
	for i := range holders {
		wg.Go(func() {
			holder, store := fmt.Sprint("holder-", i), b.stores[i%len(b.stores)]
			for range rounds {
				if err := b.round(store, holder, ids, kept[:]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	total := int64(0)
	for _, c := range b.cursors(b.stores[0]) {
		if n := kept[c.ID].Load(); c.Sent != n {
			t.Errorf("cursor %d: %d were sent, and %d saves were kept", c.ID, c.Sent, n)
		}
		total += c.Sent
	}
	if total == 0 {
		t.Error("no save was kept: the test tests nothing")
	}
}

// round claims cursors, adds one to each that it got, and saves it.
func (b *bank) round(store vault.FeedStore, holder string, ids []feeds.ID, kept []atomic.Int64,
) error {
	life := time.Duration(1+rand.IntN(20)) * time.Millisecond
	claimed, err := store.ClaimCursors(b.t.Context(), holder, life, ids)
	if err != nil {
		return err
	}
	for i := range claimed {
		claimed[i].Sent++
	}
	time.Sleep(time.Duration(rand.IntN(15)) * time.Millisecond)
	saved, err := store.SaveCursors(b.t.Context(), holder, claimed, rand.IntN(2) == 0)
	for _, id := range saved {
		kept[id].Add(1)
	}
	return err
}
