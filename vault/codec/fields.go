package codec

import "encoding/binary"

// fields appends the fields of a record.
type fields struct{ b []byte }

func (f *fields) uint(n uint64) { f.b = binary.AppendUvarint(f.b, n) }
func (f *fields) int(n int64)   { f.b = binary.AppendVarint(f.b, n) }

func (f *fields) text(s string) {
	f.uint(uint64(len(s)))
	f.b = append(f.b, s...)
}

// A reader takes the fields of a record apart. After one that is not there,
// all others are zero and done reports false.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.b)
	r.skip(size)
	if r.bad {
		return 0
	}
	return n
}

func (r *reader) int() int64 {
	n, size := binary.Varint(r.b)
	r.skip(size)
	if r.bad {
		return 0
	}
	return n
}

func (r *reader) skip(size int) {
	if size <= 0 || size > len(r.b) {
		r.b, r.bad = nil, true
		return
	}
	r.b = r.b[size:]
}

// count reads how many elements follow, of at least a byte each.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return 0
	}
	return int(n)
}

func (r *reader) text() string {
	n := r.count()
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// done reports whether the record was whole and nothing is left of it.
func (r *reader) done() bool { return !r.bad && len(r.b) == 0 }
