package boltstore

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"example.com/atm/internal/durable"
	"example.com/atm/vault"
	bolt "go.etcd.io/bbolt"
)

// The write-ahead log, vault.db-wal, holds what was committed since the vault was
// written last. A commit is one record in it, and so one write and one fdatasync,
// into blocks that are there already; a commit of bbolt is many writes and two.
//
// The file is a header and two halves. Records fill one half; when what it holds
// is to be written to the vault, the other half is filled from its beginning. A
// record begins at a block of its own, so that no block is written again that
// holds something which is needed. Each record has the number that follows that
// of the one before, which tells it from what an earlier use of the half left
// behind; its checksum covers the session, which tells it from what another file
// had there.
//
// Records that wait are written together, and a power cut may leave any of them. So
// each says up to which one all were durable when it was written: one of those that is
// missing is damage, any other was never answered.
//
// A record has the chunks of the journal, sealed as the vault has them, and one value
// with everything else that changed, which is sealed as a whole.

const (
	walBlock  = 4 << 10
	walHalf   = 32 << 20
	walGrowth = 1 << 20 // blocks are made in steps of so many bytes

	walMagic    = "atm vault write-ahead log, form 3\n"
	recordMagic = 0x61746d77
	recordHead  = 4 + 4 + 8 + 8 + 4 // magic, length of the payload, number, what was durable, checksum

	// In the form before, a record did not say what was durable.
	walMagic2   = "atm vault write-ahead log, form 2\n"
	recordHead2 = recordHead - 8
)

// ErrWAL reports a write-ahead log that does not go with the vault.
var ErrWAL = errors.New("the write-ahead log does not go with the vault")

// A session is the life of one write-ahead log. Its name is in the vault too, as
// long as the log is needed.
type session [16]byte

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is that of a record with a head of so many bytes, of which it has the last.
func (s session) checksum(record []byte, head int) uint32 {
	sum := crc32.Update(crc32.Checksum(s[:], castagnoli), castagnoli, record[:head-4])
	return crc32.Update(sum, castagnoli, record[head:])
}

// A wal is an open write-ahead log.
type wal struct {
	f       *os.File
	session session
	last    uint64   // number of the newest record
	half    int      // that is being filled
	at      int64    // where in it the next record goes, in bytes
	made    [2]int64 // bytes of each half whose blocks are there; of the flusher
}

func walPath(vault string) string { return vault + "-wal" }

// createWAL makes an empty log in place of what is there.
func createWAL(path string) (*wal, error) {
	w := &wal{}
	rand.Read(w.session[:]) // never fails
	header := make([]byte, walBlock)
	copy(header[copy(header, walMagic):], w.session[:])
	if err := durable.WriteFile(path, header, 0o600); err != nil {
		return nil, err
	}
	var err error
	w.f, err = os.OpenFile(path, os.O_RDWR, 0)
	return w, err
}

// fits reports whether there is room for a record in the half.
func (w *wal) fits(record []byte) bool { return int64(len(record)) <= walHalf-w.at }

// turn begins to fill the other half, whose records nobody needs any more.
func (w *wal) turn() { w.half, w.at = 1-w.half, 0 }

// place gives a batch the next number and its place in the log, into which it
// fits.
func (w *wal) place(b *batch) {
	w.last++
	b.number = w.last
	b.half, b.at = w.half, int64(walBlock+w.half*walHalf)+w.at
	w.at = (w.at + int64(len(b.record)) + walBlock - 1) &^ (walBlock - 1)
	b.grown = min((w.at+walGrowth-1)&^(walGrowth-1), walHalf)
}

// finish completes the record of a batch, which begins with recordHead bytes for what
// the log has to say of it: up to which one all records are durable, for one thing.
func (w *wal) finish(b *batch, durable uint64) {
	head := b.record[:recordHead]
	binary.BigEndian.PutUint32(head, recordMagic)
	binary.BigEndian.PutUint32(head[4:], uint32(len(b.record)-recordHead))
	binary.BigEndian.PutUint64(head[8:], b.number)
	binary.BigEndian.PutUint64(head[16:], durable)
	binary.BigEndian.PutUint32(head[24:], w.session.checksum(b.record, recordHead))
}

