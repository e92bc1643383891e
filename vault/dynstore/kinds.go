package dynstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"example.com/atm/vault"
	"example.com/atm/vault/codec"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/history"
	"example.com/atm/vault/people"
	"example.com/atm/vault/secrets"
)

// kinds are the kinds of records. Loading, writing, moving, checking and rebuilding run over this
// list, and TestEveryKindIsStored fails for a kind of vault.Records that is not in it. The
// accounts come last when records are loaded, because others name them.
var kinds = []kind{
	accounts{},
	users,
	holds,
	revocations,
	&records[string, vault.Grant]{
		Kind: codec.Grants, in: "grant", shards: fewShards,
		check: func(_ *checker, g *vault.Grant) error {
			if g.Spent < 0 || g.Spent > g.Cap {
				return fmt.Errorf("it has spent %s of %s", g.Spent, g.Cap)
			}
			return nil
		},
	},
	certificates,
	passkeys,
	sessions,
	&records[vault.MandateID, vault.Mandate]{
		Kind: codec.Mandates, in: "mandate", numbered: true, shards: fewShards,
	},
	orders,
	&records[vault.JournalIndex, vault.Reversal]{
		Kind: codec.Reversals, in: "reversal", numbered: true, shards: fewShards,
	},
	books,
	cursors,
}

// The kinds that others name.
var (
	holds = &records[vault.HoldID, vault.Hold]{
		Kind: codec.Holds, in: "hold", numbered: true, shards: fewShards,
		check: func(c *checker, h *vault.Hold) error {
			if !c.read.Chains.Has(h.Account) || vault.JournalIndex(h.ID) >= c.read.Size {
				return errors.New("it is of nothing")
			}
			return nil
		},
	}
	users = &records[string, people.User]{
		Kind: codec.Users, in: "user",
		seal: func(k *secrets.Keys, u *people.User) {
			u.HA1 = k.Seal(secrets.HA1, u.Subject, u.HA1)
			u.Slow = k.Seal(secrets.Slow, u.Subject, u.Slow)
		},
		open: func(k *secrets.Keys, u *people.User) (err error) {
			if u.HA1, err = k.Open(secrets.HA1, u.Subject, u.HA1); err == nil {
				u.Slow, err = k.Open(secrets.Slow, u.Subject, u.Slow)
			}
			return err
		},
	}
	revocations  = &records[string, people.Revocation]{Kind: codec.Revocations, in: "revocation"}
	certificates = &records[string, people.Certificate]{
		Kind: codec.Certificates, in: "certificate", shards: fewShards,
		expires: func(c *people.Certificate) int64 { return expiry(c.NotAfter, certificateKept) },
	}
	passkeys = &records[string, people.Passkey]{Kind: codec.Passkeys, in: "passkey", shards: fewShards}
	sessions = &records[string, people.Session]{
		Kind: codec.Sessions, in: "session", shards: fewShards,
		expires: func(s *people.Session) int64 { return expiry(s.Ends, people.SessionKept) },
	}
	orders = &records[vault.OrderID, vault.Order]{
		Kind: codec.Orders, in: "order", numbered: true, shards: fewShards,
	}
	books   = &records[string, feeds.Book]{Kind: codec.Feeds, in: "feed"}
	cursors = &records[feeds.ID, feeds.Cursor]{
		Kind: codec.Cursors, in: "cursor", numbered: true, beside: true,
	}
)

// A kind is what the store does with the records of one kind.
type kind interface {
	// of is where the records are in r.
	of(r *vault.Records) any

	// keys are those of the items that keys name.
	keys(asked *vault.Keys) []table.Key

	// load reads what was found of the records that keys name. One that cannot be read concerns
	// nothing but the commands that need it.
	load(t *transaction, asked *vault.Keys)

	// write returns the writes of what r has of the kind.
	write(k *secrets.Keys, r *vault.Records, spines history.Spines) []chain.Write

	// pks are the PKs of all records.
	pks() []string

	// read adds the record that an item has to r. isBeside says that the items are no part of
	// commits.
	read(k *secrets.Keys, i *table.Item, data []byte, r *vault.Records) error
	isBeside() bool

	// verify tells c of an item that does not open, or is not as it must be.
	verify(ctx context.Context, k *secrets.Keys, i *table.Item, c *checker)

	// isDerived reports whether a replay of the journal makes the records again.
	isDerived() bool

	// sort puts the records of the kind in order of their keys.
	sort(r *vault.Records)
}

