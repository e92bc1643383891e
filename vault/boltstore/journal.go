package boltstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"example.com/atm/audit"
	"github.com/klauspost/compress/s2"
	bolt "go.etcd.io/bbolt"
)

// The journal is kept in chunks: entries that were committed together are compressed
// and sealed as one value, as many as fit, under the index of the first. Sealing and
// storing a value costs the same for one entry as for ten, and entries are much alike:
// ten of them take the place of three.
//
// How long a sealed chunk is says how much alike they are. The published log, which
// is not sealed, says all of it.

const (
	// chunkBytes is the size of a chunk, before it is compressed, that more than one
	// entry is in. Who looks for one of them opens all.
	chunkBytes = 16 << 10

	// mostUnpacked bounds what is made of a value that says that it is a chunk. The
	// largest entry is far below.
	mostUnpacked = 16 << 20
)

// A chunk is one of them, sealed.
type chunk struct {
	first  int64 // index of its first entry
	sealed []byte
}

func journalKey(index int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(index)) }

// journalIndex reads a key that journalKey wrote.
func journalIndex(k []byte) (int64, error) {
	if len(k) != 8 {
		return 0, errRecord
	}
	return int64(binary.BigEndian.Uint64(k)), nil
}

// An entry is one of a chunk.
type entry struct {
	links []byte
	leaf  []byte
	count int // of links
}

// appendEntry appends the links of the accounts that an entry touches, and its leaf,
// to a chunk, which begins with formEntries.
func appendEntry(chunk []byte, index int64, links []link, leaf []byte) []byte {
	chunk = append(chunk, byte(len(links)))
	for _, l := range links {
		chunk = appendLink(chunk, index, l)
	}
	return append(binary.AppendUvarint(chunk, uint64(len(leaf))), leaf...)
}

// packChunk returns a chunk as it is sealed, in memory that to may have; the chunk
// itself where it does not become smaller.
func packChunk(to, chunk []byte) []byte {
	if most := 1 + s2.MaxEncodedLen(len(chunk)); cap(to) < most {
		to = make([]byte, most)
	}
	to = to[:cap(to)]
	to[0] = formPacked
	if packed := s2.Encode(to[1:], chunk[1:]); 1+len(packed) < len(chunk) {
		return to[:1+len(packed)]
	}
	return chunk
}

// unpackChunk undoes packChunk, and returns what comes behind the form.
func unpackChunk(to, v []byte) ([]byte, error) {
	switch {
	case len(v) < 2:
	case v[0] == formEntries:
		return v[1:], nil
	case v[0] == formPacked:
		if n, err := s2.DecodedLen(v[1:]); err != nil || n > mostUnpacked {
			return nil, errRecord
		}
		if plain, err := s2.Decode(to[:cap(to)], v[1:]); err == nil {
			return plain, nil
		}
	}
	return nil, errRecord
}

// decodeChunk takes what unpackChunk returns apart, into memory that to may have.
func decodeChunk(v []byte, to []entry) ([]entry, error) {
	if len(v) == 0 {
		return nil, errRecord
	}
	for len(v) > 0 {
		e := entry{count: int(v[0])}
		rest := v[1:]
		for range e.count {
			var whole bool
			if _, rest, whole = cutLink(rest); !whole {
				return nil, errRecord
			}
		}
		e.links = v[1 : len(v)-len(rest)]
		var whole bool
		if e.leaf, v, whole = cutBytes(rest); !whole || len(e.leaf) == 0 {
			return nil, errRecord
		}
		to = append(to, e)
	}
	return to, nil
}

// link returns the link at slot.
func (e entry) link(index int64, slot int) link {
	rest := e.links
	for range slot {
		_, rest, _ = cutLink(rest)
	}
	l, _, _ := cutLink(rest)
	return l.from(index)
}

// A journal reads the journal as a view sees it. It keeps the chunk that it read last.
type journal struct {
	shelf   shelf
	cursor  *bolt.Cursor
	begin   int64 // index of the first of entries
	entries []entry
	memory  []byte // for one chunk after the other; nil when each gets its own
	plain   []byte // the same, for what is unpacked
}

