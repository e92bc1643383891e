package audit

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// TestRootVectors uses the inputs and roots of the test vectors that Certificate
// Transparency's implementations share (RFC 6962).
func TestRootVectors(t *testing.T) {
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

// TestHeadAgainstTlog compares with x/mod's tree at every size.
func TestHeadAgainstTlog(t *testing.T) {
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

func TestSignerRefuses(t *testing.T) {
	m := newMemory(t)
	m.grow(t, 10)
	first, head := m.checkpoint, m.head
	m.grow(t, 10)

	fork := Head{}.Append(LeafHash([]byte("another")))
	for name, tt := range map[string]struct {
		last          []byte
		extends, head Head
	}{
		"a tree that nobody signed":        {first, fork, fork.Append(LeafHash([]byte("more")))},
		"a shorter tree":                   {m.checkpoint, m.head, head},
		"a tree without its checkpoint":    {nil, head, m.head},
		"another log's checkpoint":         {newMemoryOf(t, 10).checkpoint, head, m.head},
		"a checkpoint of a different size": {first, m.head, m.head.Append(LeafHash(nil))},
		"an empty tree after a full one":   {first, Head{}, fork},
	} {
		if signed, err := m.signer.Sign(tt.last, tt.extends, tt.head); err == nil {
			t.Errorf("%s was signed: %s", name, signed)
		}
	}
	if _, err := m.signer.Sign(first, head, m.head); err != nil {
		t.Errorf("the rightful extension: %v", err)
	}
}

func newMemoryOf(t testing.TB, n int) *memory {
	m := newMemory(t)
	m.grow(t, n)
	return m
}

func TestOpenCheckpoint(t *testing.T) {
	m := newMemoryOf(t, 10)
	c, err := OpenCheckpoint(m.checkpoint, m.signer.Verifier())
	if err != nil || c.Size != 10 || c.Root != m.head.Root() || c.Origin != "log.example" {
		t.Errorf("%+v, %v", c, err)
	}
	text := string(m.checkpoint)
	for name, tt := range map[string]struct {
		text string
		want error
	}{
		"empty":           {"", ErrNoCheckpoint},
		"no signature":    {text[:strings.Index(text, "\n\n")+2], ErrNoCheckpoint},
		"no size":         {"log.example\n\n— log.example AAAA\n", ErrNoCheckpoint},
		"size with zeros": {strings.Replace(text, "\n10\n", "\n010\n", 1), ErrNoCheckpoint},
		"another size":    {strings.Replace(text, "\n10\n", "\n11\n", 1), ErrSignature},
		"another origin":  {strings.Replace(text, "log.example\n", "log.other\n", 1), ErrSignature},
		"another key":     {string(newMemoryOf(t, 10).checkpoint), ErrSignature},
	} {
		if _, err := OpenCheckpoint([]byte(tt.text), m.signer.Verifier()); !errors.Is(err,
			tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if _, err := OpenCheckpoint(m.checkpoint, "nonsense"); !errors.Is(err, ErrKey) {
		t.Errorf("a key that is none: %v", err)
	}
	if _, err := NewSigner("PRIVATE+KEY+x"); err == nil || strings.Contains(err.Error(),
		"PRIVATE") {
		t.Errorf("a secret key that is none: %v", err)
	}
}

func FuzzOpenCheckpoint(f *testing.F) {
	m := newMemoryOf(f, 10)
	f.Add(m.checkpoint)
	f.Add([]byte("log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— log.example " +
		"AAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := OpenCheckpoint(text, m.signer.Verifier())
		if err == nil && (c.Size != 10 || c.Root != m.head.Root()) {
			t.Fatalf("forged: %q", text)
		}
	})
}

func TestTilePath(t *testing.T) {
	for _, tt := range []struct {
		t    tile
		want string
	}{
		{tile{0, 0, 256}, "tile/0/000"},
		{tile{0, 999, 256}, "tile/0/999"},
		{tile{1, 1234067, 256}, "tile/1/x001/x234/067"},
		{tile{entriesLevel, 1000, 17}, "tile/entries/x001/000.p/17"},
		{tile{7, 5, 1}, "tile/7/005.p/1"},
	} {
		if got := tt.t.path(); got != tt.want {
			t.Errorf("path of %+v is %s, want %s", tt.t, got, tt.want)
		}
		if got, ok := parseTilePath(tt.want); !ok || got != tt.t {
			t.Errorf("%s was read as %+v, %v", tt.want, got, ok)
		}
	}
	for _, path := range []string{
		"", "tile", "tile/0/1", "tile/0/0000", "tile/0/x001/x002",
		"tile/8/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/-01", "tile/a/000",
	} {
		if got, ok := parseTilePath(path); ok {
			t.Errorf("%q was read as %+v", path, got)
		}
	}
}

func TestFailures(t *testing.T) {
	f := NewFailures()
	now := testTime
	whole := 0
	for i := range 100 {
		if f.Note(now.Add(time.Duration(i)*time.Second), netip.MustParseAddr("192.0.2.200"),
			"expired") {
			whole++
		}
	}
	if !f.Note(now, netip.MustParseAddr("192.0.2.1"), "unknown") ||
		!f.Note(now, netip.MustParseAddr("198.51.100.1"), "expired") ||
		!f.Note(now, netip.MustParseAddr("2001:db8:1::1"), "expired") {
		t.Error("another reason or network counts for itself")
	}
	got := f.Flush()
	if whole != failuresWhole || len(got) != 1 || got[0].N != 95 ||
		got[0].Source != "192.0.2.0/24" ||
		!got[0].First.Equal(now.Add(5*time.Second)) || !got[0].Last.Equal(now.Add(99*time.Second)) {
		t.Errorf("%d entries and %+v", whole, got)
	}
	if got := f.Flush(); len(got) != 0 {
		t.Errorf("flushed twice: %+v", got)
	}
	if !f.Note(now, netip.MustParseAddr("192.0.2.200"), "expired") {
		t.Error("a new minute begins with entries again")
	}
}

// TestFailuresBounded floods from more networks than are told apart.
func TestFailuresBounded(t *testing.T) {
	f := NewFailures()
	entries := 0
	for i := range 200_000 {
		if f.Note(testTime, netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}),
			"x") {
			entries++
		}
	}
	if len(f.kinds) > maxFailureKinds+1 || entries > maxFailureKinds*failuresWhole {
		t.Errorf("%d networks in memory, %d entries", len(f.kinds), entries)
	}
	summaries := f.Flush()
	var counted int64
	for _, s := range summaries {
		counted += s.N
	}
	if counted+int64(entries) != 200_000 {
		t.Errorf("%d entries and %d counted of 200000", entries, counted)
	}
}
