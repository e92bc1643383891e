package boltstore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"example.com/atm/vault"
	bolt "go.etcd.io/bbolt"
)

// A layer is what was committed and is not in the vault yet, as it was before it
// was sealed, but for the journal.
type layer struct {
	values   []map[string][]byte // by number of the bucket; none of the journal, and none of requests
	requests map[request]int64
	answered []keptRequest // what requests has, in order
	journal  []chunk       // in order
	leaves   [][]byte      // of all entries of the journal
	bytes    int           // about what it holds
	newest   *batch        // that is in it; nil while it is empty

	begun, touched time.Time // when the first batch came, and the newest; guarded by Store.writing
}

// newLayer returns a layer with room for as much as another has.
func newLayer(like *layer) *layer {
	l := &layer{values: make([]map[string][]byte, len(buckets))}
	if like == nil {
		like = l
	}
	for i := range l.values {
		l.values[i] = make(map[string][]byte, len(like.values[i]))
	}
	l.requests = make(map[request]int64, len(like.requests))
	l.answered = make([]keptRequest, 0, len(like.answered))
	l.journal = make([]chunk, 0, len(like.journal))
	l.leaves = make([][]byte, 0, len(like.leaves))
	return l
}

const (
	// layerBytes is the size of a layer at which it is written to the vault, when the
	// one before it has been. Small ones take the processor and the disk from others
	// for a shorter time.
	layerBytes = 2 << 20

	// perAccount is how many entries there are for each account in a layer that is
	// worth writing. Where each operation is on another account, each costs a page of
	// the vault; it is shared by more of them the more there are, up to layerMost.
	perAccount = 4

	// layerMost is the size at which a layer is written in any case. It bounds the
	// memory; half of the log has room for more, unless its entries are not alike.
	layerMost = 64 << 20

	// putsAtOnce is how many values are put before others have their turn, whom
	// somebody waits for.
	putsAtOnce = 64
)

// layerAge is how long a layer waits for more at most, and layerQuiet how long where
// nothing comes. Tests make them longer.
var layerAge, layerQuiet = 4 * time.Second, time.Second

// bytesAtOnce is about how much one transaction writes to the vault, whose pages of
// before are free for the next one only. Tests make it smaller.
var bytesAtOnce = 16 << 20

// ripe reports whether a layer is worth writing.
func (l *layer) ripe() bool {
	return l.bytes >= layerBytes && len(l.leaves) >= perAccount*len(l.values[numberAccounts])
}

// layers are those of a store. The older one is there only while it is being
// written to the vault.
type layers struct {
	mu           sync.RWMutex // held for writing while they change
	newer, older *layer       // guarded by mu

	written chan struct{} // closed when older is in the vault; guarded by Store.writing
	failed  error         // why it is not; set before written is closed
}

// A batch is what one commit writes: chunks of the journal, which are sealed as the
// vault has them, and everything else, which is sealed as one value.
type batch struct {
	record   []byte // for the write-ahead log
	journal  []chunk
	leaves   [][]byte
	puts     []put
	requests []keptRequest
	rest     []byte // the puts and requests, as replay reads them
	bytes    int    // of the chunks, before they were packed

	// Where the record goes in the write-ahead log.
	number uint64
	half   int
	at     int64 // in the file, in bytes
	grown  int64 // bytes of the half whose blocks must be there

	durable bool // guarded by flusher.mu
}

type put struct {
	bucket     int
	key, value []byte
}

type keptRequest struct {
	key   request
	index int64
}

// newBatch returns a batch with room for what most commits like this one write.
func newBatch(c *vault.Changes) *batch {
	const head, account, request, around = 1 << 10, 128, 40, 16 // bytes
	rest := head + len(c.Accounts)*account + len(c.Requests)*request
	plain := 0
	for i := range c.Entries {
		plain += len(c.Entries[i].Leaf) + around
	}
	chunks := min(plain, 1<<10+plain/3) // nearly always
	record := recordHead + chunks + rest + (plain/chunkBytes+2)*(sealedOverhead+around)
	return &batch{
		record: make([]byte, recordHead, record),
		rest:   make([]byte, 0, rest),
		leaves: make([][]byte, 0, len(c.Entries)), puts: make([]put, 0, len(c.Accounts)+2), requests: make([]keptRequest, 0, len(c.Requests)),
	}
}

