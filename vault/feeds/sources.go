package feeds

import (
	"slices"
	"strconv"

	"example.com/atm"
)

// AddSource registers a source of webhooks. The answer is its id.
type AddSource struct{ Owner, Name string }

// Of implements Rule.
func (r AddSource) Of() string { return r.Owner }

// Decide implements Rule.
func (r AddSource) Decide(b *Books) atm.Status {
	book := b.Book(r.Owner)
	switch {
	case book.Source(r.Name) != nil:
		return refuse(atm.FeedExists, "There is a source "+r.Name)
	case len(book.Sources) >= MaxSources:
		return refuse(atm.LimitDailyCount, r.Owner+" has "+strconv.Itoa(MaxSources)+" sources")
	}
	s := Source{ID: ID(b.Entry()), Name: r.Name}
	book.Sources = append(book.Sources, s)
	b.put(book)
	return ok(s.ID.String())
}

// NoSource answers for a source that does not exist.
func NoSource(name string) atm.Status {
	return refuse(atm.FeedNotFound, "There is no source "+name)
}

// RotateSource replaces the secret of a source. The one before is good as well for Overlap. The
// answer is the generation of the new one.
type RotateSource struct{ Owner, Name string }

// Of implements Rule.
func (r RotateSource) Of() string { return r.Owner }

// Decide implements Rule.
func (r RotateSource) Decide(b *Books) atm.Status {
	book := b.Book(r.Owner)
	s := book.Source(r.Name)
	if s == nil {
		return NoSource(r.Name)
	}
	s.Generation++
	s.Rotated = b.Now
	b.put(book)
	return ok(strconv.FormatUint(s.Generation, 10))
}

// ShowSource answers with what Tell says of a source, and changes nothing.
type ShowSource struct {
	Owner, Name string
	Tell        func(*Source) atm.Record
}

// Of implements Rule.
func (r ShowSource) Of() string { return r.Owner }

// Decide implements Rule.
func (r ShowSource) Decide(b *Books) atm.Status {
	book := b.Book(r.Owner)
	s := book.Source(r.Name)
	if s == nil {
		return NoSource(r.Name)
	}
	return ok(r.Tell(s))
}

// RemoveSource ends a source for good.
type RemoveSource struct{ Owner, Name string }

// Of implements Rule.
func (r RemoveSource) Of() string { return r.Owner }

// Decide implements Rule.
func (r RemoveSource) Decide(b *Books) atm.Status {
	book := b.Book(r.Owner)
	s := book.Source(r.Name)
	if s == nil {
		return NoSource(r.Name)
	}
	id := s.ID
	book.Sources = slices.DeleteFunc(book.Sources, func(s Source) bool { return s.ID == id })
	b.put(book)
	return ok("")
}
