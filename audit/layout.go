package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// The published log is laid out as C2SP tlog-tiles has it: tiles of 256
// hashes, and bundles of the 256 entries under each tile of level 0.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	maxLevel   = 63 / tileHeight // of a tree of less than 2^63 entries

	checkpointFile = "checkpoint"
	keyFile        = "log.vkey"

	// witnessedFile is the last checkpoint that witnesses cosigned.
	witnessedFile = "checkpoint.witnessed"

	tileBytes   = tileWidth * tlog.HashSize
	bundleBytes = tileWidth * (2 + MaxEntryBytes)
)

// entriesLevel stands for the bundles of entries where a level is asked for.
const entriesLevel = -1

// A tile is the place of one tile, or bundle, in the log.
type tile struct {
	level int   // entriesLevel for a bundle
	n     int64 // which tile of the level
	width int   // how many hashes or entries it holds, 1 to tileWidth
}

// path is the file of the tile (C2SP tlog-tiles): the number in groups of
// three digits, all but the last marked with an x.
func (t tile) path() string {
	number := fmt.Sprintf("%03d", t.n%1000)
	for n := t.n / 1000; n > 0; n /= 1000 {
		number = fmt.Sprintf("x%03d/%s", n%1000, number)
	}
	level := "entries"
	if t.level >= 0 {
		level = strconv.Itoa(t.level)
	}
	p := "tile/" + level + "/" + number
	if t.width < tileWidth {
		p += ".p/" + strconv.Itoa(t.width)
	}
	return p
}

// first is the index of the first entry under the tile.
func (t tile) first() int64 {
	if t.level < 0 {
		return t.n << tileHeight
	}
	return t.n << (tileHeight * (t.level + 1))
}

// parent is where the hash of the whole tile t stands: the tile of the next
// level and the position in it.
func (t tile) parent() (n int64, position int) {
	return t.n >> tileHeight, int(t.n & (tileWidth - 1))
}

// tilesAt is how many hashes of a tree of this size are at the level: how many
// complete subtrees of 256^level leaves there are.
func tilesAt(size int64, level int) int64 {
	if level <= 0 {
		return size
	}
	return size >> (tileHeight * level)
}

// tileOf returns tile n of a level in a tree of this size; width 0 means that
// there is none.
func tileOf(size int64, level int, n int64) tile {
	left := tilesAt(size, max(level, 0)) - n<<tileHeight
	return tile{level: level, n: n, width: int(max(0, min(left, tileWidth)))}
}

// levels is how many levels of tiles a tree of this size has.
func levels(size int64) int {
	n := 0
	for n <= maxLevel && tilesAt(size, n) > 0 {
		n++
	}
	return n
}

// appendBundle appends an entry to a bundle.
func appendBundle(b, leaf []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(leaf))), leaf...)
}

var (
	errBundle = errors.New("entries do not fill their bundle")
	errBeyond = errors.New("has more than that in it")
)

// readBundle calls yield with each of the first width entries of a bundle that
// holds so many in all, and nothing else. It returns the position at which a
// malformed one stands, or width when that is beyond them, with an error.
func readBundle(b []byte, width, held int, yield func(position int, leaf []byte) error) (bad int,
	err error,
) {
	for position := range held {
		if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
			return min(position, width), errBundle
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

// splitHashes reads the first width hashes of a tile that holds so many in all.
func splitHashes(b []byte, width, held int) ([]Hash, bool) {
	if len(b) != held*tlog.HashSize || held < width {
		return nil, false
	}
	hashes := make([]Hash, width)
	for i := range hashes {
		hashes[i] = Hash(b[i*tlog.HashSize:])
	}
	return hashes, true
}

func joinHashes(hashes []Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// subtree is the hash over a complete tile.
func subtree(hashes []Hash) Hash {
	level := append([]Hash(nil), hashes...)
	for len(level) > 1 {
		for i := range len(level) / 2 {
			level[i] = tlog.NodeHash(level[2*i], level[2*i+1])
		}
		level = level[:len(level)/2]
	}
	return level[0]
}

// edgeRoot is the root of a tree of this size, of which edge holds the hashes
// of the last tile of each level. A level whose hashes are all in complete
// tiles has none.
func edgeRoot(size int64, edge [][]Hash) Hash {
	var head Head
	for _, level := range edge {
		// The hashes of a partial tile are complete subtrees: of 256, 65536, …
		// leaves; within the tile they combine like leaves do.
		within := Head{}.Append(level...)
		head.Edge = append(within.Edge, head.Edge...)
	}
	head.Size = size
	return head.Root()
}

// parseTilePath reads the path of a tile below the log's folder.
func parseTilePath(path string) (tile, bool) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return tile{}, false
	}
	level, rest, _ := strings.Cut(rest, "/")
	t := tile{level: entriesLevel, width: tileWidth}
	if level != "entries" {
		n, err := strconv.Atoi(level)
		if err != nil || n < 0 || n > maxLevel {
			return tile{}, false
		}
		t.level = n
	}
	if number, width, partial := strings.Cut(rest, ".p/"); partial {
		n, err := strconv.Atoi(width)
		if err != nil || n < 1 || n >= tileWidth {
			return tile{}, false
		}
		rest, t.width = number, n
	}
	for group := range strings.SplitSeq(rest, "/") {
		n, err := strconv.Atoi(strings.TrimPrefix(group, "x"))
		if err != nil || n < 0 || n > 999 || t.n > 1<<50 {
			return tile{}, false
		}
		t.n = t.n*1000 + int64(n)
	}
	return t, t.path() == path
}
