package dynstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/codec"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/history"
	"example.com/atm/vault/replicated"
	"example.com/atm/vault/requestid"
)

// Commit implements vault.Store. The changes are durable when it returns nil.
func (s *Store) Commit(ctx context.Context, keys vault.Keys,
	decide func(*vault.Books) error,
) (durable func() error, err error) {
	if err := s.commit(ctx, keys, decide); err != nil {
		return nil, err
	}
	return func() error { return nil }, nil
}

// commit makes attempts until one is done, or none will be. An error that is
// vault.ErrUnavailable means that nothing was changed.
func (s *Store) commit(ctx context.Context, keys vault.Keys,
	decide func(*vault.Books) error,
) error {
	end := time.Now().Add(table.Patience)
	from := s.chain.Turn(ctx)
	for wait := (table.Backoff{}); ; {
		err := s.attempt(ctx, from, keys, decide)
		switch {
		case err == nil:
			s.trouble.End()
			return nil
		case !again(err):
			return err
		case ctx.Err() != nil || time.Now().After(end):
			s.trouble.Note(err)
			return fmt.Errorf("%w: %w", vault.ErrUnavailable, err)
		}
		before := from
		from = nil
		switch {
		case errors.Is(err, errTorn):
		case errors.Is(err, chain.ErrMoved):
			from = s.chain.After(before)
		default:
			wait.Pause(ctx)
		}
	}
}

// errTorn reports an attempt that read records of more than one state.
var errTorn = fmt.Errorf("%w, while records were read", chain.ErrMoved)

// again reports whether another attempt may end in another way. Nothing was changed then.
func again(err error) bool {
	return !errors.Is(err, replicated.ErrOutcome) && (table.Transient(err) ||
		errors.Is(err, chain.ErrMoved) || errors.Is(err, chain.ErrBusy))
}

// A transaction is one attempt at a commit.
type transaction struct {
	store  *Store
	from   *chain.State
	begun  time.Time
	loaded vault.Loaded
	spines history.Spines
	found  map[table.Key]*table.Item // nil for an item that is not there
}

// attempt tries a commit once. from is the state that it builds on; nil to read it. Whatever was
// read is of that state if the head has not changed: the commit itself makes sure of that, and
// where there is none the head is read again.
func (s *Store) attempt(ctx context.Context, from *chain.State, keys vault.Keys,
	decide func(*vault.Books) error,
) error {
	if err := s.chain.Err(); err != nil {
		return err
	}
	var err error
	if from == nil {
		if from, err = s.chain.Read(ctx); err != nil {
			return err
		}
	}
	if keys.More != nil { // what has come while this program waited for its turn
		keys = keys.More()
	}
	t := &transaction{store: s, from: from, begun: time.Now(), spines: make(history.Spines)}
	if err := t.load(ctx, keys); err != nil {
		return err
	}
	if err := s.files.adopt(ctx, from.Files); err != nil {
		return err
	}
	books := vault.NewBooks(keys, t.loaded)
	err = decide(books)
	changes := books.Changes()
	if err == nil && changes != nil {
		err = t.follow(changes)
	}
	if err != nil || changes == nil {
		now, failed := s.chain.Read(ctx)
		switch {
		case failed != nil:
			return failed
		case now.Version != from.Version:
			return errTorn
		}
		return err
	}
	return t.commit(ctx, books.Now, changes)
}

// load reads the records that keys name.
func (t *transaction) load(ctx context.Context, keys vault.Keys) (err error) {
	s, l := t.store, &t.loaded
	if l.Head, err = t.from.Merkle(); err != nil {
		return err
	}
	l.Checkpoint, l.Logs, l.Now = t.from.Checkpoint, t.from.Logs, s.now(t.from)
	l.History = func(account vault.Name, from uint64,
		yield func(uint64, vault.JournalIndex, []byte) bool,
	) error {
		return s.history(ctx, account, from, yield)
	}
	var asked []table.Key
	for _, kind := range kinds {
		asked = append(asked, kind.keys(&keys)...)
	}
	for _, key := range keys.Requests {
		asked = append(asked, requestKey(key))
	}
	t.found = make(map[table.Key]*table.Item, len(asked))
	if err := t.fetch(ctx, asked); err != nil {
		return err
	}
	for _, kind := range kinds[1:] {
		kind.load(t, &keys)
	}
	if err := t.fetch(ctx, accountKeys(l.AppendTheirs(nil, &keys))); err != nil {
		return err
	}
	kinds[0].load(t, &keys)
	return t.loadRequests(ctx, keys.Requests)
}

