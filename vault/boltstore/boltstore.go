// Package boltstore keeps the books of one machine in a bbolt file.
//
// A commit is one record, appended to a write-ahead log of two 32 MiB segments beside
// the file, and one fdatasync, which commits that come together share. Its changes go to
// a memtable. When the memtable is due (at 2 MiB where entries share accounts, at up to
// 64 MiB where they do not, or after one to four seconds), log and memtable rotate: new
// commits go to the other segment and to a new memtable, while the old memtable is flushed
// to bbolt, together with the LSN of its newest record. Then its segment is free. A reader
// looks in the active memtable, then in the one that is being flushed, then in bbolt. Open
// replays the records above the LSN that bbolt has. Each record says up to which LSN
// everything was durable when it was written: a gap below that is damage, and a gap above
// is where a power cut tore records that were not answered yet. What needs a snapshot of
// everything flushes first. Close flushes, and removes the log: at rest the file is all
// there is.
//
// One process has the file open at a time. The file is never created in place of
// one that should exist: Create makes it, Open only opens it.
package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/cursors"
	"example.com/atm/vault/boltstore/days"
	"example.com/atm/vault/boltstore/guard"
	"example.com/atm/vault/boltstore/keyring"
	"example.com/atm/vault/boltstore/memtable"
	"example.com/atm/vault/boltstore/pages"
	bolt "go.etcd.io/bbolt"
)

// The buckets. Keys of accounts are ordered by number; keys of the journal
// are indexes, so it only grows at its end; keys of requests begin with the
// day, so the old ones stand together.
var (
	bucketMeta     = []byte("meta")     // schema, head, checkpoint
	bucketAccounts = []byte("accounts") // codec.AccountKey → account
	bucketJournal  = []byte("journal")  // index of the first → entries: links, leaf
	bucketHolds    = []byte("holds")    // HoldID → hold
	bucketRequests = []byte("requests") // day, requestid.Key → index
	bucketUsers    = []byte("users")    // subject → user
	bucketRevoked  = []byte("revoked")  // name → when
	bucketGrants   = []byte("grants")   // id → grant
	bucketIssued   = []byte("issued")   // serial number → certificate
	bucketPasskeys = []byte("passkeys") // id → passkey
	bucketSessions = []byte("sessions") // id → session

	bucketMandates  = []byte("mandates")  // MandateID → mandate
	bucketOrders    = []byte("orders")    // OrderID → standing order
	bucketReversals = []byte("reversals") // index of the entry → what was given back of it
	bucketFeeds     = []byte("feeds")     // subject → its subscriptions
)

var (
	keySchema     = []byte("schema")
	keyHead       = []byte("head")
	keyCheckpoint = []byte("checkpoint")
	keyLogs       = []byte("logs") // where audit logs began; absent while there is one
)

// schema is the version of the layout of the file.
const schema = 5

// initialMap is address space, not memory: growing the map within it never has to
// wait for readers. Tests make it smaller.
var initialMap = 1 << 30

// lockWait is how long Open waits for the lock on a file: a server that is just stopping
// lets go of it within that time.
const lockWait = time.Second

// A Store is a vault.Store in a bbolt file. Its reader has the methods that only read, and its
// table of cursors those about cursors.
type Store struct {
	reader
	*cursors.Table
	keys DataKeys
	last last // guarded by engine.writing
}

// last is what the next commit needs of those before. They may not be durable yet.
type last struct {
	signed *signed
	days   []days.Day // that there are request ids of, the newest first
}

// signed is what a commit signed, and where audit logs began.
type signed struct {
	checkpoint []byte
	head       merkle.Head
	logs       []vault.JournalIndex
}

// ErrMissing reports a file that should exist.
var ErrMissing = errors.New("the vault is missing")

