package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"golang.org/x/mod/sumdb/tlog"
)

// filesOf returns the files of a log by name.
func filesOf(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// findings is the JSON report that TestVerifiedMeansThatSignedBytesAreWhole reads.
type findings struct {
	OK    *bool      `json:"ok"`
	Code  *int       `json:"code"`
	Size  *int64     `json:"size"`
	Root  *string    `json:"root"`
	First *audit.Bad `json:"first_bad"`
	Last  *int64     `json:"last_good"`
}

// damaged is a log whose files were changed.
type damaged struct {
	t     *testing.T
	rng   *rand.Rand
	dir   string
	names []string // of its files, and of some files that it does not have
	done  []string // the changes

	// other is another valid log of the same size, with a forged entry and another key.
	other  map[string][]byte
	forged bool // a file of other is in it
}

// change changes one file.
func (d *damaged) change() {
	name := d.names[d.rng.IntN(len(d.names))]
	if d.rng.IntN(3) == 0 { // the last tiles are few, and most code paths concern them
		name = d.names[d.rng.IntN(16)]
	}
	path := filepath.Join(d.dir, filepath.FromSlash(name))
	data, err := os.ReadFile(path)
	if info, statErr := os.Lstat(path); err != nil || statErr != nil || !info.Mode().IsRegular() {
		data = nil
	}
	another := d.names[d.rng.IntN(len(d.names))]
	if d.rng.IntN(2) == 0 {
		another = filepath.Join(filepath.Dir(name), filepath.Base(another))
	}
	otherPath := filepath.Join(d.dir, filepath.FromSlash(another))
	ways := []string{
		"delete", "truncate", "swap", "duplicate", "extend", "flip", "replace", "empty", "link",
		"folder",
	}
	what := ways[d.rng.IntN(len(ways))]
	d.done = append(d.done, what+" "+name)
	write := func(path string, b []byte) {
		d.must(os.RemoveAll(path), os.MkdirAll(filepath.Dir(path), 0o700),
			os.WriteFile(path, b, 0o600))
	}
	switch what {
	case "delete":
		d.must(os.RemoveAll(path))
	case "truncate":
		if len(data) > 0 {
			write(path, data[:d.rng.IntN(len(data))])
		}
	case "swap":
		if _, err := os.Lstat(otherPath); data != nil && err == nil && path != otherPath {
			aside := path + ".swap"
			d.must(os.Rename(path, aside), os.Rename(otherPath, path), os.Rename(aside, otherPath))
		}
	case "duplicate":
		if data != nil {
			write(otherPath, data)
		}
		d.done = append(d.done, "as "+another)
	case "extend":
		forged := audittest.Bundle([]byte(`{"forged":true}`))
		more := [][]byte{{0}, bytes.Repeat([]byte{7}, 32), forged, []byte("\n"), data}
		write(path, append(bytes.Clone(data), more[d.rng.IntN(len(more))]...))
	case "flip":
		if len(data) > 0 {
			write(path, audittest.Flip(d.rng.IntN(len(data)))(bytes.Clone(data)))
		}
	case "replace":
		if with, has := d.other[name]; has {
			d.forged = true
			write(path, with)
		}
	case "empty":
		write(path, nil)
	case "link":
		if data != nil {
			d.must(os.Rename(path, path+".real"), os.Symlink(path+".real", path))
		}
	case "folder":
		d.must(os.RemoveAll(path), os.MkdirAll(path, 0o700))
	}
}

func (d *damaged) must(errs ...error) {
	d.t.Helper()
	for _, err := range errs {
		// If a file took the place of a folder, files in that folder can no longer be written.
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			continue
		}
		if !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.ENOTEMPTY) {
			d.t.Fatal(err)
		}
	}
}

