// Package guard is bbolt where the disk may fail.
//
// bbolt reads a file through its memory map, so a page that the disk does not give back is a
// fault of the process, and a page that makes no sense is a panic. Here both are errors. A
// mistake of this program stays a panic.
package guard

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
	"time"

	"example.com/atm/internal/durable"
	"example.com/atm/vault"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// ErrUnreadable reports a file that the disk does not give back.
var ErrUnreadable = errors.New("the vault cannot be read from the disk")

// firstPage is where memory that can be mapped begins; below are nil pointers.
const firstPage = 4096

// ErrReplaced reports a file that is not the one any more that was opened: what is committed
// would be in no file that has a name.
var ErrReplaced = errors.New("a file of the vault was removed, replaced or cut short while it " +
	"was open")

// Call calls use, which reads a mapped file. A page that the disk does not give back is
// ErrUnreadable, and one that bbolt panics about is vault.ErrDamaged.
func Call(use func() error) (err error) {
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

// A DB is a bbolt database whose every use is guarded. After a use that failed because of
// the file nobody can use it any more: bbolt may have been interrupted with its locks held,
// and whatever waits for them waits forever. The process must end then.
type DB struct {
	bolt *bolt.DB
	file watched                 // the file itself
	size atomic.Int64            // of the file when it was last looked at; it never becomes smaller
	log  atomic.Pointer[watched] // a file beside it; nil while there is none

	fail   sync.Once
	err    error         // why it cannot be used; set before failed is closed
	failed chan struct{} // closed when it cannot be used any more
}

// A watched file must stay the one that was opened.
type watched struct {
	path string
	info fs.FileInfo
}

// Options say how a file is opened. The zero value is for a server.
type Options struct {
	ReadOnly bool

	// LockWait is how long Open waits for the lock on the file.
	LockWait time.Duration

	// MapBytes is address space, not memory: a map that grows within it never has to wait
	// for readers.
	MapBytes int
}

// Open opens the file at path, or creates it. vault.ErrLocked says that another process has
// it open.
func Open(path string, o Options) (*DB, error) {
	db := &DB{failed: make(chan struct{})}
	var file *os.File
	err := Call(func() (err error) {
		// The list of free pages is in the file, so that opening it reads no other pages. It
		// is written with each flush, and not with each commit.
		db.bolt, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:         o.LockWait,
			FreelistType:    bolt.FreelistMapType,
			InitialMmapSize: o.MapBytes,
			ReadOnly:        o.ReadOnly,
			OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(path, flag, mode)
				if err == nil && file == nil {
					file = f
					db.file.path = path
					if db.file.info, err = f.Stat(); err == nil {
						db.size.Store(db.file.info.Size())
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

// Use calls do, which reads or changes the file.
func (db *DB) Use(do func() error) error {
	if err := db.Err(); err != nil {
		return err
	}
	err := Call(do)
	if interrupted(err) {
		db.end(err)
	}
	return err
}

// Err says why the file cannot be used any more; nil while it can.
func (db *DB) Err() error {
	select {
	case <-db.failed:
		return db.err
	default:
		return nil
	}
}

// end makes every later use of the file fail.
func (db *DB) end(err error) {
	db.fail.Do(func() {
		db.err = err
		close(db.failed)
	})
}

// Begin begins a transaction. What is read in it needs a guard of its own.
func (db *DB) Begin(writable bool) (tx *bolt.Tx, err error) {
	err = db.Use(func() (err error) {
		tx, err = db.bolt.Begin(writable)
		return err
	})
	return tx, err
}

// View calls read in a transaction that only reads.
func (db *DB) View(read func(*bolt.Tx) error) error {
	return db.Use(func() error { return db.bolt.View(read) })
}

// Update calls change in a transaction, and commits it.
func (db *DB) Update(change func(*bolt.Tx) error) error {
	return db.Use(func() error { return db.bolt.Update(change) })
}

// Path returns where the file is.
func (db *DB) Path() string { return db.file.path }

// ReadOnly reports whether the file was opened to be read only.
func (db *DB) ReadOnly() bool { return db.bolt.IsReadOnly() }

// compactAtOnce bounds a transaction of Compact, in bytes.
const compactAtOnce = 16 << 20

// Compact writes what is in the file to another one at path, without the pages that are
// free.
func (db *DB) Compact(path string) error {
	return db.Use(func() error {
		to, err := bolt.Open(path, 0o600, &bolt.Options{
			NoSync: true, NoFreelistSync: true,
			FreelistType: bolt.FreelistMapType,
		})
		if err != nil {
			return err
		}
		return errors.Join(bolt.Compact(to, db.bolt, compactAtOnce), to.Sync(), to.Close())
	})
}

// Close lets go of the file; not of one that failed, because bbolt would wait for locks
// that are never released.
func (db *DB) Close() error {
	if db.Err() != nil {
		return nil
	}
	return Call(db.bolt.Close)
}

// Failed is closed when the file cannot be used any more. The process must end then,
// whatever it waits for.
func (db *DB) Failed() <-chan struct{} { return db.failed }

// Watch makes Look look at a file beside the database too.
func (db *DB) Watch(path string, info fs.FileInfo) { db.log.Store(&watched{path, info}) }

// Unwatch ends what Watch began.
func (db *DB) Unwatch() { db.log.Store(nil) }

// Look makes sure that the files are still those that were opened. If they are not, the
// database cannot be used any more.
func (db *DB) Look() error {
	if err := db.Err(); err != nil {
		return err
	}
	err := db.look()
	if err != nil {
		db.end(err)
	}
	return err
}

func (db *DB) look() error {
	before := db.size.Load()
	size, err := db.file.look()
	if err == nil && size < before {
		err = fmt.Errorf("%s: %w", db.file.path, ErrReplaced)
	}
	if err != nil {
		return err
	}
	db.size.CompareAndSwap(before, size)
	log := db.log.Load()
	if log == nil {
		return nil
	}
	if _, err := log.look(); err != nil && db.log.Load() == log { // it has not ended meanwhile
		return err
	}
	return nil
}

// look returns the size of a file that is still the one that was opened.
func (w *watched) look() (size int64, err error) {
	size, same, err := durable.SameFile(w.path, w.info)
	if err != nil || !same {
		return 0, errors.Join(fmt.Errorf("%s: %w", w.path, ErrReplaced), err)
	}
	return size, nil
}
