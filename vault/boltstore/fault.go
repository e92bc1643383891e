package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"example.com/atm/vault"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// ErrUnreadable reports a file that the disk does not give back.
var ErrUnreadable = errors.New("the vault cannot be read from the disk")

// firstPage is where memory that can be mapped begins; below are nil pointers.
const firstPage = 4096

// guarded calls use, which reads the file through its memory map. A page that the
// disk does not give back is an error then, and so is one that bbolt panics about. A
// mistake of this program stays a panic.
func guarded(use func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		if fault, is := cause.(interface{ Addr() uintptr }); is && fault.Addr() >= firstPage {
			err = &interruptedError{fmt.Errorf("%w: fault at %#x", ErrUnreadable, fault.Addr())}
			return
		}
		if !ofBolt() {
			panic(cause)
		}
		err = &interruptedError{fmt.Errorf("%w: bbolt: %v", vault.ErrDamaged, cause)}
	}()
	return use()
}

// An interruptedError is why bbolt was interrupted, perhaps with its locks held.
type interruptedError struct{ error }

func (i *interruptedError) Unwrap() error { return i.error }

func interrupted(err error) bool {
	var i *interruptedError
	return errors.As(err, &i)
}

// ofBolt reports whether the function that panicked is one of bbolt. It is called by the
// deferred function that recovers.
func ofBolt() bool {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	panicked := false
	for {
		frame, more := frames.Next()
		switch {
		case frame.Function == "runtime.gopanic":
			panicked = true
		case panicked && !strings.HasPrefix(frame.Function, "runtime."):
			return strings.HasPrefix(frame.Function, "go.etcd.io/bbolt")
		}
		if !more {
			return false
		}
	}
}

// A guardedDB is a bbolt database whose every use is guarded. After a use that failed
// because of the file there is none any more: bbolt may have been interrupted with its
// locks held, and what waits for them waits for good. The process must end then.
type guardedDB struct {
	bolt *bolt.DB
	file fs.FileInfo  // which it is
	size atomic.Int64 // of the file when it was looked at last; it never becomes smaller

	fail   sync.Once
	err    error         // why it cannot be used; set before failed is closed
	failed chan struct{} // closed when it cannot be used any more
}

// openFlags say how a file is opened.
type openFlags struct {
	deep     bool // all of its pages are checked before
	readOnly bool
}

// openDB checks the pages of a file and opens it.
func openDB(path string, flags openFlags) (*guardedDB, error) {
	if err := checkFile(path, flags.deep); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	db := &guardedDB{failed: make(chan struct{})}
	var file *os.File
	err := guarded(func() (err error) {
		// The list of free pages is in the file, so that opening it reads no other pages. It
		// is written with each flush, and not with each commit.
		db.bolt, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:         lockWait,
			FreelistType:    bolt.FreelistMapType,
			InitialMmapSize: initialMap,
			ReadOnly:        flags.readOnly,
			OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(path, flag, mode)
				if err == nil && file == nil {
					file = f
					if db.file, err = f.Stat(); err == nil {
						db.size.Store(db.file.Size())
					}
				}
				return f, err
			},
		})
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%s: %w", path, vault.ErrLocked)
	case interrupted(err):
		file.Close() // and so its lock
		return nil, fmt.Errorf("%s: %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("vault: %w", err)
	}
	return db, nil
}

// use calls do, which reads or changes the file.
func (db *guardedDB) use(do func() error) error {
	if err := db.state(); err != nil {
		return err
	}
	err := guarded(do)
	if interrupted(err) {
		db.end(err)
	}
	return err
}

// state says why the file cannot be used any more; nil while it can.
func (db *guardedDB) state() error {
	select {
	case <-db.failed:
		return db.err
	default:
		return nil
	}
}

// end lets nobody use the file any more.
func (db *guardedDB) end(err error) {
	db.fail.Do(func() {
		db.err = err
		close(db.failed)
	})
}

// Begin begins a transaction. What is read in it needs a guard of its own.
func (db *guardedDB) Begin(writable bool) (tx *bolt.Tx, err error) {
	err = db.use(func() (err error) {
		tx, err = db.bolt.Begin(writable)
		return err
	})
	return tx, err
}

// View calls read in a transaction that only reads.
func (db *guardedDB) View(read func(*bolt.Tx) error) error {
	return db.use(func() error { return db.bolt.View(read) })
}

// Update calls change in a transaction, and commits it.
func (db *guardedDB) Update(change func(*bolt.Tx) error) error {
	return db.use(func() error { return db.bolt.Update(change) })
}

// Path returns where the file is.
func (db *guardedDB) Path() string { return db.bolt.Path() }

// Close lets go of the file; not of one that failed, because bbolt would wait for locks
// that nobody lets go of.
func (db *guardedDB) Close() error {
	if db.state() != nil {
		return nil
	}
	return guarded(db.bolt.Close)
}

// Lost is closed when the file cannot be read any more, or was replaced. The process
// must end then, whatever it waits for.
func (s *Store) Lost() <-chan struct{} { return s.db.failed }

// LostBecause says why Lost is closed; nil while it is not.
func (s *Store) LostBecause() error { return s.db.state() }

// ErrReplaced reports a file of a store that is not the one any more that was opened:
// what is committed would be in no file that has a name.
var ErrReplaced = errors.New("a file of the vault was removed, replaced or cut short while it " +
	"was open")

// Look looks whether the vault and its write-ahead log are still the files that are
// open. If they are not, nothing is committed any more.
func (s *Store) Look() error {
	if err := s.db.state(); err != nil {
		return err
	}
	err := s.look()
	if err != nil {
		s.db.end(err)
	}
	return err
}

func (s *Store) look() error {
	now, err := os.Stat(s.path)
	size := s.db.size.Load()
	if err != nil || !os.SameFile(now, s.db.file) || now.Size() < size {
		return errors.Join(fmt.Errorf("%s: %w", s.path, ErrReplaced), err)
	}
	s.db.size.CompareAndSwap(size, now.Size())
	log := s.logFile.Load()
	if log == nil {
		return nil
	}
	now, err = os.Stat(logPath(s.path))
	if err == nil && os.SameFile(now, *log) {
		return nil
	}
	if s.logFile.Load() != log { // it has ended meanwhile
		return nil
	}
	return errors.Join(fmt.Errorf("%s: %w", logPath(s.path), ErrReplaced), err)
}
