package codec

import "encoding/binary"

// Numbers of buckets, in the records of the log.
const (
	NumberMeta     = 0
	NumberAccounts = 1
	NumberJournal  = 2
	NumberRequests = 3
)

// In a record of the log, NumberRest stands where the number of a bucket does, before what is
// sealed together.
const NumberRest = 0xff

// NameRest is the name under which the rest of a record of the log is sealed.
var NameRest = []byte("write-ahead log")

// AppendValue appends a value as EachValue reads it: the number of its bucket, and
// its key and itself, each behind its length.
func AppendValue(to []byte, bucket int, key, value []byte) []byte {
	to = append(to, byte(bucket))
	to = append(binary.AppendUvarint(to, uint64(len(key))), key...)
	return append(binary.AppendUvarint(to, uint64(len(value))), value...)
}

// EachValue calls put with every value that AppendValue appended.
func EachValue(values []byte, put func(bucket int, key, value []byte) error) error {
	for rest := values; len(rest) > 0; {
		number := int(rest[0])
		key, after, whole := cutBytes(rest[1:])
		if !whole {
			return ErrForm
		}
		var value []byte
		if value, rest, whole = cutBytes(after); !whole {
			return ErrForm
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
