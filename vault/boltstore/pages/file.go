package pages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"example.com/atm/vault"
	"github.com/gofrs/flock"
)

// CheckFile checks the file at path: all of its pages if it has at most wholeUpTo bytes, and
// else the branch pages. It waits for the lock on the file for at most lockWait: a server may
// just be stopping. A file of no bytes is one that is being made.
func CheckFile(path string, wholeUpTo int64, lockWait time.Duration, form Form) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular(): // opening a pipe would block
		return fmt.Errorf("%s: %w", path, errors.New("it is no file"))
	case info.Size() == 0:
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lock, err := lockShared(path, lockWait)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer lock.Unlock()
	if _, err := Check(f, info.Size() <= wholeUpTo, form); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// lockShared makes sure that nobody writes to a file until it is unlocked.
func lockShared(path string, wait time.Duration) (*flock.Flock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	_, err := lock.TryRLockContext(ctx, wait/20)
	if errors.Is(err, context.DeadlineExceeded) {
		err = vault.ErrLocked
	}
	return lock, err
}