// fetch reads items that were not read yet.
func (t *transaction) fetch(ctx context.Context, keys []table.Key) error {
	var more []table.Key
	for _, key := range keys {
		if _, fetched := t.found[key]; !fetched {
			t.found[key] = nil
			more = append(more, key)
		}
	}
	found, err := t.store.table.GetAll(ctx, more)
	for key, item := range found {
		t.found[key] = item
	}
	return err
}

// A request id is an item under its key, which is a hash: the index of the entry that answered it
// first, and the day of that as its version.

const (
	inRequests    = "request#"
	requestDigits = 1 // of the key, which say where it lies
)

func requestKey(key requestid.Key) table.Key {
	sk := key.String()
	return table.Key{PK: inRequests + sk[len(sk)-requestDigits:], SK: sk}
}

// requestPKs are the PKs of all request ids.
func requestPKs() []string {
	pks := make([]string, 1<<(4*requestDigits))
	for i := range pks {
		pks[i] = fmt.Sprintf("%s%0*x", inRequests, requestDigits, i)
	}
	return pks
}

func requestItem(key requestid.Key, index vault.JournalIndex, day int64) table.Item {
	return table.Item{
		Key: requestKey(key), Data: codec.JournalKey(index), Until: day,
		Expires: expiry(time.Now(), requestid.Life+2*aDay),
	}
}

const aDay = 24 * time.Hour

// expiry is when the table may remove what is over at a time, by a clock that may be wrong: it is
// kept for so long after that, and from now on.
func expiry(over time.Time, kept time.Duration) int64 {
	if now := time.Now(); over.Before(now) {
		over = now
	}
	return over.Add(kept).Unix()
}

// oldestDay is the first day whose request ids still count, after the newest entry of a state.
func oldestDay(s *chain.State) int64 {
	return requestid.Day(time.UnixMicro(s.At).Add(-requestid.Life))
}

// loadRequests reads which entries answered request ids first.
func (t *transaction) loadRequests(ctx context.Context, keys []requestid.Key) error {
	l := &t.loaded.Requests
	l.Found = make(map[requestid.Key]*vault.Remembered)
	journal := t.store.journal(ctx)
	for _, key := range keys {
		item := t.found[requestKey(key)]
		if item == nil || item.Until < oldestDay(t.from) {
			continue // or it is about to be swept away
		}
		index, err := codec.JournalIndex(item.Data)
		e := vault.Remembered{Index: index}
		if err == nil && index >= t.from.Begins {
			if e.Leaf, err = journal.leaf(index); table.Transient(err) {
				return err
			}
		}
		l.Found[key] = &e
		if err != nil {
			delete(l.Found, key)
			l.Note(key, err)
		}
	}
	return nil
}

// follow makes sure that the changes build on the accounts that are there.
func (t *transaction) follow(c *vault.Changes) error {
	return c.Follow(func(n vault.Name) (version uint64, loaded bool) {
		h, loaded := t.spines[n]
		return h.Version, loaded
	})
}

// commit makes the changes.
func (t *transaction) commit(ctx context.Context, now time.Time, c *vault.Changes) error {
	next := t.from.Head
	writes := t.writes(c, now)
	if c.Commands > 1 && !chain.Fits(writes) {
		return fmt.Errorf("%w: %d items", vault.ErrTooLarge, len(writes))
	}
	var err error
	if next.Tree, err = c.Head.MarshalBinary(); err != nil {
		return err
	}
	next.Checkpoint = c.Checkpoint
	next.Size = c.First + vault.JournalIndex(len(c.Entries))
	next.Last = merkle.LeafHash(c.Entries[len(c.Entries)-1].Leaf)
	next.At = max(next.At, now.UnixMicro())
	next.Turn = t.store.chain.TurnAfter(t.from, time.Since(t.begun))
	if len(c.Users)+len(c.Revocations) > 0 {
		next.People = next.Size
	}
	return t.store.chain.Make(ctx, t.from, next, writes)
}

// writes returns what the changes write.
func (t *transaction) writes(c *vault.Changes, now time.Time) []chain.Write {
	writes := changesOf(chunksOf(c.First, c.Entries, t.spines))
	for _, kind := range kinds {
		for _, w := range kind.write(t.store.keys, &c.Records, t.spines) {
			w.Before, w.Read = t.found[w.Item.Key]
			writes = append(writes, w)
		}
	}
	for _, r := range c.Requests {
		w := chain.Write{
			Write: table.Write{Item: requestItem(r.Key, r.Index, requestid.Day(now))},
		}
		w.Before, w.Read = t.found[w.Item.Key]
		writes = append(writes, w)
	}
	return writes
}
