package audit

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

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// published are the files of a log by name.
func published(t testing.TB, dir string) map[string][]byte {
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

// findings is what TestDamage is told by a verification.
type findings struct {
	OK    *bool   `json:"ok"`
	Code  *int    `json:"code"`
	Size  *int64  `json:"size"`
	Root  *string `json:"root"`
	First *Bad    `json:"first_bad"`
	Last  *int64  `json:"last_good"`
}

// damaged is a log of which any files were changed.
type damaged struct {
	t     *testing.T
	rng   *rand.Rand
	dir   string
	names []string // of its files, and of some that it does not have
	done  []string // what was done

	// other is a log of the same size with a forged entry and another key, which is
	// whole in itself.
	other  map[string][]byte
	forged bool // something of other is in it
}

// change does one thing to one file.
func (d *damaged) change() {
	name := d.names[d.rng.IntN(len(d.names))]
	if d.rng.IntN(3) == 0 { // the last tiles are few, and where most can go wrong
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
		forged := appendBundle(nil, []byte(`{"forged":true}`))
		more := [][]byte{{0}, bytes.Repeat([]byte{7}, 32), forged, []byte("\n"), data}
		write(path, append(bytes.Clone(data), more[d.rng.IntN(len(more))]...))
	case "flip":
		if len(data) > 0 {
			write(path, flip(d.rng.IntN(len(data)))(bytes.Clone(data)))
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
		// What is below a file that was a folder cannot be written any more.
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			continue
		}
		if !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.ENOTEMPTY) {
			d.t.Fatal(err)
		}
	}
}

