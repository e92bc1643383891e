//go:build unix

package cmd_test

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
)

// The pages of a vault in the format of bbolt.
const (
	pageSize   = 4096
	pageHeader = 16
	metaLength = 64
)

// A damage changes a vault, and its write-ahead log if there is one.
type damage struct {
	name string
	do   func(r *rand.Rand, vault, log []byte) (damaged, damagedLog []byte)
}

// damages are the effects of a failing disk, an interrupted copy, and a person with an editor.
var damages = []damage{
	{"a bit", onVault(func(r *rand.Rand, b []byte) []byte {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return b
	})},
	{"bits of the beginning of a page", onVault(func(r *rand.Rand, b []byte) []byte {
		p := anyPage(r, b)
		for range 1 + r.IntN(4) {
			p[r.IntN(256)] ^= 1 << r.IntN(8)
		}
		return b
	})},
	{"two pages swapped", onVault(func(r *rand.Rand, b []byte) []byte {
		p, q := anyPage(r, b), anyPage(r, b)
		swap(p, q)
		return b
	})},
	{"two pages swapped, with their numbers right", onVault(func(r *rand.Rand, b []byte) []byte {
		p, q := anyPage(r, b), anyPage(r, b)
		swap(p[8:], q[8:])
		return b
	})},
	{"cut", onVault(func(r *rand.Rand, b []byte) []byte {
		switch r.IntN(3) {
		case 0:
			return b[:r.IntN(len(b))]
		case 1:
			return b[:pageSize*r.IntN(len(b)/pageSize)]
		}
		return b[:r.IntN(4*pageSize)]
	})},
	{"a meta page, with its checksum right", onVault(func(r *rand.Rand, b []byte) []byte {
		for which := range 2 {
			if r.IntN(2) == 0 && which == 0 {
				continue
			}
			m := b[which*pageSize+pageHeader:][:metaLength]
			field := []int{8, 12, 16, 24, 32, 40, 48}[r.IntN(7)]
			value := []uint64{
				0, 1, 2, 3, 4, uint64(r.IntN(len(b) / pageSize)),
				uint64(len(b) / pageSize), r.Uint64(), ^uint64(0),
			}[r.IntN(9)]
			if field < 16 {
				binary.NativeEndian.PutUint32(m[field:], uint32(value))
			} else {
				binary.NativeEndian.PutUint64(m[field:], value)
			}
			sign(m)
		}
		return b
	})},
	{"a meta page", onVault(func(r *rand.Rand, b []byte) []byte {
		b[r.IntN(2)*pageSize+r.IntN(pageHeader+metaLength)] ^= 1 << r.IntN(8)
		return b
	})},
	{"the older meta page made the newest", onVault(func(_ *rand.Rand, b []byte) []byte {
		first, second := b[pageHeader:][:metaLength], b[pageSize+pageHeader:][:metaLength]
		if binary.NativeEndian.Uint64(first[48:]) > binary.NativeEndian.Uint64(second[48:]) {
			first, second = second, first
		}
		binary.NativeEndian.PutUint64(first[48:], binary.NativeEndian.Uint64(second[48:])+1)
		sign(first)
		return b
	})},
	{"a page of zeros or of noise", onVault(func(r *rand.Rand, b []byte) []byte {
		p := anyPage(r, b)[r.IntN(2)*pageHeader:]
		noise := r.IntN(2) == 0
		for i := range p {
			p[i] = 0
			if noise {
				p[i] = byte(r.Uint32())
			}
		}
		return b
	})},
	{"a branch that leads to itself or up", onVault(func(r *rand.Rand, b []byte) []byte {
		branches := pagesOf(b, 1)
		p := branches[r.IntN(len(branches))]
		to := branches[r.IntN(len(branches))]
		if r.IntN(2) == 0 {
			to = p
		}
		element := pageHeader + 16*r.IntN(int(binary.NativeEndian.Uint16(p[10:])))
		copy(p[element+8:], to[:8])
		return b
	})},
	{"a leaf that is a branch to itself", onVault(func(r *rand.Rand, b []byte) []byte {
		leaves, branches := pagesOf(b, 2), pagesOf(b, 1)
		p := leaves[r.IntN(len(leaves))]
		copy(p[8:], branches[r.IntN(len(branches))][8:])
		for i := range int(binary.NativeEndian.Uint16(p[10:])) {
			copy(p[pageHeader+16*i+8:], p[:8])
		}
		return b
	})},
	{"a number in an element", onVault(func(r *rand.Rand, b []byte) []byte {
		pages := pagesOf(b, uint16(1+r.IntN(2)))
		p := pages[r.IntN(len(pages))]
		elements := max(1, int(binary.NativeEndian.Uint16(p[10:])))
		value := []uint32{0, 1, 0xFFFF, 1 << 20, 1 << 31, ^uint32(0), r.Uint32()}[r.IntN(7)]
		binary.NativeEndian.PutUint32(p[pageHeader+16*r.IntN(elements)+4*r.IntN(4):], value)
		return b
	})},
	{"a number in a header", onVault(func(r *rand.Rand, b []byte) []byte {
		p := anyPage(r, b)
		value := []uint32{0, 1, 0xFFFF, 1 << 20, 1 << 31, ^uint32(0), r.Uint32()}[r.IntN(7)]
		binary.NativeEndian.PutUint32(p[8+4*r.IntN(2):], value)
		return b
	})},
	{"the list of free pages", onVault(func(r *rand.Rand, b []byte) []byte {
		for _, p := range pagesOf(b, 0x10) {
			switch r.IntN(3) {
			case 0:
				binary.NativeEndian.PutUint16(p[10:], 0xFFFF)
				binary.NativeEndian.PutUint64(p[pageHeader:], []uint64{
					0, 1 << 20, 1 << 33, 1 << 62,
					r.Uint64(),
				}[r.IntN(5)])
			case 1:
				binary.NativeEndian.PutUint64(p[pageHeader+8*r.IntN(8):],
					r.Uint64N(uint64(len(b)/pageSize)))
			case 2:
				binary.NativeEndian.PutUint16(p[10:], uint16(r.Uint32()))
			}
		}
		return b
	})},
	{"the write-ahead log", func(r *rand.Rand, vault, log []byte) ([]byte, []byte) {
		if len(log) == 0 {
			vault[r.IntN(len(vault))] ^= 0xff
			return vault, log
		}
		switch r.IntN(3) {
		case 0:
			return vault, log[:r.IntN(len(log))]
		case 1:
			for range 1 + r.IntN(3) {
				log[r.IntN(len(log))] ^= 1 << r.IntN(8)
			}
			return vault, log
		}
		p := log[r.IntN(len(log)/pageSize)*pageSize:]
		clear(p[:pageSize])
		return vault, log
	}},
}

