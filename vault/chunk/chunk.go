// Package chunk is the codec of the chunks in which a journal is stored. A chunk is a
// run of entries, compressed as one value. An entry is a leaf, which is bytes here, and
// one link for each account whose record the entry changes.
//
// Storing a value costs the same for one entry as for ten, and entries are so much alike
// that ten of them compress to the size of three. The price is that reading one of them
// decodes all.
//
// Everything here but Cache is a pure function of its arguments and of the memory that it is
// given.
package chunk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/klauspost/compress/s2"
)

const (
	// Bytes is the size that a Builder lets a chunk grow to, before it is compressed. A
	// chunk of one entry may be larger. With chunks of twice the size a vault is 5 %
	// smaller, and a page of a statement takes more than twice as long.
	Bytes = 16 << 10

	// mostBytes bounds what a value that claims to be a chunk is decompressed to. The
	// largest entry is far below.
	mostBytes = 16 << 20
)

// The first byte of a chunk says what follows it.
const (
	formPlain      = 3 // entries
	formCompressed = 4 // entries, as S2 compresses them
)

// ErrForm reports bytes that are no chunk.
var ErrForm = errors.New("chunk of no known form")

// A Builder puts entries into chunks, one chunk after the other, and reuses its memory.
// The zero Builder is ready.
type Builder struct {
	first      int64 // index of the first entry
	plain      []byte
	compressed []byte // memory of a chunk before
}

// Len returns how many bytes the chunk has so far, before it is compressed.
func (b *Builder) Len() int { return len(b.plain) }

// Fits reports whether an entry with so many links and a leaf of so many bytes has space
// in the chunk. An empty chunk has space for every entry.
func (b *Builder) Fits(links, leafBytes int) bool {
	const around = 8 // the number of links, and the length of the leaf
	return len(b.plain) == 0 || len(b.plain)+links*maxLink+leafBytes+around <= Bytes
}

// Add adds the entry with this index, which follows the one before it.
func (b *Builder) Add(index int64, links []Link, leaf []byte) {
	if len(b.plain) == 0 {
		b.first, b.plain = index, append(b.plain, formPlain)
	}
	b.plain = append(b.plain, byte(len(links)))
	for _, l := range links {
		b.plain = appendLink(b.plain, index, l)
	}
	b.plain = append(binary.AppendUvarint(b.plain, uint64(len(leaf))), leaf...)
}

// Take returns the chunk and the index of its first entry, and begins another one. The
// chunk is good until the next call of Add or Take.
func (b *Builder) Take() (first int64, chunk []byte) {
	chunk = compress(b.compressed, b.plain)
	if chunk[0] == formCompressed {
		b.compressed = chunk
	}
	b.plain = b.plain[:0]
	return b.first, chunk
}

// compress compresses a plain chunk into dst, reusing its capacity. It returns plain
// unchanged if compression does not help.
func compress(dst, plain []byte) []byte {
	if most := 1 + s2.MaxEncodedLen(len(plain)); cap(dst) < most {
		dst = make([]byte, most)
	}
	dst = dst[:cap(dst)]
	dst[0] = formCompressed
	if c := s2.Encode(dst[1:], plain[1:]); 1+len(c) < len(plain) {
		return dst[:1+len(c)]
	}
	return plain
}

// A Decoder takes chunks apart, one after the other, and reuses its memory: what Decode
// returned is good until its next call. The zero Decoder is ready.
type Decoder struct {
	plain   []byte
	entries []Entry
}

// Decode returns the entries of a chunk. They point into the chunk or into the memory of
// the Decoder.
func (d *Decoder) Decode(chunk []byte) ([]Entry, error) {
	plain, err := decompress(d.plain, chunk)
	if err != nil {
		return nil, err
	}
	if chunk[0] == formCompressed {
		d.plain = plain
	}
	entries, err := split(d.entries[:0], plain)
	if err == nil {
		d.entries = entries
	}
	return entries, err
}

// Decode returns the entries of a chunk, in memory of their own.
func Decode(chunk []byte) ([]Entry, error) {
	if len(chunk) > 0 && chunk[0] == formPlain {
		chunk = bytes.Clone(chunk)
	}
	return new(Decoder).Decode(chunk)
}

// decompress returns what follows the form of a chunk, decompressed into dst if it is
// compressed.
func decompress(dst, chunk []byte) ([]byte, error) {
	switch {
	case len(chunk) < 2:
	case chunk[0] == formPlain:
		return chunk[1:], nil
	case chunk[0] == formCompressed:
		if n, err := s2.DecodedLen(chunk[1:]); err != nil || n > mostBytes {
			return nil, ErrForm
		}
		if plain, err := s2.Decode(dst[:cap(dst)], chunk[1:]); err == nil {
			return plain, nil
		}
	}
	return nil, ErrForm
}

// An Entry is one of a chunk.
type Entry struct {
	Leaf  []byte
	Links int // how many it has

	links []byte
}

// split appends the entries that follow the form of a chunk to dst.
func split(dst []Entry, plain []byte) ([]Entry, error) {
	if len(plain) == 0 {
		return nil, ErrForm
	}
	const usual = 512 // bytes of an entry, or a little more
	dst = slices.Grow(dst, len(plain)/usual+1)
	for len(plain) > 0 {
		e := Entry{Links: int(plain[0])}
		rest := plain[1:]
		for range e.Links {
			var whole bool
			if _, rest, whole = cutLink(rest); !whole {
				return nil, ErrForm
			}
		}
		e.links = plain[1 : len(plain)-len(rest)]
		size, n := binary.Uvarint(rest)
		if n <= 0 || size == 0 || size > uint64(len(rest)-n) {
			return nil, ErrForm
		}
		e.Leaf, plain = rest[n:n+int(size)], rest[n+int(size):]
		dst = append(dst, e)
	}
	return dst, nil
}

// Link returns the link in a slot of the entry, which has this index.
func (e Entry) Link(index int64, slot int) Link {
	rest := e.links
	for range slot {
		_, rest, _ = cutLink(rest)
	}
	l, _, _ := cutLink(rest)
	return l.from(index)
}
