package boltstore

import (
	"encoding/binary"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/chunk"
	"example.com/atm/vault/boltstore/codec"
	"example.com/atm/vault/boltstore/keyring"
	"example.com/atm/vault/boltstore/wal"
)

// A batch is what one commit writes, and its record in the write-ahead log. The record
// has the chunks of the journal, sealed as bbolt will have them, and one sealed value
// with everything else that changed: the rest.
type batch struct {
	record   []byte // begins with space for the head that the log writes
	journal  []sealedChunk
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
	index int64
}

// In a record, numberRest stands where the number of a bucket does, before what is
// sealed together; nameRest is the name under which it is sealed.
const numberRest = 0xff

var nameRest = []byte("write-ahead log")

// newBatch returns a batch with space for what most commits like this one write.
func newBatch(c *vault.Changes) *batch {
	const head, account, request, around = 1 << 10, 128, 40, 16 // bytes
	rest := head + len(c.Accounts)*account + len(c.Requests)*request
	plain := 0
	for i := range c.Entries {
		plain += len(c.Entries[i].Leaf) + around
	}
	chunks := min(plain, 1<<10+plain/3) // nearly always
	record := wal.HeadBytes + chunks + rest + (plain/chunk.Bytes+2)*(keyring.Overhead+around)
	return &batch{
		record:   make([]byte, wal.HeadBytes, record),
		rest:     make([]byte, 0, rest),
		leaves:   make([][]byte, 0, len(c.Entries)),
		puts:     make([]put, 0, len(c.Accounts)+2),
		requests: make([]keptRequest, 0, len(c.Requests)),
	}
}

// put adds a value.
func (b *batch) put(bucket int, key, value []byte) {
	b.rest = appendValue(b.rest, bucket, key, value)
	b.puts = append(b.puts, put{bucket, key, value})
}

// putRequest adds a request id.
func (b *batch) putRequest(key codec.Request, index int64) {
	var value [8]byte
	binary.BigEndian.PutUint64(value[:], uint64(index))
	b.rest = appendValue(b.rest, numberRequests, key[:], value[:])
	b.requests = append(b.requests, keptRequest{key, index})
}

// seal seals a value into the record, and returns it as it is sealed.
func (b *batch) seal(keys *keyring.Ring, number int, name, key, value []byte) []byte {
	b.record = append(b.record, byte(number))
	b.record = append(binary.AppendUvarint(b.record, uint64(len(key))), key...)
	b.record = binary.AppendUvarint(b.record, uint64(len(value)+keyring.Overhead))
	begin := len(b.record)
	b.record = keys.SealTo(b.record, name, key, value)
	return b.record[begin:len(b.record):len(b.record)]
}

// appendValue appends a value as eachValue reads it: the number of its bucket, and
// its key and itself, each behind its length.
func appendValue(to []byte, bucket int, key, value []byte) []byte {
	to = append(to, byte(bucket))
	to = append(binary.AppendUvarint(to, uint64(len(key))), key...)
	return append(binary.AppendUvarint(to, uint64(len(value))), value...)
}

// eachValue calls put with every value that appendValue appended.
func eachValue(values []byte, put func(bucket int, key, value []byte) error) error {
	for rest := values; len(rest) > 0; {
		number := int(rest[0])
		key, after, whole := cutBytes(rest[1:])
		if !whole {
			return codec.ErrForm
		}
		var value []byte
		if value, rest, whole = cutBytes(after); !whole {
			return codec.ErrForm
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
