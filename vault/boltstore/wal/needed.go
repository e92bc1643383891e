package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
)

// ErrMismatch reports a write-ahead log that does not go with what its owner has: it is
// missing, damaged, or that of another owner or another time.
var ErrMismatch = errors.New("the write-ahead log does not go with the vault")

// Needed is the log that its owner needs, as the owner keeps it.
type Needed struct {
	Log     ID
	Flushed LSN // of the newest record that the owner has flushed
}

const neededBytes = len(ID{}) + 8

// Bytes is n with a checksum over it: records that were left out because of a wrong LSN would
// be missing in silence.
func (n Needed) Bytes() []byte {
	v := binary.BigEndian.AppendUint64(n.Log[:len(n.Log):len(n.Log)], uint64(n.Flushed))
	return binary.BigEndian.AppendUint32(v, crc32.Checksum(v, castagnoli))
}

var errNeeded = errors.New("what it says of its write-ahead log was changed")

// ParseNeeded reads what Bytes returned.
func ParseNeeded(v []byte) (n Needed, err error) {
	if len(v) != neededBytes+4 ||
		crc32.Checksum(v[:neededBytes], castagnoli) != binary.BigEndian.Uint32(v[neededBytes:]) {
		return Needed{}, errNeeded
	}
	n.Flushed = LSN(binary.BigEndian.Uint64(v[copy(n.Log[:], v):]))
	return n, nil
}

// Unflushed returns the records of the log at path that its owner, who needs n, has not
// flushed; n is nil for one who needs no log. With ErrMismatch it returns those before what
// is missing.
func Unflushed(path string, n *Needed) ([]Record, error) {
	log, err := Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && n != nil:
		return nil, fmt.Errorf("%w: it is missing, and holds what was committed last", ErrMismatch)
	case errors.Is(err, ErrDamaged):
		return nil, fmt.Errorf("%w: %w", ErrMismatch, err)
	case err != nil:
		return nil, err
	case n == nil && log.Empty(): // a log was about to begin, or to end
		return nil, nil
	case n == nil || log.ID != n.Log:
		return nil, ErrMismatch
	}
	records, err := log.After(n.Flushed)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	return records, err
}
