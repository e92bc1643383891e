// Package requestid has request ids in the forms that are stored.
//
// A client that repeats a request id gets the answer that was given first. The id itself
// is never stored, because clients choose it: the audit entry has a keyed hash of it, and
// the store has a key that follows from the entry.
package requestid

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
)

// A Hashed is a request id in the forms that are stored. A command without one has the
// zero value.
type Hashed struct {
	Key    Key
	Digest string    // what the audit entry says
	Minted time.Time // from a UUIDv7; zero when the id tells no time
}

// A Key finds what a subject's request id was answered with. It is a keyed hash, so the
// store does not hold what clients chose. That of a UUIDv7 begins with the time in it, as
// the UUID does: ids that come together lie together, and a store need not touch a page
// for each.
type Key [16]byte

// String is the key in hexadecimal.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Life is how long an answer is kept for its request id.
const Life = 7 * 24 * time.Hour

// A Hasher makes stored forms of request ids.
type Hasher struct{ macs sync.Pool } // of *keyedHash

type keyedHash struct {
	hash.Hash
	memory []byte // for what it reads and what it makes
}

// NewHasher derives the key of the hash from the secret of the vault.
func NewHasher(secret []byte) (*Hasher, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "atm request id", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("request id key: %w", err)
	}
	h := &Hasher{}
	h.macs.New = func() any { return &keyedHash{Hash: hmac.New(sha256.New, key)} }
	return h, nil
}

// Hash returns the stored forms of the id that a caller gave.
func (h *Hasher) Hash(caller *atm.Caller, id atm.RequestID) Hashed {
	mac := h.macs.Get().(*keyedHash)
	defer h.macs.Put(mac)
	mac.Reset()
	mac.memory = append(mac.memory[:0], id...)
	mac.Write(mac.memory)
	mac.memory = mac.Sum(mac.memory[:0])
	sum := [sha256.Size]byte(mac.memory)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	r := Hashed{Digest: string(text[:]), Key: keyOf(sum, caller)}
	var dated bool
	if r.Minted, dated = id.Time(); dated {
		r.Key.date(r.Minted)
	}
	return r
}

// date puts the time of a UUIDv7 into k.
func (k *Key) date(minted time.Time) {
	ms := minted.UnixMilli() // of 48 bits
	copy(k[:], []byte{
		byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms),
	})
}

// keyOf is the key of a request id with this keyed hash; the hash has one length, so
// that it cannot run together with the rest. A caller that acts for somebody else has
// request ids of its own.
func keyOf(sum [sha256.Size]byte, caller *atm.Caller) (key Key) {
	asks := append(make([]byte, 0, 128), sum[:]...)
	switch {
	case caller.Method == "invitation":
		asks = append(asks, caller.Method...)
	case caller.Actor != "":
		asks = append(append(append(asks, caller.Subject...), " by "...), caller.Actor...)
	default:
		asks = append(asks, caller.Subject...)
	}
	of := sha256.Sum256(asks)
	copy(key[:], of[:])
	return key
}

// dated is how many bytes of a Key a time may stand in.
const dated = 6

// A Tail is the part of a Key that follows from the entry that answered it.
type Tail [len(Key{}) - dated]byte

// Tail is the part of k that follows from its entry.
func (k Key) Tail() Tail { return Tail(k[dated:]) }

// Minted is the time in k, if it is that of a UUIDv7.
func (k Key) Minted() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(append([]byte{0, 0}, k[:dated]...))))
}

// KeyOf returns the key of the request id that an entry answered first. There is none when the
// request had no id, and when it had been answered before. The key of an id with a time in it is
// as if there was none, if the entry was written before entries said that time.
func KeyOf(entry *audit.Entry) (key Key, is bool) {
	sum, err := hex.DecodeString(entry.Request)
	if err != nil || len(sum) != sha256.Size || entry.Caller == nil || entry.ReplayOf >= 0 {
		return key, false
	}
	key = keyOf([sha256.Size]byte(sum), entry.Caller)
	if !entry.Minted.IsZero() {
		key.date(entry.Minted)
	}
	return key, true
}

// Answered reports whether k is the key of the request id that an entry answered first.
func (k Key) Answered(entry *audit.Entry) bool {
	key, is := KeyOf(entry)
	return is && k.Tail() == key.Tail()
}

// Day is the day of an answer as it is kept with its request id, since 1970 in UTC.
func Day(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }
