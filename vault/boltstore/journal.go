package boltstore

import (
	"context"
	"errors"
	"fmt"

	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/chunk"
	"example.com/atm/vault/boltstore/codec"
	"example.com/atm/vault/boltstore/memtable"
	bolt "go.etcd.io/bbolt"
)

// The journal is stored in chunks: entries that were committed together are compressed
// and sealed as one value, under the index of the first.
//
// The length of a sealed chunk says how much alike its entries are. The published log,
// which is not sealed, says everything that they say.

var errNoEntry = errors.New("it is missing")

// A journal reads the journal as a view sees it. It keeps the chunk that it read last.
type journal struct {
	shelf   shelf
	cursor  *bolt.Cursor
	begin   vault.JournalIndex // index of the first of entries
	entries []chunk.Entry
	shared  *chunkMemory // for one chunk after the other; nil when each gets its own
}

// A chunkMemory is memory to open and decode chunks in.
type chunkMemory struct {
	opened  []byte
	decoder chunk.Decoder
}

func newChunkMemory() *chunkMemory { return &chunkMemory{opened: make([]byte, 0, chunk.Bytes/2)} }

func (v view) journal() *journal {
	s := v.shelf(bucketJournal)
	return &journal{shelf: s, cursor: s.bucket.Cursor()}
}

// at returns an entry. Where chunks share memory, it is good until the next call.
func (j *journal) at(index vault.JournalIndex) (chunk.Entry, error) {
	if index < j.begin || index >= j.begin+vault.JournalIndex(len(j.entries)) {
		if err := j.read(index); err != nil {
			return chunk.Entry{}, fmt.Errorf("journal entry %d: %w", index, err)
		}
	}
	return j.entries[index-j.begin], nil
}

// read reads the chunk that has an entry.
func (j *journal) read(index vault.JournalIndex) error {
	c, has := j.shelf.view.memtables.Chunk(index)
	if !has {
		key := codec.JournalKey(index)
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
		first, err := codec.JournalIndex(k)
		if err != nil {
			return err
		}
		c = memtable.Chunk{First: first, Sealed: v}
	}
	if err := j.open(c); err != nil {
		return err
	}
	if index >= j.begin+vault.JournalIndex(len(j.entries)) {
		return errNoEntry
	}
	return nil
}

// open opens and decodes a chunk, or finds it where it was kept.
func (j *journal) open(c memtable.Chunk) error {
	if j.shared != nil {
		return j.openShared(c)
	}
	opened, first := &j.shelf.view.engine.opened, int64(c.First)
	o := opened.Get(first)
	if o == nil {
		value, err := j.shelf.open(codec.JournalKey(c.First), c.Sealed)
		if err != nil {
			return err
		}
		o = &chunk.Opened{First: first}
		if o.Entries, err = chunk.Decode(value); err != nil {
			return err
		}
		opened.Put(o)
	}
	j.begin, j.entries = c.First, o.Entries
	return nil
}

// openShared is open into memory that chunks share.
func (j *journal) openShared(c memtable.Chunk) error {
	j.begin, j.entries = c.First, nil
	value, err := j.shelf.openTo(j.shared.opened[:0], codec.JournalKey(c.First), c.Sealed)
	if err != nil {
		return err
	}
	j.shared.opened = value
	j.entries, err = j.shared.decoder.Decode(value)
	return err
}

// each calls yield with all chunks of bbolt itself, when there are no memtables, and
// bad with the keys of those that cannot be read. It reads each anew.
func (j *journal) each(ctx context.Context,
	yield func(first vault.JournalIndex, entries []chunk.Entry) error,
	bad func(k []byte, err error),
) error {
	j.shared = newChunkMemory()
	return j.shelf.bucket.ForEach(func(k, v []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		first, err := codec.JournalIndex(k)
		if err == nil {
			err = j.open(memtable.Chunk{First: first, Sealed: v})
		}
		if err != nil {
			bad(k, err)
			return nil
		}
		return yield(j.begin, j.entries)
	})
}

// entries yields the leaves of the journal from, … to-1. bbolt has those up
// to some place, and the memtables those from there on.
func (v view) entries(from, to vault.JournalIndex,
	yield func(index vault.JournalIndex, leaf []byte) error,
) error {
	journal := v.journal()
	journal.shared = newChunkMemory()
	for from < to {
		leaves := v.memtables.Leaves(from, to)
		if leaves == nil {
			e, err := journal.at(from)
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

// A journalWriter puts entries into chunks, and chunks where they belong.
type journalWriter struct {
	view  view
	shelf shelf
	chunk.Builder
}

// journalWriter returns a writer that uses the memory of an empty builder.
func (v view) journalWriter(memory chunk.Builder) *journalWriter {
	return &journalWriter{view: v, shelf: v.shelf(bucketJournal), Builder: memory}
}

// add adds the entry with this index, which follows the one before.
func (w *journalWriter) add(index vault.JournalIndex, links []chunk.Link, leaf []byte) error {
	if !w.Fits(len(links), len(leaf)) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.Add(int64(index), links, leaf)
	return nil
}

// flush puts the chunk where it belongs.
func (w *journalWriter) flush() error {
	if w.Len() == 0 {
		return nil
	}
	plainBytes := w.Len()
	index, value := w.Take()
	first := vault.JournalIndex(index)
	if w.view.batch == nil {
		return w.shelf.put(codec.JournalKey(first), value)
	}
	w.view.batch.AddChunk(w.shelf.keys, bucketJournal, first, value, plainBytes)
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
	end := vault.JournalEnd(logs, head)
	for index := v.engine.base.Load().Index; index < end; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, err := journal.at(index); err != nil {
			return nil, err
		}
		index = journal.begin // before the base, when that is in the middle of a chunk
		var again chunk.Builder
		for _, e := range journal.entries {
			parsed, err := audit.ParseEntry(e.Leaf)
			if err != nil {
				return nil, fmt.Errorf("journal entry %d: %w", index, err)
			}
			again.Add(int64(index), linksOf(spines, index, parsed.State, nil), e.Leaf)
			index++
		}
		first, value := again.Take()
		key := codec.JournalKey(vault.JournalIndex(first))
		if err := journal.shelf.put(key, value); err != nil {
			return nil, err
		}
	}
	return spines, nil
}
