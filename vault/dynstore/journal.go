package dynstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"example.com/atm/vault"
	"example.com/atm/vault/chunk"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/history"
)

// The journal is in chunks of entries that were committed together, each under the index of its
// first entry. The chunks of bucketWidth entries have one PK, and none goes beyond: so the entry
// at an index is in the last chunk of its bucket that begins there or before.

// chunkBytes bounds a chunk before it is compressed; a chunk of one entry may be larger.
const chunkBytes = 64 << 10

// A chunkWriter makes chunks of entries.
type chunkWriter struct {
	builder chunk.Builder
	items   []table.Item
}

func (w *chunkWriter) add(index vault.JournalIndex, links []chunk.Link, leaf []byte) {
	if w.builder.Len() > 0 && (int64(index)%bucketWidth == 0 ||
		w.builder.Len()+len(leaf) > chunkBytes) {
		w.flush()
	}
	w.builder.Add(int64(index), links, leaf)
}

func (w *chunkWriter) flush() {
	if w.builder.Len() == 0 {
		return
	}
	first, data := w.builder.Take()
	w.items = append(w.items, table.Item{
		Key:  table.Key{PK: journalPK(first), SK: journalSK(first)},
		Data: bytes.Clone(data),
	})
}

// chunksOf returns the chunks of new entries, of which the first one has this index. The spines
// of the accounts grow by what they change.
func chunksOf(first vault.JournalIndex, entries []vault.Entry, spines history.Spines) []table.Item {
	var w chunkWriter
	var links []chunk.Link
	for i := range entries {
		index := first + vault.JournalIndex(i)
		links = history.Links(spines, index, entries[i].Touched, links)
		w.add(index, links, entries[i].Leaf)
	}
	w.flush()
	return w.items
}

// A journal reads the journal of a table. It keeps the chunk that it read last.
type journal struct {
	ctx   context.Context
	table *table.Table

	opened *opened // of what many read; nil to read all of it from the table

	begin   vault.JournalIndex // of entries
	entries []chunk.Entry
}

// opened are chunks that were read last, by bucket: a page of a statement goes the same way
// through the journal many times. A chunk never changes, but for its links in a rebuild.
type opened struct {
	mu      sync.Mutex
	buckets [openedBuckets]openedBucket // guarded by mu
}

// openedBuckets is how many buckets keep chunks.
const openedBuckets = 64

type openedBucket struct {
	number vault.JournalIndex
	chunks []chunk.Opened
}

// get returns the chunk that has an entry; nil when it is not kept.
func (o *opened) get(index vault.JournalIndex) *chunk.Opened {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := &o.buckets[index/bucketWidth%openedBuckets]
	if b.number != index/bucketWidth {
		return nil
	}
	for i := range b.chunks {
		c := b.chunks[i]
		if int64(index) >= c.First && int64(index) < c.First+int64(len(c.Entries)) {
			return &c
		}
	}
	return nil
}

// put keeps a chunk, in the place of those of another bucket.
func (o *opened) put(c chunk.Opened) {
	o.mu.Lock()
	defer o.mu.Unlock()
	number := vault.JournalIndex(c.First) / bucketWidth
	b := &o.buckets[number%openedBuckets]
	if b.number != number {
		*b = openedBucket{number: number}
	}
	b.chunks = append(b.chunks, c)
}

// forget drops all.
func (o *opened) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buckets = [openedBuckets]openedBucket{}
}

// errNoEntry reports an entry that the journal does not have.
var errNoEntry = errors.New("it is missing")

// At returns an entry.
func (j *journal) At(index vault.JournalIndex) (chunk.Entry, error) {
	if index < j.begin || index >= j.begin+vault.JournalIndex(len(j.entries)) {
		if err := j.read(index); err != nil {
			return chunk.Entry{}, fmt.Errorf("journal entry %d: %w", index, err)
		}
	}
	return j.entries[index-j.begin], nil
}

// read reads the chunk that has an entry.
func (j *journal) read(index vault.JournalIndex) error {
	j.begin, j.entries = index, nil
	if j.opened != nil {
		if c := j.opened.get(index); c != nil {
			j.begin, j.entries = vault.JournalIndex(c.First), c.Entries
			return nil
		}
	}
	err := j.table.Each(j.ctx, journalPK(int64(index)), table.Range{
		To: journalSK(int64(index)), Down: true, Limit: 1,
	}, j.open)
	if err == nil && index >= j.begin+vault.JournalIndex(len(j.entries)) {
		err = errNoEntry
	}
	if err == nil && j.opened != nil {
		j.opened.put(chunk.Opened{First: int64(j.begin), Entries: j.entries})
	}
	return err
}

// open makes a chunk the one that was read last.
func (j *journal) open(item *table.Item) (err error) {
	first, err := strconv.ParseInt(item.SK, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: chunk %s", vault.ErrDamaged, item.SK)
	}
	j.begin = vault.JournalIndex(first)
	j.entries, err = chunk.Decode(item.Data)
	return err
}

// chunks calls yield with each chunk that has entries of from, … to-1, in order.
func (j *journal) chunks(from, to vault.JournalIndex, yield func(*table.Item) error) error {
	for at := from; at < to; at = (at/bucketWidth + 1) * bucketWidth {
		if err := j.ctx.Err(); err != nil {
			return err
		}
		r := table.Range{To: journalSK(int64(to - 1))}
		if err := j.table.Each(j.ctx, journalPK(int64(at)), r, yield); err != nil {
			return err
		}
	}
	return nil
}

// Leaves yields the leaves of the journal from, … to-1 in order.
func (j *journal) Leaves(from, to vault.JournalIndex,
	yield func(index vault.JournalIndex, leaf []byte) error,
) error {
	err := j.chunks(from, to, func(item *table.Item) error {
		if err := j.open(item); err != nil {
			return err
		}
		for i, e := range j.entries {
			index := j.begin + vault.JournalIndex(i)
			if index < from {
				continue
			}
			if index >= to {
				return nil
			}
			if index > from {
				return fmt.Errorf("journal entry %d: %w", from, errNoEntry)
			}
			from++
			if err := yield(index, e.Leaf); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && from < to {
		err = fmt.Errorf("journal entry %d: %w", from, errNoEntry)
	}
	return err
}

// changesOf are the writes of items that no later change writes.
func changesOf(items []table.Item) []chain.Write {
	writes := make([]chain.Write, len(items))
	for i := range items {
		writes[i].Item = items[i]
	}
	return writes
}
