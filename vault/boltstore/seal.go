package boltstore

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"example.com/atm/vault/boltstore/pages"
	"example.com/atm/vault/sealing"
	bolt "go.etcd.io/bbolt"
)

// Values are sealed with XChaCha20-Poly1305, or with AES-256-GCM where nothing
// but FIPS 140 is allowed. Each bucket has a key of its own, derived by HKDF
// (RFC 5869) from a data key; the name of the bucket and the key of the value
// are associated data, so a value that was changed or moved to another place
// does not open. The data keys lie in the file themselves, sealed with a key
// that is derived from the secret of the vault. Keys of records are not sealed:
// they are looked up.
//
// A sealed value is the number of its data key (4 bytes), random bytes and what
// the cipher made: 40 bytes more than the value, with either cipher.

// ErrSealed reports a value that does not open: it was changed, or moved, or
// sealed with a key that is not here.
var ErrSealed = errors.New("a sealed value does not open")

// ErrWrongSecret reports a vault that was sealed under another secret.
var ErrWrongSecret = errors.New("the vault is sealed with another vault key")

// A keyring seals and opens values. It does not change; rotation makes
// another one.
type keyring struct {
	newest uint32
	keys   map[uint32]*dataKey
	mixed  bool // values are sealed with older keys, too
}

// A dataKey is one key and the ciphers of the buckets that are derived from
// it.
type dataKey struct {
	suite   sealing.Suite
	secret  []byte
	buckets map[string]cipher.AEAD
}

func newDataKey(s sealing.Suite, secret []byte) (*dataKey, error) {
	k := &dataKey{suite: s, secret: secret, buckets: make(map[string]cipher.AEAD)}
	for _, bucket := range append(slices.Clone(buckets), nameRest) {
		aead, err := s.Derive(secret, "atm vault bucket "+string(bucket))
		if err != nil {
			return nil, err
		}
		k.buckets[string(bucket)] = aead
	}
	return k, nil
}

const sealedOverhead = 4 + sealing.Overhead

func associated(bucket, key []byte) []byte {
	return appendAssociated(make([]byte, 0, len(bucket)+1+len(key)), bucket, key)
}

func appendAssociated(b, bucket, key []byte) []byte {
	return append(append(append(b, bucket...), 0), key...)
}

// seal returns value as it is stored under key in bucket.
func (k *keyring) seal(bucket, key, value []byte) []byte {
	return k.sealTo(make([]byte, 0, len(value)+sealedOverhead), bucket, value,
		associated(bucket, key))
}

// sealTo appends value as it is stored in bucket, where it is sealed beside
// associated.
func (k *keyring) sealTo(b, bucket, value, associated []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, k.newest)
	return sealing.SealTo(b, k.keys[k.newest].buckets[string(bucket)], value, associated)
}

// open returns the value that was sealed under key in bucket, in memory of its
// own.
func (k *keyring) open(bucket, key, sealed []byte) ([]byte, error) {
	return k.openTo(nil, bucket, key, sealed)
}

// openTo is open, and appends to memory that to may have.
func (k *keyring) openTo(to, bucket, key, sealed []byte) ([]byte, error) {
	if len(sealed) < sealedOverhead || len(sealed) > pages.LongestRun {
		return nil, fmt.Errorf("%s, key %x: %w", bucket, key, ErrSealed)
	}
	data := k.keys[binary.BigEndian.Uint32(sealed)]
	if data == nil {
		return nil, fmt.Errorf("%s, key %x: %w", bucket, key, ErrSealed)
	}
	value, err := sealing.OpenTo(to, data.buckets[string(bucket)], sealed[4:],
		associated(bucket, key))
	if err != nil {
		return nil, fmt.Errorf("%s, key %x: %w", bucket, key, ErrSealed)
	}
	return value, nil
}

// A shelf is a bucket of sealed values in one view. Its bucket has what is
// in bbolt; it is nil in a file of before that is only read, which is empty there.
type shelf struct {
	view   view
	bucket *bolt.Bucket
	number int
	name   []byte
	keys   *keyring
}

func (v view) shelf(name []byte) shelf {
	number := slices.IndexFunc(buckets, func(n []byte) bool { return bytes.Equal(n, name) })
	s := shelf{v, v.file.Bucket(name), number, name, v.store.keys.Load()}
	switch number {
	case numberAccounts:
		s.bucket.FillPercent = 0.75 // they mostly come in order, and grow a little later
	case numberJournal:
		s.bucket.FillPercent = 1 // keys only ever come at the end
	}
	return s
}