func onVault(do func(r *rand.Rand, b []byte) []byte) func(*rand.Rand, []byte, []byte) ([]byte,
	[]byte) {
	return func(r *rand.Rand, vault, log []byte) ([]byte, []byte) { return do(r, vault), log }
}

func anyPage(r *rand.Rand, b []byte) []byte {
	n := r.IntN(len(b) / pageSize)
	return b[n*pageSize:][:pageSize]
}

func swap(p, q []byte) {
	kept := bytes.Clone(p)
	copy(p, q)
	copy(q, kept)
}

// pagesOf returns the pages with these flags.
func pagesOf(b []byte, flags uint16) (pages [][]byte) {
	for at := 0; at+pageSize <= len(b); at += pageSize {
		p := b[at:][:pageSize]
		if binary.NativeEndian.Uint16(p[8:]) == flags &&
			binary.NativeEndian.Uint64(p) == uint64(at/pageSize) {
			pages = append(pages, p)
		}
	}
	return pages
}

// pages is the number of pages of a vault.
func pages(b []byte) uint64 {
	first, second := b[pageHeader:], b[pageSize+pageHeader:]
	return max(binary.NativeEndian.Uint64(first[40:]), binary.NativeEndian.Uint64(second[40:]))
}

// sign corrects the checksum of a meta page.
func sign(m []byte) {
	sum := fnv.New64a()
	sum.Write(m[:56])
	binary.NativeEndian.PutUint64(m[56:], sum.Sum64())
}