// put adds a value.
func (b *batch) put(bucket int, key, value []byte) {
	b.rest = appendValue(b.rest, bucket, key, value)
	b.puts = append(b.puts, put{bucket, key, value})
}

// putRequest adds a request id.
func (b *batch) putRequest(key request, index int64) {
	var value [8]byte
	binary.BigEndian.PutUint64(value[:], uint64(index))
	b.rest = appendValue(b.rest, numberRequests, key[:], value[:])
	b.requests = append(b.requests, keptRequest{key, index})
}

// appendValue appends what replay reads a value from.
func appendValue(to []byte, bucket int, key, value []byte) []byte {
	to = append(to, byte(bucket))
	to = append(binary.AppendUvarint(to, uint64(len(key))), key...)
	return append(binary.AppendUvarint(to, uint64(len(value))), value...)
}

// seal seals a value into the record, and returns it as it is sealed.
func (b *batch) seal(keys *keyring, number int, name, key, value []byte) []byte {
	b.record = append(b.record, byte(number))
	b.record = append(binary.AppendUvarint(b.record, uint64(len(key))), key...)
	b.record = binary.AppendUvarint(b.record, uint64(len(value)+sealedOverhead))
	begin := len(b.record)
	b.record = keys.sealTo(b.record, name, value, associated(name, key))
	return b.record[begin:len(b.record):len(b.record)]
}

// add puts a batch on top of the layers.
func (l *layers) add(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range b.puts {
		l.newer.values[p.bucket][string(p.key)] = p.value
	}
	for _, r := range b.requests {
		l.newer.requests[r.key] = r.index
	}
	l.newer.answered = append(l.newer.answered, b.requests...)
	l.newer.journal = append(l.newer.journal, b.journal...)
	l.newer.leaves = append(l.newer.leaves, b.leaves...)
	l.newer.bytes += b.bytes + len(b.rest)
	l.newer.touched = time.Now()
	if l.newer.newest == nil {
		l.newer.begun = l.newer.touched
	}
	l.newer.newest = b
}

// A txn is the store as one transaction sees it: the vault, under what the
// layers have on top of it.
type txn struct {
	store  *Store
	file   *bolt.Tx
	layers []*layer // the newest first; nil when there is nothing in them that counts
	batch  *batch   // takes the changes; nil when the vault itself does
}

// look calls found with the layers, the newest first, until it returns true.
func (t txn) look(found func(l *layer) bool) {
	if t.layers == nil {
		return
	}
	t.store.layers.mu.RLock()
	defer t.store.layers.mu.RUnlock()
	for _, l := range t.layers {
		if found(l) {
			return
		}
	}
}

// get returns a value that the layers have. Has reports whether they do.
func (t txn) get(bucket int, key []byte) (value []byte, has bool) {
	t.look(func(l *layer) bool {
		value, has = l.values[bucket][string(key)]
		return has
	})
	return value, has
}

// request returns the entry that answered a request id, if it is kept: in the layers,
// or filed in the vault.
func (t txn) request(filed *bolt.Cursor, key request) (index int64, kept bool, err error) {
	t.look(func(l *layer) bool {
		index, kept = l.requests[key]
		return kept
	})
	if kept {
		return index, true, nil
	}
	k, v := filed.Seek(key[:])
	if string(k) != string(key[:]) {
		return 0, false, nil
	}
	index, err = journalIndex(v)
	return index, err == nil, err
}

// leaves returns leaves of the journal that the layers have, from an index on to
// another at most; none when they do not have the first one.
func (t txn) leaves(from, to int64) (found [][]byte) {
	t.look(func(l *layer) bool {
		if !l.has(from) {
			return false
		}
		begin := from - l.journal[0].first
		found = l.leaves[begin:min(begin+to-from, int64(len(l.leaves)))]
		return true
	})
	return found
}

