package chunk

import "encoding/binary"

// The history of an account is a list through the journal: the entry that makes version
// v of an account points to the one that made v-1, and jumps to an older one. The jumps
// are those of a skew-binary list (Eugene Myers, "An applicative random-access stack",
// 1983). So every version is found in a number of steps that grows with the logarithm of
// the distance, while an entry carries two pointers, and no index has to be kept beside
// the journal.

// A Place is where a version of an account was made: the index of an entry in the journal
// (a vault.JournalIndex, which this package does not import), and the position of the account
// among those that the entry changes.
type Place struct {
	Index int64
	Slot  int
}

// A Link leads from the place of a version to older ones. That of version 1 leads
// nowhere.
type Link struct{ Previous, Jump Place }

// A Spine is the places that the next version of an account may point to: that of the
// newest version, where that one jumps to, and so on. It lies in the record of the
// account, so that writing an entry reads no other.
type Spine []Place

// trees returns the sizes of the two youngest trees of a skew-binary list of n
// elements; the second one is 0 when there is one tree only. The sizes are 2^k-1, each
// the largest that fits into what the trees before it left.
func trees(n uint64) (first, second uint64) {
	sizes := [2]uint64{}
	for n > 0 {
		size := uint64(1)
		for size*2+1 <= n {
			size = size*2 + 1
		}
		for ; n >= size; n -= size {
			sizes[1], sizes[0] = sizes[0], size // from the oldest to the youngest
		}
	}
	return sizes[0], sizes[1]
}

// Jump returns the version that version v jumps to; 0 when that is before the first.
func Jump(v uint64) uint64 {
	if v == 0 {
		return 0
	}
	first, second := trees(v - 1)
	if first == second {
		return v - 1 - first - second
	}
	return v - 1
}

// Grow adds the place of version v to the spine of an account that had v-1 versions, and
// returns the link of the new version. It uses the memory of s. Where s is not the spine
// of v-1 versions, because entries are missing, nor is what it returns that of v.
func (s Spine) Grow(v uint64, at Place) (Spine, Link) {
	whole := len(s) > 0 && (len(s) > 1 || Jump(v) == v-1)
	if v == 1 || !whole {
		return Spine{at}, Link{}
	}
	l := Link{Previous: s[0], Jump: s[0]}
	if Jump(v) == v-1 {
		s = append(s, Place{})
		copy(s[1:], s)
	} else { // two trees become one
		l.Jump = Place{}
		if len(s) > 2 {
			l.Jump = s[2]
		}
		s = s[1:]
	}
	s[0] = at
	return s, l
}

// In a chunk a link is two distances back from its own entry, each with a slot, because
// distances are small. As no entry points to itself, the distance 0 is no place.

// maxLink is how long a link is at most, in bytes.
const maxLink = 2 * (binary.MaxVarintLen64 + 1)

func appendLink(dst []byte, index int64, l Link) []byte {
	for _, p := range []Place{l.Previous, l.Jump} {
		if p == (Place{}) {
			dst = append(dst, 0)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(index-p.Index))
		dst = append(dst, byte(p.Slot))
	}
	return dst
}

// A relativeLink is a link as a chunk has it.
type relativeLink struct {
	distance [2]uint64
	slot     [2]int
}

func (r relativeLink) from(index int64) Link {
	at := func(i int) Place {
		if r.distance[i] == 0 {
			return Place{}
		}
		return Place{index - int64(r.distance[i]), r.slot[i]}
	}
	return Link{at(0), at(1)}
}

func cutLink(v []byte) (l relativeLink, rest []byte, whole bool) {
	for i := range l.distance {
		d, n := binary.Uvarint(v)
		if n <= 0 {
			return l, nil, false
		}
		v = v[n:]
		l.distance[i] = d
		if d == 0 {
			continue
		}
		if len(v) == 0 {
			return l, nil, false
		}
		l.slot[i], v = int(v[0]), v[1:]
	}
	return l, v, true
}
