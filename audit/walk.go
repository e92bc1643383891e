package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

// A walk compares the files of a log with a signed root, in the order of entry indexes.
//
// It authenticates from the top down: the last tile of each level must hash to the root, every
// other tile to its hash in the tile above it, and every entry to its hash in its tile. So a
// difference is attributed to the file that has it, and the first difference found is the one
// with the lowest index. A walk keeps one tile of each level in memory.
type walk struct {
	ctx      context.Context
	files    Files
	size     int64
	root     merkle.Hash
	progress func(done, size int64)

	edge [][]merkle.Hash // hashes of the last tile of each level

	// unproven is set if no combination of hashes gives the root. Then edge is not
	// authenticated.
	unproven bool

	// current is the complete tile in use at each level from 1.
	current [merkle.MaxLevel + 1]struct {
		n      int64
		hashes []merkle.Hash // authenticated; nil while there is none
	}
	checked [merkle.MaxLevel + 1]bool // levels whose last tile checkLastTile has compared

	// ahead has the bundles that are read and hashed ahead, in order; nil when
	// none are.
	ahead <-chan (<-chan hashed)
	above hashed // the bundle under the tile of level 0 that is read, if it was read ahead

	// unread are the entries, from the first to the last, that are in an archive that cannot be
	// reached.
	unread unread

	// entry is told of each entry that is authenticated, in order of index.
	entry func(index int64, leaf []byte, h merkle.Hash)

	// file is told of each complete tile and each bundle that is authenticated, with the part of
	// its bytes that belongs to this log. It may keep them. Optional.
	file func(t merkle.Tile, data []byte)
}

// run returns the first difference, or nil if there is none. It returns an error if a file
// could not be requested, which says nothing about the log.
func (w *walk) run() (*Bad, error) {
	if w.size == 0 {
		if empty := (merkle.Head{}).Root(); w.root != empty {
			return w.badRoot(empty), nil
		}
		return nil, nil
	}
	edgeBad, err := w.authenticateEdge()
	if err != nil {
		return nil, err
	}
	bundles := (w.size + merkle.TileWidth - 1) >> merkle.TileHeight
	defer w.readAhead(bundles)()
	for n := range bundles {
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		if edgeBad != nil && *edgeBad.Index <= n<<merkle.TileHeight {
			return edgeBad, nil
		}
		bad, err := w.bundle(n)
		if errors.Is(err, ErrUnreachable) { // what can be read may still differ
			w.unread.add(n, w.size, err)
		} else if bad != nil || err != nil {
			return bad, err
		}
		if w.progress != nil {
			w.progress(min((n+1)<<merkle.TileHeight, w.size), w.size)
		}
	}
	if edgeBad == nil && w.unproven { // the files agree with each other, but not with the root
		return w.badRoot(merkle.RootOf(w.size, w.edge)), nil
	}
	return edgeBad, nil
}

// unread is a range of entries that could not be read.
type unread struct {
	from, to int64 // empty if err is nil
	err      error
}

// add adds the entries of bundle n.
func (u *unread) add(n, size int64, err error) {
	if u.err == nil {
		u.from, u.err = n<<merkle.TileHeight, err
	}
	u.to = min((n+1)<<merkle.TileHeight, size)
}

func (w *walk) badRoot(got merkle.Hash) *Bad {
	return &Bad{File: checkpoint.File, Expected: hashWord(w.root), Got: hashWord(got)}
}

// isEdge reports whether tile n is the partial last tile of its level.
func (w *walk) isEdge(level int, n int64) bool {
	return merkle.TileAt(w.size, level, n).Width < merkle.TileWidth
}

// hashed is a bundle and the hashes of its entries, up to the first malformed entry.
type hashed struct {
	data   []byte
	held   int // how many entries the file is to hold
	hashes []merkle.Hash
	err    error

	// The hashes that the complete tile above the bundle has, if they are read ahead.
	tile    []merkle.Hash
	tileErr error
}

// hash reads bundle n and hashes its entries.
func (w *walk) hash(ctx context.Context, n int64) (h hashed) {
	t := merkle.TileAt(w.size, merkle.EntriesLevel, n)
	if h.data, h.held, h.err = readTile(ctx, w.files, t); h.err != nil {
		return h
	}
	// A malformed entry is found again, and reported, when bundle compares.
	h.hashes = make([]merkle.Hash, 0, t.Width)
	merkle.ReadBundle(h.data, t.Width, h.held, func(_ int, leaf []byte) error {
		h.hashes = append(h.hashes, merkle.LeafHash(leaf))
		return nil
	})
	return h
}

