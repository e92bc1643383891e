package merkle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// A published log has tiles of 256 hashes, and for each tile of level 0 a bundle of the 256
// entries that the tile hashes.
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight
	MaxLevel   = 63 / TileHeight // for a tree of less than 2^63 entries

	// EntriesLevel is the Level of a bundle.
	EntriesLevel = -1

	// TileBytes is the size of a complete tile.
	TileBytes = TileWidth * tlog.HashSize
)

// A Tile identifies a tile or a bundle of a log.
type Tile struct {
	Level int   // EntriesLevel for a bundle
	N     int64 // number of the tile within its level
	Width int   // number of its hashes or entries, 1 to TileWidth
}

// TileAt returns tile n of a level in a tree of this size. Its width is 0 if the tree has no
// such tile.
func TileAt(size int64, level int, n int64) Tile {
	left := HashesAt(size, level) - n<<TileHeight
	return Tile{Level: level, N: n, Width: int(max(0, min(left, TileWidth)))}
}

// LastTile returns the partial tile at the end of a level. Its width is 0 if the level consists
// of complete tiles.
func LastTile(size int64, level int) Tile {
	return TileAt(size, level, HashesAt(size, level)>>TileHeight)
}

// HashesAt returns the number of hashes at a level of tiles in a tree of this size, which is
// the number of complete subtrees of 256^level leaves. Bundles have as many entries as level 0
// has hashes.
func HashesAt(size int64, level int) int64 {
	if level <= 0 {
		return size
	}
	return size >> (TileHeight * level)
}

// Levels returns the number of levels of tiles in a tree of this size.
func Levels(size int64) int {
	n := 0
	for n <= MaxLevel && HashesAt(size, n) > 0 {
		n++
	}
	return n
}

// Partial reports whether the tile has less than TileWidth hashes.
func (t Tile) Partial() bool { return t.Width < TileWidth }

// Path is the name of the tile's file (C2SP tlog-tiles). The number is written in groups of
// three digits, all but the last prefixed with an x.
func (t Tile) Path() string {
	number := fmt.Sprintf("%03d", t.N%1000)
	for n := t.N / 1000; n > 0; n /= 1000 {
		number = fmt.Sprintf("x%03d/%s", n%1000, number)
	}
	level := "entries"
	if t.Level >= 0 {
		level = strconv.Itoa(t.Level)
	}
	p := "tile/" + level + "/" + number
	if t.Partial() {
		p += ".p/" + strconv.Itoa(t.Width)
	}
	return p
}

// ParsePath reads what Path writes.
func ParsePath(path string) (Tile, bool) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return Tile{}, false
	}
	level, rest, _ := strings.Cut(rest, "/")
	t := Tile{Level: EntriesLevel, Width: TileWidth}
	if level != "entries" {
		n, err := strconv.Atoi(level)
		if err != nil || n < 0 || n > MaxLevel {
			return Tile{}, false
		}
		t.Level = n
	}
	if number, width, partial := strings.Cut(rest, ".p/"); partial {
		n, err := strconv.Atoi(width)
		if err != nil || n < 1 || n >= TileWidth {
			return Tile{}, false
		}
		rest, t.Width = number, n
	}
	for group := range strings.SplitSeq(rest, "/") {
		n, err := strconv.Atoi(strings.TrimPrefix(group, "x"))
		if err != nil || n < 0 || n > 999 || t.N > 1<<50 {
			return Tile{}, false
		}
		t.N = t.N*1000 + int64(n)
	}
	return t, t.Path() == path
}

// First is the index of the first entry under the tile.
func (t Tile) First() int64 {
	if t.Level < 0 {
		return t.N << TileHeight
	}
	return t.N << (TileHeight * (t.Level + 1))
}

// Parent returns the number of the tile at the next level that has the hash of t, and the
// position of the hash in that tile.
func (t Tile) Parent() (n int64, position int) {
	return t.N >> TileHeight, int(t.N & (TileWidth - 1))
}

// appendBundle appends an entry to a bundle.
func appendBundle(b, leaf []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(leaf))), leaf...)
}

// EntryBytes is how many bytes of a bundle an entry takes.
func EntryBytes(leaf []byte) int { return 2 + len(leaf) }

// ErrBundle reports a bundle that is too short for its entries.
var ErrBundle = errors.New("entries do not fill their bundle")

var errBeyond = errors.New("has more than that in it")

// ReadBundle calls yield with each of the first width entries of a bundle, which must hold
// exactly held entries. With an error it returns the position of the entry that is malformed or
// for which yield returned the error. The position is width if the malformed part comes after
// the first width entries.
func ReadBundle(b []byte, width, held int, yield func(position int, leaf []byte) error) (bad int,
	err error,
) {
	for position := range held {
		if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
			return min(position, width), ErrBundle
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		if position < width {
			if err := yield(position, b[2:n]); err != nil {
				return position, err
			}
		}
		b = b[n:]
	}
	if len(b) > 0 {
		return width, errBeyond
	}
	return 0, nil
}

// SplitHashes returns the first width hashes of a tile, which must hold exactly held hashes.
func SplitHashes(b []byte, width, held int) ([]Hash, bool) {
	if len(b) != held*tlog.HashSize || held < width {
		return nil, false
	}
	hashes := make([]Hash, width)
	for i := range hashes {
		hashes[i] = Hash(b[i*tlog.HashSize:])
	}
	return hashes, true
}

// JoinHashes returns the bytes of a tile.
func JoinHashes(hashes []Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// Subtree returns the root over hashes, whose number must be a power of two.
func Subtree(hashes []Hash) Hash {
	level := append([]Hash(nil), hashes...)
	for len(level) > 1 {
		for i := range len(level) / 2 {
			level[i] = tlog.NodeHash(level[2*i], level[2*i+1])
		}
		level = level[:len(level)/2]
	}
	return level[0]
}

// RootOf returns the root of a tree of this size, given the hashes of the last tile of each
// level. A level that consists of complete tiles has none.
func RootOf(size int64, lastTiles [][]Hash) Hash { return HeadOf(size, lastTiles).Root() }

// HeadOf is the head of the tree that RootOf returns the root of.
func HeadOf(size int64, lastTiles [][]Hash) (head Head) {
	for _, level := range lastTiles {
		// Each hash of a partial tile is the root of a complete subtree of 256, 65536, … leaves.
		// Within the tile they combine as leaves do.
		within := Head{}.Append(level...)
		head.Edge = append(within.Edge, head.Edge...)
	}
	head.Size = size
	return head
}
