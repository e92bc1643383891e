package boltstore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"example.com/atm/audit"
	"example.com/atm/vault"
)

// The history of an account is a list through the journal: the entry that
// makes version v of an account points to the one that made v-1, and jumps to
// an older one. The jumps are those of a skew-binary list (Eugene Myers, "An
// applicative random-access stack", 1983), so that every version is found in
// a number of steps that grows with the logarithm of the distance, while an
// entry carries two pointers and no index has to be kept beside the journal.

// A place is where a version of an account was made: an entry, and the
// position among the accounts that it touches.
type place struct {
	index int64
	slot  int
}

// A link leads from the place of a version to older ones. The place of
// version 1 has nowhere to lead.
type link struct{ previous, jump place }

// A spine is the places that the next version may point to: that of the
// newest version, where that one jumps to, and so on. It lies in the record of
// the account, so that writing an entry reads no other.
type spine []place

// trees returns the sizes of the two youngest trees of a skew-binary list of n
// elements; the second one is 0 when there is one tree only. The sizes are
// 2^k-1, each the largest that fits into what the ones before left.
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

// jumpOf returns the version that version v jumps to, and 0 when that is
// before the first one.
func jumpOf(v uint64) uint64 {
	if v == 0 {
		return 0
	}
	first, second := trees(v - 1)
	if first == second {
		return v - 1 - first - second
	}
	return v - 1
}

// spines are those of the accounts that a transaction is about.
type spines map[vault.Name]spine

// grow returns the links of an entry, in memory that links may have, and adds its
// place to the spines of the accounts that it touches.
func (s spines) grow(index int64, touched []audit.Change, links []link) []link {
	links = slices.Grow(links[:0], len(touched))[:len(touched)]
	for slot, change := range touched {
		name := vault.Name(change.Account)
		s[name], links[slot] = s[name].grow(change.Version, place{index, slot})
	}
	return links
}

// grow adds the place of version v to the spine of an account that had v-1 of
// them. It uses the memory of s. Where s is not the spine of v-1 versions, because
// entries are missing, nor is what it returns that of v.
func (s spine) grow(v uint64, at place) (spine, link) {
	whole := len(s) > 0 && (len(s) > 1 || jumpOf(v) == v-1)
	if v == 1 || !whole {
		return spine{at}, link{}
	}
	l := link{previous: s[0], jump: s[0]}
	if jumpOf(v) == v-1 {
		s = append(s, place{})
		copy(s[1:], s)
	} else { // two trees become one
		l.jump = place{}
		if len(s) > 2 {
			l.jump = s[2]
		}
		s = s[1:]
	}
	s[0] = at
	return s, l
}

// history is a vault.History.
func (v view) history(account vault.Name, from uint64, yield func(uint64, int64, []byte) bool) error {
	a, spine, err := v.account(account)
	if err != nil || a.Version == 0 || from == 0 {
		return err
	}
	if len(spine) == 0 {
		return fmt.Errorf("account %s has no history", account)
	}
	journal := v.journal()
	at, version := spine[0], a.Version
	for version > 0 {
		e, err := journal.at(at.index)
		if err != nil {
			return err
		}
		if at.slot >= e.count {
			return fmt.Errorf("journal entry %d does not touch account %s", at.index, account)
		}
		if version <= from && !yield(version, at.index, e.leaf) {
			return nil
		}
		l := e.link(at.index, at.slot)
		if jump := jumpOf(version); jump >= from && jump > 0 {
			at, version = l.jump, jump
		} else {
			at, version = l.previous, version-1
		}
	}
	return nil
}

// In a record a link is two distances from the entry itself, each with a slot,
// because distances are small. As the newest entry never points to itself, the
// distance 0 is no place.

// maxLink is how long a link is at most, in bytes.
const maxLink = 2 * (binary.MaxVarintLen64 + 1)

func appendLink(v []byte, index int64, l link) []byte {
	for _, p := range []place{l.previous, l.jump} {
		if p == (place{}) {
			v = append(v, 0)
			continue
		}
		v = binary.AppendUvarint(v, uint64(index-p.index))
		v = append(v, byte(p.slot))
	}
	return v
}

// A relativeLink is a link as a record has it.
type relativeLink struct {
	distance [2]uint64
	slot     [2]int
}

func (r relativeLink) from(index int64) link {
	at := func(i int) place {
		if r.distance[i] == 0 {
			return place{}
		}
		return place{index - int64(r.distance[i]), r.slot[i]}
	}
	return link{at(0), at(1)}
}

func cutLink(v []byte) (relativeLink, []byte, bool) {
	var r relativeLink
	for i := range r.distance {
		d, n := binary.Uvarint(v)
		if n <= 0 {
			return r, nil, false
		}
		v = v[n:]
		r.distance[i] = d
		if d == 0 {
			continue
		}
		if len(v) == 0 {
			return r, nil, false
		}
		r.slot[i], v = int(v[0]), v[1:]
	}
	return r, v, true
}
