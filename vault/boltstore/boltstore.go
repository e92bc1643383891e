// Package boltstore keeps the books of one machine in a bbolt file.
//
// A commit is one bbolt transaction: when Commit returns nil, the file and
// everything in it are on stable storage. One process has the file open at a
// time. The file is never created in place of one that should exist: Create
// makes it, Open only opens it.
package boltstore

import (
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
	berrors "go.etcd.io/bbolt/errors"
)

// The buckets. Keys of accounts are ordered by number; keys of the journal
// are indexes, so it only grows at its end; keys of requests begin with the
// day, so the old ones stand together.
var (
	bucketMeta     = []byte("meta")     // schema, head, checkpoint
	bucketAccounts = []byte("accounts") // accountKey → account
	bucketJournal  = []byte("journal")  // index → links, leaf
	bucketHolds    = []byte("holds")    // HoldID → hold
	bucketRequests = []byte("requests") // day, RequestKey → index
	bucketUsers    = []byte("users")    // subject → user
	bucketRevoked  = []byte("revoked")  // name → when
	bucketGrants   = []byte("grants")   // id → grant
	bucketIssued   = []byte("issued")   // serial number → certificate
	bucketKeys     = []byte("keys")     // number of a data key, mark of a secret → data key
)

// sealedBuckets are those whose values are sealed; in meta the schema is not.
var sealedBuckets = [][]byte{bucketMeta, bucketAccounts, bucketJournal, bucketRequests, bucketUsers, bucketHolds, bucketRevoked, bucketGrants, bucketIssued}

var (
	keySchema     = []byte("schema")
	keyHead       = []byte("head")
	keyCheckpoint = []byte("checkpoint")
	keyLogs       = []byte("logs") // where audit logs began; absent while there is one
)

// schema is the version of the layout of the file.
const schema = 2

const (
	lockWait = time.Second // a server that is just stopping lets go within it

	// initialMap is address space, not memory: growing the map within it
	// never has to wait for readers.
	initialMap = 1 << 30

	// expirePerCommit bounds how many old request ids one commit sweeps away.
	expirePerCommit = 256
)

// A Store is a vault.Store in a bbolt file.
type Store struct {
	db   *bolt.DB
	keys atomic.Pointer[keyring]

	rotating sync.Mutex // held while data keys change
}

var _ vault.Store = (*Store)(nil)

// ErrMissing reports a file that should exist.
var ErrMissing = errors.New("the vault is missing")

// Create makes the file at path unless it exists, and opens it. An existing
// file without a schema is one whose creation was interrupted; it is
// completed. Its values are sealed under secret.
func Create(path string, secret []byte) (*Store, error) {
	db, err := openDB(path)
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range append([][]byte{bucketKeys}, sealedBuckets...) {
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
		return meta.Put(keySchema, binary.BigEndian.AppendUint32(nil, schema))
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create %s: %w", path, err), db.Close())
	}
	return checked(db, path, secret)
}

// Open opens the file at path, which must exist and be sealed under secret.
func Open(path string, secret []byte) (*Store, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrMissing)
	}
	db, err := openDB(path)
	if err != nil {
		return nil, err
	}
	return checked(db, path, secret)
}

func openDB(path string) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         lockWait,
		NoFreelistSync:  true,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: initialMap,
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", path, vault.ErrLocked)
	}
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return db, nil
}

// checked refuses a file of another layout, or of another secret.
func checked(db *bolt.DB, path string, secret []byte) (*Store, error) {
	s := &Store{db: db}
	err := db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return errors.New("it is no vault")
		}
		if v := meta.Get(keySchema); len(v) != 4 || binary.BigEndian.Uint32(v) != schema {
			return fmt.Errorf("it has layout %x; this program knows layout %d", v, schema)
		}
		for _, name := range append([][]byte{bucketKeys}, sealedBuckets...) {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("it lacks the bucket %s", name)
			}
		}
		keys, err := unwrap(tx.Bucket(bucketKeys), secret)
		s.keys.Store(keys)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return s, nil
}

