package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A layer is what was committed and is not in the vault yet.
type layer struct {
	values []map[string][]byte // sealed, by number of the bucket
	leaves map[int64][]byte    // of the entries of the journal among them, as they were before they were sealed
	bytes  int
	last   uint64 // number of the newest record in it
}

func newLayer() *layer {
	l := &layer{values: make([]map[string][]byte, len(sealedBuckets)), leaves: make(map[int64][]byte)}
	for i := range l.values {
		l.values[i] = make(map[string][]byte)
	}
	return l
}

const (
	// layerBytes is the size of a layer at which it is written to the vault, when the
	// one before it has been. It grows until the half of the log is full otherwise.
	layerBytes = 8 << 20

	// putsAtOnce is how many values are put before others have their turn, whom
	// somebody waits for.
	putsAtOnce = 64

	// layerAge is how long a layer waits for more at most.
	layerAge = time.Second
)

// layers are those of a store. The older one is there only while it is being
// written to the vault.
type layers struct {
	mu           sync.RWMutex // held for writing while they change
	newer, older *layer       // guarded by mu

	written chan struct{} // closed when older is in the vault; guarded by Store.writing
	failed  error         // why it is not; set before written is closed
}

// A batch is what one commit writes. Its values are parts of the record.
type batch struct {
	record []byte // for the write-ahead log
	bound  []byte // memory for what a value is sealed beside
	puts   []put
	leaves []leaf

	// Where the record goes in the write-ahead log.
	number uint64
	half   int
	at     int64 // in the file, in bytes
	grown  int64 // bytes of the half whose blocks must be there

	durable bool // guarded by flusher.mu
}

type put struct {
	bucket int
	key    string
	begin  int // of the sealed value in the record
	end    int
}

type leaf struct {
	index int64
	bytes []byte
}

// perCommand is about what the record of a commit has for each of its commands.
const perCommand = 3 << 9

func newBatch(commands int) *batch {
	return &batch{record: make([]byte, recordHead, recordHead+commands*perCommand), puts: make([]put, 0, 4*commands)}
}

// put seals a value.
func (b *batch) put(s shelf, key, value []byte) {
	b.record = append(b.record, byte(s.number))
	b.record = append(binary.AppendUvarint(b.record, uint64(len(key))), key...)
	b.record = binary.AppendUvarint(b.record, uint64(len(value)+sealedOverhead))
	begin := len(b.record)
	b.bound = appendAssociated(b.bound[:0], s.name, key)
	b.record = s.keys.sealTo(b.record, s.name, value, b.bound)
	b.puts = append(b.puts, put{s.number, string(key), begin, len(b.record)})
}

// sealed is the value of a put.
func (b *batch) sealed(p put) []byte { return b.record[p.begin:p.end:p.end] }

// add puts a batch on top of the layers.
func (l *layers) add(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range b.puts {
		l.newer.values[p.bucket][p.key] = b.sealed(p)
	}
	for _, e := range b.leaves {
		l.newer.leaves[e.index] = e.bytes
	}
	l.newer.bytes += len(b.record)
	l.newer.last = b.number
}

// openBuckets are the sealed buckets in the order of their numbers.
func openBuckets(tx *bolt.Tx) []*bolt.Bucket {
	buckets := make([]*bolt.Bucket, len(sealedBuckets))
	for i, name := range sealedBuckets {
		buckets[i] = tx.Bucket(name)
	}
	buckets[numberJournal].FillPercent = 1 // keys only ever come at the end
	return buckets
}

// A txn is the store as one transaction sees it: the vault, under what the
// layers have on top of it.
type txn struct {
	store  *Store
	file   *bolt.Tx
	layers []*layer // the newest first; nil when there is nothing in them that counts
	batch  *batch   // takes the changes; nil when the vault itself does
}

// get returns a sealed value that the layers have. Has reports whether they do.
func (t txn) get(bucket int, key []byte) (sealed []byte, has bool) {
	if t.layers == nil {
		return nil, false
	}
	t.store.layers.mu.RLock()
	defer t.store.layers.mu.RUnlock()
	for _, l := range t.layers {
		if sealed, has = l.values[bucket][string(key)]; has {
			return sealed, true
		}
	}
	return nil, false
}

// leaf returns the leaf of an entry of the journal that a layer has.
func (t txn) leaf(index int64) []byte {
	if t.layers == nil {
		return nil
	}
	t.store.layers.mu.RLock()
	defer t.store.layers.mu.RUnlock()
	for _, l := range t.layers {
		if leaf := l.leaves[index]; leaf != nil {
			return leaf
		}
	}
	return nil
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
	return guarded(func() error { return read(txn{store: s, file: tx}) })
}

// exclusive lets change work on the vault itself, while nothing is committed.
func (s *Store) exclusive(change func(t txn) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.settle(); err != nil {
		return err
	}
	return guarded(func() error {
		err := s.db.Update(func(tx *bolt.Tx) error { return change(txn{store: s, file: tx}) })
		if err == nil {
			err = s.refresh()
		}
		return err
	})
}

// turn lets the newer layer become the older one, whose turn it is to be written,
// when it is durable and the one before it has been. The caller holds s.writing.
func (s *Store) turn() error {
	if err := errors.Join(s.flusher.settle(s.wal), s.awaitWritten()); err != nil {
		return err
	}
	s.wal.turn()
	s.layers.mu.Lock()
	s.layers.older, s.layers.newer = s.layers.newer, newLayer()
	s.layers.mu.Unlock()
	s.layers.written = make(chan struct{})
	go s.writeOlder(s.layers.older, s.layers.written, s.wal.session, s.now)
	return nil
}

// settle waits until the vault has everything. The caller holds s.writing.
func (s *Store) settle() error {
	if s.broken != nil {
		return s.broken
	}
	if s.layers.newer.last > 0 {
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
	if s.broken == nil && !s.closed && s.layers.newer.last > 0 {
		s.broken = s.turn()
	}
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

// writeOlder writes the older layer to the vault in one transaction.
func (s *Store) writeOlder(l *layer, written chan struct{}, used session, now time.Time) {
	defer close(written)
	err := guarded(func() error {
		return s.db.Update(func(tx *bolt.Tx) error { return s.writeLayer(tx, l, used, now) })
	})
	if err != nil {
		s.layers.failed = fmt.Errorf("write the vault: %w", err)
		return
	}
	s.layers.mu.Lock()
	defer s.layers.mu.Unlock()
	s.layers.older = nil
}

func (s *Store) writeLayer(tx *bolt.Tx, l *layer, used session, now time.Time) error {
	buckets := openBuckets(tx)
	puts := 0
	for i, values := range l.values {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if puts++; puts%putsAtOnce == 0 {
				runtime.Gosched()
			}
			if err := buckets[i].Put([]byte(key), values[key]); err != nil {
				return err
			}
		}
	}
	issued := txn{store: s, file: tx}.shelf(bucketIssued)
	for serial := range l.values[issued.number] {
		if err := issued.sweep([]byte(serial), now.Add(-issuedKept)); err != nil {
			return err
		}
	}
	if err := expire(tx.Bucket(bucketRequests), now); err != nil {
		return err
	}
	return setMark(tx, used, l.last)
}
