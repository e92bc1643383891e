package boltstore

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/guard"
	"example.com/atm/vault/boltstore/keyring"
	"example.com/atm/vault/boltstore/memtable"
	"example.com/atm/vault/boltstore/wal"
	"example.com/atm/vault/chunk"
)

// An engine is bbolt with memtables and a write-ahead log in front of it. It knows values
// and buckets, and of the books only how a record of the log is replayed.
type engine struct {
	db        *guard.DB
	memtables *memtable.Tables
	ring      atomic.Pointer[keyring.Ring]
	opened    chunk.Cache                // of the journal
	base      atomic.Pointer[vault.Base] // where the journal begins

	writing   sync.Mutex    // held by a commit, and by what must run between commits
	log       *wal.Log      // nil while there is none; like all below, guarded by writing
	now       time.Time     // of the last commit
	chunks    chunk.Builder // empty; its memory is for the next commit
	scheduled bool          // flushAged will be called
	broken    error         // why nothing can be committed any more
	closed    bool
}

func newEngine(db *guard.DB) *engine {
	e := &engine{db: db, memtables: memtable.New(len(buckets))}
	e.base.Store(&vault.Base{})
	return e
}

var errClosed = errors.New("the store is closed")

// usable says why nothing can be committed; nil while it can. The caller holds e.writing.
func (e *engine) usable() error {
	switch {
	case e.broken != nil:
		return e.broken
	case e.closed:
		return errClosed
	}
	return nil
}

// commit puts a batch into the log and the memtable. After an error it is unknown whether the
// batch will be durable, and nothing more is committed. The caller holds e.writing.
func (e *engine) commit(b *memtable.Batch, now time.Time) (ticket wal.Ticket, err error) {
	e.broken = e.db.Use(func() (err error) {
		ticket, err = e.append(b)
		return err
	})
	if e.broken == nil {
		e.now = now
	}
	return ticket, e.broken
}

// close flushes everything, removes the log and lets go of the file. After a commit that
// failed, it leaves both to the next Open.
func (e *engine) close() error {
	e.writing.Lock()
	defer e.writing.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	err := e.checkpoint()
	e.memtables.Await() // its error is in err, or was returned by the commit that failed
	if e.broken != nil {
		err = nil // already returned by the commit that failed
	}
	if e.log != nil {
		err = errors.Join(err, e.log.Close())
	}
	return errors.Join(err, e.db.Close())
}
