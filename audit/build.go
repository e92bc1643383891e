package audit

import "slices"

// A builder makes bundles and tiles of entries, in order. It holds one bundle
// and the last tile of each level, whatever the size of the log.
type builder struct {
	edge   [][]Hash // the hashes of the last, partial tile of each level
	next   int64    // index of the next entry
	bundle []byte   // the entries of the last, partial bundle

	// write receives each file that is complete. Nil means that only the
	// hashes are wanted.
	write func(name string, data []byte) error

	index *Index // gets each complete bundle; nil for none

	pause func() // lets others have their turn between two bundles; nil for none
}

// add adds an entry.
func (b *builder) add(leaf []byte) error {
	if b.write != nil {
		b.bundle = appendBundle(b.bundle, leaf)
	}
	return b.addHash(LeafHash(leaf))
}

// addHash adds the hash of an entry.
func (b *builder) addHash(h Hash) error {
	n := b.next >> tileHeight
	b.next++
	for level := 0; ; level++ {
		if level == len(b.edge) {
			b.edge = append(b.edge, make([]Hash, 0, tileWidth))
		}
		b.edge[level] = append(b.edge[level], h)
		if len(b.edge[level]) < tileWidth {
			return nil
		}
		if level == 0 {
			if err := b.put(tile{entriesLevel, n, tileWidth}, b.bundle); err != nil {
				return err
			}
			if b.index != nil {
				b.index.Add(n, func(yield func([]byte)) {
					// which is whole
					readBundle(b.bundle, tileWidth, tileWidth, func(_ int, leaf []byte) error {
						yield(leaf)
						return nil
					})
				})
			}
			b.bundle = b.bundle[:0]
			if b.pause != nil {
				b.pause()
			}
		}
		if err := b.put(tile{level, n, tileWidth}, joinHashes(b.edge[level])); err != nil {
			return err
		}
		h = subtree(b.edge[level])
		b.edge[level] = b.edge[level][:0]
		n >>= tileHeight
	}
}

func (b *builder) put(t tile, data []byte) error {
	if b.write == nil {
		return nil
	}
	return b.write(t.path(), data)
}

// flush writes the partial tiles, but for those that are the same in written,
// and returns the paths of all.
func (b *builder) flush(written [][]Hash) (partial []string, err error) {
	for level, hashes := range b.edge {
		if len(hashes) == 0 {
			continue
		}
		t := tileOf(b.next, level, (tilesAt(b.next, level)-1)>>tileHeight)
		if level == 0 {
			bundle := tile{entriesLevel, t.n, t.width}
			if err := b.put(bundle, b.bundle); err != nil {
				return nil, err
			}
			partial = append(partial, bundle.path())
		}
		partial = append(partial, t.path())
		if level > 0 && level < len(written) && slices.Equal(written[level], hashes) {
			continue
		}
		if err := b.put(t, joinHashes(hashes)); err != nil {
			return nil, err
		}
	}
	return partial, nil
}
