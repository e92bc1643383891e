package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"example.com/atm"
)

// A Filter says which entries somebody wants to see. An empty field fits all.
type Filter struct {
	Account   string // among the arguments, or changed
	Who       string // subject of the caller
	Operation atm.Operation
	Event     Event
	Status    string // OK or ERROR, which failed sign-ins and summaries of failures are too
	Code      atm.Code

	Since, Until time.Time // both inclusive
}

// Fits reports whether an entry is wanted.
func (f *Filter) Fits(e *Entry) bool {
	switch {
	case f.Event != "" && e.Event != f.Event,
		f.Operation != "" && e.Operation != f.Operation,
		f.Who != "" && (e.Caller == nil || e.Caller.Subject != f.Who),
		f.Status != "" && outcome(e) != f.Status,
		f.Code != "" && (e.Status == nil || e.Status.Code != f.Code),
		!f.Since.IsZero() && e.Time.Before(f.Since),
		!f.Until.IsZero() && e.Time.After(f.Until):
		return false
	}
	return f.Account == "" || f.about(e)
}

// outcome is OK or ERROR, and empty for an entry of which there is nothing to say.
func outcome(e *Entry) string {
	switch {
	case e.Status != nil:
		return e.Status.Word()
	case isFailure(string(e.Event)):
		return wordError
	}
	return ""
}

const wordError = "ERROR" // of atm.Status.Word

// isFailure reports whether an event is a failure although its entries have no status.
func isFailure(event string) bool {
	switch Event(event) {
	case EventAuthFail, EventAuthFailSummary, EventDeniedSummary:
		return true
	}
	return false
}

func (f *Filter) about(e *Entry) bool {
	for _, c := range e.State {
		if c.Account == f.Account {
			return true
		}
	}
	for _, arg := range e.Args {
		if slices.Contains(accountArgs, arg.Name) && arg.Value == f.Account {
			return true
		}
	}
	return false
}

// accountArgs are the arguments that name an account.
var accountArgs = []string{"account", "from", "to"}

// May reports whether a leaf may fit, without taking it apart.
func (f *Filter) May(leaf []byte) bool {
	for kind, value := range f.terms() {
		if value == "" {
			continue
		}
		found := false
		eachTerm(leaf, func(k byte, v []byte) { found = found || k == kind && string(v) == value })
		if !found {
			return false
		}
	}
	return true
}

// terms are what the filter asks for, by kind.
func (f *Filter) terms() map[byte]string {
	return map[byte]string{
		termAccount: f.Account, termWho: f.Who, termOperation: string(f.Operation),
		termEvent: string(f.Event), termStatus: f.Status, termCode: string(f.Code),
	}
}

// An Index tells bundles of entries apart that cannot hold what a filter wants,
// so that they need not be read. It keeps a Bloom filter of 1 KiB for each
// complete bundle that it has seen, 4 MiB for a million entries, in memory alone, up to
// 32 MiB: of what is older than the last eight million, nothing.
// It sees what is published, and of what was there before it what is searched.
type Index struct {
	seed maphash.Seed

	mu    sync.RWMutex
	marks map[int64]*mark // guarded by mu; by number of the bundle
	first int64           // guarded by mu; those of bundles before it are not kept
}

const maxMarks = 32 << 10

const markBits = 8 << 10

type mark [markBits / 64]uint64

// NewIndex returns an empty index.
func NewIndex() *Index { return &Index{seed: maphash.MakeSeed(), marks: make(map[int64]*mark)} }

// Has reports whether bundle n is in the index.
func (x *Index) Has(n int64) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.marks[n] != nil
}

// Add puts a complete bundle into the index.
func (x *Index) Add(n int64, leaves func(yield func(leaf []byte))) {
	m := x.marker()
	leaves(m.mark)
	x.keep(n, m)
}

// A marker makes the mark of a bundle.
type marker struct {
	index *Index
	made  *mark
	last  [256][]byte // term of each kind that was marked last
}

func (x *Index) marker() *marker { return &marker{index: x, made: new(mark)} }

// mark puts an entry into the mark.
func (m *marker) mark(leaf []byte) {
	eachTerm(leaf, func(kind byte, value []byte) {
		if m.last[kind] != nil && bytes.Equal(value, m.last[kind]) {
			return // as most entries have what the one before them has
		}
		m.last[kind] = append(m.last[kind][:0], value...)
		for _, bit := range m.index.bits(kind, value) {
			m.made[bit/64] |= 1 << (bit % 64)
		}
	})
}

func (x *Index) keep(n int64, m *marker) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n >= x.first {
		x.marks[n] = m.made
	}
	for ; len(x.marks) > maxMarks; x.first++ {
		delete(x.marks, x.first)
	}
}

// May reports whether bundle n may hold an entry that fits. It says so of
// every bundle that is not in the index.
func (x *Index) May(n int64, f *Filter) bool {
	x.mu.RLock()
	m := x.marks[n]
	x.mu.RUnlock()
	if m == nil {
		return true
	}
	for kind, value := range f.terms() {
		if value == "" {
			continue
		}
		for _, bit := range x.bits(kind, []byte(value)) {
			if m[bit/64]&(1<<(bit%64)) == 0 {
				return false
			}
		}
	}
	return true
}

