// Package journal reads and writes the journal of a bbolt file.
//
// The journal is stored in chunks: entries that were committed together are compressed
// and sealed as one value, under the index of the first.
//
// The length of a sealed chunk says how much alike its entries are. The published log,
// which is not sealed, says everything that they say.
package journal

import (
	"context"
	"errors"
	"fmt"

	"example.com/atm/internal/ahead"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/memtable"
	"example.com/atm/vault/boltstore/shelf"
	"example.com/atm/vault/chunk"
	"example.com/atm/vault/codec"
	bolt "go.etcd.io/bbolt"
)

// ErrNoEntry reports an entry that the journal does not have.
var ErrNoEntry = errors.New("it is missing")

// A Reader reads the journal as a view sees it. It keeps the chunk that it read last.
type Reader struct {
	Begin   vault.JournalIndex // index of the first of Entries
	Entries []chunk.Entry      // of the chunk that was read last

	shelf  shelf.Shelf
	cursor *bolt.Cursor
	opened *chunk.Cache

	opening []byte  // memory that chunks are opened in before they are decoded
	shared  *memory // for one chunk after the other; nil when each gets its own
}

// memory is what chunks are opened and decoded in.
type memory struct {
	opened  []byte
	decoder chunk.Decoder
}

// open opens and decodes a chunk. What it returns is good until the next call.
func (m *memory) open(s shelf.Shelf, key, sealed []byte) ([]chunk.Entry, error) {
	value, err := s.OpenTo(m.opened[:0], key, sealed)
	if err != nil {
		return nil, err
	}
	m.opened = value
	return m.decoder.Decode(value)
}

func newMemory() *memory { return &memory{opened: make([]byte, 0, chunk.Bytes/2)} }

// NewReader returns a reader of the journal on a shelf, which keeps chunks that it opened.
func NewReader(s shelf.Shelf, opened *chunk.Cache) *Reader {
	return &Reader{shelf: s, cursor: s.Bucket.Cursor(), opened: opened}
}

// At returns an entry. Where chunks share memory, it is good until the next call.
func (r *Reader) At(index vault.JournalIndex) (chunk.Entry, error) {
	if index < r.Begin || index >= r.end() {
		if err := r.read(index); err != nil {
			return chunk.Entry{}, fmt.Errorf("journal entry %d: %w", index, err)
		}
	}
	return r.Entries[index-r.Begin], nil
}

func (r *Reader) end() vault.JournalIndex { return r.Begin + vault.JournalIndex(len(r.Entries)) }

// read reads the chunk that has an entry.
func (r *Reader) read(index vault.JournalIndex) error {
	c, has := r.shelf.Memtables.Chunk(index)
	if !has {
		key := codec.JournalKey(index)
		k, v := r.cursor.Seek(key)
		switch {
		case k == nil:
			k, v = r.cursor.Last()
		case string(k) != string(key):
			k, v = r.cursor.Prev()
		}
		if k == nil {
			return ErrNoEntry
		}
		first, err := codec.JournalIndex(k)
		if err != nil {
			return err
		}
		c = memtable.Chunk{First: first, Sealed: v}
	}
	if err := r.open(c); err != nil {
		return err
	}
	if index >= r.end() {
		return ErrNoEntry
	}
	return nil
}

// open opens and decodes a chunk, or finds it where it was kept.
func (r *Reader) open(c memtable.Chunk) error {
	if r.shared != nil {
		return r.openShared(c)
	}
	first := int64(c.First)
	o := r.opened.Get(first)
	if o == nil {
		value, err := r.shelf.OpenTo(r.opening[:0], codec.JournalKey(c.First), c.Sealed)
		if err != nil {
			return err
		}
		r.opening = value
		o = &chunk.Opened{First: first}
		if o.Entries, err = chunk.Decode(value); err != nil {
			return err
		}
		r.opened.Put(o)
	}
	r.Begin, r.Entries = c.First, o.Entries
	return nil
}

// openShared is open into memory that chunks share.
func (r *Reader) openShared(c memtable.Chunk) error {
	r.Begin, r.Entries = c.First, nil
	entries, err := r.shared.open(r.shelf, codec.JournalKey(c.First), c.Sealed)
	if err == nil {
		r.Entries = entries
	}
	return err
}

// Each gives all chunks that bbolt has of the journal on a shelf to look, on all processors, and
// what look returns of them to yield, in order. It calls bad with the keys of those that cannot
// be read. Entries are good until yield returns.
func Each[T any](ctx context.Context, s shelf.Shelf,
	look func(first vault.JournalIndex, entries []chunk.Entry) T, yield func(T) error,
	bad func(k []byte, err error),
) error {
	type looked struct {
		sealed *sealed
		value  T
		err    error
	}
	var free []*sealed
	line := ahead.New(func(l looked) error {
		free = append(free, l.sealed)
		if l.err != nil {
			bad(l.sealed.key, l.err)
			return nil
		}
		return yield(l.value)
	})
	err := s.Bucket.ForEach(func(k, v []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := &sealed{memory: newMemory()}
		if last := len(free) - 1; last >= 0 {
			c, free = free[last], free[:last]
		}
		// Only this goroutine reads the file, so that a disk that fails is an error.
		c.key, c.value = append(c.key[:0], k...), append(c.value[:0], v...)
		return line.Add(func() looked {
			l := looked{sealed: c}
			var first vault.JournalIndex
			var entries []chunk.Entry
			if first, entries, l.err = c.open(s); l.err == nil {
				l.value = look(first, entries)
			}
			return l
		})
	})
	if err != nil {
		return err
	}
	return line.End()
}

// sealed is a chunk as bbolt has it, and the memory that it is opened in.
type sealed struct {
	key, value []byte
	memory     *memory
}

func (c *sealed) open(s shelf.Shelf) (first vault.JournalIndex, entries []chunk.Entry, err error) {
	if first, err = codec.JournalIndex(c.key); err != nil {
		return 0, nil, err
	}
	entries, err = c.memory.open(s, c.key, c.value)
	return first, entries, err
}

// Leaves yields the leaves of the journal from, … to-1, each good until the next. bbolt has
// those up to some place, and the memtables those from there on.
func (r *Reader) Leaves(from, to vault.JournalIndex,
	yield func(index vault.JournalIndex, leaf []byte) error,
) error {
	r.shared = newMemory()
	for from < to {
		leaves := r.shelf.Memtables.Leaves(from, to)
		if leaves == nil {
			e, err := r.At(from)
			if err != nil {
				return err
			}
			leaves = [][]byte{e.Leaf}
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

// A Writer puts entries into chunks, and chunks where they belong.
type Writer struct {
	shelf shelf.Shelf
	chunk.Builder
}

// NewWriter returns a writer that uses the memory of an empty builder.
func NewWriter(s shelf.Shelf, memory chunk.Builder) *Writer {
	return &Writer{shelf: s, Builder: memory}
}

// Append adds the entry with this index, which follows the one before.
func (w *Writer) Append(index vault.JournalIndex, links []chunk.Link, leaf []byte) error {
	if !w.Fits(len(links), len(leaf)) {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	w.Add(int64(index), links, leaf)
	return nil
}

// Flush puts the chunk where it belongs.
func (w *Writer) Flush() error {
	if w.Len() == 0 {
		return nil
	}
	plainBytes := w.Len()
	index, value := w.Take()
	first := vault.JournalIndex(index)
	if w.shelf.Batch == nil {
		return w.shelf.Put(codec.JournalKey(first), value)
	}
	w.shelf.Batch.AddChunk(w.shelf.Keys, w.shelf.Name, first, value, plainBytes)
	return nil
}