// chunk returns the sealed chunk of the journal that the layers have an entry in,
// if any.
func (t txn) chunk(index int64) (c chunk, has bool) {
	t.look(func(l *layer) bool {
		if has = l.has(index); !has {
			return false
		}
		i, exact := slices.BinarySearchFunc(l.journal, index, func(c chunk, index int64) int { return cmp.Compare(c.first, index) })
		if !exact {
			i-- // the one that begins before it
		}
		c = l.journal[i]
		return true
	})
	return c, has
}

// has reports whether an entry of the journal is in the layer.
func (l *layer) has(index int64) bool {
	return len(l.journal) > 0 && l.journal[0].first <= index && index < l.journal[0].first+int64(len(l.leaves))
}

// now returns the layers, the newest first.
func (l *layers) now() []*layer {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.older == nil {
		return []*layer{l.newer}
	}
	return []*layer{l.newer, l.older}
}

// begin returns the store as it is now, and later for what is changed later. end
// lets go of it.
//
// The layers come first: what is in them is not lost when it reaches the file
// meanwhile. Their lock is not held while the file is opened for reading, which
// waits for a memory map that grows, which waits for readers, who need the lock.
func (s *Store) begin() (t txn, end func(), err error) {
	t = txn{store: s, layers: s.layers.now()}
	if t.file, err = s.db.Begin(false); err != nil {
		return txn{}, nil, err
	}
	return t, func() { t.file.Rollback() }, nil
}

// settled calls read with a snapshot of the store in which the vault has
// everything.
func (s *Store) settled(read func(t txn) error) error {
	tx, err := func() (*bolt.Tx, error) {
		s.writing.Lock()
		defer s.writing.Unlock()
		if err := s.settle(); err != nil {
			return nil, err
		}
		return s.db.Begin(false)
	}()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return s.db.use(func() error { return read(txn{store: s, file: tx}) })
}

// exclusive lets change work on the vault itself, while nothing is committed.
func (s *Store) exclusive(change func(t txn) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.settle(); err != nil {
		return err
	}
	return s.db.use(func() error {
		err := s.db.Update(func(tx *bolt.Tx) error { return change(txn{store: s, file: tx}) })
		if err == nil {
			err = s.refresh()
		}
		return err
	})
}

// turn lets the newer layer become the older one, whose turn it is to be written, when
// the one before it has been. The caller holds s.writing.
func (s *Store) turn() error {
	if err := s.awaitWritten(); err != nil {
		return err
	}
	s.wal.turn()
	s.layers.mu.Lock()
	s.layers.older, s.layers.newer = s.layers.newer, newLayer(s.layers.newer)
	s.layers.mu.Unlock()
	s.layers.written = make(chan struct{})
	go s.writeOlder(s.layers.older, s.layers.written, s.wal, s.now)
	return nil
}

// settle waits until the vault has everything. The caller holds s.writing.
func (s *Store) settle() error {
	if s.broken != nil {
		return s.broken
	}
	if s.layers.newer.newest != nil {
		if err := s.turn(); err != nil {
			return err
		}
	}
	return errors.Join(s.flusher.settle(s.wal), s.awaitWritten())
}

// ripen lets the newer layer be written when it has waited for long enough.
func (s *Store) ripen() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.ripening = false
	switch newer := s.layers.newer; {
	case s.broken != nil || s.closed || newer.newest == nil:
	case newer.waited() && s.layers.idle():
		s.broken = s.turn()
	default: // nobody is to wait for what is being written
		s.ripenLater()
	}
}

// waited reports whether a layer need not wait for more any longer.
func (l *layer) waited() bool {
	return time.Since(l.touched) >= layerQuiet || time.Since(l.begun) >= layerAge
}

// ripenLater calls ripen when the newer layer may have waited for long enough. The
// caller holds s.writing.
func (s *Store) ripenLater() {
	s.ripening = true
	time.AfterFunc(layerQuiet, s.ripen)
}

// idle reports whether no layer is being written. The caller holds Store.writing.
func (l *layers) idle() bool {
	if l.written == nil {
		return true
	}
	select {
	case <-l.written:
		return true
	default:
		return false
	}
}

// awaitWritten waits until there is no older layer. The caller holds s.writing.
func (s *Store) awaitWritten() error {
	if s.layers.written != nil {
		<-s.layers.written
		s.layers.written = nil
	}
	return s.layers.failed
}