// readWAL returns the session of the log at path and the records in it that are whole.
// It returns fs.ErrNotExist when there is none.
func readWAL(path string) (s session, list []record, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, walBlock+2*walHalf))
	if err != nil {
		return s, nil, err
	}
	head := recordHead
	rest, ours := bytes.CutPrefix(data, []byte(walMagic))
	if !ours {
		head = recordHead2
		rest, ours = bytes.CutPrefix(data, []byte(walMagic2))
	}
	if !ours || len(rest) < len(s) {
		return s, nil, fmt.Errorf("%s: %w: it is of no known form", path, ErrWAL)
	}
	copy(s[:], rest)
	for i := range 2 {
		begin := min(walBlock+i*walHalf, len(data))
		list = append(list, s.records(data[begin:min(begin+walHalf, len(data))], head)...)
	}
	return s, list, nil
}

// A record is what one commit wrote.
type record struct {
	number  uint64
	durable uint64 // number of the last one that was durable when it was written
	payload []byte
}

// records returns those of a half that are whole, and what earlier uses of it left
// behind among them. Their heads have so many bytes.
func (s session) records(half []byte, head int) (list []record) {
	for len(half) > 0 {
		size := walBlock
		if r, n, is := s.record(half, head); is {
			list, size = append(list, r), n
		}
		half = half[min((size+walBlock-1)&^(walBlock-1), len(half)):]
	}
	return list
}

// record reads the record at the beginning of data, if there is a whole one, and
// says how many bytes it has.
func (s session) record(data []byte, head int) (r record, size int, is bool) {
	if len(data) < head || binary.BigEndian.Uint32(data) != recordMagic {
		return r, 0, false
	}
	length := uint64(binary.BigEndian.Uint32(data[4:]))
	if length > uint64(len(data)-head) {
		return r, 0, false
	}
	whole := data[:uint64(head)+length]
	if binary.BigEndian.Uint32(data[head-4:]) != s.checksum(whole, head) {
		return r, 0, false
	}
	r = record{number: binary.BigEndian.Uint64(data[8:]), payload: whole[head:]}
	if head == recordHead {
		r.durable = binary.BigEndian.Uint64(data[16:])
	} else {
		r.durable = r.number - 1 // nearly always
	}
	return r, len(whole), true
}

// after returns the records that follow the one with a number, in order, up to the
// first that is missing. Where that was durable the error is ErrWAL.
func after(records []record, applied uint64) (list []record, err error) {
	slices.SortFunc(records, func(a, b record) int { return cmp.Compare(a.number, b.number) })
	last, durable := applied, applied
	for _, r := range records {
		if r.number == last+1 {
			list, last = append(list, r), r.number
		}
		durable = max(durable, r.durable)
	}
	if durable > last {
		return list, fmt.Errorf("%w: it lacks record %d of %d", ErrWAL, last+1, durable)
	}
	return list, nil
}

// In a record stands, in place of the number of a bucket, beside what is sealed
// together; and the name under which it is.
const numberRest = 0xff

var nameRest = []byte("write-ahead log")

// eachValue calls put with everything that appendValue appended.
func eachValue(values []byte, put func(bucket int, key, value []byte) error) error {
	for rest := values; len(rest) > 0; {
		number := int(rest[0])
		key, after, whole := cutBytes(rest[1:])
		if !whole {
			return errRecord
		}
		var value []byte
		if value, rest, whole = cutBytes(after); !whole {
			return errRecord
		}
		if err := put(number, key, value); err != nil {
			return err
		}
	}
	return nil
}

func cutBytes(b []byte) (first, rest []byte, whole bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true
}

// recover brings the vault up to what its write-ahead log says, and removes the
// log. When the log cannot say all of it, a vault that may be older has what it can
// say, and the log is put aside.
//
// A file that is only read must need no log.
func (s *Store) recover(mayBeOlder, readOnly bool) error {
	path := walPath(s.db.Path())
	marked, used, applied, err := s.mark()
	if err != nil {
		return err
	}
	records, err := unwritten(path, marked, used, applied)
	older := mayBeOlder && errors.Is(err, ErrWAL)
	switch {
	case !marked && errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && !older:
		return err
	case readOnly && marked:
		return fmt.Errorf("%s: %w: it holds what was committed last, and the vault is only read", path, ErrWAL)
	case readOnly:
		return nil
	}
	if err := s.replay(used, records); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if older {
		return s.putAside(path)
	}
	return s.endWAL(path)
}

