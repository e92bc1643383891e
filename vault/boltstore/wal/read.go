package wal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
)

// Records that wait together are written together, and a power cut may leave any of
// their blocks and lose others. So a record says up to which LSN everything was durable
// when it was written. A record that is missing at or below such an LSN is damage. One
// that is missing above all of them was never durable, so nobody was told that it was:
// the list ends before it.

// A Record is one that was read back.
type Record struct {
	LSN     LSN
	Payload []byte // what follows the head

	durable LSN // everything up to it was, when this one was written
}

// Contents are what is in a log.
type Contents struct {
	ID      ID
	records []Record // the whole ones, of both segments, those of earlier uses too
}

// Read reads the log at path. The error is fs.ErrNotExist where there is none, and
// ErrDamaged where the file is no log.
func Read(path string) (*Contents, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, begin(2)))
	if err != nil {
		return nil, err
	}
	return parse(data)
}

func parse(data []byte) (*Contents, error) {
	c := &Contents{}
	id, is := bytes.CutPrefix(data, []byte(magic))
	if !is || len(id) < len(c.ID) {
		return nil, fmt.Errorf("%w: it is of no known form", ErrDamaged)
	}
	copy(c.ID[:], id)
	for segment := range 2 {
		from, to := min(begin(segment), int64(len(data))), min(begin(segment+1), int64(len(data)))
		c.records = append(c.records, c.ID.records(data[from:to])...)
	}
	slices.SortFunc(c.records, func(a, b Record) int { return cmp.Compare(a.LSN, b.LSN) })
	return c, nil
}

// records returns the whole records of a segment, among them what earlier uses of it
// left behind.
func (id ID) records(segment []byte) (list []Record) {
	for len(segment) > 0 {
		size := int64(blockBytes)
		if r, n, is := id.record(segment); is {
			list, size = append(list, r), up(int64(n), blockBytes)
		}
		segment = segment[min(size, int64(len(segment))):]
	}
	return list
}

// record reads the record at the beginning of data, if there is a whole one, and says
// how many bytes it has.
func (id ID) record(data []byte) (r Record, size int, is bool) {
	if len(data) < HeadBytes || binary.BigEndian.Uint32(data) != recordMagic {
		return r, 0, false
	}
	length := uint64(binary.BigEndian.Uint32(data[4:]))
	if length > uint64(len(data)-HeadBytes) {
		return r, 0, false
	}
	whole := data[:HeadBytes+length]
	if binary.BigEndian.Uint32(data[HeadBytes-4:]) != id.checksum(whole) {
		return r, 0, false
	}
	return Record{
		LSN:     LSN(binary.BigEndian.Uint64(data[8:])),
		Payload: whole[HeadBytes:],
		durable: LSN(binary.BigEndian.Uint64(data[16:])),
	}, len(whole), true
}

// Empty reports whether there are no records in the log.
func (c *Contents) Empty() bool { return len(c.records) == 0 }

// After returns the records that follow an LSN, in order, up to the first that is
// missing. Where that was durable, it returns ErrDamaged beside them.
func (c *Contents) After(flushed LSN) (list []Record, err error) {
	last, durable := flushed, flushed
	for _, r := range c.records {
		if r.LSN == last+1 {
			list, last = append(list, r), r.LSN
		}
		durable = max(durable, r.durable)
	}
	if durable > last {
		return list, fmt.Errorf("%w: it lacks record %d of %d", ErrDamaged, last+1, durable)
	}
	return list, nil
}