// records are a kind whose records are each one item.
type records[K comparable, V any] struct {
	codec.Kind[K, V]
	in       string // begins the PKs
	numbered bool   // keys are numbers, not text
	shards   int    // 0 for none
	beside   bool   // no commit writes them

	seal    func(*secrets.Keys, *V)       // its secrets; nil for none
	open    func(*secrets.Keys, *V) error // what seal sealed
	expires func(*V) int64                // when it may be removed; nil for never

	check func(*checker, *V) error // beside its form; optional
}

func (s *records[K, V]) of(r *vault.Records) any { return s.List(r) }
func (s *records[K, V]) isDerived() bool         { return s.Derived }
func (s *records[K, V]) isBeside() bool          { return s.beside }

func (s *records[K, V]) sort(r *vault.Records) {
	slices.SortFunc(*s.List(r), func(a, b V) int {
		return bytes.Compare(s.ToKey(s.Key(&a)), s.ToKey(s.Key(&b)))
	})
}

func (s *records[K, V]) pks() []string {
	if s.shards == 0 {
		return []string{s.in}
	}
	return shardPKs(s.in, s.shards)
}

func shardPKs(in string, shards int) []string {
	pks := make([]string, shards)
	for i := range pks {
		pks[i] = shardPK(in, i)
	}
	return pks
}

// keyOf is the key of the item of a record.
func (s *records[K, V]) keyOf(key K) table.Key {
	sk := textSK(s.ToKey(key))
	if s.numbered {
		sk = numberSK(s.ToKey(key))
	}
	if s.shards > 0 {
		return shardKey(s.in, sk, s.shards)
	}
	return table.Key{PK: s.in, SK: sk}
}

func (s *records[K, V]) keys(asked *vault.Keys) []table.Key {
	if s.Asked == nil {
		return nil
	}
	var keys []table.Key
	for _, key := range s.Asked(asked) {
		keys = append(keys, s.keyOf(key))
	}
	return keys
}

func (s *records[K, V]) load(t *transaction, asked *vault.Keys) {
	if s.Asked == nil || len(s.Asked(asked)) == 0 {
		return
	}
	loaded := s.Loaded(&t.loaded)
	loaded.Found = make(map[K]*V)
	for _, key := range s.Asked(asked) {
		item := t.found[s.keyOf(key)]
		if item == nil {
			continue
		}
		one, err := s.decode(t.store.keys, key, item.Data)
		if err != nil {
			loaded.Note(key, err)
			continue
		}
		loaded.Found[key] = &one
	}
}

func (s *records[K, V]) decode(k *secrets.Keys, key K, data []byte) (V, error) {
	one, err := s.Decode(key, data)
	if err == nil && s.open != nil {
		err = s.open(k, &one)
	}
	return one, err
}

// item is the item of a record.
func (s *records[K, V]) item(k *secrets.Keys, v V) table.Item {
	key := s.Key(&v)
	i := table.Item{Key: s.keyOf(key)}
	i.Long = longOf(i.SK, s.ToKey(key))
	if s.expires != nil {
		i.Expires = s.expires(&v)
	}
	if s.seal != nil {
		s.seal(k, &v)
	}
	i.Data = s.Encode(&v)
	return i
}

func (s *records[K, V]) write(k *secrets.Keys, r *vault.Records, _ history.Spines) []chain.Write {
	list := *s.List(r)
	writes := make([]chain.Write, len(list))
	for i := range list {
		writes[i].Item, writes[i].Kept = s.item(k, list[i]), true
	}
	return writes
}

// record reads the record of an item, or of what it was.
func (s *records[K, V]) record(k *secrets.Keys, i *table.Item, data []byte) (one V, err error) {
	text, err := textOf(i.SK, i.Long)
	if s.numbered {
		text, err = numberOf(i.SK)
	}
	if err != nil {
		return one, fmt.Errorf("%s, key %s: %w", s.Name, i.SK, err)
	}
	key, err := s.FromKey(text)
	if err == nil {
		one, err = s.decode(k, key, data)
	}
	if err != nil {
		return one, fmt.Errorf("%s %v: %w", s.Name, key, err)
	}
	return one, nil
}

func (s *records[K, V]) read(k *secrets.Keys, i *table.Item, data []byte, r *vault.Records) error {
	one, err := s.record(k, i, data)
	if err == nil {
		*s.List(r) = append(*s.List(r), one)
	}
	return err
}

func (s *records[K, V]) verify(_ context.Context, k *secrets.Keys, i *table.Item, c *checker) {
	one, err := s.record(k, i, i.Data)
	switch {
	case err != nil:
		c.problems.Add("%v", err)
	case s.keyOf(s.Key(&one)) != i.Key:
		c.problems.Add("%s %v is not where it belongs", s.Name, s.Key(&one))
	case s.check != nil:
		if err := s.check(c, &one); err != nil {
			c.problems.Add("%s %v: %v", s.Name, s.Key(&one), err)
		}
	}
}
