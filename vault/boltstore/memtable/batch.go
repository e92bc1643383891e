package memtable

import (
	"encoding/binary"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/keyring"
	"example.com/atm/vault/boltstore/wal"
	"example.com/atm/vault/chunk"
	"example.com/atm/vault/codec"
)

// A Batch is what one commit writes, and its record in the write-ahead log. The record
// has the chunks of the journal, sealed as bbolt will have them, and one sealed value
// with everything else that changed: the rest.
type Batch struct {
	record   []byte // begins with space for the head that the log writes
	journal  []Chunk
	leaves   [][]byte
	puts     []put
	requests []keptRequest
	rest     []byte // the puts and requests, as replay reads them
	bytes    int    // of the chunks, before they were compressed
}

type put struct {
	bucket     int
	key, value []byte
}

type keptRequest struct {
	key   codec.Request
	index vault.JournalIndex
}

// NewBatch returns a batch with space for what most commits like this one write.
func NewBatch(c *vault.Changes) *Batch {
	const head, account, request, around = 1 << 10, 128, 40, 16 // bytes
	rest := head + len(c.Accounts)*account + len(c.Requests)*request
	plain := 0
	for i := range c.Entries {
		plain += len(c.Entries[i].Leaf) + around
	}
	chunks := min(plain, 1<<10+plain/3) // nearly always
	record := wal.HeadBytes + chunks + rest + (plain/chunk.Bytes+2)*(keyring.Overhead+around)
	return &Batch{
		record:   make([]byte, wal.HeadBytes, record),
		rest:     make([]byte, 0, rest),
		leaves:   make([][]byte, 0, len(c.Entries)),
		puts:     make([]put, 0, len(c.Accounts)+2),
		requests: make([]keptRequest, 0, len(c.Requests)),
	}
}

// Put adds a value, and keeps key and value.
func (b *Batch) Put(bucket int, key, value []byte) {
	b.rest = codec.AppendValue(b.rest, bucket, key, value)
	b.puts = append(b.puts, put{bucket, key, value})
}

// PutRequest adds the entry that answered a request id.
func (b *Batch) PutRequest(key codec.Request, index vault.JournalIndex) {
	var value [8]byte
	binary.BigEndian.PutUint64(value[:], uint64(index))
	b.rest = codec.AppendValue(b.rest, codec.NumberRequests, key[:], value[:])
	b.requests = append(b.requests, keptRequest{key, index})
}

// AddLeaf adds the leaf of an entry of the journal.
func (b *Batch) AddLeaf(leaf []byte) { b.leaves = append(b.leaves, leaf) }

// AddChunk seals a chunk of the journal, which begins with an entry and had some bytes before it
// was compressed.
func (b *Batch) AddChunk(ring *keyring.Ring, bucket []byte, first vault.JournalIndex, value []byte,
	plainBytes int,
) {
	sealed := b.seal(ring, codec.NumberJournal, bucket, codec.JournalKey(first), value)
	b.journal = append(b.journal, Chunk{first, sealed})
	b.bytes += plainBytes
}

// SealRest seals what is not in chunks. Nothing may be added after it.
func (b *Batch) SealRest(ring *keyring.Ring) {
	b.seal(ring, codec.NumberRest, codec.NameRest, nil, b.rest)
}

// Record returns the record, which begins with space for the head that the log writes.
func (b *Batch) Record() []byte { return b.record }

// seal seals a value into the record, and returns it as it is sealed.
func (b *Batch) seal(ring *keyring.Ring, number int, name, key, value []byte) []byte {
	b.record = append(b.record, byte(number))
	b.record = append(binary.AppendUvarint(b.record, uint64(len(key))), key...)
	b.record = binary.AppendUvarint(b.record, uint64(len(value)+keyring.Overhead))
	begin := len(b.record)
	b.record = ring.SealTo(b.record, name, key, value)
	return b.record[begin:len(b.record):len(b.record)]
}
