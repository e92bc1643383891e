// Package boltstore keeps the books of one machine in a bbolt file.
//
// A commit is one record in a write-ahead log beside the file: when Commit returns
// nil, that is on stable storage. What it changed is written to the file a little
// later, together with what others changed; Open does the same with what a crash
// has left in the log. After Close there is no log, and the file has everything.
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
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm/audit"
	"example.com/atm/vault"
	bolt "go.etcd.io/bbolt"
)

// The buckets. Keys of accounts are ordered by number; keys of the journal
// are indexes, so it only grows at its end; keys of requests begin with the
// day, so the old ones stand together.
var (
	bucketMeta     = []byte("meta")     // schema, head, checkpoint
	bucketAccounts = []byte("accounts") // accountKey → account
	bucketJournal  = []byte("journal")  // index of the first → entries: links, leaf
	bucketHolds    = []byte("holds")    // HoldID → hold
	bucketRequests = []byte("requests") // day, RequestKey → index
	bucketUsers    = []byte("users")    // subject → user
	bucketRevoked  = []byte("revoked")  // name → when
	bucketGrants   = []byte("grants")   // id → grant
	bucketIssued   = []byte("issued")   // serial number → certificate
	bucketKeys     = []byte("keys")     // number of a data key, mark of a secret → data key
)

// buckets are those of everything but keys. Their places in the list are their
// numbers in the write-ahead log. Values are sealed, but for some in meta, and for
// those of requests, which say nothing but where an entry is that says the rest.
var buckets = [][]byte{bucketMeta, bucketAccounts, bucketJournal, bucketRequests, bucketUsers, bucketHolds, bucketRevoked, bucketGrants, bucketIssued}

// Numbers that the program knows.
const (
	numberMeta     = 0
	numberAccounts = 1
	numberJournal  = 2
	numberRequests = 3
)

var (
	keySchema     = []byte("schema")
	keyHead       = []byte("head")
	keyCheckpoint = []byte("checkpoint")
	keyLogs       = []byte("logs") // where audit logs began; absent while there is one
)

// schema is the version of the layout of the file. Chunks of schema 4 were never
// packed; such a file is read, and is one of this schema from then on.
const (
	schema  = 5
	schema4 = 4
)

// initialMap is address space, not memory: growing the map within it never has to
// wait for readers. Tests make it smaller.
var initialMap = 1 << 30

const (
	lockWait = time.Second // a server that is just stopping lets go within it

	// expireAtOnce bounds how many old request ids are swept away whenever a layer
	// is written.
	expireAtOnce = 16 << 10
)

// A Store is a vault.Store in a bbolt file.
type Store struct {
	path   string
	log    atomic.Pointer[fs.FileInfo] // of the write-ahead log; nil while there is none
	db     *guardedDB
	keys   atomic.Pointer[keyring]
	layers layers
	signed atomic.Pointer[signed] // what is durable
	opened openChunks

	flusher flusher

	rotating sync.Mutex // held while data keys change

	writing  sync.Mutex  // held by a commit, and by who needs that there is none
	newest   *signed     // guarded by writing; of the last commit, which may not be durable yet
	wal      *wal        // guarded by writing; nil while it is not needed
	broken   error       // guarded by writing; why nothing can be committed any more
	closed   bool        // guarded by writing
	ripening bool        // guarded by writing; ripen will be called
	now      time.Time   // guarded by writing; of the last commit
	days     []day       // guarded by writing; that there are request ids of, the newest first
	chunk    chunkMemory // guarded by writing
}