// get returns the value of key, and nil when there is none.
func (s shelf) get(key []byte) ([]byte, error) {
	if value, has := s.view.get(s.number, key); has {
		return value, nil
	}
	if s.bucket == nil {
		return nil, nil
	}
	sealed := s.bucket.Get(key)
	if sealed == nil {
		return nil, s.absent(key)
	}
	return s.open(key, sealed)
}

// each calls do with everything that bbolt has in the bucket.
func (s shelf) each(do func(key, sealed []byte) error) error {
	if s.bucket == nil {
		return nil
	}
	return s.bucket.ForEach(do)
}

func (s shelf) open(key, sealed []byte) ([]byte, error) {
	if s.number == numberRequests {
		return sealed, nil // which its values are not
	}
	return s.openTo(nil, key, sealed)
}

// openTo is open into memory that to may have.
func (s shelf) openTo(to, key, sealed []byte) ([]byte, error) {
	return s.keys.openTo(to, s.name, key, sealed)
}

// put stores a value. A batch keeps key and value.
func (s shelf) put(key, value []byte) error {
	switch {
	case s.view.batch != nil:
		s.view.batch.put(s.number, key, value)
		return nil
	case s.number == numberRequests:
		return s.bucket.Put(key, value)
	}
	return s.bucket.Put(key, s.keys.seal(s.name, key, value))
}

// wrapping returns the cipher that data keys are sealed with.
func wrapping(s sealing.Suite, secret []byte) (cipher.AEAD, error) {
	return s.Derive(secret, "atm vault wrapping key")
}

// In the bucket of data keys a key is the number of a data key and the tag of
// the secret that it is sealed under, so that there can be two of them while a
// secret is changed. The value begins with the suite of the key, by which it is
// sealed as well.

func wrappedKey(number uint32, tag [8]byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, number), tag[:]...)
}

// tagOf names a secret without telling it.
func tagOf(secret []byte) ([8]byte, error) {
	tag, err := hkdf.Key(sha256.New, secret, nil, "atm vault key mark", 8)
	if err != nil {
		return [8]byte{}, err
	}
	return [8]byte(tag), nil
}

// wrap stores data keys sealed under secret.
func (k *keyring) wrap(b *bolt.Bucket, secret []byte) error {
	tag, err := tagOf(secret)
	if err != nil {
		return err
	}
	for _, number := range slices.Sorted(maps.Keys(k.keys)) {
		data := k.keys[number]
		aead, err := wrapping(data.suite, secret)
		if err != nil {
			return err
		}
		key := wrappedKey(number, tag)
		if err := b.Put(key, sealing.SealTo([]byte{byte(data.suite)}, aead, data.secret,
			associated(bucketKeys, key))); err != nil {
			return err
		}
	}
	return nil
}

// unwrap reads the data keys that are sealed under secret.
func unwrap(b *bolt.Bucket, secret []byte) (*keyring, error) {
	tag, err := tagOf(secret)
	if err != nil {
		return nil, err
	}
	k := &keyring{keys: make(map[uint32]*dataKey)}
	err = b.ForEach(func(key, sealed []byte) error {
		if len(key) != 12 || !bytes.Equal(key[4:], tag[:]) || len(sealed) < 1+sealing.Overhead {
			return nil
		}
		of := sealing.Suite(sealed[0])
		aead, err := wrapping(of, secret)
		if err != nil {
			return err
		}
		plain, err := sealing.Open(aead, sealed[1:], associated(bucketKeys, key))
		if err != nil {
			return fmt.Errorf("data key: %w", ErrSealed)
		}
		number := binary.BigEndian.Uint32(key)
		if k.keys[number], err = newDataKey(of, plain); err != nil {
			return err
		}
		k.newest = max(k.newest, number)
		return nil
	})
	k.mixed = len(k.keys) > 1
	if err == nil && len(k.keys) == 0 {
		err = ErrWrongSecret
	}
	return k, err
}

