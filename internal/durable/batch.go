package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// maxPending bounds the files of a Batch that are written and not yet synced.
const maxPending = 16

// A Batch is WriteFile for many files. It syncs them concurrently, so that the disk can merge
// the work, while the next ones are written. A file gets its name when it is complete. After
// Flush all files are durable, and their pages have been dropped from memory so that new files
// can use them. The zero value is ready. End a Batch with Flush or Abandon.
type Batch struct {
	pending []pending
	syncing chan error // result of syncing the previous files; nil when there are none
}

// pending is a file that still has a temporary name.
type pending struct{ temporary, path string }

// Add writes a file. Its folder must exist.
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

// sync begins to sync the pending files, after the previous ones.
func (b *Batch) sync() error {
	if err := b.wait(); err != nil {
		return err
	}
	files, done := b.pending, make(chan error, 1)
	b.pending, b.syncing = nil, done
	go func() { done <- place(files) }()
	return nil
}

// wait waits for the files that are being synced.
func (b *Batch) wait() error {
	if b.syncing == nil {
		return nil
	}
	err := <-b.syncing
	b.syncing = nil
	return err
}

// Flush syncs the added files. After an error some of them may exist and others not, and there
// are no temporary files.
func (b *Batch) Flush() error {
	if err := b.sync(); err != nil {
		return errors.Join(err, b.Abandon())
	}
	return b.wait()
}

// Abandon drops the files that are not being synced yet, and leaves no temporary files. After
// Flush it does nothing.
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

// place syncs files and renames them durably.
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

// sideBySide calls do for all items, for at most maxPending at a time.
func sideBySide[T any](items []T, do func(T) error) error {
	errs := make([]error, len(items))
	var wg sync.WaitGroup
	for i, item := range items {
		wg.Go(func() { errs[i] = do(item) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