// held returns the file that stands for a tile, and how many hashes or entries it
// is to hold; nil when there is none. The whole one is looked for before those
// between.
func (d *damaged) held(t tile) ([]byte, int) {
	widths := []int{t.width, tileWidth}
	for width := t.width + 1; width < tileWidth; width++ {
		widths = append(widths, width)
	}
	for i, width := range widths {
		path := filepath.Join(d.dir, filepath.FromSlash(tile{t.level, t.n, width}.path()))
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			if t.width == tileWidth {
				return nil, 0
			}
			continue
		}
		if err != nil || !info.Mode().IsRegular() {
			if i < 2 {
				return nil, 0 // it is there, and is nothing
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

// lowest is the lowest index at which a tile or bundle differs from the real one,
// as the contract counts, and the lowest index of an entry that is not there as it
// was; -1 for none.
func (d *damaged) lowest(real map[string][]byte, size int64) (index, entry int64) {
	index, entry = -1, -1
	note := func(at *int64, i int64) {
		if *at < 0 || i < *at {
			*at = i
		}
	}
	for level := entriesLevel; level < levels(size); level++ {
		for n := range (tilesAt(size, max(level, 0)) + tileWidth - 1) >> tileHeight {
			t := tileOf(size, level, n)
			want := real[t.path()]
			got, held := d.held(t)
			if level >= 0 {
				if len(got) != held*32 || !bytes.HasPrefix(got, want) || got == nil {
					note(&index, t.first())
				}
				continue
			}
			if bytes.Equal(got, want) {
				continue
			}
			if got == nil {
				note(&index, t.first())
				note(&entry, t.first())
				continue
			}
			position := int64(0)
			for range t.width {
				n := 2 + int(want[0])<<8 + int(want[1])
				if len(got) < n || !bytes.Equal(got[:n], want[:n]) {
					note(&entry, t.first()+position)
					break
				}
				got, want, position = got[n:], want[n:], position+1
			}
			for rest := held - t.width; position == int64(t.width) && rest > 0; rest-- {
				if len(got) < 2 || len(got) < 2+int(got[0])<<8+int(got[1]) {
					got = []byte{0}
					break
				}
				got = got[2+int(got[0])<<8+int(got[1]):]
			}
			if position < int64(t.width) || len(got) > 0 {
				note(&index, t.first()+position)
			}
		}
	}
	return index, entry
}

// TestDamage does to any files of a log of 70,000 entries what can be done to files.
// A verification never panics and answers with a code of the contract in its JSON.
// It says 0 only when every signed byte is as it was, and names the lowest index
// else. What is proved is true. With ATM_SOAK it goes on for 10 minutes.
func TestDamage(t *testing.T) {
	m, original := publish(t, 300, 70_000)
	forged := newMemory(t)
	forged.grow(t, 70_000)
	forged.leaves[10] = bytes.Replace(forged.leaves[10], []byte("392.00"), []byte("392.01"), 1)
	var hashes []Hash
	for _, leaf := range forged.leaves {
		hashes = append(hashes, LeafHash(leaf))
	}
	forged.head, forged.checkpoint = Head{}, nil
	forged.signer.last = nil
	forged.sign(t, Head{}.Append(hashes...))
	otherDir := t.TempDir()
	p, _ := newPublisher(t, otherDir, forged)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	real, other := published(t, original), published(t, otherDir)

	size := m.head.Size
	var edge, names []string
	for level := entriesLevel; level < levels(size); level++ {
		last := (tilesAt(size, max(level, 0)) - 1) >> tileHeight
		for _, width := range []int{tileOf(size, level, last).width, tileWidth, 200} {
			edge = append(edge, tile{level, last, width}.path())
		}
	}
	edge = append(edge, checkpointFile, keyFile, witnessedFile)
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
		dir := copyLog(t, original)
		d := &damaged{t: t, dir: dir, names: names, other: other}
		d.rng = rand.New(rand.NewPCG(seed, uint64(round)))
		if d.rng.IntN(4) == 0 { // nothing leads to the root then
			remove(t, dir, filepath.Dir(edge[0]))
			remove(t, dir, filepath.Dir(edge[3]))
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
	if codes[Verified] == round || codes[ContentDiffers] == 0 {
		t.Error("nothing was damaged")
	}
}

// check verifies a log that was damaged, and holds what is said against what is
// there.
func (d *damaged) check(m *memory, real map[string][]byte) *Report {
	t := d.t
	r, err := Verify(t.Context(), Dir(d.dir), VerifyOptions{})
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
	codes := []int{Verified, CannotVerify, WrongSignature, ContentDiffers}
	if !slices.Contains(codes, r.Code) || *said.OK != (r.Code == 0) || *said.Code != r.Code {
		t.Errorf("code %d: %s", r.Code, text)
	}
	index, entry := d.lowest(real, m.head.Size)
	switch {
	case r.Code == CannotVerify || r.Code == WrongSignature:
	case r.Code == Verified && (index >= 0 || entry >= 0):
		t.Errorf("verified, and index %d differs, entry %d", index, entry)
	case r.Code == ContentDiffers && index < 0:
		t.Errorf("%s, and nothing does", r.Sentence)
	case r.Code == ContentDiffers && !r.Unproven && *r.FirstBad.Index != index:
		t.Errorf("%s: the lowest is %d", text, index)
	case r.Unproven && !d.forged && entry >= 0 && r.LastGood >= entry:
		t.Errorf("%s: entry %d is not good", text, entry)
	}
	if r.Code == Verified || r.Code == ContentDiffers {
		d.read(m)
	}
	return r
}

// read holds what is read and proved out of the log against what was committed.
func (d *damaged) read(m *memory) {
	t := d.t
	log, err := OpenLog(t.Context(), Dir(d.dir), m.signer.Verifier())
	if err != nil {
		return
	}
	index := d.rng.Int64N(m.head.Size)
	if proof, err := log.Prove(t.Context(), index); err == nil {
		if r := proof.Check(m.leaves[index], m.signer.Verifier()); !r.OK() {
			t.Errorf("a proof of entry %d that proves nothing: %s", index, r.Sentence)
		}
	}
	older := 1 + d.rng.Int64N(m.head.Size-1)
	if proof, err := log.proveExtends(t.Context(), older); err == nil {
		root := Head{}
		for _, leaf := range m.leaves[:older] {
			root.push(LeafHash(leaf))
		}
		if err := tlog.CheckTree(proof, m.head.Size, m.head.Root(), older,
			root.Root()); err != nil {
			t.Errorf("a proof that %d entries were extended: %v", older, err)
		}
	}
	log.Entries(t.Context(), index, index+300, func(i int64, leaf []byte, _ Hash) error {
		if !bytes.Equal(leaf, m.leaves[i]) {
			t.Errorf("entry %d is read as %s", i, leaf)
		}
		return nil
	})
}

// TestLowestIndexWithoutEdge takes the last bundle and the last tile away, which the
// root cannot be reached without, and forges an entry long before them.
func TestLowestIndexWithoutEdge(t *testing.T) {
	m, original := publish(t, 3000)
	forge := func(t *testing.T, dir, name string, leaf []byte) {
		edit(t, dir, name, func(b []byte) []byte {
			return bytes.Replace(b, leaf, bytes.Replace(leaf, []byte("392.00"),
				[]byte("392.01"), 1), 1)
		})
	}
	_, smallDir := publish(t, 255)
	for _, tt := range []struct {
		name, dir string
		tamper    func(t *testing.T, dir string)
		index     int64
		file      string
	}{
		{"the edge is gone", original, func(*testing.T, string) {}, 2816, "tile/0/011.p/184"},
		{"and entry 10 is forged", original, func(t *testing.T, dir string) {
			forge(t, dir, "tile/entries/000", m.leaves[10])
		}, 10, "tile/entries/000"},
		{"and entry 700 with its tile", original, func(t *testing.T, dir string) {
			forge(t, dir, "tile/entries/002", m.leaves[700])
			edit(t, dir, "tile/0/002", func(b []byte) []byte {
				h := LeafHash(bytes.Replace(m.leaves[700], []byte("392.00"), []byte("392.01"), 1))
				copy(b[(700-512)*32:], h[:])
				return b
			})
		}, 0, "tile/1/000.p/11"}, // two against one
		{"and a tile", original, func(t *testing.T, dir string) {
			edit(t, dir, "tile/0/004", flip(100))
		}, 1024, "tile/0/004"},
		{"and a bundle", original, func(t *testing.T, dir string) {
			remove(t, dir, "tile/entries/004")
		}, 1024, "tile/entries/004"},
		{"and the tile above", original, func(t *testing.T, dir string) {
			remove(t, dir, "tile/1")
		}, 0, "tile/1/000.p/11"},
		{"and a hash in the tile above", original, func(t *testing.T, dir string) {
			edit(t, dir, "tile/1/000.p/11", flip(100))
		}, 0, "tile/1/000.p/11"},
		{"255 entries, one torn, no tile", smallDir, func(t *testing.T, dir string) {
			remove(t, dir, "tile/0")
			edit(t, dir, "tile/entries/000.p/255", func(b []byte) []byte { return b[:len(b)-1] })
		}, 0, "tile/0/000.p/255"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyLog(t, tt.dir)
			if tt.dir == original {
				remove(t, dir, "tile/0/011.p")
				remove(t, dir, "tile/entries/011.p")
			}
			tt.tamper(t, dir)
			r := verify(t, dir, VerifyOptions{})
			if r.Code != ContentDiffers || r.FirstBad.Index == nil {
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
		_, dir := publish(t, 1000)
		edit(t, dir, checkpointFile, func([]byte) []byte { return m.checkpoint })
		r := verify(t, dir, VerifyOptions{VKey: m.signer.Verifier()})
		if r.Code != ContentDiffers || *r.FirstBad.Index != 0 ||
			r.FirstBad.File != "tile/1/000.p/11" {
			t.Errorf("%d %s", r.Code, r.Sentence)
		}
	})
}

// TestFilesHoldWhatIsSigned adds to files what nobody signed.
func TestFilesHoldWhatIsSigned(t *testing.T) {
	_, original := publish(t, 300)
	forged := appendBundle(nil, []byte(`{"amount":"90000.00"}`))
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
			dir := copyLog(t, original)
			edit(t, dir, tt.file, func(b []byte) []byte { return append(b, tt.more...) })
			r := verify(t, dir, VerifyOptions{})
			if r.Code != ContentDiffers || *r.FirstBad.Index != tt.index ||
				r.FirstBad.File != tt.file ||
				r.LastGood != tt.index-1 {
				t.Errorf("%d %s, last good %d", r.Code, r.Sentence, r.LastGood)
			}
		})
	}
	t.Run("a wider one in place of a partial one", func(t *testing.T) {
		m, dir := publish(t, 300, 512)
		old := m.at(t, 300)
		edit(t, dir, checkpointFile, func([]byte) []byte { return old.checkpoint })
		if r := verify(t, dir, VerifyOptions{}); !r.OK() {
			t.Fatalf("%d %s", r.Code, r.Sentence)
		}
		edit(t, dir, "tile/entries/001", func(b []byte) []byte { return append(b, 0) })
		if r := verify(t, dir, VerifyOptions{}); r.Code != ContentDiffers ||
			*r.FirstBad.Index != 300 {
			t.Fatalf("%d %s", r.Code, r.Sentence)
		}
	})
}

// TestLargestSizeEnds verifies 300 entries under a checkpoint of as many as a log
// can have.
func TestLargestSizeEnds(t *testing.T) {
	m, original := publish(t, 300)
	dir := copyLog(t, original)
	text := Checkpoint{Origin: "log.example", Size: 1 << 53, Root: m.head.Root()}.text()
	signed, err := note.Sign(&note.Note{Text: text}, m.signer.signers...)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, dir, checkpointFile, func([]byte) []byte { return signed })
	if r := verify(t, dir, VerifyOptions{}); r.Code != ContentDiffers || *r.FirstBad.Index != 0 {
		t.Errorf("%d %s", r.Code, r.Sentence)
	}
}