// aheadElsewhere is how many bundles are read ahead of a log that is not in a folder, so that the
// walk does not wait for each answer of a server.
const aheadElsewhere = 32

// readAhead reads and hashes bundles concurrently, and the tiles above them, until stop is called.
// It is at most two bundles for each core ahead of a walk through a folder.
func (w *walk) readAhead(bundles int64) (stop func()) {
	ctx, cancel := context.WithCancel(w.ctx)
	most := 2 * runtime.GOMAXPROCS(0)
	if _, local := w.files.(Dir); !local {
		most = max(most, aheadElsewhere)
	}
	queue := make(chan (<-chan hashed), most)
	w.ahead = queue
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		defer wg.Wait()
		for n := range bundles {
			one := make(chan hashed, 1)
			select {
			case queue <- one:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				h := w.hash(ctx, n)
				if !w.isEdge(0, n) {
					h.tile, h.tileErr = readHashes(ctx, w.files, merkle.TileAt(w.size, 0, n))
				}
				one <- h
			})
		}
	}()
	return func() {
		cancel()
		<-done
		w.ahead = nil
	}
}

// bundle verifies tile n of level 0 and the entries under it.
func (w *walk) bundle(n int64) (*Bad, error) {
	var h hashed
	if w.ahead != nil {
		select {
		case one := <-w.ahead:
			h = <-one
		case <-w.ctx.Done():
			return nil, w.ctx.Err()
		}
	} else {
		h = w.hash(w.ctx, n)
	}
	w.above = h
	hashes, bad, err := w.tile(0, n)
	if bad != nil || err != nil {
		return bad, err
	}
	t := merkle.TileAt(w.size, merkle.EntriesLevel, n)
	if h.err != nil {
		return w.unusable(t, hashWord(hashes[0]), h.err)
	}
	var wrong *Bad
	end := 0 // of the entries that were compared, in the bundle
	at, err := merkle.ReadBundle(h.data, t.Width, h.held, func(position int, leaf []byte) error {
		h := h.hashes[position]
		if h != hashes[position] {
			wrong = w.bad(t, t.First()+int64(position), hashWord(hashes[position]), hashWord(h))
			return merkle.ErrBundle
		}
		if w.entry != nil {
			w.entry(t.First()+int64(position), leaf, h)
		}
		end += merkle.EntryBytes(leaf)
		return nil
	})
	switch {
	case wrong != nil:
		return wrong, nil
	case at == t.Width && err != nil:
		return w.bad(t, t.First()+int64(at), fmt.Sprintf("%d entries", h.held), err.Error()), nil
	case err != nil:
		return w.bad(t, t.First()+int64(at), hashWord(hashes[at]), "cut short"), nil
	}
	if w.file != nil {
		w.file(t, h.data[:end])
	}
	return nil, nil
}

// tile returns the authenticated hashes of a tile.
func (w *walk) tile(level int, n int64) ([]merkle.Hash, *Bad, error) {
	if w.isEdge(level, n) {
		bad, err := w.checkLastTile(level)
		return w.edge[level], bad, err
	}
	if c := w.current[level]; c.hashes != nil && c.n == n {
		return c.hashes, nil, nil
	}
	t := merkle.TileAt(w.size, level, n)
	parent, position := t.Parent()
	above, bad, err := w.tile(level+1, parent)
	if bad != nil || err != nil {
		return nil, bad, err
	}
	hashes, err := w.above.tile, w.above.tileErr
	if level > 0 || w.ahead == nil {
		hashes, err = readHashes(w.ctx, w.files, t)
	}
	if err != nil {
		bad, err := w.unusable(t, hashWord(above[position]), err)
		return nil, bad, err
	}
	if got := merkle.Subtree(hashes); got != above[position] {
		return nil, w.bad(t, t.First(), hashWord(above[position]), hashWord(got)), nil
	}
	if level > 0 {
		w.current[level].n, w.current[level].hashes = n, hashes
	}
	if w.file != nil {
		w.file(t, merkle.JoinHashes(hashes))
	}
	return hashes, nil, nil
}

func (w *walk) bad(t merkle.Tile, index int64, expected, got string) *Bad {
	return &Bad{Index: &index, File: t.Path(), Expected: expected, Got: got}
}

// unusable makes a finding of a file that is not what it must be. Other errors,
// of a server that cannot be reached, are passed on.
func (w *walk) unusable(t merkle.Tile, expected string, err error) (*Bad, error) {
	var file *FileError
	if !errors.As(err, &file) {
		return nil, err // or none
	}
	return w.bad(t, t.First(), expected, fileWord(err)), nil
}

