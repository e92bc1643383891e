package boltstore

import (
	"errors"
	"fmt"
	"io/fs"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/wal"
	"example.com/atm/vault/codec"
	bolt "go.etcd.io/bbolt"
)

// ErrWAL reports a write-ahead log that does not go with the vault: it is missing,
// damaged, or that of another vault or another time.
var ErrWAL = wal.ErrMismatch

func logPath(vault string) string { return vault + "-wal" }

// keyNeeded has the log that bbolt needs: what it has up to an LSN, it has flushed. It is
// absent while there is no log.
var keyNeeded = []byte("wal")

// needed returns the log that bbolt needs; nil when it needs none.
func (e *engine) needed() (n *wal.Needed, err error) {
	err = e.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketMeta).Get(keyNeeded)
		if v == nil {
			return nil
		}
		parsed, err := wal.ParseNeeded(v)
		if err != nil {
			return fmt.Errorf("%w: %w", vault.ErrDamaged, err)
		}
		n = &parsed
		return nil
	})
	return n, err
}

func putNeeded(tx *bolt.Tx, n wal.Needed) error {
	return tx.Bucket(bucketMeta).Put(keyNeeded, n.Bytes())
}

// needNone notes that bbolt needs no log.
func (e *engine) needNone() error {
	return e.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyNeeded) })
}

// beginLog begins a log. The caller holds e.writing.
func (e *engine) beginLog() error {
	log, err := wal.Create(logPath(e.db.Path()))
	if err != nil {
		return fmt.Errorf("write-ahead log: %w", err)
	}
	e.log = log
	file, err := log.Stat()
	if err != nil {
		return fmt.Errorf("write-ahead log: %w", err)
	}
	e.db.Watch(logPath(e.db.Path()), file)
	return e.db.Update(func(tx *bolt.Tx) error { return putNeeded(tx, wal.Needed{Log: log.ID()}) })
}

// endLog removes the log at path, all of which bbolt has. The order matters: a crash
// leaves no log with records where bbolt needs none, and none missing where it needs one.
func (e *engine) endLog(path string) error {
	if err := wal.Empty(path); err != nil {
		return err
	}
	if err := e.needNone(); err != nil {
		return err
	}
	return wal.Remove(path)
}

// recover replays the records of the log that bbolt does not have, and removes the log.
// When records are missing and mayBeOlder is set, it replays those before them, and
// sets the log aside. A file that is only read must need no log.
func (e *engine) recover(mayBeOlder, readOnly bool) error {
	path := logPath(e.db.Path())
	n, err := e.needed()
	if err != nil {
		return err
	}
	records, err := wal.Unflushed(path, n)
	older := mayBeOlder && errors.Is(err, ErrWAL)
	switch {
	case n == nil && errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && !older:
		return fmt.Errorf("%s: %w", path, err)
	case readOnly && n != nil:
		return fmt.Errorf("%s: %w: it holds what was committed last, and the vault is only read",
			path, ErrWAL)
	case readOnly:
		return nil
	}
	if n != nil {
		if err := e.replay(n.Log, records); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if older {
		if err := wal.SetAside(path); err != nil {
			return err
		}
		return e.needNone()
	}
	return e.endLog(path)
}

// replayedAtOnce bounds the records that are replayed in one transaction, in bytes. It
// may write several times as much. Tests make it smaller.
var replayedAtOnce = 4 << 20

// replay writes records to bbolt, some in one transaction. Each record is a commit, so
// any number of them is a state that the store was in.
func (e *engine) replay(log wal.ID, records []wal.Record) error {
	for len(records) > 0 {
		err := e.db.Update(func(tx *bolt.Tx) error {
			var last wal.LSN
			for written := 0; len(records) > 0 && written < replayedAtOnce; records = records[1:] {
				r := records[0]
				if err := (view{engine: e, file: tx}).replay(r.Payload); err != nil {
					return fmt.Errorf("record %d: %w", r.LSN, err)
				}
				last, written = r.LSN, written+len(r.Payload)
			}
			return putNeeded(tx, wal.Needed{Log: log, Flushed: last})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// replay writes the payload of a record to bbolt.
func (v view) replay(payload []byte) error {
	journal, keys := v.shelf(bucketJournal), v.engine.ring.Load()
	return codec.EachValue(payload, func(number int, key, sealed []byte) error {
		switch number {
		case codec.NumberJournal:
			return journal.Bucket.Put(key, sealed)
		case codec.NumberRest:
			rest, err := keys.Open(codec.NameRest, key, sealed)
			if err != nil {
				return err
			}
			return codec.EachValue(rest, v.replayValue)
		}
		return codec.ErrForm
	})
}

// replayValue writes a value to bbolt that a record has among the rest.
func (v view) replayValue(number int, key, value []byte) error {
	if number >= len(buckets) || number == codec.NumberJournal {
		return codec.ErrForm
	}
	return v.shelf(buckets[number]).Put(key, value)
}
