package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// A Hash is a SHA-256 hash in the tree.
type Hash = tlog.Hash

// LeafHash is the hash of a leaf (RFC 6962, section 2.1).
func LeafHash(leaf []byte) Hash {
	var prefixed [2 << 10]byte // begins with the zero byte that marks a leaf
	if len(leaf) >= len(prefixed) {
		return tlog.RecordHash(leaf)
	}
	return sha256.Sum256(prefixed[:1+copy(prefixed[1:], leaf)])
}

// A Head is a Merkle tree (RFC 6962) reduced to what extending it needs: its size, and its
// right edge, which is the roots of its complete subtrees, the largest first.
type Head struct {
	Size int64
	Edge []Hash
}

// Append returns the head of the tree with leaves added at its end. It does not modify h.
func (h Head) Append(leaves ...Hash) Head {
	h.Edge = append(make([]Hash, 0, 64), h.Edge...)
	for _, hash := range leaves {
		h.Add(hash)
	}
	return h
}

// Add appends one leaf in place.
func (h *Head) Add(hash Hash) {
	// The new leaf completes a subtree for each one-bit at the end of the size, each twice as large
	// as the one before.
	for range bits.TrailingZeros64(^uint64(h.Size)) {
		last := len(h.Edge) - 1
		hash = tlog.NodeHash(h.Edge[last], hash)
		h.Edge = h.Edge[:last]
	}
	h.Edge = append(h.Edge, hash)
	h.Size++
}

// Root is the hash of the whole tree. The root of the empty tree is the hash of no bytes.
func (h Head) Root() Hash {
	if len(h.Edge) == 0 {
		return sha256.Sum256(nil)
	}
	root := h.Edge[len(h.Edge)-1]
	for _, left := range slices.Backward(h.Edge[:len(h.Edge)-1]) {
		root = tlog.NodeHash(left, root)
	}
	return root
}

// MarshalBinary returns the size, 8 bytes big-endian, and the edge.
func (h Head) MarshalBinary() ([]byte, error) {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(h.Edge)*tlog.HashSize), uint64(h.Size))
	for _, hash := range h.Edge {
		b = append(b, hash[:]...)
	}
	return b, nil
}

// UnmarshalHead reads what MarshalBinary writes.
func UnmarshalHead(b []byte) (Head, error) {
	if len(b) < 8 {
		return Head{}, errHead
	}
	size := binary.BigEndian.Uint64(b)
	b = b[8:]
	if int64(size) < 0 || len(b) != bits.OnesCount64(size)*tlog.HashSize {
		return Head{}, errHead
	}
	h := Head{Size: int64(size)}
	for hash := range slices.Chunk(b, tlog.HashSize) {
		h.Edge = append(h.Edge, Hash(hash))
	}
	return h, nil
}

var errHead = errors.New("the head of a tree has as many hashes as its size has one-bits")
