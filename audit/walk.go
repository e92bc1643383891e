package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// A walk compares the files of a log with a signed root, in order of index.
//
// It authenticates from the top: the last tiles must hash to the root, every
// other tile to its hash in the tile above, every entry to its hash in its
// tile. So a difference is blamed on the right file, and because the walk goes
// by index, the first one it meets is the lowest. It holds one tile of each
// level.
type walk struct {
	ctx      context.Context
	files    Files
	size     int64
	root     Hash
	progress func(done, size int64)

	edge  [][]Hash               // authenticated hashes of the last tile of each level
	above [maxLevel + 1]struct { // the current tile of each level from 1
		n      int64
		hashes []Hash // authenticated; nil while there is none
	}

	// ahead has the bundles that are read and hashed ahead, in order; nil when
	// none are.
	ahead <-chan (<-chan hashed)

	// entry is told of each entry that is authenticated, in order of index.
	entry func(index int64, leaf []byte, h Hash)
}

// run returns the first thing that differs, nil when nothing does, and an
// error when a file could not be asked for.
func (w *walk) run() (*Bad, error) {
	if w.size == 0 {
		if empty := (Head{}).Root(); w.root != empty {
			return w.badRoot(empty), nil
		}
		return nil, nil
	}
	edgeBad, err := w.authenticateEdge()
	if err != nil {
		return nil, err
	}
	if edgeBad != nil && edgeBad.Index == nil {
		return edgeBad, nil
	}
	bundles := (w.size + tileWidth - 1) >> tileHeight
	defer w.readAhead(bundles)()
	for n := range bundles {
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		if edgeBad != nil && *edgeBad.Index <= n<<tileHeight {
			return edgeBad, nil
		}
		if bad, err := w.bundle(n); bad != nil || err != nil {
			return bad, err
		}
		if w.progress != nil {
			w.progress(min((n+1)<<tileHeight, w.size), w.size)
		}
	}
	return edgeBad, nil
}

func (w *walk) badRoot(got Hash) *Bad {
	return &Bad{File: checkpointFile, Expected: hashWord(w.root), Got: hashWord(got)}
}

// isEdge reports whether tile n is the partial last tile of its level.
func (w *walk) isEdge(level int, n int64) bool { return tileOf(w.size, level, n).width < tileWidth }

// hashed is a bundle, and the hashes of as many of its entries as are whole.
type hashed struct {
	data   []byte
	hashes []Hash
	err    error
}

// hash reads bundle n and hashes its entries.
func (w *walk) hash(ctx context.Context, n int64) (h hashed) {
	t := tileOf(w.size, entriesLevel, n)
	if h.data, h.err = readTile(ctx, w.files, t); h.err != nil {
		return h
	}
	h.hashes = make([]Hash, 0, t.width)
	readBundle(h.data, t.width, func(_ int, leaf []byte) error { // what is malformed is found again
		h.hashes = append(h.hashes, LeafHash(leaf))
		return nil
	})
	return h
}

// readAhead reads and hashes bundles on all cores, a few more than there are
// cores at a time, until the function it returns is called.
func (w *walk) readAhead(bundles int64) (stop func()) {
	ctx, cancel := context.WithCancel(w.ctx)
	queue := make(chan (<-chan hashed), 2*runtime.GOMAXPROCS(0))
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
			wg.Go(func() { one <- w.hash(ctx, n) })
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
	hashes, bad, err := w.tile(0, n)
	if bad != nil || err != nil {
		return bad, err
	}
	t := tileOf(w.size, entriesLevel, n)
	if h.err != nil {
		return w.unusable(t, hashWord(hashes[0]), h.err)
	}
	var wrong *Bad
	at, err := readBundle(h.data, t.width, func(position int, leaf []byte) error {
		h := h.hashes[position]
		if h != hashes[position] {
			wrong = w.bad(t, t.first()+int64(position), hashWord(hashes[position]), hashWord(h))
			return errBundle
		}
		if w.entry != nil {
			w.entry(t.first()+int64(position), leaf, h)
		}
		return nil
	})
	switch {
	case wrong != nil:
		return wrong, nil
	case err != nil:
		return w.bad(t, t.first()+int64(at), hashWord(hashes[at]), "cut short"), nil
	}
	return nil, nil
}

// tile returns the authenticated hashes of a tile.
func (w *walk) tile(level int, n int64) ([]Hash, *Bad, error) {
	if w.isEdge(level, n) {
		return w.edge[level], nil, nil
	}
	if current := w.above[level]; current.hashes != nil && current.n == n {
		return current.hashes, nil, nil
	}
	t := tileOf(w.size, level, n)
	parent, position := t.parent()
	above, bad, err := w.tile(level+1, parent)
	if bad != nil || err != nil {
		return nil, bad, err
	}
	hashes, err := readHashes(w.ctx, w.files, t)
	if err != nil {
		bad, err := w.unusable(t, hashWord(above[position]), err)
		return nil, bad, err
	}
	if got := subtree(hashes); got != above[position] {
		return nil, w.bad(t, t.first(), hashWord(above[position]), hashWord(got)), nil
	}
	if level > 0 {
		w.above[level].n, w.above[level].hashes = n, hashes
	}
	return hashes, nil, nil
}

func (w *walk) bad(t tile, index int64, expected, got string) *Bad {
	return &Bad{Index: &index, File: t.path(), Expected: expected, Got: got}
}