// authenticateEdge sets w.edge to the hashes of the last tile of each level. If the files do
// not hash to the root, it searches for hashes that do, among those in the files, those
// computed from the tiles below and those computed from the entries. It then returns the file
// that differs and covers the lowest index.
//
// If no combination hashes to the root, w.edge is what the files say, w.unproven is set, and
// the unreadable file that covers the lowest index is returned, if there is one.
func (w *walk) authenticateEdge() (*Bad, error) {
	fromFiles, unusable, err := w.readEdge()
	if err != nil || w.edge != nil {
		return nil, err
	}
	edge, err := w.searchEdge(fromFiles)
	if err != nil {
		return nil, err
	}
	if w.unproven = edge == nil; w.unproven {
		w.edge = fromFiles
		for _, bad := range slices.Backward(unusable) { // the highest level covers the lowest index
			if bad != nil {
				return bad, nil
			}
		}
		return nil, nil
	}
	w.edge = edge
	for level, hashes := range slices.Backward(edge) {
		if unusable[level] != nil || !slices.Equal(fromFiles[level], hashes) {
			return w.edgeBad(level, hashes, fromFiles[level], unusable[level]), nil
		}
	}
	return nil, nil
}

// readEdge reads the last tile of each level, and sets w.edge if they hash to the root.
// unusable has a finding for each file that could not be used.
func (w *walk) readEdge() (fromFiles [][]merkle.Hash, unusable []*Bad, err error) {
	n := merkle.Levels(w.size)
	fromFiles, unusable = make([][]merkle.Hash, n), make([]*Bad, n)
	complete := true
	for level := range n {
		t := w.edgeTile(level)
		if t.Width == 0 {
			continue
		}
		hashes, err := readHashes(w.ctx, w.files, t)
		if err != nil {
			bad, err := w.unusable(t, "", err)
			if err != nil {
				return nil, nil, err
			}
			unusable[level], complete = bad, false
		}
		fromFiles[level] = hashes
	}
	if complete && merkle.RootOf(w.size, fromFiles) == w.root {
		w.edge = fromFiles
	}
	return fromFiles, unusable, nil
}

// edgeTile is the last tile of a level. Its width is 0 if the level consists of complete tiles.
func (w *walk) edgeTile(level int) merkle.Tile {
	return merkle.LastTile(w.size, level)
}

const (
	// maxCandidates bounds the candidates for the hashes of one tile, and maxCombinations the
	// combinations of candidates of all levels.
	maxCandidates   = 64
	maxCombinations = 1 << 16
)

// searchEdge searches for hashes of the last tiles that give the root. Each hash comes from the
// file, from the tile below it, or from the entries below it. It returns nil if no combination
// gives the root.
func (w *walk) searchEdge(fromFiles [][]merkle.Hash) ([][]merkle.Hash, error) {
	candidates, total := make([][][]merkle.Hash, len(fromFiles)), 1
	for level := range fromFiles {
		t := w.edgeTile(level)
		if t.Width == 0 {
			candidates[level] = [][]merkle.Hash{nil}
			continue
		}
		below, err := w.fromTiles(t)
		if err != nil {
			return nil, err
		}
		entries, err := w.fromEntries(t)
		if err != nil {
			return nil, err
		}
		candidates[level] = combinations(t.Width, fromFiles[level], below, entries)
		if total *= len(candidates[level]); total == 0 || total > maxCombinations {
			return nil, nil
		}
	}
	peaks := make([][][]merkle.Hash, len(candidates)) // of each guess
	for level, all := range candidates {
		for _, hashes := range all {
			peaks[level] = append(peaks[level], merkle.Head{}.Append(hashes...).Edge)
		}
	}
	for try := range total {
		head, edge := merkle.Head{Size: w.size}, make([][]merkle.Hash, len(candidates))
		for level := range candidates {
			at := try % len(candidates[level])
			try /= len(candidates[level])
			edge[level] = candidates[level][at]
			head.Edge = slices.Concat(peaks[level][at], head.Edge)
		}
		if head.Root() == w.root {
			return edge, nil
		}
	}
	return nil, nil
}