// with returns a keyring that has a new data key as its newest.
func (k *keyring) with() (*keyring, error) {
	secret := make([]byte, sealing.KeyBytes)
	rand.Read(secret) // never fails
	data, err := newDataKey(sealing.Current(), secret)
	if err != nil {
		return nil, err
	}
	next := &keyring{newest: k.newest + 1, keys: maps.Clone(k.keys), mixed: len(k.keys) > 0}
	if next.keys == nil {
		next.keys = make(map[uint32]*dataKey)
	}
	next.keys[next.newest] = data
	return next, nil
}

// RotateDataKey makes a new data key, with which everything is sealed from now
// on. What was sealed with older ones is sealed again by Reseal.
func (s *Store) RotateDataKey(secret []byte) error {
	s.keyChange.Lock()
	defer s.keyChange.Unlock()
	next, err := s.keys.Load().with()
	if err != nil {
		return err
	}
	err = s.db.Update(func(tx *bolt.Tx) error { return next.wrap(tx.Bucket(bucketKeys), secret) })
	if err == nil {
		s.keys.Store(next)
	}
	return err
}

// Rewrap seals the data keys under another secret as well. After the secret
// has been replaced where it is kept, Forget drops what the old one opened.
func (s *Store) Rewrap(secret []byte) error {
	s.keyChange.Lock()
	defer s.keyChange.Unlock()
	return s.db.Update(func(tx *bolt.Tx) error {
		return s.keys.Load().wrap(tx.Bucket(bucketKeys), secret)
	})
}

// Forget drops the data keys that are sealed under any other secret.
func (s *Store) Forget(secret []byte) error {
	tag, err := tagOf(secret)
	if err != nil {
		return err
	}
	return s.deleteKeys(func(number uint32, of [8]byte) bool { return of != tag })
}

func (s *Store) deleteKeys(which func(number uint32, tag [8]byte) bool) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketKeys)
		var old [][]byte
		err := b.ForEach(func(k, _ []byte) error {
			if len(k) == 12 && which(binary.BigEndian.Uint32(k), [8]byte(k[4:])) {
				old = append(old, bytes.Clone(k))
			}
			return nil
		})
		for _, k := range old {
			err = errors.Join(err, b.Delete(k))
		}
		return err
	})
}

// resealAtOnce bounds how many values one transaction seals again, and so how
// long a commit waits for it.
const resealAtOnce = 512

// Reseal seals again what was sealed with older data keys, a part at a time
// between the commits, and drops those keys when nothing needs them. It may be
// ended by stop and begun again.
func (s *Store) Reseal(stop func() bool) error {
	s.keyChange.Lock()
	defer s.keyChange.Unlock()
	keys := s.keys.Load()
	if !keys.mixed {
		return nil
	}
	// What is sealed with older keys is in bbolt now, and stays there: a commit seals
	// with the newest.
	if err := s.snapshot(func(view) error { return nil }); err != nil {
		return err
	}
	for _, name := range buckets {
		if bytes.Equal(name, bucketRequests) {
			continue // which is not sealed
		}
		for from := []byte{}; from != nil; {
			if stop() {
				return nil
			}
			err := s.db.Update(func(tx *bolt.Tx) error {
				var err error
				from, err = resealSome(view{store: s, file: tx}.shelf(name), from)
				return err
			})
			if err != nil {
				return fmt.Errorf("seal again: %w", err)
			}
		}
	}
	if err := s.deleteKeys(func(number uint32, _ [8]byte) bool {
		return number != keys.newest
	}); err != nil {
		return err
	}
	// In memory the old keys stay: somebody may be reading what was there
	// before.
	s.keys.Store(&keyring{newest: keys.newest, keys: keys.keys})
	return nil
}

// resealSome seals values from key from on again, and returns where to go on;
// nil at the end.
func resealSome(s shelf, from []byte) ([]byte, error) {
	type pair struct{ key, value []byte }
	var old []pair
	c := s.bucket.Cursor()
	k, v := c.Seek(from)
	for looked := 0; k != nil && looked < 16*resealAtOnce && len(old) < resealAtOnce; looked++ {
		if len(v) >= sealedOverhead && binary.BigEndian.Uint32(v) != s.keys.newest {
			value, err := s.open(k, v)
			if err != nil {
				return nil, err
			}
			old = append(old, pair{bytes.Clone(k), value})
		}
		k, v = c.Next()
	}
	next := bytes.Clone(k)
	for _, p := range old {
		if err := s.put(p.key, p.value); err != nil {
			return nil, err
		}
	}
	return next, nil
}
