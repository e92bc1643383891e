// Package keyring seals the values of a vault's file.
//
// They are sealed with XChaCha20-Poly1305, or with AES-256-GCM where nothing but FIPS 140
// is allowed. Each bucket has a key of its own, derived by HKDF (RFC 5869) from a data key.
// The name of the bucket and the key of the value are associated data, so a value that was
// changed or moved to another place does not open. The data keys are in the file too,
// sealed with a key that is derived from the secret of the vault. Keys of records are not
// sealed: they are looked up.
//
// A sealed value is the number of its data key (4 bytes), random bytes and what the cipher
// made: 40 bytes more than the value, with either cipher.
package keyring

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

// Bucket is the name of the bucket that the data keys are in. What is under a key of it is
// a sealed data key: the key is its number and the tag of the secret that it is sealed
// under, so that there can be two of it while a secret is changed. The value begins with
// the suite of the data key, by which it is sealed as well.
var Bucket = []byte("keys")

// ErrSealed reports a value that does not open: it was changed, or moved, or
// sealed with a key that is not here.
var ErrSealed = errors.New("a sealed value does not open")

// ErrWrongSecret reports a vault that was sealed under another secret.
var ErrWrongSecret = errors.New("the vault is sealed with another vault key")

// A Ring seals values with the newest of its data keys, and opens those of all of them. It
// does not change: Rotated returns another one.
type Ring struct {
	names  [][]byte // of the buckets that it seals for
	newest uint32
	keys   map[uint32]*dataKey
	mixed  bool // values may be sealed with older keys
}

// New returns a ring with one new data key, for the buckets with these names.
func New(names [][]byte) (*Ring, error) { return (&Ring{names: names}).Rotated() }

// A dataKey is one key and the ciphers of the buckets that are derived from
// it.
type dataKey struct {
	suite   sealing.Suite
	secret  []byte
	buckets map[string]cipher.AEAD
}

func newDataKey(s sealing.Suite, secret []byte, names [][]byte) (*dataKey, error) {
	k := &dataKey{suite: s, secret: secret, buckets: make(map[string]cipher.AEAD)}
	for _, bucket := range names {
		aead, err := s.Derive(secret, "atm vault bucket "+string(bucket))
		if err != nil {
			return nil, err
		}
		k.buckets[string(bucket)] = aead
	}
	return k, nil
}

// Overhead is how many bytes a sealed value has more than the value.
const Overhead = 4 + sealing.Overhead

func associated(bucket, key []byte) []byte {
	b := make([]byte, 0, len(bucket)+1+len(key))
	return append(append(append(b, bucket...), 0), key...)
}

// Seal returns value as it is stored under key in bucket.
func (k *Ring) Seal(bucket, key, value []byte) []byte {
	return k.SealTo(make([]byte, 0, len(value)+Overhead), bucket, key, value)
}

// SealTo is Seal, and appends to to.
func (k *Ring) SealTo(to, bucket, key, value []byte) []byte {
	to = binary.BigEndian.AppendUint32(to, k.newest)
	return sealing.SealTo(to, k.keys[k.newest].buckets[string(bucket)], value,
		associated(bucket, key))
}

// Open returns the value that was sealed under key in bucket, in memory of its own.
func (k *Ring) Open(bucket, key, sealed []byte) ([]byte, error) {
	return k.OpenTo(nil, bucket, key, sealed)
}

// IsOlder reports whether a value is sealed with another data key than the newest.
func (k *Ring) IsOlder(sealed []byte) bool {
	return len(sealed) >= Overhead && binary.BigEndian.Uint32(sealed) != k.newest
}

// OpenTo is Open, and appends to to.
func (k *Ring) OpenTo(to, bucket, key, sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead || len(sealed) > pages.LongestRun {
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

// wrapping returns the cipher that data keys are sealed with.
func wrapping(s sealing.Suite, secret []byte) (cipher.AEAD, error) {
	return s.Derive(secret, "atm vault wrapping key")
}

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

// Wrap puts the data keys, sealed under secret, into the bucket of data keys.
func (k *Ring) Wrap(b *bolt.Bucket, secret []byte) error {
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
			associated(Bucket, key))); err != nil {
			return err
		}
	}
	return nil
}

// Unwrap reads the data keys that are sealed under secret from the bucket of data keys. The
// ring seals for the buckets with these names.
func Unwrap(b *bolt.Bucket, secret []byte, names [][]byte) (*Ring, error) {
	tag, err := tagOf(secret)
	if err != nil {
		return nil, err
	}
	k := &Ring{names: names, keys: make(map[uint32]*dataKey)}
	err = b.ForEach(func(key, sealed []byte) error {
		if len(key) != 12 || !bytes.Equal(key[4:], tag[:]) || len(sealed) < 1+sealing.Overhead {
			return nil
		}
		of := sealing.Suite(sealed[0])
		aead, err := wrapping(of, secret)
		if err != nil {
			return err
		}
		plain, err := sealing.Open(aead, sealed[1:], associated(Bucket, key))
		if err != nil {
			return fmt.Errorf("data key: %w", ErrSealed)
		}
		number := binary.BigEndian.Uint32(key)
		if k.keys[number], err = newDataKey(of, plain, names); err != nil {
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

// Rotated returns a ring that has a new data key as its newest.
func (k *Ring) Rotated() (*Ring, error) {
	secret := make([]byte, sealing.KeyBytes)
	rand.Read(secret) // never fails
	data, err := newDataKey(sealing.Current(), secret, k.names)
	if err != nil {
		return nil, err
	}
	next := &Ring{
		names: k.names, newest: k.newest + 1, keys: maps.Clone(k.keys), mixed: len(k.keys) > 0,
	}
	if next.keys == nil {
		next.keys = make(map[uint32]*dataKey)
	}
	next.keys[next.newest] = data
	return next, nil
}

// Mixed reports whether values may be sealed with older data keys.
func (k *Ring) Mixed() bool { return k.mixed }

// Unmixed returns the ring after everything has been sealed again with its newest data key.
// It keeps the older ones: readers may still see values that they sealed.
func (k *Ring) Unmixed() *Ring {
	return &Ring{names: k.names, newest: k.newest, keys: k.keys}
}

// DropOlder deletes every data key but the newest from the bucket of data keys.
func (k *Ring) DropOlder(b *bolt.Bucket) error {
	return drop(b, func(number uint32, _ [8]byte) bool { return number != k.newest })
}

// DropOthers deletes what is sealed under any other secret from the bucket of data keys.
func DropOthers(b *bolt.Bucket, secret []byte) error {
	tag, err := tagOf(secret)
	if err != nil {
		return err
	}
	return drop(b, func(_ uint32, of [8]byte) bool { return of != tag })
}

// drop deletes the data keys that which returns true for.
func drop(b *bolt.Bucket, which func(number uint32, tag [8]byte) bool) error {
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
}