// held returns the file that readTile uses for a tile, and how many hashes or entries the file
// must hold. It returns nil if there is none. readTile tries the complete tile before wider
// partial tiles.
func (d *damaged) held(t merkle.Tile) ([]byte, int) {
	widths := []int{t.Width, merkle.TileWidth}
	for width := t.Width + 1; width < merkle.TileWidth; width++ {
		widths = append(widths, width)
	}
	for i, width := range widths {
		path := filepath.Join(d.dir, filepath.FromSlash(merkle.Tile{
			Level: t.Level, N: t.N,
			Width: width,
		}.Path()))
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			if t.Width == merkle.TileWidth {
				return nil, 0
			}
			continue
		}
		if err != nil || !info.Mode().IsRegular() {
			if i < 2 {
				return nil, 0 // the file exists and is unusable
			}
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			d.t.Fatal(err)
		}
		return append([]byte{}, data...), width
	}
	return nil, 0
}

// lowest returns the lowest index at which a tile or bundle differs from the original, as the
// contract defines it, and the lowest index of a changed or missing entry. Each is -1 if there
// is none.
func (d *damaged) lowest(real map[string][]byte, size int64) (index, entry int64) {
	index, entry = -1, -1
	note := func(at *int64, i int64) {
		if *at < 0 || i < *at {
			*at = i
		}
	}
	for level := merkle.EntriesLevel; level < merkle.Levels(size); level++ {
		for n := range (merkle.HashesAt(size, max(level, 0)) +
			merkle.TileWidth - 1) >> merkle.TileHeight {
			t := merkle.TileAt(size, level, n)
			want := real[t.Path()]
			got, held := d.held(t)
			if level >= 0 {
				if len(got) != held*32 || !bytes.HasPrefix(got, want) || got == nil {
					note(&index, t.First())
				}
				continue
			}
			if bytes.Equal(got, want) {
				continue
			}
			if got == nil {
				note(&index, t.First())
				note(&entry, t.First())
				continue
			}
			position := int64(0)
			for range t.Width {
				n := 2 + int(want[0])<<8 + int(want[1])
				if len(got) < n || !bytes.Equal(got[:n], want[:n]) {
					note(&entry, t.First()+position)
					break
				}
				got, want, position = got[n:], want[n:], position+1
			}
			for rest := held - t.Width; position == int64(t.Width) && rest > 0; rest-- {
				if len(got) < 2 || len(got) < 2+int(got[0])<<8+int(got[1]) {
					got = []byte{0}
					break
				}
				got = got[2+int(got[0])<<8+int(got[1]):]
			}
			if position < int64(t.Width) || len(got) > 0 {
				note(&index, t.First()+position)
			}
		}
	}
	return index, entry
}

