package pgstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/pgstore/database"
)

// highWater is a state of the journal.
type highWater struct {
	size vault.JournalIndex // of the journal
	head merkle.Head
	last merkle.Hash // leaf hash of the newest entry
}

// A past is the newest state of the journal that was read or written here. It notices when the
// database goes back in time.
type past struct {
	// tell tells the other replicas that the database went back; nil when this program is not
	// a replica.
	tell    func(ctx context.Context, size int64) // size is that of the audit log
	telling sync.WaitGroup

	mu   sync.Mutex
	seen highWater // guarded by mu

	gone atomic.Pointer[error] // set for good when the journal was found to have gone back
}

// newest is the newest state of the journal that was read or written here.
func (p *past) newest() highWater {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// reached notes a state of the journal that is durable.
func (p *past) reached(now highWater) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.size > p.seen.size {
		p.seen = now
	}
}

// err is the error that is ErrRolledBack once the journal was found to have gone back.
func (p *past) err() error {
	if err := p.gone.Load(); err != nil {
		return *err
	}
	return nil
}

// observe notes a state of the journal that was read after seen was the newest one, and
// refuses it for good when it does not extend that state: entries are gone, or others stand in
// their place. Each entry has an id of its own, so the same entry in the same place has the
// same entries before it.
func (p *past) observe(seen highWater, now sighting) error {
	if err := p.err(); err != nil {
		return err
	}
	var err error
	switch {
	case now.size < seen.size:
		err = fmt.Errorf("%w: the journal has %d entries and had %d", ErrRolledBack, now.size,
			seen.size)
	case seen.size > now.begins && now.past != seen.last: // or that entry was trimmed
		err = fmt.Errorf("%w: entry %d of the journal is another one than before", ErrRolledBack,
			seen.size-1)
	case now.size == seen.size && now.head.Size == seen.head.Size &&
		!slices.Equal(now.head.Edge, seen.head.Edge):
		err = fmt.Errorf("%w: the journal with %d entries has another head", ErrRolledBack,
			now.size)
	}
	if err == nil && now.told && p.tell != nil {
		err = fmt.Errorf("%w: another replica has seen more of it (see atmctl audit recover)",
			ErrRolledBack)
		p.gone.CompareAndSwap(nil, &err)
		return err
	}
	if err != nil {
		if p.gone.CompareAndSwap(nil, &err) && p.tell != nil {
			p.telling.Go(func() { p.tell(context.Background(), seen.head.Size) })
		}
		return err
	}
	if now.last != (merkle.Hash{}) || now.begins == now.size {
		p.reached(now.highWater)
	}
	return nil
}

// A sighting is a state of the journal as it was read, beside the entry that stands where
// the newest one stood that had been seen before.
type sighting struct {
	highWater
	past   merkle.Hash // zero when there is no entry in that place
	told   bool        // that a replica has seen more than there is
	begins vault.JournalIndex
}

// sightColumns reads a sightingRow. $1 is the size of the journal that was seen before.
const sightColumns = `size, head, begins, (SELECT leaf FROM journal WHERE index = log.size - 1),
	(SELECT leaf FROM journal WHERE index = $1 - 1), EXISTS (SELECT FROM rollbacks)`

type sightingRow struct {
	size, begins       int64
	head, newest, past []byte
	told               bool
}

func (r *sightingRow) columns(more ...any) []any {
	return append([]any{&r.size, &r.head, &r.begins, &r.newest, &r.past, &r.told}, more...)
}

func (r *sightingRow) sighting() (s sighting, err error) {
	s.size, s.begins, s.told = vault.JournalIndex(r.size), vault.JournalIndex(r.begins), r.told
	// A statement that waited for the row of the head may not see the newest entry yet.
	if r.newest != nil {
		s.last = merkle.LeafHash(r.newest)
	}
	if r.past != nil {
		s.past = merkle.LeafHash(r.past)
	}
	s.head, err = merkle.UnmarshalHead(r.head)
	return s, err
}

// sight reads the state of the journal. seen is what newest said before; how is a locking
// clause.
func sight(ctx context.Context, q database.Querier, seen highWater, how string) (sighting, error) {
	var row sightingRow
	if err := q.QueryRow(ctx, "SELECT "+sightColumns+" FROM log "+how, int64(seen.size)).
		Scan(row.columns()...); err != nil {
		return sighting{}, err
	}
	return row.sighting()
}
