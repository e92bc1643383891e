package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// maxPending bounds the files of a Batch that are written but not synced yet.
const maxPending = 16

// A Batch is WriteFile for many files: it syncs them side by side, so that the
// disk can do it in few steps, and while the next ones are written. A file appears
// under its name when it is whole; after Flush all of them are on stable storage, and
// not in memory any more: the next ones get its pages. The zero value is ready. End it
// with Flush or Abandon.
type Batch struct {
	pending []pending
	syncing chan error // tells how it went with those before them; nil when there are none
}

// pending is a file under a temporary name.
type pending struct{ temporary, path string }

// Add writes one more file. The folder it is in must exist.
func (b *Batch) Add(path string, data []byte, perm fs.FileMode) error {
	temporary, err := writeTemporary(path, data, perm, false)
	if err != nil {
		return err
	}
	b.pending = append(b.pending, pending{temporary, path})
	if len(b.pending) < maxPending {
		return nil
	}
	return b.sync()
}

// sync begins to put the pending files on stable storage, when those before them are.
func (b *Batch) sync() error {
	if err := b.wait(); err != nil {
		return err
	}
	files, done := b.pending, make(chan error, 1)
	b.pending, b.syncing = nil, done
	go func() { done <- place(files) }()
	return nil
}

// wait waits for the files that are on their way.
func (b *Batch) wait() error {
	if b.syncing == nil {
		return nil
	}
	err := <-b.syncing
	b.syncing = nil
	return err
}

// Flush puts the files that were added on stable storage. After an error some
// of them may be there and others not; nothing else is left behind.
func (b *Batch) Flush() error {
	if err := b.sync(); err != nil {
		return errors.Join(err, b.Abandon())
	}
	return b.wait()
}

// Abandon gives up what is not on its way yet, and leaves nothing behind of it. After
// Flush there is nothing to give up.
func (b *Batch) Abandon() error {
	err := errors.Join(b.wait(), removeAll(b.pending))
	b.pending = nil
	return err
}

func removeAll(files []pending) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, os.Remove(f.temporary))
	}
	return errors.Join(errs...)
}

// place syncs files and gives them their names, durably.
func place(files []pending) error {
	if err := sideBySide(files, func(f pending) error {
		return syncFile(f.temporary)
	}); err != nil {
		return errors.Join(err, removeAll(files))
	}
	var folders []string
	seen := make(map[string]bool)
	var errs []error
	for _, f := range files {
		if err := os.Rename(f.temporary, f.path); err != nil {
			errs = append(errs, err, os.Remove(f.temporary))
			continue
		}
		if dir := filepath.Dir(f.path); !seen[dir] {
			seen[dir] = true
			folders = append(folders, dir)
		}
	}
	return errors.Join(append(errs, sideBySide(folders, SyncDir))...)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	forget(f)
	return errors.Join(err, f.Close())
}

// sideBySide does something with each of at most maxPending items at once.
func sideBySide[T any](items []T, do func(T) error) error {
	errs := make([]error, len(items))
	var wg sync.WaitGroup
	for i, item := range items {
		wg.Go(func() { errs[i] = do(item) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