// signed is what the last commit signed, and where audit logs began.
type signed struct {
	checkpoint []byte
	head       audit.Head
	logs       []int64
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
		for _, name := range append([][]byte{bucketKeys}, buckets...) {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		if meta.Get(keySchema) != nil {
			return nil
		}
		first, err := new(keyring).with()
		if err != nil {
			return err
		}
		if err := first.wrap(tx.Bucket(bucketKeys), secret); err != nil {
			return err
		}
		return meta.Put(keySchema, layout(schema))
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

// OpenChecked is Open for who does not serve: all pages are checked before.
func OpenChecked(path string, secret []byte) (*Store, error) {
	return openFile(path, secret, openFlags{deep: true}, false)
}

// OpenReadOnly is OpenChecked for a file that is not written to, which must need no
// write-ahead log.
func OpenReadOnly(path string, secret []byte) (*Store, error) {
	return openFile(path, secret, openFlags{deep: true, readOnly: true}, false)
}

// OpenOlder is Open for a file whose write-ahead log is missing, damaged or that of
// another moment. It has what is in the file and what can be read in the log: what was
// committed after that is given up. The log is kept under another name.
func OpenOlder(path string, secret []byte) (*Store, error) {
	return openFile(path, secret, openFlags{deep: true}, true)
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

// layout is the version of a file.
func layout(schema uint32) []byte { return binary.BigEndian.AppendUint32(nil, schema) }

// checked refuses a file of another layout, or of another secret.
func checked(db *guardedDB, path string, secret []byte, flags openFlags, mayBeOlder bool) (*Store, error) {
	s := &Store{path: path, db: db, layers: layers{newer: newLayer(nil)}}
	s.flusher.changed.L = &s.flusher.mu
	older := false
	err := db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return errors.New("it is no vault")
		}
		v := meta.Get(keySchema)
		if older = bytes.Equal(v, layout(schema4)); !older && !bytes.Equal(v, layout(schema)) {
			return fmt.Errorf("it has layout %x; this program knows layout %d", v, schema)
		}
		for _, name := range append([][]byte{bucketKeys}, buckets...) {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("it lacks the bucket %s", name)
			}
		}
		keys, err := unwrap(tx.Bucket(bucketKeys), secret)
		s.keys.Store(keys)
		if err != nil {
			return err
		}
		return txn{store: s, file: tx}.checkMeta()
	})
	if err == nil && older && !flags.readOnly {
		err = db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, layout(schema)) })
	}
	if err == nil {
		err = s.recover(mayBeOlder, flags.readOnly)
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
	s.opened.forget()
	return s.db.View(func(tx *bolt.Tx) error {
		t := txn{store: s, file: tx}
		checkpoint, head, err := t.readHead()
		if err != nil {
			return err
		}
		logs, err := t.readLogs()
		if err != nil {
			return err
		}
		s.newest = &signed{checkpoint, head, logs}
		s.signed.Store(s.newest)
		s.days = keptDays(tx.Bucket(bucketRequests))
		return nil
	})
}

// Close writes what is left to the file, and lets go of it. After a commit that
// failed it leaves that to the next Open.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.quiesce()
	s.awaitWritten() // its error is told where it matters
	if s.broken != nil {
		err = nil // it has been told
	}
	if s.wal != nil {
		err = errors.Join(err, s.wal.f.Close())
	}
	return errors.Join(err, s.db.Close())
}

// quiesce makes the file all there is: it has everything, and needs no write-ahead
// log until the next commit. The caller holds s.writing.
func (s *Store) quiesce() error {
	if err := s.settle(); err != nil || s.wal == nil {
		return err
	}
	s.log.Store(nil)
	err := errors.Join(s.wal.f.Close(), s.endWAL(walPath(s.db.Path())))
	s.wal = nil
	return err
}

var errClosed = errors.New("the store is closed")

// Commit implements vault.Store.
func (s *Store) Commit(_ context.Context, keys vault.Keys, decide func(*vault.Books) error) (durable func() error, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	switch {
	case s.broken != nil:
		return nil, s.broken
	case s.closed:
		return nil, errClosed
	}
	var b *batch
	var books *vault.Books
	err = s.db.use(func() (err error) {
		b, books, err = s.prepare(keys, decide)
		return err
	})
	if err != nil {
		return nil, err
	}
	if b == nil {
		return func() error { return nil }, nil
	}
	if s.broken = s.db.use(func() error { return s.commit(b) }); s.broken != nil {
		return nil, s.broken
	}
	c := books.Changes()
	now := &signed{c.Checkpoint, c.Head, s.newest.logs}
	s.newest, s.now = now, books.Now
	s.noteDay(s.now, c.Requests)
	w := s.wal
	return func() error {
		err := s.flusher.wait(w, b)
		if err == nil {
			s.advance(now)
		}
		return err
	}, nil
}

// advance lets readers see what is durable. Who commits may learn of it in another
// order.
func (s *Store) advance(now *signed) {
	for {
		before := s.signed.Load()
		if len(before.logs) != len(now.logs) || before.head.Size >= now.head.Size || s.signed.CompareAndSwap(before, now) {
			return
		}
	}
}

// prepare makes the batch of a commit; nil when decide changed nothing.
func (s *Store) prepare(keys vault.Keys, decide func(*vault.Books) error) (*batch, *vault.Books, error) {
	t, end, err := s.begin()
	if err != nil {
		return nil, nil, err
	}
	defer end() // writing a layer may wait for it
	books, spines := t.load(keys)
	if err := decide(books); err != nil {
		return nil, nil, err
	}
	c := books.Changes()
	if c == nil {
		return nil, nil, nil
	}
	t.batch = newBatch(c)
	if err := t.write(books.Now, c, spines); err != nil {
		return nil, nil, err
	}
	t.batch.seal(s.keys.Load(), numberRest, nameRest, nil, t.batch.rest)
	return t.batch, books, nil
}