// unusable makes a finding of a file that is not what it must be. Other errors,
// of a server that cannot be reached, are passed on.
func (w *walk) unusable(t tile, expected string, err error) (*Bad, error) {
	var file *FileError
	if !errors.As(err, &file) {
		return nil, err
	}
	return w.bad(t, t.first(), expected, fileWord(err)), nil
}

// authenticateEdge finds the hashes of the last tiles. When the files do not
// give the root, it computes the tiles from the entries, and looks for a choice
// of one or the other on each level that does: what was not chosen is the bad
// file. It returns the lowest of those, or a bad root when nothing fits.
func (w *walk) authenticateEdge() (*Bad, error) {
	fromFiles, unusable, err := w.readEdge()
	if err != nil || w.edge != nil {
		return nil, err
	}
	return w.repairEdge(fromFiles, unusable)
}

// readEdge reads the last tile of each level, and sets w.edge when they hash
// to the root. unusable has a finding for each file that could not be used.
func (w *walk) readEdge() (fromFiles [][]Hash, unusable []*Bad, err error) {
	n := levels(w.size)
	fromFiles, unusable = make([][]Hash, n), make([]*Bad, n)
	complete := true
	for level := range n {
		t := w.edgeTile(level)
		if t.width == 0 {
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
	if complete && edgeRoot(w.size, fromFiles) == w.root {
		w.edge = fromFiles
	}
	return fromFiles, unusable, nil
}

// edgeTile is the last tile of a level, of width 0 when all of the level is in
// complete tiles.
func (w *walk) edgeTile(level int) tile {
	return tileOf(w.size, level, tilesAt(w.size, level)>>tileHeight)
}

// repairEdge is the search of authenticateEdge.
func (w *walk) repairEdge(fromFiles [][]Hash, unusable []*Bad) (*Bad, error) {
	fromEntries, torn, err := w.computeEdge()
	if err != nil {
		return nil, err
	}
	n := len(fromFiles)
	for choice := range 1 << n { // n is at most 8
		edge, lowest := make([][]Hash, n), (*Bad)(nil)
		usable := true
		for level := range n {
			edge[level] = fromFiles[level]
			if choice&(1<<level) == 0 {
				usable = usable && unusable[level] == nil
				continue
			}
			if edge[level] = fromEntries[level]; edge[level] == nil {
				usable = usable && w.edgeTile(level).width == 0
				continue
			}
			bad := w.edgeBad(level, edge[level], fromFiles[level], unusable[level])
			if lowest == nil || *bad.Index <= *lowest.Index {
				lowest = bad
			}
		}
		if usable && edgeRoot(w.size, edge) == w.root {
			w.edge = edge
			return lowest, nil
		}
	}
	if torn != nil {
		return torn, nil
	}
	for _, bad := range unusable { // the highest level covers the lowest index
		if bad != nil {
			return bad, nil
		}
	}
	return w.lowestDifference(fromFiles, fromEntries)
}

func (w *walk) edgeBad(level int, expected, got []Hash, unusable *Bad) *Bad {
	t := w.edgeTile(level)
	if unusable != nil {
		unusable.Expected = hashWord(edgeRoot(int64(len(expected)), [][]Hash{expected}))
		return unusable
	}
	return w.bad(t, t.first(), hashWord(edgeRoot(int64(len(expected)), [][]Hash{expected})),
		hashWord(edgeRoot(int64(len(got)), [][]Hash{got})))
}

// computeEdge makes the last tile of each level from the entries. torn is the
// first bundle that cannot be read; the edge is nil then.
func (w *walk) computeEdge() (edge [][]Hash, torn *Bad, err error) {
	var b builder
	for n := range (w.size + tileWidth - 1) >> tileHeight {
		if err := w.ctx.Err(); err != nil {
			return nil, nil, err
		}
		t := tileOf(w.size, entriesLevel, n)
		data, err := readTile(w.ctx, w.files, t)
		if err != nil {
			bad, err := w.unusable(t, "", err)
			return make([][]Hash, levels(w.size)), bad, err
		}
		at, err := readBundle(data, t.width, func(_ int, leaf []byte) error { return b.addHash(LeafHash(leaf)) })
		if err != nil {
			return make([][]Hash, levels(w.size)), w.bad(t, t.first()+int64(at), "", "cut short"), nil
		}
	}
	for len(b.edge) < levels(w.size) {
		b.edge = append(b.edge, nil)
	}
	return b.edge[:levels(w.size)], nil, nil
}

// lowestDifference is the last resort: nothing gives the signed root. The
// lowest entry that contradicts its own tile is named; when there is none,
// files agree with each other and the root alone is to blame.
func (w *walk) lowestDifference(fromFiles, fromEntries [][]Hash) (*Bad, error) {
	for n := range (w.size + tileWidth - 1) >> tileHeight {
		t := tileOf(w.size, 0, n)
		hashes, err := readHashes(w.ctx, w.files, t)
		if err != nil {
			return w.unusable(t, "", err)
		}
		bundle := tileOf(w.size, entriesLevel, n)
		data, err := readTile(w.ctx, w.files, bundle)
		if err != nil {
			return w.unusable(bundle, "", err)
		}
		var wrong *Bad
		_, err = readBundle(data, t.width, func(position int, leaf []byte) error {
			if h := LeafHash(leaf); h != hashes[position] {
				wrong = w.bad(bundle, t.first()+int64(position), hashWord(hashes[position]), hashWord(h))
				return errBundle
			}
			return nil
		})
		if wrong != nil {
			return wrong, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s changed while it was read", bundle.path())
		}
	}
	return w.badRoot(edgeRoot(w.size, fromEntries)), nil
}
