package search

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sort"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
)

// A Found is an entry that matches a filter.
type Found struct {
	Index int64
	Leaf  []byte
}

// A Page is one page of results.
type Page struct {
	Found []Found // the newest first
	Next  int64   // the next page begins before this index; 0 at the end
	Read  int     // bundles that were read
	Total int     // bundles in the range
}

// maxRead bounds how many bundles are read for one page.
const maxRead = 2048

// An EntryReader calls yield with the leaves of the entries from, from+1, … to-1 of a log in
// order. A leaf is valid only until yield returns. An error of yield ends the iteration and is
// returned.
type EntryReader func(ctx context.Context, from, to int64,
	yield func(index int64, leaf []byte) error) error

// A Range is the entries First, …, Before-1 of a log. First is 0, or where a trimmed log begins.
type Range struct{ First, Before int64 }

// Find searches a range of a log backwards for at most limit matching entries. With an index, it
// skips bundles that cannot match, and adds complete bundles that it reads to the index.
func Find(ctx context.Context, read EntryReader, index *Index, f *Filter, of Range,
	limit int,
) (*Page, error) {
	first, before, err := timeRange(ctx, read, f, of)
	if err != nil {
		return nil, err
	}
	p := &Page{}
	if first < before {
		p.Total = int((before-1)>>merkle.TileHeight - first>>merkle.TileHeight + 1)
	}
	for n := (before - 1) >> merkle.TileHeight; before > first; n-- {
		begin := max(first, n<<merkle.TileHeight)
		if index != nil && !index.May(n, f) {
			before = begin
			continue
		}
		if p.Read++; p.Read > maxRead {
			break
		}
		var found []Found
		var unseen *marker // of a complete bundle that the index does not have yet
		if index != nil && begin == n<<merkle.TileHeight && before == (n+1)<<merkle.TileHeight &&
			!index.Has(n) {
			unseen = index.marker()
		}
		err := read(ctx, begin, before, func(i int64, leaf []byte) error {
			if unseen != nil {
				unseen.mark(leaf)
			}
			if !f.May(leaf) {
				return nil
			}
			entry, err := audit.ParseEntry(leaf)
			if err == nil && f.Fits(entry) {
				found = append(found, Found{i, bytes.Clone(leaf)})
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if unseen != nil {
			index.keep(n, unseen)
		}
		before = begin
		for _, entry := range slices.Backward(found) {
			p.Found = append(p.Found, entry)
			if len(p.Found) == limit {
				before = entry.Index
				break
			}
		}
		if len(p.Found) == limit {
			break
		}
	}
	if before > first {
		p.Next = before
	}
	return p, nil
}

// timeRange narrows the range of entries to the times of a filter by binary search. If the
// clock was set back, several places in the log have the same time, and the range ends at one
// of them.
func timeRange(ctx context.Context, read EntryReader, f *Filter, of Range) (from, to int64,
	err error,
) {
	after := func(t time.Time, inclusive bool) int64 {
		return of.First + int64(sort.Search(int(of.Before-of.First), func(i int) bool {
			if err != nil {
				return true
			}
			var at time.Time
			if at, err = timeOf(ctx, read, of.First+int64(i)); err != nil {
				return true
			}
			return at.After(t) || inclusive && at.Equal(t)
		}))
	}
	from, to = of.First, max(of.First, of.Before)
	if !f.Until.IsZero() {
		to = after(f.Until, false)
	}
	if !f.Since.IsZero() {
		from = after(f.Since, true)
	}
	return from, to, err
}

var errEnough = errors.New("enough")

func timeOf(ctx context.Context, read EntryReader, index int64) (at time.Time, err error) {
	err = read(ctx, index, index+1, func(_ int64, leaf []byte) error {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			return err
		}
		at = entry.Time
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return at, err
}