// putAside takes from the vault that it needs a log, and leaves the one at path, if
// any, under another name.
func (s *Store) putAside(path string) error {
	to, err := aside(path)
	if err != nil {
		return err
	}
	if err := os.Rename(path, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(durable.SyncDir(filepath.Dir(path)), s.unmark())
}

// aside is a name beside path that nothing has.
func aside(path string) (string, error) {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.%d", path, n)
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
}

// unwritten returns the records of the log at path that the vault does not have. With
// ErrWAL it returns those before what is missing.
func unwritten(path string, marked bool, used session, applied uint64) ([]record, error) {
	of, whole, err := readWAL(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && marked:
		return nil, fmt.Errorf("%s: %w: it is missing, and holds what was committed last", path, ErrWAL)
	case err != nil:
		return nil, err
	case !marked && len(whole) == 0: // it was about to begin, or to end
		return nil, nil
	case !marked || of != used:
		return nil, fmt.Errorf("%s: %w", path, ErrWAL)
	}
	records, err := after(whole, applied)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return records, err
}

// endWAL removes the log, everything in it being in the vault. The order matters:
// a vault that needs no log has none with records in it, and one that needs a log
// has one.
func (s *Store) endWAL(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(walBlock), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := s.unmark(); err != nil {
		return err
	}
	return remove(path)
}

// unmark notes in the vault that it needs no log.
func (s *Store) unmark() error {
	return s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyWAL) })
}

func remove(path string) error {
	return errors.Join(os.Remove(path), durable.SyncDir(filepath.Dir(path)))
}

// keyWAL has the session of the log that the vault needs and the number of the
// last record of it that is in the vault, and a checksum over both: records that were
// left out because of a wrong number would be missing in silence. It is absent when
// there is no log.
var keyWAL = []byte("wal")

const markBytes = len(session{}) + 8

// mark returns the log that the vault needs, if any, and how far it is in the
// vault.
func (s *Store) mark() (marked bool, used session, applied uint64, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketMeta).Get(keyWAL)
		if v == nil {
			return nil
		}
		switch len(v) {
		case markBytes: // as it was before it had a checksum
		case markBytes + 4:
			if crc32.Checksum(v[:markBytes], castagnoli) != binary.BigEndian.Uint32(v[markBytes:]) {
				return fmt.Errorf("%w: what it says of its write-ahead log was changed", vault.ErrDamaged)
			}
		default:
			return errRecord
		}
		marked, applied = true, binary.BigEndian.Uint64(v[copy(used[:], v):])
		return nil
	})
	return marked, used, applied, err
}

// setMark notes in the vault that it needs the log from the record after the one
// with this number.
func setMark(tx *bolt.Tx, used session, applied uint64) error {
	v := binary.BigEndian.AppendUint64(used[:len(used):len(used)], applied)
	return tx.Bucket(bucketMeta).Put(keyWAL, binary.BigEndian.AppendUint32(v, crc32.Checksum(v, castagnoli)))
}

// replay writes records to the vault, some in one transaction. Each is a commit, and
// so is each number of them.
func (s *Store) replay(used session, records []record) error {
	for len(records) > 0 {
		err := s.db.Update(func(tx *bolt.Tx) error {
			var last uint64
			for written := 0; len(records) > 0 && written < replayedAtOnce; records = records[1:] {
				r := records[0]
				if err := (txn{store: s, file: tx}).replay(r); err != nil {
					return fmt.Errorf("record %d: %w", r.number, err)
				}
				last, written = r.number, written+len(r.payload)
			}
			return setMark(tx, used, last)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// replayedAtOnce bounds the records that are replayed in one transaction, in bytes. It
// may write several times as much. Tests make it smaller.
var replayedAtOnce = 4 << 20

// replay writes a record to the vault.
func (t txn) replay(r record) error {
	journal, keys := t.shelf(bucketJournal), t.store.keys.Load()
	return eachValue(r.payload, func(number int, key, sealed []byte) error {
		switch number {
		case numberJournal:
			return journal.bucket.Put(key, sealed)
		case numberRest:
			rest, err := keys.open(nameRest, key, sealed)
			if err != nil {
				return err
			}
			return eachValue(rest, t.replayValue)
		}
		return errRecord
	})
}

// replayValue writes a value to the vault that a record has among the rest.
func (t txn) replayValue(number int, key, value []byte) error {
	if number >= len(buckets) || number == numberJournal {
		return errRecord
	}
	return t.shelf(buckets[number]).put(key, value)
}
