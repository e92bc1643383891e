package chunk

import "slices"

// A History is where the versions of an account lead to.
type History struct {
	Version uint64 // the newest; 0 for an account that does not exist
	Places  Spine
}

// grow makes the next version, and returns its link. What the journal does not have of the
// versions before it, because it was trimmed, is left out.
func (h History) grow(version uint64, at Place) (History, Link) {
	if len(h.Places) == 0 && version > 1 {
		h.Places = Unknown(version - 1)
	}
	places, link := h.Places.Grow(version, at)
	return History{version, places}, link
}

// Histories are those of the accounts that a transaction is about.
type Histories[Name comparable] map[Name]History

// Grow adds the version that was made at a place, and returns its link.
func (h Histories[Name]) Grow(name Name, version uint64, at Place) (l Link) {
	h[name], l = h[name].grow(version, at)
	return l
}

// Of returns the places of an account in its newest version.
func (h Histories[Name]) Of(name Name, version uint64) Spine {
	if places := h[name].Places; len(places) > 0 {
		return places
	}
	return Unknown(version)
}

// Unknown is the spine of an account of so many versions, of which no place is known. An unknown
// place is the zero Place.
func Unknown(versions uint64) Spine {
	trees := 0
	for n := versions; n > 0; trees++ {
		size := uint64(1)
		for size*2+1 <= n {
			size = size*2 + 1
		}
		n -= size
	}
	return make(Spine, trees)
}

// Since leaves out the places before an index, where a journal begins.
func (s Spine) Since(begin int64) Spine {
	s = slices.Clone(s)
	for i := range s {
		s[i] = s[i].since(begin)
	}
	return s
}

// Since leaves out the places before an index, where a journal begins.
func (l Link) Since(begin int64) Link {
	return Link{Previous: l.Previous.since(begin), Jump: l.Jump.since(begin)}
}

func (p Place) since(begin int64) Place {
	if p.Index < begin {
		return Place{}
	}
	return p
}