// TestVerifiedMeansThatSignedBytesAreWhole damages files of a log of 70,000 entries at random.
// A verification never panics, and answers with a code of the contract in its JSON. The code is
// 0 only if every signed byte is unchanged; otherwise the report names the lowest index. Every
// proof is true. With ATM_SOAK the test runs for 10 minutes.
func TestVerifiedMeansThatSignedBytesAreWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	t.Parallel()
	m, original := publishLarge(t)
	forged := audittest.New(t)
	forged.Grow(t, 70_000)
	forged.Leaves[10] = bytes.Replace(forged.Leaves[10], []byte("392.00"), []byte("392.01"), 1)
	forged = forged.At(t, 70_000) // signed again
	otherDir := t.TempDir()
	audittest.PublishIn(t, otherDir, forged)
	real, other := filesOf(t, original), filesOf(t, otherDir)

	size := m.Head.Size
	var edge, names []string
	for level := merkle.EntriesLevel; level < merkle.Levels(size); level++ {
		last := (merkle.HashesAt(size, max(level, 0)) - 1) >> merkle.TileHeight
		for _, width := range []int{merkle.TileAt(size, level, last).Width, merkle.TileWidth, 200} {
			edge = append(edge, merkle.Tile{Level: level, N: last, Width: width}.Path())
		}
	}
	edge = append(edge, checkpoint.File, checkpoint.KeyFile, checkpoint.WitnessedFile)
	edge = append(edge, "tile/1/000", "tile/0/000", "tile/entries/000")
	for name := range real {
		names = append(names, name)
	}
	slices.Sort(names)
	names = append(edge, names...)

	rounds, end := 30, time.Time{}
	if os.Getenv("ATM_SOAK") != "" {
		rounds, end = 1<<40, time.Now().Add(10*time.Minute)
	}
	seed, codes, loose := uint64(20), make(map[int]int), 0
	if !end.IsZero() {
		seed = uint64(time.Now().UnixNano())
	}
	round := 0
	for ; round < rounds && (end.IsZero() || time.Now().Before(end)); round++ {
		dir := audittest.Copy(t, original)
		d := &damaged{t: t, dir: dir, names: names, other: other}
		d.rng = rand.New(rand.NewPCG(seed, uint64(round)))
		if d.rng.IntN(4) == 0 { // nothing leads to the root then
			audittest.Remove(t, dir, filepath.Dir(edge[0]))
			audittest.Remove(t, dir, filepath.Dir(edge[3]))
			d.done = append(d.done, "delete the last bundle and the last tile")
		}
		for range 1 + min(d.rng.IntN(8)*d.rng.IntN(3), 1+d.rng.IntN(40)) {
			d.change()
		}
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("panic: %v\n%s", p, debug.Stack())
				}
			}()
			r := d.check(m, real)
			codes[r.Code]++
			if r.Unproven {
				loose++
			}
		}()
		if t.Failed() {
			t.Fatalf("seed %d, round %d: %s", seed, round, strings.Join(d.done, ", "))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d rounds, codes %v, %d of them without a way to the root", round, codes, loose)
	if codes[audit.Verified] == round || codes[audit.ContentDiffers] == 0 {
		t.Error("nothing was damaged")
	}
}

