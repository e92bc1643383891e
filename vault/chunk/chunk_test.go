package chunk

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// TestChunkReturnsWhatWasPutIn puts entries that are alike and others that are not into
// chunks, in memory that is used again.
func TestChunkReturnsWhatWasPutIn(t *testing.T) {
	type added struct {
		links []Link
		leaf  []byte
	}
	alike := bytes.Repeat([]byte(`{"operation":"deposit"}`), 30)
	links := []Link{{Place{7, 0}, Place{3, 1}}, {}, {Place{6, 255}, Place{}}}
	var b Builder
	var d Decoder
	for _, tt := range []struct {
		name    string
		entries []added
		form    byte
	}{
		{"one byte", []added{{nil, []byte("x")}}, formPlain},
		{"noise", []added{{links, noise(8 << 10)}, {links[:1], noise(1 << 10)}}, formPlain},
		{"much alike", slices.Repeat([]added{{links, alike}, {nil, alike}}, 10), formCompressed},
		{"less of it", []added{{links, alike}}, formCompressed},
		{"larger than a chunk", []added{{links, bytes.Repeat(alike, 100)}}, formCompressed},
	} {
		const begin = 1000
		for i, e := range tt.entries {
			if !b.Fits(len(e.links), len(e.leaf)) {
				t.Fatalf("%s: entry %d does not fit behind %d bytes", tt.name, i, b.Len())
			}
			b.Add(begin+int64(i), e.links, e.leaf)
		}
		plain := b.Len()
		first, chunk := b.Take()
		if first != begin || chunk[0] != tt.form || len(chunk) > plain || b.Len() != 0 {
			t.Errorf("%s: entries from %d on, form %d, %d bytes of %d", tt.name, first, chunk[0],
				len(chunk), plain)
		}
		entries, err := d.Decode(chunk)
		if err != nil || len(entries) != len(tt.entries) {
			t.Fatalf("%s: %d entries of %d, %v", tt.name, len(entries), len(tt.entries), err)
		}
		for i, e := range entries {
			want := tt.entries[i]
			if !bytes.Equal(e.Leaf, want.leaf) || e.Links != len(want.links) {
				t.Errorf("%s: entry %d is another one", tt.name, i)
			}
			for slot, l := range want.links {
				if have := e.Link(begin+int64(i), slot); have != l {
					t.Errorf("%s: link %d of entry %d is %v, want %v", tt.name, slot, i, have, l)
				}
			}
		}
	}
}

// TestFullChunkTakesNoMore fills a chunk.
func TestFullChunkTakesNoMore(t *testing.T) {
	var b Builder
	for b.Fits(2, 1000) {
		b.Add(1, make([]Link, 2), noise(1000))
	}
	if b.Len() > Bytes || b.Len() < Bytes-1100 {
		t.Errorf("a full chunk has %d bytes", b.Len())
	}
}

// TestDecodeRefusesOtherBytes decodes what is no chunk.
func TestDecodeRefusesOtherBytes(t *testing.T) {
	for _, bad := range [][]byte{
		nil,
		{formCompressed},
		{formPlain},
		{9, 1},
		{formPlain, 0, 0}, // an empty leaf
		{formPlain, 1, 1}, // half a link
		{formPlain, 0, 9, 'x'},
		append([]byte{formCompressed}, binary.AppendUvarint(nil, 1<<31)...),
	} {
		if entries, err := Decode(bad); err == nil {
			t.Errorf("%x was decoded to %v", bad, entries)
		}
	}
}

// TestHistoryIsFoundInFewSteps follows the links of an account from its newest version to
// each older one: all are found, in steps that grow with the logarithm.
func TestHistoryIsFoundInFewSteps(t *testing.T) {
	const versions = 5000
	var s Spine
	links := make(map[Place]Link)
	place := func(v uint64) Place { return Place{int64(v * 3), int(v % 2)} }
	for v := uint64(1); v <= versions; v++ {
		var l Link
		s, l = s.Grow(v, place(v))
		links[place(v)] = l
		if len(s) > 16 {
			t.Fatalf("the spine of %d versions has %d places", v, len(s))
		}
	}
	for want := uint64(1); want <= versions; want++ {
		at, v, steps := s[0], uint64(versions), 0
		for ; v > want; steps++ {
			if jump := Jump(v); jump >= want {
				at, v = links[at].Jump, jump
			} else {
				at, v = links[at].Previous, v-1
			}
		}
		if at != place(want) || steps > 40 {
			t.Fatalf("version %d is at %v after %d steps, want %v", want, at, steps, place(want))
		}
	}
}

// FuzzDecode decodes what is no chunk. What is one is built again from its entries.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{formPlain, 1, 2, 0, 0, 1, '{'})
	var b Builder
	for i := range 100 {
		b.Add(int64(1000+i), []Link{{Place{int64(i), 1}, Place{}}, {}}, []byte("{}"))
	}
	_, chunk := b.Take()
	f.Add(bytes.Clone(chunk))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := Decode(data)
		if err != nil {
			return
		}
		if len(entries) == 0 {
			t.Fatalf("%x was decoded to nothing", data)
		}
		const index = 1 << 62 // so that every link leads to a place
		var again Builder
		for i, e := range entries {
			var links []Link
			for slot := range e.Links {
				links = append(links, e.Link(index+int64(i), slot))
			}
			again.Add(index+int64(i), links, e.Leaf)
		}
		_, chunk := again.Take()
		same, err := Decode(chunk)
		if err != nil || len(same) != len(entries) {
			t.Fatalf("%d entries are %d when they are built again: %v", len(entries),
				len(same), err)
		}
		for i, e := range entries {
			if !bytes.Equal(same[i].Leaf, e.Leaf) || same[i].Links != e.Links {
				t.Errorf("entry %d is another one when it is built again", i)
			}
			for slot := range e.Links {
				if e.Link(index, slot) != same[i].Link(index, slot) {
					t.Errorf("link %d of entry %d is another one", slot, i)
				}
			}
		}
	})
}
