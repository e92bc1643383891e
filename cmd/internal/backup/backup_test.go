package backup_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"example.com/atm/cmd/internal/backup"
	"example.com/atm/cmd/internal/datadir"
)

// A watched archive looks whether a lock is free when it gets a content.
type watched struct {
	t       *testing.T
	lock    sync.Mutex
	content []byte
	found   bool
}

// Write implements io.Writer.
func (w *watched) Write(b []byte) (int, error) {
	if bytes.Contains(b, w.content) {
		w.found = true
		if !w.lock.TryLock() {
			w.t.Error("keys cannot be rotated while snapshots are sent")
			return len(b), nil
		}
		w.lock.Unlock()
	}
	return len(b), nil
}

// TestKeysMayChangeWhileSnapshotsAreSent writes a backup to somebody who may be slow. Snapshots are
// as large as the accounts, and what they are sealed with does not change.
func TestKeysMayChangeWhileSnapshotsAreSent(t *testing.T) {
	dir := datadir.At(t.TempDir())
	for _, folder := range []string{"ca", "tls", "keys", "clients", "snapshots"} {
		if err := os.Mkdir(dir.Path(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	content := []byte("the accounts, sealed")
	if err := os.WriteFile(filepath.Join(dir.Snapshots(), "1.db"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t, content: content}
	draft := backup.Draft{
		Dir: dir, Lock: &w.lock,
		Snapshot: func(_ context.Context, file string) ([]byte, error) {
			return nil, os.WriteFile(file, []byte("the vault"), 0o600)
		},
	}
	if err := draft.Write(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if !w.found {
		t.Error("the snapshot is not in the backup")
	}
}
