// Package wal is a write-ahead log: it puts records on stable storage in the order
// in which they were appended, and keeps them until their owner has flushed them
// elsewhere.
//
// A log is one file: a header and two segments. Append gives a record the next LSN
// (log sequence number) and a place in the current segment; it writes nothing. Wait
// makes the record durable: the first caller that finds nobody writing writes every
// record that was appended so far, and shares one fdatasync with all their waiters.
// Rotate goes on at the beginning of the other segment, so the owner must have flushed
// what that segment holds. Read returns, after a crash, the records that follow an
// LSN, up to the first that is not whole.
//
// A record is bytes: the log does not look into it. Nor does it know when a record
// has been flushed; its owner remembers the LSN of the newest one that was.
package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"example.com/atm/internal/durable"
)

// A record begins at a block of its own, so that no block that holds a durable record
// is ever written again.
const (
	blockBytes   = 4 << 10
	segmentBytes = 32 << 20
	growBytes    = 1 << 20 // a segment grows by so many bytes of zeros, ahead of its records

	magic       = "atm vault write-ahead log, form 3\n"
	recordMagic = 0x61746d77
)

// HeadBytes is how many bytes at the beginning of a record belong to the log: a magic
// number (4 bytes), the length of what follows the head (4), the record's LSN (8), the
// LSN up to which everything was durable when the record was written (8), and a
// checksum (4), all big-endian.
const HeadBytes = 4 + 4 + 8 + 8 + 4

// ErrDamaged reports a file that is no log, or a log that lacks a record which was
// durable.
var ErrDamaged = errors.New("the write-ahead log is damaged")

// An ID names one log. It is random, and part of every checksum: a record that an
// earlier log left behind in the same blocks is none of this one.
type ID [16]byte

// An LSN numbers the records of a log, from 1.
type LSN uint64

// A Log is open for appending. Append, Fits and Rotate are for one goroutine at a
// time; everything else may be called by any.
type Log struct {
	id   ID
	file *os.File

	last    LSN   // of the newest record
	segment int   // the current one
	at      int64 // where the next record goes in it, in bytes

	made [2]int64 // bytes of each segment that exist on the disk; of the goroutine that is writing

	mu      sync.Mutex
	changed sync.Cond // busy or err has changed
	waiting []*record // guarded by mu; appended, and not written yet
	busy    bool      // guarded by mu; a goroutine is writing
	err     error     // guarded by mu; why nothing can be written any more
}

// A record on its way to the disk.
type record struct {
	bytes   []byte
	lsn     LSN
	segment int
	at      int64 // in the file, in bytes
	grown   int64 // bytes of the segment that must exist on the disk

	durable bool // guarded by Log.mu
}

// Create makes an empty log at path, in place of any file that is there.
func Create(path string) (*Log, error) {
	l := &Log{}
	l.changed.L = &l.mu
	rand.Read(l.id[:]) // never fails
	header := make([]byte, blockBytes)
	copy(header[copy(header, magic):], l.id[:])
	if err := durable.WriteFile(path, header, 0o600); err != nil {
		return nil, err
	}
	var err error
	l.file, err = os.OpenFile(path, os.O_RDWR, 0)
	return l, err
}

// ID returns the name of the log.
func (l *Log) ID() ID { return l.id }

// Stat says which file the log is.
func (l *Log) Stat() (fs.FileInfo, error) { return l.file.Stat() }

// Fits reports whether the current segment has space for a record of so many bytes,
// its head included.
func (l *Log) Fits(size int) bool { return int64(size) <= segmentBytes-l.at }

// Append adds a record, which must fit, behind all others. Its first HeadBytes bytes
// are the log's, and the whole is until Wait has returned.
func (l *Log) Append(bytes []byte) Ticket {
	l.last++
	r := &record{bytes: bytes, lsn: l.last, segment: l.segment, at: begin(l.segment) + l.at}
	l.at = up(l.at+int64(len(bytes)), blockBytes)
	r.grown = min(up(l.at, growBytes), segmentBytes)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, r)
	return Ticket{l, r}
}

// Rotate makes the other segment the current one. The records in it are overwritten
// from then on.
func (l *Log) Rotate() { l.segment, l.at = 1-l.segment, 0 }

// begin is where a segment begins in the file, in bytes.
func begin(segment int) int64 { return blockBytes + int64(segment)*segmentBytes }

