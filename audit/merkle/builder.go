package merkle

import "slices"

// A Builder makes the bundles and tiles of entries, in order. It keeps one bundle and the last
// tile of each level in memory, whatever the size of the log. The zero value begins an empty
// log and computes hashes only.
type Builder struct {
	Edge [][]Hash // the hashes of the last, partial tile of each level
	Next int64    // index of the next entry

	// Write is called with each complete file. If it is nil, only hashes are computed.
	Write func(name string, data []byte) error

	// BundleDone is called after each complete bundle, with its number and its bytes, which are
	// valid only until it returns. The bytes are nil if Write is nil. Optional.
	BundleDone func(n int64, bundle []byte)

	bundle []byte // the entries of the last, partial bundle
}

// Add adds an entry.
func (b *Builder) Add(leaf []byte) error {
	if b.Write != nil {
		b.bundle = appendBundle(b.bundle, leaf)
	}
	return b.AddHash(LeafHash(leaf))
}

// AddHash adds the hash of an entry.
func (b *Builder) AddHash(h Hash) error {
	n := b.Next >> TileHeight
	b.Next++
	for level := 0; ; level++ {
		if level == len(b.Edge) {
			b.Edge = append(b.Edge, make([]Hash, 0, TileWidth))
		}
		b.Edge[level] = append(b.Edge[level], h)
		if len(b.Edge[level]) < TileWidth {
			return nil
		}
		if level == 0 {
			if err := b.put(Tile{EntriesLevel, n, TileWidth}, b.bundle); err != nil {
				return err
			}
			if b.BundleDone != nil {
				b.BundleDone(n, b.bundle)
			}
			b.bundle = b.bundle[:0]
		}
		if err := b.put(Tile{level, n, TileWidth}, JoinHashes(b.Edge[level])); err != nil {
			return err
		}
		h = Subtree(b.Edge[level])
		b.Edge[level] = b.Edge[level][:0]
		n >>= TileHeight
	}
}

func (b *Builder) put(t Tile, data []byte) error {
	if b.Write == nil {
		return nil
	}
	return b.Write(t.Path(), data)
}

// Flush writes the partial tiles, except tiles above level 0 whose hashes are equal to those in
// written. It returns the paths of all partial tiles.
func (b *Builder) Flush(written [][]Hash) (partial []string, err error) {
	for level, hashes := range b.Edge {
		if len(hashes) == 0 {
			continue
		}
		t := LastTile(b.Next, level)
		if level == 0 {
			bundle := Tile{EntriesLevel, t.N, t.Width}
			if err := b.put(bundle, b.bundle); err != nil {
				return nil, err
			}
			partial = append(partial, bundle.Path())
		}
		partial = append(partial, t.Path())
		if level > 0 && level < len(written) && slices.Equal(written[level], hashes) {
			continue
		}
		if err := b.put(t, JoinHashes(hashes)); err != nil {
			return nil, err
		}
	}
	return partial, nil
}

// Root is the root of the tree of the entries that were added.
func (b *Builder) Root() Hash { return RootOf(b.Next, b.Edge) }