// bits are the bits of a term: four of them, out of one hash.
func (x *Index) bits(kind byte, value []byte) [4]uint {
	const odd = 0x9e3779b97f4a7c15 // makes another hash of each kind
	sum := maphash.Bytes(x.seed, value) ^ uint64(kind)*odd
	var bits [4]uint
	for i := range bits {
		bits[i] = uint(sum>>(16*i)) % markBits
	}
	return bits
}

const (
	termAccount   = 'a'
	termWho       = 'w'
	termOperation = 'o'
	termEvent     = 'e'
	termStatus    = 's'
	termCode      = 'c'
)

// termOf is the kind of the member of an entry with this name, and 0 for one that is
// not looked for.
func termOf(name []byte) byte {
	switch string(name) {
	case "account", "from", "to":
		return termAccount
	case "subject":
		return termWho
	case "op":
		return termOperation
	case "ev":
		return termEvent
	case "status":
		return termStatus
	case "code":
		return termCode
	}
	return 0
}

// eachTerm calls yield with each term of an entry, which is canonical JSON, and with a
// status for a failure that has none. Values with characters that are escaped are passed on
// as they are decoded.
func eachTerm(leaf []byte, yield func(kind byte, value []byte)) {
	for rest := leaf; ; {
		begin := bytes.IndexByte(rest, '"')
		if begin < 0 {
			return
		}
		name, after := cutString(rest[begin+1:])
		if rest = after; len(rest) < 2 || rest[0] != ':' || rest[1] != '"' {
			continue // it was no name, or not that of a string
		}
		of := rest[2:]
		value, after := cutString(of)
		rest = after
		kind := termOf(name)
		if kind == 0 {
			continue
		}
		if bytes.IndexByte(value, '\\') >= 0 {
			value = unescaped(of)
		}
		yield(kind, value)
		if kind == termEvent && isFailure(string(value)) {
			yield(termStatus, []byte(wordError))
		}
	}
}

// cutString cuts b at the end of the JSON string whose opening quotation mark stood
// before it. Most are short, so it looks at one byte after the other.
func cutString(b []byte) (inside, after []byte) {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			return b[:i], b[i+1:]
		case '\\':
			i++ // what is escaped
		}
	}
	return b, nil
}

// unescaped decodes the JSON string whose opening quotation mark stood before b.
func unescaped(b []byte) []byte {
	var s string
	if json.NewDecoder(strings.NewReader(`"`+string(b))).Decode(&s) != nil {
		return nil
	}
	return []byte(s)
}

// A Found is an entry that fits a filter.
type Found struct {
	Index int64
	Leaf  []byte
}

// A Page is what a search found.
type Page struct {
	Found []Found // the newest first
	Next  int64   // the index that the next page ends before; 0 at the end
	Read  int     // bundles that were read
	Total int     // bundles that the range has
}

// maxRead bounds the bundles that are read for one page.
const maxRead = 2048

// An EntryReader calls yield with the leaves of the entries from, from+1, …
// to-1 of a log in order. A leaf is good only until yield returns. An error of
// yield ends it and is returned.
type EntryReader func(ctx context.Context, from, to int64,
	yield func(index int64, leaf []byte) error) error

// Find searches a log backwards from the entry before index before for up to
// limit entries that fit. With an index it reads no bundle that cannot hold
// one, and puts there what it reads whole.
func Find(ctx context.Context, read EntryReader, index *Index, f *Filter, before int64,
	limit int,
) (*Page, error) {
	first, before, err := timeRange(ctx, read, f, before)
	if err != nil {
		return nil, err
	}
	p := &Page{}
	if first < before {
		p.Total = int((before-1)>>tileHeight - first>>tileHeight + 1)
	}
	for n := (before - 1) >> tileHeight; before > first; n-- {
		begin := max(first, n<<tileHeight)
		if index != nil && !index.May(n, f) {
			before = begin
			continue
		}
		if p.Read++; p.Read > maxRead {
			break
		}
		var found []Found
		var unseen *marker // of a complete bundle that is not in the index
		if index != nil && begin == n<<tileHeight && before == (n+1)<<tileHeight && !index.Has(n) {
			unseen = index.marker()
		}
		err := read(ctx, begin, before, func(i int64, leaf []byte) error {
			if unseen != nil {
				unseen.mark(leaf)
			}
			if !f.May(leaf) {
				return nil
			}
			entry, err := ParseEntry(leaf)
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

// timeRange narrows the range of entries to those between the times of a
// filter. Where the clock was set back, it ends at one of the places with the
// time.
func timeRange(ctx context.Context, read EntryReader, f *Filter, before int64) (from, to int64,
	err error,
) {
	after := func(t time.Time, inclusive bool) int64 {
		return int64(sort.Search(int(before), func(i int) bool {
			if err != nil {
				return true
			}
			var at time.Time
			if at, err = timeOf(ctx, read, int64(i)); err != nil {
				return true
			}
			return at.After(t) || inclusive && at.Equal(t)
		}))
	}
	from, to = 0, before
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
		entry, err := ParseEntry(leaf)
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
