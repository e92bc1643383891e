package subscriptions

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/vaulttest"
	gocmp "github.com/google/go-cmp/cmp"
)

// A claim is for long in tests where it must not end, and over at once in others.
const (
	long  = time.Hour
	brief = time.Millisecond
)

// claim claims cursors of a store, in order of id.
func (b *bank) claim(store vault.FeedStore, holder string, life time.Duration, of ...feeds.ID,
) []feeds.Cursor {
	b.t.Helper()
	claimed, err := store.ClaimCursors(b.t.Context(), holder, life, of)
	if err != nil {
		b.t.Fatal(err)
	}
	slices.SortFunc(claimed, func(x, y feeds.Cursor) int { return cmp.Compare(x.ID, y.ID) })
	return claimed
}

// save saves cursors, and returns the ids of those that were kept, in order.
func (b *bank) save(store vault.FeedStore, holder string, release bool, cursors ...feeds.Cursor,
) []feeds.ID {
	b.t.Helper()
	kept, err := store.SaveCursors(b.t.Context(), holder, cursors, release)
	if err != nil {
		b.t.Fatal(err)
	}
	return slices.Sorted(slices.Values(kept))
}

// cursors returns all cursors as a store has them.
func (b *bank) cursors(store vault.FeedStore) []feeds.Cursor {
	b.t.Helper()
	all, err := store.Cursors(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// full is a cursor in which everything is said.
func full(id feeds.ID) feeds.Cursor {
	at := time.UnixMicro(1_800_000_000_000_001).UTC()
	return feeds.Cursor{
		ID: id, Chain: 3, Next: 1 << 40, Last: 1<<40 - 1, Sent: 77, Test: 4,
		TestError: "410", Delivered: at, Failing: at.Add(time.Second), Tries: 5,
		Error: "502, “später” \\x {1,2}", Again: at.Add(time.Minute),
	}
}

// testCursors saves cursors, some of them again with less.
func testCursors(t *testing.T, b *bank) {
	store := b.stores[0]
	ids := []feeds.ID{300, 5, 40}
	b.claim(store, "x", long, ids...)
	want := []feeds.Cursor{full(5), full(40), full(300)}
	want[1].Next, want[1].Sent = 7, 78
	if kept := b.save(store, "x", false, want...); len(kept) != 3 {
		t.Errorf("kept %v", kept)
	}
	if diff := gocmp.Diff(want, b.cursors(store)); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(want, b.claim(store, "x", long, ids...)); diff != "" {
		t.Error(diff)
	}
	want[0] = feeds.NewCursor(5)
	want[0].Sent = 1
	if kept := b.save(store, "x", false, want[0]); !slices.Equal(kept, []feeds.ID{5}) {
		t.Errorf("kept %v", kept)
	}
	if diff := gocmp.Diff(want, b.cursors(store)); diff != "" {
		t.Error(diff)
	}
	if kept := b.save(store, "x", false); len(kept) > 0 {
		t.Errorf("kept %v of nothing", kept)
	}
	if claimed := b.claim(store, "x", long); len(claimed) > 0 {
		t.Errorf("claimed %v of nothing", claimed)
	}
}

// testNewCursors claims cursors that there are not yet, together with one that there is.
func testNewCursors(t *testing.T, b *bank) {
	store := b.stores[0]
	b.claim(store, "x", long, 7)
	b.save(store, "x", false, full(7))
	want := []feeds.Cursor{{ID: 6, Last: -1}, full(7), {ID: 8, Last: -1}}
	for range 2 {
		if diff := gocmp.Diff(want, b.claim(store, "x", long, 8, 7, 6)); diff != "" {
			t.Error(diff)
		}
	}
	if diff := gocmp.Diff(want, b.cursors(store)); diff != "" {
		t.Error(diff)
	}
}

// testForgotten forgets cursors. What is saved after that does not bring them back, and a
// claim of one begins anew.
func testForgotten(t *testing.T, b *bank) {
	store := b.stores[0]
	b.claim(store, "x", long, 1, 2, 3)
	b.save(store, "x", false, full(1), full(2), full(3))
	if err := store.ForgetCursors(t.Context(), []feeds.ID{3, 1, 99}); err != nil {
		t.Fatal(err)
	}
	if kept := b.save(store, "x", false, full(1), full(2)); !slices.Equal(kept, []feeds.ID{2}) {
		t.Errorf("kept %v", kept)
	}
	if diff := gocmp.Diff([]feeds.Cursor{full(2)}, b.cursors(store)); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff([]feeds.Cursor{feeds.NewCursor(3)},
		b.claim(store, "x", long, 3)); diff != "" {
		t.Error(diff)
	}
	if err := store.ForgetCursors(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// testReopen closes everything, and goes on where it was.
func testReopen(t *testing.T, b *bank) {
	id := b.added("user:a", "shop")
	b.answered(change("user:a", "shop", feeds.Rotate), atm.OK)
	b.answered(change("user:a", "shop", feeds.Stop("gone")), atm.OK)
	b.claim(b.stores[0], "x", long, id, 9)
	b.save(b.stores[0], "x", false, full(id), full(9))
	books, cursors := b.books(), b.cursors(b.stores[0])
	b.close()
	b.join()
	if diff := gocmp.Diff(books, b.books()); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(cursors, b.cursors(b.stores[0])); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff([]feeds.Cursor{full(id)},
		b.claim(b.stores[0], "x", long, id)); diff != "" {
		t.Error(diff)
	}
	b.answered(change("user:a", id.String(), feeds.Resume), atm.OK)
}

// testMove moves a store into another one, and back into a third. What was claimed in the first
// is free in the others.
func testMove(place func(*testing.T) vaulttest.Place) func(*testing.T, *bank) {
	return func(t *testing.T, b *bank) {
		id := b.added("user:a", "shop")
		b.added("user:b", "shop")
		b.answered(change("user:a", "shop", feeds.Rotate), atm.OK)
		b.claim(b.stores[0], "x", long, id)
		b.save(b.stores[0], "x", false, full(id))
		from := b.stores[0]
		for range 2 {
			to, _ := place(t).Open(t).(vault.Backend)
			if err := to.Fill(t.Context(), from.Dump); err != nil {
				t.Fatal(err)
			}
			if diff := vaulttest.Same(t, from, to); diff != "" {
				t.Error(diff)
			}
			vaulttest.Sound(t, to)
			from = to
		}
		if diff := gocmp.Diff([]feeds.Cursor{full(id)}, b.claim(from, "y", long, id)); diff != "" {
			t.Error(diff)
		}
	}
}