// check verifies a damaged log, and compares the report with the damage.
func (d *damaged) check(m *audittest.Log, real map[string][]byte) *audit.Report {
	t := d.t
	r, err := audit.Verify(t.Context(), audit.Dir(d.dir), audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	var said findings
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err != nil || said.OK == nil || said.Code == nil || said.Size == nil || said.Root == nil ||
		said.Last == nil {
		t.Errorf("JSON %s: %v", text, err)
		return r
	}
	codes := []int{audit.Verified, audit.CannotVerify, audit.WrongSignature, audit.ContentDiffers}
	if !slices.Contains(codes, r.Code) || *said.OK != (r.Code == 0) || *said.Code != r.Code {
		t.Errorf("code %d: %s", r.Code, text)
	}
	index, entry := d.lowest(real, m.Head.Size)
	switch {
	case r.Code == audit.CannotVerify || r.Code == audit.WrongSignature:
	case r.Code == audit.Verified && (index >= 0 || entry >= 0):
		t.Errorf("verified, and index %d differs, entry %d", index, entry)
	case r.Code == audit.ContentDiffers && index < 0:
		t.Errorf("%s, and nothing does", r.Sentence)
	case r.Code == audit.ContentDiffers && !r.Unproven && *r.FirstBad.Index != index:
		t.Errorf("%s: the lowest is %d", text, index)
	case r.Unproven && !d.forged && entry >= 0 && r.LastGood >= entry:
		t.Errorf("%s: entry %d is not good", text, entry)
	}
	if r.Code == audit.Verified || r.Code == audit.ContentDiffers {
		d.read(m)
	}
	return r
}

// read compares what is read and proved from the log with the committed entries.
func (d *damaged) read(m *audittest.Log) {
	t := d.t
	log, err := audit.OpenLog(t.Context(), audit.Dir(d.dir), m.Signer.Verifier())
	if err != nil {
		return
	}
	index := d.rng.Int64N(m.Head.Size)
	if proof, err := log.Prove(t.Context(), index); err == nil {
		if r := proof.Check(m.Leaves[index], m.Signer.Verifier()); !r.OK() {
			t.Errorf("a proof of entry %d that proves nothing: %s", index, r.Sentence)
		}
	}
	older := 1 + d.rng.Int64N(m.Head.Size-1)
	if proof, err := log.ProveExtends(t.Context(), older); err == nil {
		root := merkle.Head{}
		for _, leaf := range m.Leaves[:older] {
			root.Add(merkle.LeafHash(leaf))
		}
		if err := tlog.CheckTree(proof, m.Head.Size, m.Head.Root(), older,
			root.Root()); err != nil {
			t.Errorf("a proof that %d entries were extended: %v", older, err)
		}
	}
	log.Entries(t.Context(), index, index+300, func(i int64, leaf []byte, _ merkle.Hash) error {
		if !bytes.Equal(leaf, m.Leaves[i]) {
			t.Errorf("entry %d is read as %s", i, leaf)
		}
		return nil
	})
}

// TestLowestBadEntryIsNamedWithoutTheEdgeOfTheTree removes the last bundle and the last tile,
// without which the root cannot be computed, and forges an entry long before them.
func TestLowestBadEntryIsNamedWithoutTheEdgeOfTheTree(t *testing.T) {
	t.Parallel()
	m, original := audittest.Publish(t, 3000)
	forge := func(t *testing.T, dir, name string, leaf []byte) {
		audittest.Edit(t, dir, name, func(b []byte) []byte {
			return bytes.Replace(b, leaf, bytes.Replace(leaf, []byte("392.00"),
				[]byte("392.01"), 1), 1)
		})
	}
	_, smallDir := audittest.Publish(t, 255)
	for _, tt := range []struct {
		name, dir string
		tamper    func(t *testing.T, dir string)
		index     int64
		file      string
	}{
		{"the edge is gone", original, func(*testing.T, string) {}, 2816, "tile/0/011.p/184"},
		{"and entry 10 is forged", original, func(t *testing.T, dir string) {
			forge(t, dir, "tile/entries/000", m.Leaves[10])
		}, 10, "tile/entries/000"},
		{"and entry 700 with its tile", original, func(t *testing.T, dir string) {
			forge(t, dir, "tile/entries/002", m.Leaves[700])
			audittest.Edit(t, dir, "tile/0/002", func(b []byte) []byte {
				h := merkle.LeafHash(bytes.Replace(m.Leaves[700], []byte("392.00"),
					[]byte("392.01"), 1))
				copy(b[(700-512)*32:], h[:])
				return b
			})
		}, 0, "tile/1/000.p/11"}, // two against one
		{"and a tile", original, func(t *testing.T, dir string) {
			audittest.Edit(t, dir, "tile/0/004", audittest.Flip(100))
		}, 1024, "tile/0/004"},
		{"and a bundle", original, func(t *testing.T, dir string) {
			audittest.Remove(t, dir, "tile/entries/004")
		}, 1024, "tile/entries/004"},
		{"and the tile above", original, func(t *testing.T, dir string) {
			audittest.Remove(t, dir, "tile/1")
		}, 0, "tile/1/000.p/11"},
		{"and a hash in the tile above", original, func(t *testing.T, dir string) {
			audittest.Edit(t, dir, "tile/1/000.p/11", audittest.Flip(100))
		}, 0, "tile/1/000.p/11"},
		{"255 entries, one torn, no tile", smallDir, func(t *testing.T, dir string) {
			audittest.Remove(t, dir, "tile/0")
			audittest.Edit(t, dir, "tile/entries/000.p/255", func(b []byte) []byte {
				return b[:len(b)-1]
			})
		}, 0, "tile/0/000.p/255"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := audittest.Copy(t, tt.dir)
			if tt.dir == original {
				audittest.Remove(t, dir, "tile/0/011.p")
				audittest.Remove(t, dir, "tile/entries/011.p")
			}
			tt.tamper(t, dir)
			r := audittest.Verify(t, dir, audit.VerifyOptions{})
			if r.Code != audit.ContentDiffers || r.FirstBad.Index == nil {
				t.Fatalf("%d %s", r.Code, r.Sentence)
			}
			found := r.FirstBad
			if *found.Index != tt.index || found.File != tt.file || r.LastGood != tt.index-1 ||
				!r.Unproven {
				t.Errorf("%d in %s, want %d in %s", *r.FirstBad.Index, r.FirstBad.File, tt.index,
					tt.file)
			}
		})
	}
	t.Run("files of a smaller tree", func(t *testing.T) {
		_, dir := audittest.Publish(t, 1000)
		audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte { return m.Checkpoint })
		r := audittest.Verify(t, dir, audit.VerifyOptions{VKey: m.Signer.Verifier()})
		if r.Code != audit.ContentDiffers || *r.FirstBad.Index != 0 ||
			r.FirstBad.File != "tile/1/000.p/11" {
			t.Errorf("%d %s", r.Code, r.Sentence)
		}
	})
}

