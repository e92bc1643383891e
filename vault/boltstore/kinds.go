package boltstore

import (
	"errors"
	"fmt"
	"slices"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/cursors"
	"example.com/atm/vault/boltstore/keyring"
	"example.com/atm/vault/boltstore/shelf"
	"example.com/atm/vault/chunk"
	"example.com/atm/vault/codec"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/people"
	bolt "go.etcd.io/bbolt"
)

// kinds are the kinds of records, each with a bucket of its own. Loading, writing, moving,
// checking, rebuilding and replaying a log run over this list, and TestEveryKindIsStored
// fails for a kind of vault.Records that is not in it.
//
// A new kind comes at the end: its place is its number in the write-ahead log. Its bucket is
// made when a file that does not have it is opened.
var kinds = []kind{
	accountsKind{},
	usersKind,
	&records[vault.HoldID, vault.Hold]{
		Kind: codec.Holds, bucket: bucketHolds,
		check: func(c *checker, h *vault.Hold) error {
			if !c.read.Chains.Has(h.Account) || vault.JournalIndex(h.ID) >= c.read.Size {
				return errors.New("it is of nothing")
			}
			return nil
		},
	},
	revocationsKind,
	&records[string, vault.Grant]{
		Kind: codec.Grants, bucket: bucketGrants,
		check: func(_ *checker, g *vault.Grant) error {
			if g.Spent < 0 || g.Spent > g.Cap {
				return fmt.Errorf("it has spent %s of %s", g.Spent, g.Cap)
			}
			return nil
		},
	},
	certificatesKind,
	passkeysKind,
	sessionsKind,
	&records[vault.MandateID, vault.Mandate]{Kind: codec.Mandates, bucket: bucketMandates},
	ordersKind,
	&records[vault.JournalIndex, vault.Reversal]{Kind: codec.Reversals, bucket: bucketReversals},
	feedsKind,
	&records[feeds.ID, feeds.Cursor]{Kind: codec.Cursors, bucket: cursors.Bucket},
}

// The kinds that are listed as a whole.
var (
	usersKind       = &records[string, people.User]{Kind: codec.Users, bucket: bucketUsers}
	revocationsKind = &records[string, people.Revocation]{
		Kind: codec.Revocations, bucket: bucketRevoked,
	}
	certificatesKind = &records[string, people.Certificate]{
		Kind: codec.Certificates, bucket: bucketIssued,
	}
	passkeysKind = &records[string, people.Passkey]{Kind: codec.Passkeys, bucket: bucketPasskeys}
	ordersKind   = &records[vault.OrderID, vault.Order]{Kind: codec.Orders, bucket: bucketOrders}
	sessionsKind = &records[string, people.Session]{Kind: codec.Sessions, bucket: bucketSessions}
	feedsKind    = &records[string, feeds.Book]{Kind: codec.Feeds, bucket: bucketFeeds}
)

// A kind is what the store does with the records of one kind.
type kind interface {
	// in names the bucket, and of is where the records are in r.
	in() []byte
	of(r *vault.Records) any

	// fits reports whether a key has the form that those of the bucket have.
	fits(key []byte) bool

	// load reads the records that keys name. One that cannot be read concerns nothing but
	// the commands that need it.
	load(v view, keys *vault.Keys, l *vault.Loaded, spines spines)

	// write puts what r has of the kind into its bucket.
	write(v view, r *vault.Records, spines spines) error

	// each calls next after each record of the bucket, which it adds to r.
	each(v view, r *vault.Records, next func() error) error

	// verify tells c of each record that does not open, or is not as it must be.
	verify(v view, c *checker) error

	// isDerived reports whether a replay of the journal makes the records again.
	isDerived() bool
}

// records are a kind whose records are each one value under one key.
type records[K comparable, V any] struct {
	codec.Kind[K, V]
	bucket []byte

	check func(*checker, *V) error // beside its form; optional
}

func (s *records[K, V]) in() []byte              { return s.bucket }
func (s *records[K, V]) of(r *vault.Records) any { return s.List(r) }
func (s *records[K, V]) isDerived() bool         { return s.Derived }

func (s *records[K, V]) fits(key []byte) bool {
	_, err := s.FromKey(key)
	return err == nil
}

func (s *records[K, V]) load(v view, keys *vault.Keys, l *vault.Loaded, _ spines) {
	if s.Asked == nil || len(s.Asked(keys)) == 0 {
		return
	}
	asked, loaded, shelf := s.Asked(keys), s.Loaded(l), v.shelf(s.bucket)
	loaded.Found = make(map[K]*V, len(asked))
	for _, key := range asked {
		one, err := s.one(shelf, key)
		if err != nil {
			loaded.Note(key, err)
		} else if one != nil {
			loaded.Found[key] = one
		}
	}
}

// one returns the record under a key, and nil when there is none.
func (s *records[K, V]) one(shelf shelf.Shelf, key K) (*V, error) {
	value, err := shelf.Get(s.ToKey(key))
	if value == nil || err != nil {
		return nil, err
	}
	one, err := s.Decode(key, value)
	if err != nil {
		return nil, err
	}
	return &one, nil
}

func (s *records[K, V]) write(v view, r *vault.Records, _ spines) error {
	list := *s.List(r)
	if len(list) == 0 {
		return nil
	}
	shelf := v.shelf(s.bucket)
	for i := range list {
		if err := shelf.Put(s.ToKey(s.Key(&list[i])), s.Encode(&list[i])); err != nil {
			return err
		}
	}
	return nil
}