// Create makes the file at path unless it exists, and opens it. An existing
// file without a schema is one whose creation was interrupted; it is
// completed. Its values are sealed under secret.
func Create(path string, secret []byte) (*Store, error) {
	db, err := openDB(path, openFlags{})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		if err := makeBuckets(tx, append([][]byte{keyring.Bucket}, buckets...)); err != nil {
			return err
		}
		meta := tx.Bucket(bucketMeta)
		if meta.Get(keySchema) != nil {
			return nil
		}
		first, err := keyring.New(sealedNames())
		if err != nil {
			return err
		}
		if err := first.Wrap(tx.Bucket(keyring.Bucket), secret); err != nil {
			return err
		}
		return meta.Put(keySchema, layout)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create %s: %w", path, err), db.Close())
	}
	return checked(db, path, secret, openFlags{}, false)
}

// Open opens the file at path, which must exist and be sealed under secret.
//
// It checks all pages of a small file, and the branch pages of a large one: a server is
// there at once.
func Open(path string, secret []byte) (*Store, error) {
	return openFile(path, secret, openFlags{}, false)
}

// OpenChecked is Open for programs that do not serve: it checks all pages.
func OpenChecked(path string, secret []byte) (*Store, error) {
	return openFile(path, secret, openFlags{deep: true}, false)
}

// OpenReadOnly is OpenChecked for a file that must not be written to. It must need no
// write-ahead log.
func OpenReadOnly(path string, secret []byte) (*Store, error) {
	return openFile(path, secret, openFlags{deep: true, readOnly: true}, false)
}

// OpenOlder is Open for a file whose write-ahead log is missing, damaged or that of
// another time. The store has what is in the file, and what the log has before its first
// gap. What was committed after that is given up. The log is kept under another name.
func OpenOlder(path string, secret []byte) (*Store, error) {
	return openFile(path, secret, openFlags{deep: true}, true)
}

// openFlags say how a file is opened.
type openFlags struct {
	deep     bool // all of its pages are checked before
	readOnly bool
}

// openDB checks the pages of a file and opens it.
func openDB(path string, flags openFlags) (*guard.DB, error) {
	wholeUpTo := int64(wholeAtStart)
	if flags.deep {
		wholeUpTo = math.MaxInt64
	}
	err := pages.CheckFile(path, wholeUpTo, lockWait, form{})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return guard.Open(path, guard.Options{
		ReadOnly: flags.readOnly, LockWait: lockWait, MapBytes: initialMap,
	})
}

func openFile(path string, secret []byte, flags openFlags, mayBeOlder bool) (*Store, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrMissing)
	}
	db, err := openDB(path, flags)
	if err != nil {
		return nil, err
	}
	return checked(db, path, secret, flags, mayBeOlder)
}

// layout is how the file says what its schema is.
var layout = binary.BigEndian.AppendUint32(nil, schema)

// checked refuses a file of another layout, or of another secret.
func checked(db *guard.DB, path string, secret []byte, flags openFlags, mayBeOlder bool) (*Store,
	error,
) {
	e := newEngine(db)
	s := &Store{reader: reader{engine: e}, keys: DataKeys{engine: e}}
	s.Table = cursors.New(db, e.ring.Load)
	var missing [][]byte
	err := db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return errors.New("it is no vault")
		}
		if v := meta.Get(keySchema); !bytes.Equal(v, layout) {
			return fmt.Errorf("it has layout %x; this program knows layout %d", v, schema)
		}
		var err error
		if missing, err = missingBuckets(tx); err != nil {
			return err
		}
		keys, err := keyring.Unwrap(tx.Bucket(keyring.Bucket), secret, sealedNames())
		e.ring.Store(keys)
		if err != nil {
			return err
		}
		return view{engine: e, file: tx}.checkMeta()
	})
	if err == nil && len(missing) > 0 && !flags.readOnly {
		err = db.Update(func(tx *bolt.Tx) error { return makeBuckets(tx, missing) })
	}
	if err == nil {
		err = e.recover(mayBeOlder, flags.readOnly)
	}
	if err == nil {
		err = s.refresh()
	}
	if err == nil && !flags.deep {
		err = s.checkNewest()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return s, nil
}

// refresh reads from the vault what is kept in memory of it.
func (s *Store) refresh() error {
	s.engine.opened.Forget()
	return s.engine.db.View(func(tx *bolt.Tx) error {
		v := view{engine: s.engine, file: tx}
		checkpoint, head, err := v.readHead()
		if err != nil {
			return err
		}
		logs, err := v.readLogs()
		if err != nil {
			return err
		}
		base, err := v.readBase()
		if err != nil {
			return err
		}
		s.engine.base.Store(&base)
		s.last.signed = &signed{checkpoint, head, logs}
		s.signed.Store(s.last.signed)
		s.last.days = days.Kept(tx.Bucket(bucketRequests))
		return nil
	})
}