// TestFilesHoldWhatIsSigned appends bytes that nobody signed to files of the log.
func TestFilesHoldWhatIsSigned(t *testing.T) {
	t.Parallel()
	_, original := audittest.Publish(t, 300)
	forged := audittest.Bundle([]byte(`{"amount":"90000.00"}`))
	for _, tt := range []struct {
		name, file string
		more       []byte
		index      int64
	}{
		{"257th entry", "tile/entries/000", forged, 256},
		{"one more entry", "tile/entries/001.p/44", forged, 300},
		{"a stray byte", "tile/entries/001.p/44", []byte{0}, 300},
		{"a stray byte in a whole bundle", "tile/entries/000", []byte("\n"), 256},
		{"one hash more", "tile/0/001.p/44", make([]byte, 32), 256},
		{"one hash more above", "tile/1/000.p/1", make([]byte, 32), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := audittest.Copy(t, original)
			audittest.Edit(t, dir, tt.file, func(b []byte) []byte { return append(b, tt.more...) })
			r := audittest.Verify(t, dir, audit.VerifyOptions{})
			if r.Code != audit.ContentDiffers || *r.FirstBad.Index != tt.index ||
				r.FirstBad.File != tt.file ||
				r.LastGood != tt.index-1 {
				t.Errorf("%d %s, last good %d", r.Code, r.Sentence, r.LastGood)
			}
		})
	}
	t.Run("a wider one in place of a partial one", func(t *testing.T) {
		m, dir := audittest.Publish(t, 300, 512)
		old := m.At(t, 300)
		audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte { return old.Checkpoint })
		if r := audittest.Verify(t, dir, audit.VerifyOptions{}); !r.OK() {
			t.Fatalf("%d %s", r.Code, r.Sentence)
		}
		audittest.Edit(t, dir, "tile/entries/001", func(b []byte) []byte { return append(b, 0) })
		if r := audittest.Verify(t, dir, audit.VerifyOptions{}); r.Code != audit.ContentDiffers ||
			*r.FirstBad.Index != 300 {
			t.Fatalf("%d %s", r.Code, r.Sentence)
		}
	})
}

// TestVerificationUnderTheLargestSizeEnds verifies 300 entries under a checkpoint that claims
// the largest size a log can have.
func TestVerificationUnderTheLargestSizeEnds(t *testing.T) {
	t.Parallel()
	m, original := audittest.Publish(t, 300)
	dir := audittest.Copy(t, original)
	signed := m.SignClaim(t, 1<<53)
	audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte { return signed })
	if r := audittest.Verify(t, dir, audit.VerifyOptions{}); r.Code != audit.ContentDiffers ||
		*r.FirstBad.Index != 0 {
		t.Errorf("%d %s", r.Code, r.Sentence)
	}
}
