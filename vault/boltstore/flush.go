package boltstore

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"example.com/atm/vault/boltstore/days"
	"example.com/atm/vault/boltstore/memtable"
	"example.com/atm/vault/boltstore/shelf"
	"example.com/atm/vault/boltstore/wal"
	bolt "go.etcd.io/bbolt"
)

// putsAtOnce is how many values a flush puts before it lets other goroutines run, which callers
// wait for.
const putsAtOnce = 64

// bytesAtOnce is about how much one transaction of a flush writes. bbolt reuses the
// pages that it replaces in the next one at the earliest. Tests make it smaller.
var bytesAtOnce = 16 << 20

// A memtable is flushed flushAge after its first record, or flushQuiet after its newest.
// Tests make both longer.
var flushAge, flushQuiet = 4 * time.Second, time.Second

// append appends the record of a batch to the log, and adds the batch to the active
// memtable. After an error it is unknown whether the batch will be durable. The caller holds
// e.writing.
func (e *engine) append(b *memtable.Batch) (wal.Ticket, error) {
	if e.log == nil {
		if err := e.beginLog(); err != nil {
			return wal.Ticket{}, err
		}
	}
	active := e.memtables.Active()
	if !active.Empty() && (!e.log.Fits(len(b.Record())) || active.Full()) {
		if err := e.rotate(); err != nil {
			return wal.Ticket{}, err
		}
	}
	if !e.log.Fits(len(b.Record())) { // such as 256 accounts with thousands of holds each
		return wal.Ticket{}, e.commitToBolt(b)
	}
	ticket := e.log.Append(b.Record())
	e.memtables.Add(b, ticket)
	switch {
	case e.memtables.Active().Due() && e.memtables.Idle():
		return ticket, e.rotate()
	case !e.scheduled:
		e.schedule()
	}
	return ticket, nil
}

// commitToBolt commits a batch that has no space in the log to bbolt itself.
func (e *engine) commitToBolt(b *memtable.Batch) error {
	if err := e.flushAll(); err != nil {
		return err
	}
	return e.db.Update(func(tx *bolt.Tx) error {
		return view{engine: e, file: tx}.replay(b.Record()[wal.HeadBytes:])
	})
}

// rotate makes the other segment of the log and a new memtable the current ones, and
// begins to flush what the old memtable holds. It waits for the flush before. The
// caller holds e.writing.
func (e *engine) rotate() error {
	if err := e.await(); err != nil {
		return err
	}
	e.log.Rotate()
	m, end := e.memtables.Rotate()
	go e.flush(m, end, e.log.ID(), e.now)
	return nil
}

// flushAll waits until bbolt has everything. The caller holds e.writing.
func (e *engine) flushAll() error {
	if e.broken != nil {
		return e.broken
	}
	if !e.memtables.Active().Empty() {
		if err := e.rotate(); err != nil {
			return err
		}
	}
	var err error
	if e.log != nil {
		err = e.log.Sync()
	}
	return errors.Join(err, e.await())
}

// errDiskFull reports a flush for which the disk had no space. It can be repeated: the log has
// what it writes.
var errDiskFull = errors.New("the disk is full")

// await waits until no memtable is being flushed. It repeats a flush that found the disk full.
// The caller holds e.writing.
func (e *engine) await() error {
	err := e.memtables.Await()
	if !errors.Is(err, errDiskFull) {
		return err
	}
	m, end := e.memtables.Again()
	e.flush(m, end, e.log.ID(), e.now)
	return e.memtables.Await()
}

// checkpoint flushes everything and ends the log: bbolt is all there is, and needs no
// log until the next commit. The caller holds e.writing.
func (e *engine) checkpoint() error {
	if err := e.flushAll(); err != nil || e.log == nil {
		return err
	}
	e.db.Unwatch()
	err := errors.Join(e.log.Close(), e.endLog(logPath(e.db.Path())))
	e.log = nil
	return err
}

// flushAged rotates when the active memtable is due because of its age.
func (e *engine) flushAged() {
	e.writing.Lock()
	defer e.writing.Unlock()
	e.scheduled = false
	switch active := e.memtables.Active(); {
	case e.broken != nil || e.closed || active.Empty():
	case active.Aged(flushAge, flushQuiet) && e.memtables.Idle():
		if err := e.rotate(); errors.Is(err, errDiskFull) {
			e.schedule()
		} else {
			e.broken = err
		}
	default: // while a flush is running, the next one waits, and no commit does
		e.schedule()
	}
}

// schedule calls flushAged when the active memtable may be due. The caller holds
// e.writing.
func (e *engine) schedule() {
	e.scheduled = true
	time.AfterFunc(flushQuiet, e.flushAged)
}

// flush puts a memtable into bbolt, once all of it is durable in the log, and calls end.
func (e *engine) flush(m *memtable.Table, end func(error), log wal.ID, now time.Time) {
	err := m.Newest().Wait()
	if err == nil {
		err = e.db.Use(func() error { return e.writeMemtable(m, log, now) })
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w: %w", errDiskFull, err)
		}
	}
	if err != nil {
		err = fmt.Errorf("write the vault: %w", err)
	}
	end(err)
}

// writeMemtable writes a memtable in one transaction, or in several when it is large.
// Until the last one notes the LSN that bbolt has, the log has all of it, and it would be
// written again after a crash.
func (e *engine) writeMemtable(m *memtable.Table, log wal.ID, now time.Time) error {
	w := flushWriter{view: view{engine: e}}
	defer w.end()
	for v := range m.All() {
		if err := w.put(v); err != nil {
			return err
		}
	}
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.sweep(m, now); err != nil {
		return err
	}
	if err := days.Expire(w.view.file.Bucket(bucketRequests), now); err != nil {
		return err
	}
	if err := putNeeded(w.view.file, wal.Needed{Log: log, Flushed: m.Newest().LSN()}); err != nil {
		return err
	}
	return w.commit()
}

// A flushWriter puts values into bbolt, about bytesAtOnce in one transaction.
type flushWriter struct {
	view    view // its file is nil between two transactions
	shelves []shelf.Shelf
	puts    int
	bytes   int // of the transaction
}

// begin begins a transaction, when there is none.
func (w *flushWriter) begin() error {
	if w.view.file != nil {
		return nil
	}
	var err error
	if w.view.file, err = w.view.engine.db.Begin(true); err != nil {
		return err
	}
	w.bytes, w.shelves = 0, w.shelves[:0]
	for _, name := range buckets {
		w.shelves = append(w.shelves, w.view.shelf(name))
	}
	return nil
}

// put puts a value, and commits when that is enough for one transaction.
func (w *flushWriter) put(v memtable.Value) error {
	if err := w.begin(); err != nil {
		return err
	}
	if w.puts++; w.puts%putsAtOnce == 0 {
		runtime.Gosched()
	}
	var err error
	shelf := w.shelves[v.Bucket]
	if v.Plain {
		w.bytes += os.Getpagesize() // each is about in a page of its own
		err = shelf.Put(v.Key, v.Bytes)
	} else {
		w.bytes += len(v.Bytes)
		err = shelf.Bucket.Put(v.Key, v.Bytes)
	}
	if err != nil || w.bytes < bytesAtOnce {
		return err
	}
	return w.commit()
}

func (w *flushWriter) commit() error {
	err := w.view.file.Commit()
	w.view.file = nil
	return err
}

// end takes back what was not committed.
func (w *flushWriter) end() {
	if w.view.file != nil {
		w.view.file.Rollback() // fails only when it has ended
	}
}