// Close flushes everything, removes the log and lets go of the file. After a commit that
// failed, it leaves both to the next Open.
func (s *Store) Close() error { return s.engine.close() }

// Commit implements vault.Store.
func (s *Store) Commit(_ context.Context, keys vault.Keys,
	decide func(*vault.Books) error,
) (durable func() error, err error) {
	e := s.engine
	e.writing.Lock()
	defer e.writing.Unlock()
	if err := e.usable(); err != nil {
		return nil, err
	}
	var b *memtable.Batch
	var books *vault.Books
	err = e.db.Use(func() (err error) {
		b, books, err = s.prepare(keys, decide)
		return err
	})
	if err != nil {
		return nil, err
	}
	if b == nil {
		return func() error { return nil }, nil
	}
	ticket, err := e.commit(b, books.Now)
	if err != nil {
		return nil, err
	}
	c := books.Changes()
	now := &signed{c.Checkpoint, c.Head, s.last.signed.logs}
	s.last = last{now, days.Note(s.last.days, books.Now, c.Requests)}
	return func() error {
		err := ticket.Wait()
		if err == nil {
			s.advance(now)
		}
		return err
	}, nil
}

// advance lets readers see what is durable. Waiters may wake out of order, so only ever
// move forward.
func (s *Store) advance(now *signed) {
	for {
		before := s.signed.Load()
		older := len(before.logs) != len(now.logs) || before.head.Size >= now.head.Size
		if older || s.signed.CompareAndSwap(before, now) {
			return
		}
	}
}

// prepare makes the batch of a commit; nil when decide changed nothing.
func (s *Store) prepare(keys vault.Keys, decide func(*vault.Books) error) (*memtable.Batch,
	*vault.Books,
	error,
) {
	v, end, err := s.engine.view()
	if err != nil {
		return nil, nil, err
	}
	defer end() // a flush may wait for it
	books, spines := v.load(keys, s.last.signed, s.last.days)
	if err := decide(books); err != nil {
		return nil, nil, err
	}
	c := books.Changes()
	if c == nil {
		return nil, nil, nil
	}
	v.batch = memtable.NewBatch(c)
	if err := v.write(books.Now, c, spines); err != nil {
		return nil, nil, err
	}
	v.batch.SealRest(s.engine.ring.Load())
	return v.batch, books, nil
}

// BeginLog implements vault.Backend.
func (s *Store) BeginLog(context.Context) error {
	return s.exclusive(func(v view) error {
		logs, err := v.readLogs()
		if err != nil {
			return err
		}
		_, head, err := v.readHead()
		if err != nil {
			return err
		}
		if err := v.writeLogs(append(logs, vault.JournalEnd(logs, head))); err != nil {
			return err
		}
		meta := v.file.Bucket(bucketMeta)
		return errors.Join(meta.Delete(keyHead), meta.Delete(keyCheckpoint))
	})
}

// exclusive lets change work on bbolt itself, while nothing is committed.
func (s *Store) exclusive(change func(v view) error) error {
	e := s.engine
	e.writing.Lock()
	defer e.writing.Unlock()
	if err := e.flushAll(); err != nil {
		return err
	}
	return e.db.Use(func() error {
		err := e.db.Update(func(tx *bolt.Tx) error { return change(view{engine: e, file: tx}) })
		if err == nil {
			err = s.refresh()
		}
		return err
	})
}

// Lost is closed when the file cannot be read any more, or was replaced. The process must
// end then, whatever it waits for.
func (s *Store) Lost() <-chan struct{} { return s.engine.db.Failed() }

// LostBecause says why Lost is closed; nil while it is not.
func (s *Store) LostBecause() error { return s.engine.db.Err() }

// Look makes sure that the vault and its write-ahead log are still the files that are open.
// If they are not, nothing is committed any more.
func (s *Store) Look() error { return s.engine.db.Look() }