// writeOlder writes the older layer to the vault, when it is durable.
func (s *Store) writeOlder(l *layer, written chan struct{}, w *wal, now time.Time) {
	defer close(written)
	err := s.flusher.wait(w, l.newest)
	if err == nil {
		err = s.db.use(func() error { return s.writeLayer(l, w.session, now) })
	}
	if err != nil {
		s.layers.failed = fmt.Errorf("write the vault: %w", err)
		return
	}
	s.layers.mu.Lock()
	defer s.layers.mu.Unlock()
	s.layers.older = nil
}

// writeLayer writes a layer in one transaction, or in several when it is large. Until
// the last one notes that the layer is in the vault, the write-ahead log has all of
// it, and it will be written again.
func (s *Store) writeLayer(l *layer, used session, now time.Time) error {
	w := layerWriter{txn: txn{store: s}}
	defer w.end()
	for v := range l.all() {
		if err := w.put(v); err != nil {
			return err
		}
	}
	if err := w.begin(); err != nil {
		return err
	}
	issued := w.txn.shelf(bucketIssued)
	for serial := range l.values[issued.number] {
		if err := issued.sweep([]byte(serial), now.Add(-issuedKept)); err != nil {
			return err
		}
	}
	if err := expire(w.txn.file.Bucket(bucketRequests), now); err != nil {
		return err
	}
	if err := setMark(w.txn.file, used, l.newest.number); err != nil {
		return err
	}
	return w.commit()
}

// A filed value is one as the vault stores it, but for the seal that it needs if it is
// plain.
type filed struct {
	put
	plain bool
}

// all yields what is in a layer, each bucket in order.
func (l *layer) all() iter.Seq[filed] {
	return func(yield func(filed) bool) {
		for _, c := range l.journal {
			if !yield(filed{put{numberJournal, journalKey(c.first), c.sealed}, false}) {
				return
			}
		}
		for bucket, values := range l.values {
			for _, key := range slices.Sorted(maps.Keys(values)) {
				if !yield(filed{put{bucket, []byte(key), values[key]}, true}) {
					return
				}
			}
		}
		memory := make([]byte, 8*len(l.answered))
		for i := range l.answered { // those that tell their time are nearly in order
			r, index := &l.answered[i], memory[8*i:8*i+8]
			binary.BigEndian.PutUint64(index, uint64(r.index))
			if !yield(filed{put{numberRequests, r.key[:], index}, false}) {
				return
			}
		}
	}
}

// A layerWriter puts values into the vault, so many in one transaction.
type layerWriter struct {
	txn     txn // its file is nil between two
	shelves []shelf
	puts    int
	bytes   int // of the transaction
}

// begin begins a transaction, when there is none.
func (w *layerWriter) begin() error {
	if w.txn.file != nil {
		return nil
	}
	var err error
	if w.txn.file, err = w.txn.store.db.Begin(true); err != nil {
		return err
	}
	w.bytes, w.shelves = 0, w.shelves[:0]
	for _, name := range buckets {
		w.shelves = append(w.shelves, w.txn.shelf(name))
	}
	return nil
}

// put puts a value, and commits when that is enough for one transaction.
func (w *layerWriter) put(v filed) error {
	if err := w.begin(); err != nil {
		return err
	}
	if w.puts++; w.puts%putsAtOnce == 0 {
		runtime.Gosched()
	}
	var err error
	shelf := w.shelves[v.bucket]
	if v.plain {
		w.bytes += os.Getpagesize() // each is about in a page of its own
		err = shelf.put(v.key, v.value)
	} else {
		w.bytes += len(v.value)
		err = shelf.bucket.Put(v.key, v.value)
	}
	if err != nil || w.bytes < bytesAtOnce {
		return err
	}
	return w.commit()
}

func (w *layerWriter) commit() error {
	err := w.txn.file.Commit()
	w.txn.file = nil
	return err
}

// end takes back what was not committed.
func (w *layerWriter) end() {
	if w.txn.file != nil {
		w.txn.file.Rollback() // fails only when it has ended
	}
}