// open opens and decodes a record of the bucket.
func (s *records[K, V]) open(shelf shelf.Shelf, k, sealed []byte) (one V, err error) {
	key, err := s.FromKey(k)
	if err != nil {
		return one, fmt.Errorf("%s, key %x: %w", s.Name, k, err)
	}
	value, err := shelf.Open(k, sealed)
	if err != nil {
		return one, err
	}
	one, err = s.Decode(key, value)
	if err != nil {
		return one, fmt.Errorf("%s %v: %w", s.Name, key, err)
	}
	return one, nil
}

func (s *records[K, V]) each(v view, r *vault.Records, next func() error) error {
	shelf, list := v.shelf(s.bucket), s.List(r)
	return shelf.Each(func(k, sealed []byte) error {
		one, err := s.open(shelf, k, sealed)
		if err != nil {
			return err
		}
		*list = append(*list, one)
		return next()
	})
}

func (s *records[K, V]) verify(v view, c *checker) error {
	shelf := v.shelf(s.bucket)
	return shelf.Each(func(k, sealed []byte) error {
		one, err := s.open(shelf, k, sealed)
		if err != nil {
			c.problems.Add("%v", err)
			return nil
		}
		if s.check == nil {
			return nil
		}
		if err := s.check(c, &one); err != nil {
			c.problems.Add("%s %v: %v", s.Name, s.Key(&one), err)
		}
		return nil
	})
}

// accountsKind are the accounts. Each is stored with the spine of its history, which comes
// from the entries that are written with it.
type accountsKind struct{}

func (accountsKind) in() []byte              { return bucketAccounts }
func (accountsKind) of(r *vault.Records) any { return &r.Accounts }
func (accountsKind) isDerived() bool         { return true }

func (accountsKind) fits(key []byte) bool {
	_, err := codec.AccountName(key)
	return err == nil
}

func (accountsKind) each(v view, r *vault.Records, next func() error) error {
	return v.eachAccount(func(a *vault.Account, _ chunk.Spine) error {
		r.Accounts = append(r.Accounts, *a)
		return next()
	})
}

// load reads those that keys name, and those of the other records.
func (accountsKind) load(v view, keys *vault.Keys, l *vault.Loaded, spines spines) {
	names := l.AppendTheirs(slices.Clip(keys.Accounts), keys)
	// of a movement one account is that of the cash, nearly always
	l.Accounts.Found = make(map[vault.Name]*vault.Account, len(names)/2+1)
	for _, name := range names {
		if _, loaded := spines[name]; loaded {
			continue
		}
		a, places, err := v.account(name)
		if err != nil {
			l.Accounts.Note(name, err)
			continue
		}
		spines[name] = chunk.History{Version: a.Version, Places: places}
		if a.Version > 0 {
			l.Accounts.Found[name] = &a
		}
	}
}

func (accountsKind) write(v view, r *vault.Records, spines spines) error {
	shelf := v.shelf(bucketAccounts)
	for i := range r.Accounts {
		a := &r.Accounts[i]
		if err := shelf.Put(codec.AccountKey(a.Name), codec.EncodeAccount(a,
			spines.Of(a.Name, a.Version))); err != nil {
			return err
		}
	}
	return nil
}

func (accountsKind) verify(v view, c *checker) error {
	shelf := v.shelf(bucketAccounts)
	err := shelf.Each(func(k, sealed []byte) error {
		a, spine, err := openAccount(shelf, k, sealed)
		if err != nil {
			c.problems.Add("account: %v", err)
			return nil
		}
		c.read.Account(&a, spine, func(id vault.HoldID) (vault.Hold, error) {
			value, err := v.shelf(bucketHolds).Get(codec.HoldKey(id))
			if err != nil {
				return vault.Hold{}, err
			}
			return codec.DecodeHold(id, value)
		})
		return nil
	})
	c.read.Chains.End()
	return err
}

// buckets are all buckets but that of the keys. Their places in the list are their numbers
// in the records of the write-ahead log. Values are sealed, except some of meta, and those
// of requests, which are only indexes of entries.
var buckets = bucketsOf(kinds)

func bucketsOf(kinds []kind) [][]byte {
	names := [][]byte{bucketMeta, bucketAccounts, bucketJournal, bucketRequests}
	for _, kind := range kinds[1:] { // behind the accounts
		names = append(names, kind.in())
	}
	return names
}

// sealedNames are the names that something is sealed under.
func sealedNames() [][]byte { return append(slices.Clone(buckets), codec.NameRest) }

// firstBuckets is how many of buckets a file has had since its schema began. One of them
// that is missing is damage, and any other is made when a file is opened.
const firstBuckets = 9

// missingBuckets returns the buckets that a file from before some kinds does not have yet.
func missingBuckets(tx *bolt.Tx) (missing [][]byte, err error) {
	for i, name := range append([][]byte{keyring.Bucket}, buckets...) {
		switch {
		case tx.Bucket(name) != nil:
		case i <= firstBuckets:
			return nil, fmt.Errorf("it lacks the bucket %s", name)
		default:
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// makeBuckets makes those of the buckets that the file does not have.
func makeBuckets(tx *bolt.Tx, names [][]byte) error {
	for _, name := range names {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}
