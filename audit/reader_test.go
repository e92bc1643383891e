package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

func TestEntriesAreReadInOrderWithinTheLog(t *testing.T) {
	m, dir := audittest.Publish(t, 1000)
	log, err := audit.OpenLog(t.Context(), audit.Dir(dir), m.Signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	read := func(from, to int64) (indexes []int64, err error) {
		err = log.Entries(t.Context(), from, to, func(index int64, leaf []byte,
			h merkle.Hash,
		) error {
			if !bytes.Equal(leaf, m.Leaves[index]) || h != merkle.LeafHash(leaf) {
				t.Errorf("entry %d is %s", index, leaf)
			}
			indexes = append(indexes, index)
			return nil
		})
		return indexes, err
	}
	if got, err := read(254, 258); err != nil || fmt.Sprint(got) != "[254 255 256 257]" {
		t.Errorf("entries 254 to 257: %v, %v", got, err)
	}
	if got, err := read(998, 5000); err != nil || fmt.Sprint(got) != "[998 999]" {
		t.Errorf("the last entries: %v, %v", got, err)
	}
	if got, err := read(2000, 5000); err != nil || len(got) != 0 {
		t.Errorf("entries beyond the end: %v, %v", got, err)
	}
	mine := errors.New("mine")
	if err := log.Entries(t.Context(), 0, 1000, func(int64, []byte, merkle.Hash) error {
		return mine
	}); !errors.Is(err, mine) {
		t.Errorf("Entries = %v, want yield's error", err)
	}
	audittest.Edit(t, dir, "tile/entries/001", func(b []byte) []byte {
		return bytes.Replace(b, []byte("392.00"), []byte("392.01"), 1)
	})
	if got, err := read(250, 260); err == nil || len(got) != 6 {
		t.Errorf("a changed entry was read: %v, %v", got, err)
	}
	if _, err := audit.OpenLog(t.Context(), audit.Dir(dir),
		audittest.New(t).Signer.Verifier()); !errors.Is(err,
		checkpoint.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	audittest.Remove(t, dir, "tile/1")
	if _, err := audit.OpenLog(t.Context(), audit.Dir(dir), m.Signer.Verifier()); err == nil {
		t.Error("a log without its last tiles was opened")
	}
}

// TestTilesAreThoseThatALogLacked reads the files that a log got since it had so many entries. With
// those that it had complete then, they are the files of the log, byte for byte.
func TestTilesAreThoseThatALogLacked(t *testing.T) {
	t.Parallel()
	const size = 66_000
	m, dir := audittest.Publish(t, size)
	log, err := audit.OpenLog(t.Context(), audit.Dir(dir), m.Signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{0, 255, 256, 65_535, 65_536, 65_999, size} {
		seen := make(map[string]bool)
		err := log.Tiles(t.Context(), from, func(tile merkle.Tile, data []byte) error {
			seen[tile.Path()] = true
			want, err := os.ReadFile(filepath.Join(dir, tile.Path()))
			if err == nil && !bytes.Equal(data, want) {
				err = errors.New(tile.Path() + " differs")
			}
			return err
		})
		if err != nil {
			t.Errorf("from %d: %v", from, err)
		}
		for level := merkle.EntriesLevel; level < merkle.Levels(size); level++ {
			for n := merkle.HashesAt(from, level) >> merkle.TileHeight; ; n++ {
				tile := merkle.TileAt(size, level, n)
				if tile.Width == 0 {
					break
				}
				if !seen[tile.Path()] {
					t.Errorf("from %d: %s was not read", from, tile.Path())
				}
				delete(seen, tile.Path())
			}
		}
		if len(seen) > 0 {
			t.Errorf("from %d: more was read: %v", from, seen)
		}
	}
}

// TestTilesAreCutOutOfWiderOnes reads a log as it was before it grew, when its last tiles are there
// only in wider ones.
func TestTilesAreCutOutOfWiderOnes(t *testing.T) {
	t.Parallel()
	m, dir := audittest.Publish(t, 300)
	signed := m.Checkpoint
	want := make(map[string][]byte)
	for _, name := range []string{"tile/entries/001.p/44", "tile/0/001.p/44", "tile/1/000.p/1"} {
		want[name], _ = os.ReadFile(filepath.Join(dir, name))
	}
	m.Grow(t, 500)
	audittest.PublishIn(t, dir, m)
	for name := range want {
		audittest.Remove(t, dir, filepath.Dir(name))
	}
	audittest.PublishIn(t, dir, m)
	log, err := audit.OpenLogAt(t.Context(), audit.Dir(dir), signed, m.Signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	err = log.Tiles(t.Context(), 300, func(tile merkle.Tile, data []byte) error {
		if !bytes.Equal(data, want[tile.Path()]) {
			t.Errorf("%s: %d bytes, want %d", tile.Path(), len(data), len(want[tile.Path()]))
		}
		delete(want, tile.Path())
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%v; %d files were not read", err, len(want))
	}
}