// shelf returns a bucket of sealed values.
func (s *Store) shelf(tx *bolt.Tx, name []byte) shelf {
	return shelf{tx.Bucket(name), name, s.keys.Load()}
}

// Close waits for transactions to end and lets go of the file.
func (s *Store) Close() error { return s.db.Close() }

// Commit implements vault.Store.
func (s *Store) Commit(_ context.Context, keys vault.Keys, decide func(*vault.Books) error) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		books, spines, err := s.load(tx, keys)
		if err != nil {
			return err
		}
		if err := decide(books); err != nil {
			return err
		}
		if c := books.Changes(); c != nil {
			return s.write(tx, books.Now, c, spines)
		}
		return nil
	})
}

// Signed implements audit.Source.
func (s *Store) Signed(context.Context) (checkpoint []byte, head audit.Head, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		checkpoint, head, err = s.readHead(tx)
		return err
	})
	return checkpoint, head, err
}

// Logs implements vault.Store.
func (s *Store) Logs(context.Context) (logs []int64, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		logs, err = s.readLogs(tx)
		return err
	})
	return logs, err
}

// BeginLog implements vault.Backend.
func (s *Store) BeginLog(context.Context) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		logs, err := s.readLogs(tx)
		if err != nil {
			return err
		}
		_, head, err := s.readHead(tx)
		if err != nil {
			return err
		}
		if err := s.writeLogs(tx, append(logs, logs[len(logs)-1]+head.Size)); err != nil {
			return err
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(meta.Delete(keyHead), meta.Delete(keyCheckpoint))
	})
}

// entriesPerView bounds how long one read transaction lasts, because pages
// that it can see are not reused meanwhile.
const entriesPerView = 4096

// Entries implements audit.Source.
func (s *Store) Entries(ctx context.Context, from, to int64, yield func(index int64, leaf []byte) error) error {
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := min(to, from+entriesPerView)
		err := s.db.View(func(tx *bolt.Tx) error {
			journal := s.shelf(tx, bucketJournal)
			c := journal.bucket.Cursor()
			k, v := c.Seek(journalKey(from))
			for ; from < end; k, v = c.Next() {
				if len(k) != 8 || int64(binary.BigEndian.Uint64(k)) != from {
					return fmt.Errorf("journal entry %d is missing", from)
				}
				_, leaf, err := journal.entry(k, v)
				if err != nil {
					return fmt.Errorf("journal entry %d: %w", from, err)
				}
				if err := yield(from, leaf); err != nil {
					return err
				}
				from++
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// History implements vault.Store.
func (s *Store) History(_ context.Context, account vault.Name, from uint64, yield func(uint64, int64, []byte) bool) error {
	return s.db.View(func(tx *bolt.Tx) error { return s.history(tx, account, from, yield) })
}

// Balances implements vault.Store.
func (s *Store) Balances(ctx context.Context, yield func(vault.Account)) (journal int64, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		_, head, err := s.readHead(tx)
		if err != nil {
			return err
		}
		logs, err := s.readLogs(tx)
		if err != nil {
			return err
		}
		journal = logs[len(logs)-1] + head.Size
		shelf := s.shelf(tx, bucketAccounts)
		return shelf.bucket.ForEach(func(k, v []byte) error {
			a, _, err := shelf.account(k, v)
			if err == nil {
				yield(a)
				err = ctx.Err()
			}
			return err
		})
	})
	return journal, err
}

// Accounts implements vault.Store.
func (s *Store) Accounts(_ context.Context, after uint64, limit int) ([]vault.Account, error) {
	var found []vault.Account
	err := s.db.View(func(tx *bolt.Tx) error {
		shelf := s.shelf(tx, bucketAccounts)
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
	err := s.db.View(func(tx *bolt.Tx) error {
		shelf := s.shelf(tx, bucketUsers)
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
	err = s.db.View(func(tx *bolt.Tx) error {
		shelf := s.shelf(tx, bucketRevoked)
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
