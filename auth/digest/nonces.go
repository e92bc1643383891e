package digest

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
	"time"
)

const (
	nonceRandom = 12 // bytes
	nonceMAC    = 16
	nonceBytes  = 8 + nonceRandom + nonceMAC

	// maxNonces bounds the nonces whose counts are remembered, of about 200 bytes each. If there
	// are more, all nonces issued until then become stale.
	maxNonces = 16 << 10

	// nonceWindow is how far a count may be below the highest count of its nonce. Requests that a
	// client sends over many connections at once arrive in any order.
	nonceWindow = 1024
)

// nonces issues nonces and tracks which counts of them were used.
//
// A nonce is a time and a random part with a MAC over both, and takes no memory until its first
// use. From then on, each count works once.
type nonces struct {
	ttl   time.Duration
	now   func() time.Time
	spend SpendFunc // if nil, uses are recorded in used
	macs  sync.Pool // of hash.Hash, keyed

	mu     sync.Mutex
	used   map[string]*counts // guarded by mu; by nonce
	oldest time.Time          // guarded by mu; nonces issued before it are stale
}

// counts are the used counts of a nonce.
type counts struct {
	issued  time.Time
	highest uint64
	bits    [nonceWindow / 64]uint64 // by count modulo the window
}

// newNonces returns nonces authenticated by key, or by a random key if it is empty.
func newNonces(ttl time.Duration, now func() time.Time, key []byte, spend SpendFunc) *nonces {
	if key == nil {
		key = make([]byte, sha256.Size)
		rand.Read(key) // never fails
	}
	n := &nonces{ttl: ttl, now: now, spend: spend, used: make(map[string]*counts)}
	n.macs.New = func() any { return hmac.New(sha256.New, key) }
	return n
}

// fresh issues a nonce.
func (n *nonces) fresh() string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, nonceBytes), uint64(n.now().UnixNano()))
	b = b[:8+nonceRandom]
	rand.Read(b[8:]) // never fails
	return base64.RawURLEncoding.EncodeToString(append(b, n.mac(b)...))
}

func (n *nonces) mac(b []byte) []byte {
	mac := n.macs.Get().(hash.Hash)
	defer n.macs.Put(mac)
	mac.Reset()
	mac.Write(b)
	return mac.Sum(nil)[:nonceMAC]
}

// issued returns when a nonce was issued, and whether its MAC is valid.
func (n *nonces) issued(nonce string) (time.Time, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(b) != nonceBytes || !hmac.Equal(n.mac(b[:8+nonceRandom]),
		b[8+nonceRandom:]) {
		return time.Time{}, false
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(b))), true
}

// unused reports whether a nonce is good and this count of it was not used, as far as this
// server knows. It does not record a use.
func (n *nonces) unused(nonce string, number uint64) bool {
	issued, ours := n.issued(nonce)
	now := n.now()
	if !ours || now.Sub(issued) > n.ttl || issued.Sub(now) > n.ttl {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if issued.Before(n.oldest) {
		return false
	}
	c := n.used[nonce]
	return c == nil || number > c.highest || c.highest-number < nonceWindow && !c.has(number)
}

func (c *counts) has(number uint64) bool {
	return c.bits[number%nonceWindow/64]&(1<<(number%64)) != 0
}

// use checks that a nonce is good and records this count of it, which works once.
func (n *nonces) use(ctx context.Context, nonce string, number uint64) error {
	issued, ours := n.issued(nonce)
	now := n.now()
	if !ours || now.Sub(issued) > n.ttl || issued.Sub(now) > n.ttl {
		return ErrStale
	}
	if n.spend != nil {
		return n.spendOnce(ctx, nonce, number, issued)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if issued.Before(n.oldest) {
		return ErrStale
	}
	c := n.used[nonce]
	if c == nil {
		if len(n.used) >= maxNonces {
			n.forget(now)
		}
		if issued.Before(n.oldest) {
			return ErrStale
		}
		c = &counts{issued: issued}
		n.used[nonce] = c
	}
	if number > c.highest {
		for i := max(c.highest+1, number-min(number, nonceWindow-1)); i <= number; i++ {
			c.bits[i%nonceWindow/64] &^= 1 << (i % 64)
		}
		c.highest = number
	} else if c.highest-number >= nonceWindow {
		return ErrStale // its uses have been forgotten
	}
	if c.has(number) {
		return ErrUsed
	}
	c.bits[number%nonceWindow/64] |= 1 << (number % 64)
	return nil
}

// spendOnce is use for nonces that are shared with other servers.
func (n *nonces) spendOnce(ctx context.Context, nonce string, number uint64,
	issued time.Time,
) error {
	// The clock that issued the nonce may be ahead, so it is remembered for twice its life.
	first, err := n.spend(ctx, nonce, number, issued.Add(2*n.ttl))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err) // whether it was used is unknown
	case !first:
		return ErrUsed
	}
	return nil
}

// forget frees memory by dropping expired nonces. If that is not enough, it makes all nonces
// issued until now stale. The caller holds n.mu.
func (n *nonces) forget(now time.Time) {
	for nonce, c := range n.used {
		if now.Sub(c.issued) > n.ttl {
			delete(n.used, nonce)
			if !c.issued.Before(n.oldest) { // the clock may go back, and its counts are forgotten
				n.oldest = c.issued.Add(1)
			}
		}
	}
	if len(n.used) >= maxNonces {
		clear(n.used)
		n.oldest = now
	}
}