// up rounds n up to a multiple of unit, a power of two.
func up(n, unit int64) int64 { return (n + unit - 1) &^ (unit - 1) }

// A Ticket is for waiting until a record is durable. The zero Ticket is of no record,
// and its wait is over.
type Ticket struct {
	log    *Log
	record *record
}

// LSN returns the number of the record; 0 for the zero Ticket.
func (t Ticket) LSN() LSN {
	if t.record == nil {
		return 0
	}
	return t.record.lsn
}

// Wait waits until the record and all before it are durable. After an error nobody
// knows whether it is, and nothing more is written to the log.
func (t Ticket) Wait() error {
	if t.log == nil {
		return nil
	}
	l := t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for !t.record.durable && l.err == nil {
		l.step()
	}
	if t.record.durable {
		return nil
	}
	return l.err
}

// Sync waits until every record that was appended is durable.
func (l *Log) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for (l.busy || len(l.waiting) > 0) && l.err == nil {
		l.step()
	}
	return l.err
}

// step writes what waits, or waits for the goroutine that is writing. The caller holds
// l.mu.
func (l *Log) step() {
	if l.busy {
		l.changed.Wait()
		return
	}
	group := l.waiting
	l.waiting, l.busy = nil, true
	l.mu.Unlock()
	err := l.write(group)
	l.mu.Lock()
	l.busy = false
	if err != nil {
		l.err = fmt.Errorf("write-ahead log: %w", err)
	}
	for _, r := range group {
		r.durable = err == nil
	}
	l.changed.Broadcast()
}

// write writes records, when all before them are durable, and syncs them together.
func (l *Log) write(group []*record) error {
	if err := l.grow(group); err != nil {
		return err
	}
	for _, r := range group {
		l.id.stamp(r, group[0].lsn-1)
		if _, err := l.file.WriteAt(r.bytes, r.at); err != nil {
			return err
		}
	}
	return durable.SyncData(l.file)
}

// grow makes the blocks of records exist on the disk, with a sync of their own: so the sync of
// a record has nothing to tell the file system's journal. Where that stops in the middle of a
// sync (ext4, forced to shut down), the sync succeeds and the blocks are lost all the same.
func (l *Log) grow(group []*record) error {
	grown := false
	for _, r := range group {
		if r.grown <= l.made[r.segment] {
			continue
		}
		zeros := make([]byte, r.grown-l.made[r.segment])
		if _, err := l.file.WriteAt(zeros, begin(r.segment)+l.made[r.segment]); err != nil {
			return err
		}
		l.made[r.segment], grown = r.grown, true
	}
	if !grown {
		return nil
	}
	return durable.SyncData(l.file)
}

// stamp fills in the head of a record that is written when everything up to durable is
// durable.
func (id ID) stamp(r *record, durable LSN) {
	head := r.bytes[:HeadBytes]
	binary.BigEndian.PutUint32(head, recordMagic)
	binary.BigEndian.PutUint32(head[4:], uint32(len(r.bytes)-HeadBytes))
	binary.BigEndian.PutUint64(head[8:], uint64(r.lsn))
	binary.BigEndian.PutUint64(head[16:], uint64(durable))
	binary.BigEndian.PutUint32(head[24:], id.checksum(r.bytes))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is of the ID, and of all of a record but the checksum itself.
func (id ID) checksum(record []byte) uint32 {
	sum := crc32.Checksum(id[:], castagnoli)
	sum = crc32.Update(sum, castagnoli, record[:HeadBytes-4])
	return crc32.Update(sum, castagnoli, record[HeadBytes:])
}

// Close lets go of the file, and leaves it where it is. What was appended and not
// waited for may be lost.
func (l *Log) Close() error { return l.file.Close() }

// Empty takes all records from the log at path. It comes before the owner forgets the
// log: no crash leaves records in a log that nobody knows.
func Empty(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(blockBytes), f.Sync(), f.Close())
}

// Remove removes the log at path.
func Remove(path string) error {
	return errors.Join(os.Remove(path), durable.SyncDir(filepath.Dir(path)))
}

// SetAside renames the log at path, if there is one, to a name that is free:
// path.1, or else path.2, …
func SetAside(path string) error {
	to, err := free(path)
	if err != nil {
		return err
	}
	if err := os.Rename(path, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

func free(path string) (string, error) {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.%d", path, n)
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
}
