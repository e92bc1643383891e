package archive_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
)

// snapshot is what a test takes for a snapshot of the accounts.
var snapshot = []byte("the accounts, sealed")

// draft is a chapter of the log l, which is published in dir.
func draft(l *audittest.Log, dir string) archive.Draft {
	return archive.Draft{
		Log: audit.Dir(dir), Signed: l.Checkpoint, Keys: l.Signer.Keys(),
		Snapshot: archive.Bytes(snapshot),
	}
}

// write archives the log l, which is published in dir.
func write(t *testing.T, a *archive.Archive, l *audittest.Log, dir string) archive.Chapter {
	t.Helper()
	c, err := a.Write(t.Context(), draft(l, dir))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// verify verifies a log.
func verify(t *testing.T, files audit.Files) *audit.Report {
	t.Helper()
	r, err := audit.Verify(t.Context(), files, audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// filesIn returns the content of each object in a folder, by name.
func filesIn(t *testing.T, root string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		files[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestArchiveIsALogThatVerifies(t *testing.T) {
	t.Parallel()
	l, dir := audittest.Publish(t, 700)
	root := t.TempDir()
	a := archive.New(archive.NewFolder(root))
	for _, size := range []int{700, 701, 1100, 70_000} {
		l.Grow(t, size-len(l.Leaves))
		audittest.PublishIn(t, dir, l)
		c := write(t, a, l, dir)
		r := verify(t, a)
		if !r.OK() || r.Size != int64(size) || c.Size != r.Size || c.Root != l.Head.Root() {
			t.Fatalf("%d entries: %d %s", size, r.Code, r.Sentence)
		}
		err := a.ReadBack(t.Context(), c, l.Signer.Keys(), 0, c.Size, sha256.Sum256(snapshot))
		if err != nil {
			t.Error(err)
		}
	}
	sizes, err := archive.New(archive.NewFolder(root)).Sizes(t.Context())
	if want := []int64{700, 701, 1100, 70_000}; err != nil || !slices.Equal(sizes, want) {
		t.Errorf("chapters %v, %v", sizes, err)
	}
	for _, size := range sizes { // earlier chapters are still whole
		c, err := a.Chapter(t.Context(), size)
		if err != nil {
			t.Fatal(err)
		}
		if r := verify(t, a.At(c)); !r.OK() || r.Size != size {
			t.Errorf("chapter %d: %d %s", size, r.Code, r.Sentence)
		}
		var got bytes.Buffer
		n, sum, err := a.Snapshot(t.Context(), c, &got)
		if err != nil || n != int64(len(snapshot)) || sum != sha256.Sum256(snapshot) ||
			!bytes.Equal(got.Bytes(), snapshot) {
			t.Errorf("the snapshot is %q, %v", got.Bytes(), err)
		}
	}
	for name, data := range filesIn(t, dir) { // the archive has each file, byte for byte
		if !strings.HasPrefix(name, "tile/") {
			continue
		}
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != data {
			t.Errorf("%s differs in the archive: %v", name, err)
		}
	}
}

// stops is an archive whose owner is killed before an object is written.
type stops struct {
	archive.Objects
	after int // objects
}

var errKilled = errors.New("killed")

func (s *stops) Put(ctx context.Context, name string, content archive.Content) error {
	if s.after--; s.after < 0 {
		return errKilled
	}
	return s.Objects.Put(ctx, name, content)
}

func TestWritingGoesOnAfterEachObject(t *testing.T) {
	t.Parallel()
	l, dir := audittest.Publish(t, 600)
	whole := t.TempDir()
	write(t, archive.New(archive.NewFolder(whole)), l, dir)
	want := filesIn(t, whole)
	for after := range len(want) {
		root := t.TempDir()
		folder := archive.NewFolder(root)
		a := archive.New(&serial{Objects: &stops{folder, after}})
		if _, err := a.Write(t.Context(), draft(l, dir)); !errors.Is(err, errKilled) {
			t.Fatalf("after %d objects: %v", after, err)
		}
		if _, err := a.Newest(t.Context()); !errors.Is(err, archive.ErrEmpty) {
			t.Errorf("after %d objects: a chapter is complete, %v", after, err)
		}
		write(t, archive.New(folder), l, dir)
		got := filesIn(t, root)
		if len(got) != len(want) {
			t.Errorf("after %d objects: %d objects, want %d", after, len(got), len(want))
		}
		for name, data := range want {
			if got[name] != data {
				t.Errorf("after %d objects: %s differs", after, name)
			}
		}
	}
}

func TestArchiveOfAnotherLogIsRefused(t *testing.T) {
	t.Parallel()
	l, dir := audittest.Publish(t, 600)
	newLog := func(l *audittest.Log) (*audittest.Log, string) {
		dir := t.TempDir()
		audittest.PublishIn(t, dir, l)
		return l, dir
	}
	longer := l.Clone()
	longer.Grow(t, 100)
	_, longerDir := newLog(longer)
	otherKey, otherKeyDir := audittest.Publish(t, 700)
	forked, forkedDir := newLog(l.Forked(t, 700))
	for _, tt := range []struct {
		name string
		log  *audittest.Log
		dir  string
		want error
	}{
		{"the log was rolled back", l, dir, archive.ErrAhead},
		{"another key", otherKey, otherKeyDir, archive.ErrOtherLog},
		{"another history", forked, forkedDir, archive.ErrOtherLog},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			a := archive.New(archive.NewFolder(root))
			write(t, a, longer, longerDir)
			before := filesIn(t, root)
			if _, err := a.Write(t.Context(), draft(tt.log, tt.dir)); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if len(filesIn(t, root)) != len(before) {
				t.Error("objects were written")
			}
		})
	}
}

func TestObjectWithOtherContentIsNamed(t *testing.T) {
	t.Parallel()
	l, dir := audittest.Publish(t, 600)
	for _, name := range []string{
		"tile/entries/000", "tile/0/001", "tile/entries/002.p/88", "tile/1/000.p/2",
		"chapter/0000000000000600/snapshot", "chapter/0000000000000600/log.vkey",
	} {
		folder := archive.NewFolder(t.TempDir())
		if err := folder.Put(t.Context(), name, archive.Bytes([]byte("another"))); err != nil {
			t.Fatal(err)
		}
		a := archive.New(folder)
		_, err := a.Write(t.Context(), draft(l, dir))
		if !errors.Is(err, archive.ErrConflict) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := a.Newest(t.Context()); !errors.Is(err, archive.ErrEmpty) {
			t.Errorf("%s: a chapter is complete, %v", name, err)
		}
	}
}

// unreadable is the content of a file that the disk does not give back.
type unreadable struct{}

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, syscall.EIO }

func TestContentThatCannotBeReadIsNoConflict(t *testing.T) {
	t.Parallel()
	l, dir := audittest.Publish(t, 600)
	folder := archive.NewFolder(t.TempDir())
	err := folder.Put(t.Context(), archive.SnapshotName(600), archive.Bytes(snapshot))
	if err != nil {
		t.Fatal(err)
	}
	d := draft(l, dir)
	d.Snapshot = archive.Content{ReaderAt: unreadable{}, Size: int64(len(snapshot))}
	_, err = archive.New(folder).Write(t.Context(), d)
	if !errors.Is(err, syscall.EIO) || errors.Is(err, archive.ErrConflict) {
		t.Errorf("%v", err)
	}
}

func TestNothingIsArchivedThatDiffersFromTheSignedTree(t *testing.T) {
	t.Parallel()
	l, original := audittest.Publish(t, 600)
	for _, tt := range []struct {
		name, file string
		written    int // objects that were written before the file was read
	}{
		{"an entry", "tile/entries/001", 2},
		{"a tile", "tile/0/001", 2},
		{"the last tile", "tile/0/002.p/88", 0},
	} {
		dir := audittest.Copy(t, original)
		audittest.Edit(t, dir, tt.file, audittest.Flip(50))
		root := t.TempDir()
		a := archive.New(archive.NewFolder(root))
		_, err := a.Write(t.Context(), draft(l, dir))
		if !errors.Is(err, audit.ErrDiffers) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if files := filesIn(t, root); len(files) != tt.written {
			t.Errorf("%s: %d objects were written", tt.name, len(files))
		}
	}
	unsigned := draft(l, original)
	_, unsigned.Keys[0], _ = checkpoint.GenerateKey(audittest.Origin)
	a := archive.New(archive.NewFolder(t.TempDir()))
	if _, err := a.Write(t.Context(), unsigned); !errors.Is(err, checkpoint.ErrSignature) {
		t.Errorf("signed by another key: %v", err)
	}
}

// TestArchiveHasBothSignatures archives a log that gets its second key between two chapters.
func TestArchiveHasBothSignatures(t *testing.T) {
	t.Parallel()
	l, dir := audittest.Publish(t, 700)
	a := archive.New(archive.NewFolder(t.TempDir()))
	early := write(t, a, l, dir)
	l.RotatePair(t)
	l.Grow(t, 400)
	audittest.PublishIn(t, dir, l)
	d := draft(l, dir)
	d.Keys = l.Signer.AllKeys()
	if c, err := a.Write(t.Context(), d); !errors.Is(err, checkpoint.ErrSignature) {
		t.Errorf("without the second signature: %+v, %v", c, err)
	}
	var err error
	if d.Signed, err = l.Signer.Complete(l.Checkpoint); err != nil {
		t.Fatal(err)
	}
	c, err := a.Write(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if c.Key != d.Keys[0]+"\n"+d.Keys[2] {
		t.Errorf("the keys beside the chapter are %q", c.Key)
	}
	for name, vkey := range map[string]string{
		"those beside": "", "ML-DSA-44": strings.Fields(c.Key)[1], "both": c.Key,
	} {
		r, err := audit.Verify(t.Context(), a, audit.VerifyOptions{VKey: vkey})
		if err != nil || !r.OK() || r.Size != int64(len(l.Leaves)) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	for _, c := range []archive.Chapter{early, c} {
		if err := a.ReadBack(t.Context(), c, d.Keys, 0, c.Size,
			sha256.Sum256(snapshot)); err != nil {
			t.Errorf("the chapter of %d entries: %v", c.Size, err)
		}
	}
}
