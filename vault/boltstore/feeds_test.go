package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
)

// told claims a cursor of a store, and saves it with so many events that were delivered.
func told(t *testing.T, store vault.FeedStore, id feeds.ID, sent int64) feeds.Cursor {
	t.Helper()
	claimed, err := store.ClaimCursors(t.Context(), "x", time.Hour, []feeds.ID{id})
	if err != nil {
		t.Fatal(err)
	}
	claimed[0].Next, claimed[0].Sent = feeds.Position(sent)+1, sent
	if kept, err := store.SaveCursors(t.Context(), "x", claimed, false); len(kept) != 1 {
		t.Fatalf("kept %v: %v", kept, err)
	}
	return claimed[0]
}

// isTold fails the test unless the cursors of a store are these.
func isTold(t *testing.T, store vault.FeedStore, want ...feeds.Cursor) {
	t.Helper()
	all, err := store.Cursors(t.Context())
	if diff := cmp.Diff(want, all); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// subscribed adds a subscription, and returns its id.
func subscribed(t *testing.T, l *ledger.Ledger, name string) feeds.ID {
	t.Helper()
	s := l.Do(t.Context(), command(atm.FeedAdd, vault.FeedRule{Rule: feeds.Add{
		Owner: "user:demo", Subscription: feeds.Subscription{
			Name: name, URL: "https://shop.example", From: -1,
		},
	}}))
	text, _ := s.Result.(string)
	id, ok := feeds.ParseID(text)
	if !ok {
		t.Fatal(s)
	}
	return id
}

// TestFileOfBeforeTheFeedGainsItsBuckets opens a file that has no bucket for subscriptions and
// cursors. What only reads finds none.
func TestFileOfBeforeTheFeedGainsItsBuckets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	if err := file(path).Open(t).Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(tx *bolt.Tx) error {
		return errors.Join(tx.DeleteBucket([]byte("feeds")), tx.DeleteBucket([]byte("cursors")))
	})
	s, err := boltstore.OpenReadOnly(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	vaulttest.Sound(t, s)
	isTold(t, s)
	if books, err := s.Feeds(t.Context()); err != nil || len(books) > 0 {
		t.Errorf("subscriptions %v: %v", books, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = file(path).Open(t).(*boltstore.Store)
	l := vaulttest.NewLedger(t, ledger.Config{Store: s})
	id := subscribed(t, l, "shop")
	isTold(t, s, told(t, s, id, 5))
	vaulttest.Sound(t, s)
}

// TestCursorsNeedNoLog saves a cursor while everything else is in the write-ahead log and in the
// memtable. A crash then loses neither.
func TestCursorsNeedNoLog(t *testing.T) {
	boltstore.KeepInLog(t)
	path := filepath.Join(t.TempDir(), "vault.db")
	s := file(path).Open(t).(*boltstore.Store)
	l := vaulttest.NewLedger(t, ledger.Config{Store: s})
	id := subscribed(t, l, "shop")
	if s := l.Do(t.Context(), command(atm.AccountOpen, vault.OpenAccount{
		Account: "1", Opening: 700,
	})); s.Code != atm.OK {
		t.Fatal(s)
	}
	cursor := told(t, s, id, 5)
	copied := filepath.Join(t.TempDir(), "vault.db")
	for _, suffix := range []string{"", "-wal"} { // as they are on the disk
		data, err := os.ReadFile(path + suffix)
		if err == nil {
			err = os.WriteFile(copied+suffix, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	again := file(copied).Open(t).(*boltstore.Store)
	vaulttest.Sound(t, again)
	isTold(t, again, cursor)
	a, err := again.Account(t.Context(), "1")
	books, errFeeds := again.Feeds(t.Context())
	if err := errors.Join(err, errFeeds); err != nil || a.Balance != 700 || len(books) != 1 {
		t.Errorf("account %+v, subscriptions %+v: %v", a, books, err)
	}
}

// TestSnapshotHasTheCursors takes a snapshot, as a backup does.
func TestSnapshotHasTheCursors(t *testing.T) {
	s := file(filepath.Join(t.TempDir(), "vault.db")).Open(t).(*boltstore.Store)
	l := vaulttest.NewLedger(t, ledger.Config{Store: s})
	cursor := told(t, s, subscribed(t, l, "shop"), 5)
	path := filepath.Join(t.TempDir(), "snapshot.db")
	if _, err := s.Snapshot(path); err != nil {
		t.Fatal(err)
	}
	told(t, s, cursor.ID, 6) // which is not in it
	backup, err := boltstore.OpenReadOnly(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	defer backup.Close()
	vaulttest.Sound(t, backup)
	isTold(t, backup, cursor)
	if books, err := backup.Feeds(t.Context()); err != nil || len(books) != 1 {
		t.Errorf("subscriptions %v: %v", books, err)
	}
}

// TestSubscriptionsAreReadFromMemtablesAndFile has some of the subscriptions in the file, some in
// the memtable, and one that is newer in the memtable.
func TestSubscriptionsAreReadFromMemtablesAndFile(t *testing.T) {
	boltstore.KeepInLog(t)
	s := file(filepath.Join(t.TempDir(), "vault.db")).Open(t).(*boltstore.Store)
	l := vaulttest.NewLedger(t, ledger.Config{Store: s})
	add := func(owner, name string) {
		t.Helper()
		if s := l.Do(t.Context(), command(atm.FeedAdd, vault.FeedRule{Rule: feeds.Add{
			Owner: owner, Subscription: feeds.Subscription{Name: name, From: -1},
		}})); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
	add("user:b", "one")
	add("user:d", "one")
	if _, err := s.Users(t.Context()); err != nil { // which flushes
		t.Fatal(err)
	}
	add("user:d", "two")
	add("user:a", "one")
	add("user:c", "one")
	books, err := s.Feeds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, b := range books {
		for _, s := range b.Subscriptions {
			have = append(have, b.Owner+" "+s.Name)
		}
	}
	want := []string{"user:a one", "user:b one", "user:c one", "user:d one", "user:d two"}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}

// TestCursorsAreSavedBesideEverything saves cursors while commits are made and flushed, the data
// keys are replaced, and everything is read in snapshots. The last of each is there.
func TestCursorsAreSavedBesideEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	s := file(path).Open(t).(*boltstore.Store)
	l := ledger.New(ledger.Config{Store: s, Signer: vaulttest.NewSigner(t)})
	ids := []feeds.ID{subscribed(t, l, "a"), subscribed(t, l, "b")}
	if s := l.Do(t.Context(), command(atm.AccountOpen,
		vault.OpenAccount{Account: "1"})); s.Code != atm.OK {
		t.Fatal(s)
	}
	const rounds = 200
	var wg sync.WaitGroup
	wg.Go(func() {
		for range rounds {
			if s := l.Do(t.Context(), depositTo(1)); s.Code != atm.OK {
				t.Error(s)
			}
		}
	})
	wg.Go(func() {
		for range 5 {
			err := errors.Join(s.DataKeys().Rotate(secret),
				s.DataKeys().Reseal(func() bool { return false }))
			_, errUsers := s.Users(t.Context()) // which flushes
			if err := errors.Join(err, errUsers); err != nil {
				t.Error(err)
			}
		}
	})
	last := make([]feeds.Cursor, len(ids))
	for i, id := range ids {
		wg.Go(func() {
			for n := range int64(rounds) {
				last[i] = told(t, s, id, n)
			}
		})
	}
	wg.Wait()
	for range 2 {
		isTold(t, s, last...)
		vaulttest.Sound(t, s)
		a, err := s.Account(t.Context(), "1")
		if err != nil || a.Balance != rounds {
			t.Errorf("account %+v: %v", a, err)
		}
		if err := errors.Join(l.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		s = file(path).Open(t).(*boltstore.Store)
		l = ledger.New(ledger.Config{Store: s, Signer: vaulttest.NewSigner(t)})
	}
}

// TestClosedStoreSavesNoCursor saves one after the end, as what delivers may.
func TestClosedStoreSavesNoCursor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	s := file(path).Open(t).(*boltstore.Store)
	cursor := told(t, s, 1, 5)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if kept, err := s.SaveCursors(t.Context(), "x", []feeds.Cursor{cursor}, true); err == nil {
		t.Errorf("kept %v", kept)
	}
	if all, err := s.Cursors(t.Context()); err == nil {
		t.Errorf("read %v", all)
	}
}
