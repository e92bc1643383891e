package merkle

import (
	"bytes"
	"encoding/hex"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// TestRootsAgreeWithTheVectorsOfRFC6962 uses the inputs and roots of the test vectors that
// implementations of Certificate Transparency share.
func TestRootsAgreeWithTheVectorsOfRFC6962(t *testing.T) {
	inputs := []string{
		"", "00", "10", "2021", "3031", "40414243", "5051525354555657",
		"606162636465666768696a6b6c6d6e6f",
	}
	roots := []string{
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	var h Head
	if got := hex.EncodeToString(
		rootBytes(h)); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("root of the empty tree is %s", got)
	}
	for i, input := range inputs {
		leaf, err := hex.DecodeString(input)
		if err != nil {
			t.Fatal(err)
		}
		h = h.Append(LeafHash(leaf))
		if got := hex.EncodeToString(rootBytes(h)); got != roots[i] {
			t.Errorf("root of %d leaves is %s, want %s", i+1, got, roots[i])
		}
	}
}

func rootBytes(h Head) []byte {
	root := h.Root()
	return root[:]
}

// TestHeadAgreesWithTlogAtEverySize compares with the tree of golang.org/x/mod/sumdb/tlog.
func TestHeadAgreesWithTlogAtEverySize(t *testing.T) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	var h Head
	for n := range int64(1100) {
		leaf := []byte{byte(n), byte(n >> 8)}
		more, err := tlog.StoredHashes(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
		before := h
		h = h.Append(LeafHash(leaf))
		want, err := tlog.TreeHash(n+1, reader)
		if err != nil {
			t.Fatal(err)
		}
		if h.Root() != want || h.Size != n+1 || before.Size != n {
			t.Fatalf("size %d: root %v, want %v", n+1, h.Root(), want)
		}
		data, err := h.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		again, err := UnmarshalHead(data)
		if err != nil || again.Root() != want || again.Size != h.Size {
			t.Fatalf("size %d read back: %+v, %v", n+1, again, err)
		}
		if _, err := UnmarshalHead(data[:len(data)-1]); err == nil {
			t.Fatalf("size %d: a head that is cut short was read", n+1)
		}
	}
}

func TestTilePathReadsBackAndOthersAreRefused(t *testing.T) {
	for _, tt := range []struct {
		t    Tile
		want string
	}{
		{Tile{0, 0, 256}, "tile/0/000"},
		{Tile{0, 999, 256}, "tile/0/999"},
		{Tile{1, 1234067, 256}, "tile/1/x001/x234/067"},
		{Tile{EntriesLevel, 1000, 17}, "tile/entries/x001/000.p/17"},
		{Tile{7, 5, 1}, "tile/7/005.p/1"},
	} {
		if got := tt.t.Path(); got != tt.want {
			t.Errorf("path of %+v is %s, want %s", tt.t, got, tt.want)
		}
		if got, ok := ParsePath(tt.want); !ok || got != tt.t {
			t.Errorf("%s was read as %+v, %v", tt.want, got, ok)
		}
	}
	for _, path := range []string{
		"", "tile", "tile/0/1", "tile/0/0000", "tile/0/x001/x002",
		"tile/8/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/-01", "tile/a/000",
	} {
		if got, ok := ParsePath(path); ok {
			t.Errorf("%q was read as %+v", path, got)
		}
	}
}

// FuzzReadTile reads arbitrary bundles and tiles.
func FuzzReadTile(f *testing.F) {
	f.Add(appendBundle(appendBundle(nil, []byte("{}")), []byte(`{"v":1}`)), uint8(2), uint8(2))
	f.Add([]byte{0, 2, '{', '}', 0}, uint8(1), uint8(1))
	f.Add(make([]byte, 96), uint8(2), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, width, held uint8) {
		if width > held {
			width, held = held, width
		}
		var again []byte
		n := 0
		at, err := ReadBundle(data, int(width), int(held), func(position int, leaf []byte) error {
			if position != n {
				t.Fatalf("position %d after %d entries", position, n)
			}
			again, n = appendBundle(again, leaf), n+1
			return nil
		})
		switch {
		case !bytes.HasPrefix(data, again):
			t.Fatal("an entry is not what the bundle holds")
		case err == nil && width == held && (n != int(width) || !bytes.Equal(data, again)):
			t.Fatalf("%d of %d entries, and something else", n, width)
		case err != nil && (at != n || at > int(width)):
			t.Fatalf("malformed at %d after %d entries", at, n)
		}
		hashes, ok := SplitHashes(data, int(width), int(held))
		if ok != (len(data) == int(held)*len(Hash{})) || ok && !bytes.HasPrefix(data,
			JoinHashes(hashes)) {
			t.Fatal("hashes are not what the tile holds")
		}
	})
}
