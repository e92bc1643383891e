package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/codec"
	"example.com/atm/vault/boltstore/wal"
	bolt "go.etcd.io/bbolt"
)

// ErrWAL reports a write-ahead log that does not go with the vault: it is missing,
// damaged, or that of another vault or another time.
var ErrWAL = errors.New("the write-ahead log does not go with the vault")

func logPath(vault string) string { return vault + "-wal" }

// needed is the log that bbolt needs: what it has up to an LSN, it has flushed.
type needed struct {
	log     wal.ID
	flushed wal.LSN
}

// keyNeeded has the log that bbolt needs, and a checksum over that: records that were
// left out because of a wrong LSN would be missing in silence. It is absent while there
// is no log.
var keyNeeded = []byte("wal")

const neededBytes = len(wal.ID{}) + 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// needed returns the log that bbolt needs; nil when it needs none.
func (e *engine) needed() (n *needed, err error) {
	err = e.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketMeta).Get(keyNeeded)
		if v == nil {
			return nil
		}
		if len(v) != neededBytes+4 {
			return codec.ErrForm
		}
		if crc32.Checksum(v[:neededBytes], castagnoli) != binary.BigEndian.Uint32(v[neededBytes:]) {
			return fmt.Errorf("%w: what it says of its write-ahead log was changed",
				vault.ErrDamaged)
		}
		n = &needed{}
		n.flushed = wal.LSN(binary.BigEndian.Uint64(v[copy(n.log[:], v):]))
		return nil
	})
	return n, err
}

func putNeeded(tx *bolt.Tx, n needed) error {
	v := binary.BigEndian.AppendUint64(n.log[:len(n.log):len(n.log)], uint64(n.flushed))
	return tx.Bucket(bucketMeta).Put(keyNeeded, binary.BigEndian.AppendUint32(v,
		crc32.Checksum(v, castagnoli)))
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
	return e.db.Update(func(tx *bolt.Tx) error { return putNeeded(tx, needed{log: log.ID()}) })
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
	records, err := unflushed(path, n)
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
		if err := e.replay(n.log, records); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if older {
		return errors.Join(wal.SetAside(path), e.needNone())
	}
	return e.endLog(path)
}

// unflushed returns the records of the log at path that bbolt, which needs n, does not
// have. With ErrWAL it returns those before what is missing.
func unflushed(path string, n *needed) ([]wal.Record, error) {
	log, err := wal.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && n != nil:
		return nil, fmt.Errorf("%w: it is missing, and holds what was committed last", ErrWAL)
	case errors.Is(err, wal.ErrDamaged):
		return nil, fmt.Errorf("%w: %w", ErrWAL, err)
	case err != nil:
		return nil, err
	case n == nil && log.Empty(): // a log was about to begin, or to end
		return nil, nil
	case n == nil || log.ID != n.log:
		return nil, ErrWAL
	}
	records, err := log.After(n.flushed)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrWAL, err)
	}
	return records, err
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
			return putNeeded(tx, needed{log, last})
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
			return journal.bucket.Put(key, sealed)
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
	return v.shelf(buckets[number]).put(key, value)
}
