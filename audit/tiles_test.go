//go:build unix

package audit_test

import (
	"os"
	"path/filepath"
	"testing"

	"example.com/atm/audit/merkle"
	"golang.org/x/mod/sumdb/tlog"
)

// readTiles lets the client of golang.org/x/mod read a folder.
type readTiles string

func (readTiles) Height() int { return merkle.TileHeight }

func (readTiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (dir readTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		data, err := os.ReadFile(filepath.Join(string(dir), merkle.Tile{
			Level: t.L, N: t.N,
			Width: t.W,
		}.Path()))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// TestForeignClientProvesEntriesByTiles reads our tiles with the client of another project, and
// proves entries and an older tree with it.
func TestForeignClientProvesEntriesByTiles(t *testing.T) {
	t.Parallel()
	m, dir := publishLarge(t)
	tree := tlog.Tree{N: m.Head.Size, Hash: m.Head.Root()}
	r := tlog.TileHashReader(tree, readTiles(dir))
	for _, index := range []int64{0, 255, 256, 65535, 65536, 69_999} {
		proof, err := tlog.ProveRecord(tree.N, index, r)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index,
			merkle.LeafHash(m.Leaves[index])); err != nil {
			t.Errorf("entry %d: %v", index, err)
		}
	}
	old := m.At(t, 300)
	proof, err := tlog.ProveTree(tree.N, old.Head.Size, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.Head.Size, old.Head.Root()); err != nil {
		t.Error(err)
	}
}