// commit begins to make a batch durable. After an error nobody knows whether it
// is.
func (s *Store) commit(b *batch) error {
	if s.wal == nil {
		if err := s.beginWAL(); err != nil {
			return err
		}
	}
	if s.layers.newer.newest != nil && (!s.wal.fits(b.record) || s.layers.newer.bytes >= layerMost) {
		if err := s.turn(); err != nil {
			return err
		}
	}
	if !s.wal.fits(b.record) { // such as 256 accounts with thousands of holds each
		return s.commitWhole(b)
	}
	s.wal.place(b)
	s.flusher.add(b)
	s.layers.add(b)
	switch {
	case s.layers.newer.ripe() && s.layers.idle():
		return s.turn()
	case !s.ripening:
		s.ripenLater()
	}
	return nil
}

// commitWhole writes a batch to the vault itself.
func (s *Store) commitWhole(b *batch) error {
	if err := s.settle(); err != nil {
		return err
	}
	b.durable = true
	return s.db.Update(func(tx *bolt.Tx) error {
		return txn{store: s, file: tx}.replay(record{payload: b.record[recordHead:]})
	})
}

// beginWAL begins a write-ahead log.
func (s *Store) beginWAL() error {
	w, err := createWAL(walPath(s.db.Path()))
	if err != nil {
		return fmt.Errorf("write-ahead log: %w", err)
	}
	s.wal = w
	log, err := w.f.Stat()
	if err != nil {
		return fmt.Errorf("write-ahead log: %w", err)
	}
	s.log.Store(&log)
	return s.db.Update(func(tx *bolt.Tx) error { return setMark(tx, w.session, 0) })
}

// Signed implements audit.Source.
func (s *Store) Signed(context.Context) (checkpoint []byte, head audit.Head, err error) {
	last := s.signed.Load()
	return last.checkpoint, last.head, nil
}

// Logs implements vault.Store.
func (s *Store) Logs(context.Context) ([]int64, error) { return s.signed.Load().logs, nil }

// BeginLog implements vault.Backend.
func (s *Store) BeginLog(context.Context) error {
	return s.exclusive(func(t txn) error {
		logs, err := t.readLogs()
		if err != nil {
			return err
		}
		_, head, err := t.readHead()
		if err != nil {
			return err
		}
		if err := t.writeLogs(append(logs, logs[len(logs)-1]+head.Size)); err != nil {
			return err
		}
		meta := t.file.Bucket(bucketMeta)
		return errors.Join(meta.Delete(keyHead), meta.Delete(keyCheckpoint))
	})
}

// History implements vault.Store.
func (s *Store) History(_ context.Context, account vault.Name, from uint64, yield func(uint64, int64, []byte) bool) error {
	t, end, err := s.begin()
	if err != nil {
		return err
	}
	defer end()
	return s.db.use(func() error { return t.history(account, from, yield) })
}

// Account implements vault.Store.
func (s *Store) Account(_ context.Context, name vault.Name) (a vault.Account, err error) {
	t, end, err := s.begin()
	if err != nil {
		return vault.Account{}, err
	}
	defer end()
	err = s.db.use(func() error {
		a, _, err = t.account(name)
		return err
	})
	return a, err
}

// Balances implements vault.Store.
func (s *Store) Balances(ctx context.Context, yield func(vault.Account)) (journal int64, err error) {
	err = s.settled(func(t txn) error {
		_, head, err := t.readHead()
		if err != nil {
			return err
		}
		logs, err := t.readLogs()
		if err != nil {
			return err
		}
		journal = logs[len(logs)-1] + head.Size
		return t.eachAccount(func(a *vault.Account, _ spine) error {
			yield(*a)
			return ctx.Err()
		})
	})
	return journal, err
}

// Accounts implements vault.Store.
func (s *Store) Accounts(_ context.Context, after uint64, limit int) ([]vault.Account, error) {
	var found []vault.Account
	err := s.settled(func(t txn) error {
		shelf := t.shelf(bucketAccounts)
		c := shelf.bucket.Cursor()
		for k, v := c.Seek(numberKey(after + 1)); k != nil && k[0] == prefixNumber && len(found) < limit; k, v = c.Next() {
			a, _, err := shelf.account(k, v)
			if err != nil {
				return err
			}
			found = append(found, a)
		}
		return nil
	})
	return found, err
}

// Users implements vault.Store.
func (s *Store) Users(context.Context) ([]vault.User, error) {
	var found []vault.User
	err := s.settled(func(t txn) error {
		shelf := t.shelf(bucketUsers)
		return shelf.bucket.ForEach(func(k, v []byte) error {
			u, err := shelf.user(k, v)
			if err == nil {
				found = append(found, u)
			}
			return err
		})
	})
	return found, err
}

// Revocations implements vault.Store.
func (s *Store) Revocations(context.Context) (found []vault.Revocation, err error) {
	err = s.settled(func(t txn) error {
		shelf := t.shelf(bucketRevoked)
		return shelf.bucket.ForEach(func(k, v []byte) error {
			plain, err := shelf.open(k, v)
			if err != nil {
				return err
			}
			r, err := decodeRevocation(string(k), plain)
			found = append(found, r)
			return err
		})
	})
	return found, err
}