func (v view) journal() *journal {
	s := v.shelf(bucketJournal)
	return &journal{shelf: s, cursor: s.bucket.Cursor()}
}

// at returns an entry. Where chunks share memory, it is good until the next call.
func (j *journal) at(index int64) (entry, error) {
	if index < j.begin || index >= j.begin+int64(len(j.entries)) {
		if err := j.read(index); err != nil {
			return entry{}, fmt.Errorf("journal entry %d: %w", index, err)
		}
	}
	return j.entries[index-j.begin], nil
}

// read reads the chunk that has an entry.
func (j *journal) read(index int64) error {
	c, has := j.shelf.view.chunk(index)
	if !has {
		key := journalKey(index)
		k, v := j.cursor.Seek(key)
		switch {
		case k == nil:
			k, v = j.cursor.Last()
		case string(k) != string(key):
			k, v = j.cursor.Prev()
		}
		if k == nil {
			return errNoEntry
		}
		first, err := journalIndex(k)
		if err != nil {
			return err
		}
		c = chunk{first, v}
	}
	if err := j.open(c); err != nil {
		return err
	}
	if index >= j.begin+int64(len(j.entries)) {
		return errNoEntry
	}
	return nil
}

// open takes a chunk apart, or finds it where it was kept.
func (j *journal) open(c chunk) error {
	if j.memory != nil {
		return j.openShared(c)
	}
	kept := j.shelf.view.store.opened.of(c.first)
	o := kept.Load()
	if o == nil || o.first != c.first {
		packed, err := j.shelf.open(journalKey(c.first), c.sealed)
		if err != nil {
			return err
		}
		plain, err := unpackChunk(nil, packed)
		if err != nil {
			return err
		}
		o = &openChunk{first: c.first}
		if o.entries, err = decodeChunk(plain, nil); err != nil {
			return err
		}
		kept.Store(o)
	}
	j.begin, j.entries = o.first, o.entries
	return nil
}

// openShared is open into memory that chunks share.
func (j *journal) openShared(c chunk) error {
	j.begin, j.entries = c.first, j.entries[:0]
	packed, err := j.shelf.openTo(j.memory[:0], journalKey(c.first), c.sealed)
	if err != nil {
		return err
	}
	j.memory = packed
	plain, err := unpackChunk(j.plain, packed)
	if err != nil {
		return err
	}
	if packed[0] == formPacked {
		j.plain = plain
	}
	entries, err := decodeChunk(plain, j.entries)
	if err == nil {
		j.entries = entries
	}
	return err
}

// An openChunk is a chunk that was taken apart. It does not change.
type openChunk struct {
	first   int64
	entries []entry
}

// openChunks keeps some of those that were read last, about a megabyte, each in
// the place that its first index gives it. A page of a statement goes the same way
// through the journal many times.
type openChunks [64]atomic.Pointer[openChunk]

func (o *openChunks) of(first int64) *atomic.Pointer[openChunk] {
	const odd = 0x9e3779b97f4a7c15 // spreads neighbours
	return &o[uint64(first)*odd>>58]
}

// forget drops all, because the journal was written anew.
func (o *openChunks) forget() {
	for i := range o {
		o[i].Store(nil)
	}
}

// each calls yield with all chunks of bbolt itself, when there are no memtables, and
// bad with the keys of those that cannot be read. It reads each anew.
func (j *journal) each(ctx context.Context, yield func(first int64, entries []entry) error, bad func(k []byte, err error)) error {
	j.memory = make([]byte, 0, chunkBytes/2)
	return j.shelf.bucket.ForEach(func(k, v []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		first, err := journalIndex(k)
		if err == nil {
			err = j.open(chunk{first, v})
		}
		if err != nil {
			bad(k, err)
			return nil
		}
		return yield(j.begin, j.entries)
	})
}