// combinations returns every list of width hashes with each hash taken from one of the sources.
// A source may be shorter than width, and a zero hash in it is unknown. If there are more than
// maxCandidates combinations, it returns only the complete sources.
func combinations(width int, sources ...[]merkle.Hash) [][]merkle.Hash {
	choices, n := make([][]merkle.Hash, width), 1
	for i := range choices {
		for _, source := range sources {
			known := i < len(source) && source[i] != merkle.Hash{}
			if known && !slices.Contains(choices[i], source[i]) {
				choices[i] = append(choices[i], source[i])
			}
		}
		n = min(n*len(choices[i]), maxCandidates+1)
	}
	var all [][]merkle.Hash
	if n > maxCandidates {
		for _, source := range sources {
			if len(source) == width && !slices.Contains(source, merkle.Hash{}) {
				all = append(all, source)
			}
		}
		return all
	}
	for i := range n {
		hashes := make([]merkle.Hash, width)
		for position, choice := range choices {
			hashes[position] = choice[i%len(choice)]
			i /= len(choice)
		}
		all = append(all, hashes)
	}
	return all
}

// fromTiles computes the hashes of a tile from the tiles below it. The hash for a tile that
// cannot be read is zero.
func (w *walk) fromTiles(t merkle.Tile) ([]merkle.Hash, error) {
	if t.Level == 0 {
		return nil, nil
	}
	hashes := make([]merkle.Hash, t.Width)
	for i := range hashes {
		below, err := readHashes(w.ctx, w.files, w.below(t, i))
		if _, err := w.unusable(t, "", err); err != nil {
			return nil, err
		}
		if below != nil {
			hashes[i] = merkle.Subtree(below)
		}
	}
	return hashes, nil
}

// below is the tile whose hash is at a position of t.
func (w *walk) below(t merkle.Tile, position int) merkle.Tile {
	return merkle.TileAt(w.size, t.Level-1, t.N<<merkle.TileHeight+int64(position))
}

// fromEntries computes the hashes of the last tile of a level from the entries below it, up to
// the first bundle that cannot be read.
func (w *walk) fromEntries(t merkle.Tile) ([]merkle.Hash, error) {
	var b merkle.Builder
	first := t.First() >> merkle.TileHeight
	bundles := (int64(t.Width)<<(merkle.TileHeight*t.Level) +
		merkle.TileWidth - 1) >> merkle.TileHeight
	for n := first; n < first+bundles; n++ {
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		h := w.hash(w.ctx, n)
		if h.err != nil {
			if _, err := w.unusable(t, "", h.err); err != nil {
				return nil, err
			}
			break
		}
		for _, hash := range h.hashes {
			if err := b.AddHash(hash); err != nil {
				return nil, err
			}
		}
		if len(h.hashes) < merkle.TileAt(w.size, merkle.EntriesLevel, n).Width {
			break
		}
	}
	if len(b.Edge) <= t.Level {
		return nil, nil
	}
	return b.Edge[t.Level], nil
}

// checkLastTile compares the last tile of a level with the tiles below it if no root
// authenticates it. It blames the last tile only if the tile below it agrees with its own
// children: two files against one.
func (w *walk) checkLastTile(level int) (*Bad, error) {
	if !w.unproven || level == 0 || w.checked[level] {
		return nil, nil
	}
	w.checked[level] = true
	t := w.edgeTile(level)
	hashes, err := w.fromTiles(t)
	if err != nil {
		return nil, err
	}
	for i, hash := range hashes {
		if hash == (merkle.Hash{}) || hash == w.edge[level][i] {
			continue // what cannot be read is found in its turn
		}
		if agrees, err := w.matchesBelow(w.below(t, i)); err != nil {
			return nil, err
		} else if agrees {
			return w.bad(t, t.First(), hashWord(hash), hashWord(w.edge[level][i])), nil
		}
	}
	return nil, nil
}

// matchesBelow reports whether a tile agrees with the tiles or entries below it.
func (w *walk) matchesBelow(t merkle.Tile) (bool, error) {
	hashes, err := readHashes(w.ctx, w.files, t)
	if err != nil {
		_, err := w.unusable(t, "", err)
		return false, err
	}
	if t.Level > 0 {
		below, err := w.fromTiles(t)
		return slices.Equal(hashes, below), err
	}
	h := w.hash(w.ctx, t.N)
	_, err = w.unusable(t, "", h.err)
	return slices.Equal(hashes, h.hashes), err
}

func (w *walk) edgeBad(level int, expected, got []merkle.Hash, unusable *Bad) *Bad {
	t := w.edgeTile(level)
	if unusable != nil {
		unusable.Expected = hashWord(merkle.RootOf(int64(len(expected)), [][]merkle.Hash{expected}))
		return unusable
	}
	return w.bad(t, t.First(),
		hashWord(merkle.RootOf(int64(len(expected)), [][]merkle.Hash{expected})),
		hashWord(merkle.RootOf(int64(len(got)), [][]merkle.Hash{got})))
}