// Entries implements audit.Source.
func (s *Store) Entries(ctx context.Context, from, to int64, yield func(index int64, leaf []byte) error) error {
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := min(to, from+entriesPerView)
		if err := s.entries(from, end, yield); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// entries is Entries in one view, which ends even if yield panics: what closes the store
// would wait for it for good.
func (s *Store) entries(from, to int64, yield func(index int64, leaf []byte) error) error {
	v, end, err := s.view()
	if err != nil {
		return err
	}
	defer end()
	return s.db.use(func() error { return v.entries(from, to, yield) })
}

// entriesPerView bounds how long one read transaction lasts, because pages
// that it can see are not reused meanwhile.
const entriesPerView = 1024

// entries yields the leaves of the journal from, … to-1. bbolt has those up
// to some place, and the memtables those from there on.
func (v view) entries(from, to int64, yield func(index int64, leaf []byte) error) error {
	journal := v.journal()
	journal.memory = make([]byte, 0, chunkBytes/2)
	for from < to {
		leaves := v.leaves(from, to)
		if leaves == nil {
			e, err := journal.at(from)
			if err != nil {
				return err
			}
			leaves = [][]byte{e.leaf}
		}
		for _, leaf := range leaves {
			if err := yield(from, leaf); err != nil {
				return err
			}
			from++
		}
	}
	return nil
}

// A journalWriter puts entries into chunks.
type journalWriter struct {
	view  view
	shelf shelf
	first int64 // index of the first entry of the chunk
	chunkMemory
}

// A chunkMemory is for one chunk after the other.
type chunkMemory struct {
	plain  []byte // the chunk, as it is so far
	packed []byte // one that was packed
}

// journalWriter returns one that uses memory for its chunks.
func (v view) journalWriter(memory chunkMemory) *journalWriter {
	return &journalWriter{view: v, shelf: v.shelf(bucketJournal), chunkMemory: memory}
}

// add adds the entry with this index, which follows the one before.
func (w *journalWriter) add(index int64, links []link, leaf []byte) error {
	if len(w.plain)+len(links)*maxLink+len(leaf)+8 > chunkBytes {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(w.plain) == 0 {
		w.first = index
		w.plain = append(w.plain, formEntries)
	}
	w.plain = appendEntry(w.plain, index, links, leaf)
	return nil
}

// flush puts the chunk where it belongs.
func (w *journalWriter) flush() error {
	if len(w.plain) == 0 {
		return nil
	}
	value := packChunk(w.packed, w.plain)
	if value[0] == formPacked {
		w.packed = value
	}
	key, b := journalKey(w.first), w.view.batch
	if b == nil {
		if err := w.shelf.put(key, value); err != nil {
			return err
		}
	} else {
		b.journal = append(b.journal, chunk{w.first, b.seal(w.shelf.keys, numberJournal, bucketJournal, key, value)})
		b.bytes += len(w.plain)
	}
	w.plain = w.plain[:0]
	return nil
}

// relink makes the links of all journal entries anew.
func (v view) relink(ctx context.Context) (spines, error) {
	_, head, err := v.readHead()
	if err != nil {
		return nil, err
	}
	logs, err := v.readLogs()
	if err != nil {
		return nil, err
	}
	spines := make(spines)
	journal := v.journal()
	for index, end := int64(0), logs[len(logs)-1]+head.Size; index < end; index += int64(len(journal.entries)) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, err := journal.at(index); err != nil {
			return nil, err
		}
		again := []byte{formEntries}
		for i, e := range journal.entries {
			index := index + int64(i)
			parsed, err := audit.ParseEntry(e.leaf)
			if err != nil {
				return nil, fmt.Errorf("journal entry %d: %w", index, err)
			}
			again = appendEntry(again, index, spines.grow(index, parsed.State, nil), e.leaf)
		}
		if err := journal.shelf.put(journalKey(index), packChunk(nil, again)); err != nil {
			return nil, err
		}
	}
	return spines, nil
}
