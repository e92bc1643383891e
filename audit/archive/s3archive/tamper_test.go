package s3archive_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/archive/s3archive/s3test"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

// tampering are ways to tamper with the files of a log, by name. other is a log with another entry
// 5, as it may have been before somebody had it put back.
func tampering(other string) map[string]func(t *testing.T, dir string) {
	put := func(t *testing.T, dir, name string, data []byte) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(t *testing.T, dir, name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	edit := func(name string, change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) { audittest.Edit(t, dir, name, change) }
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { audittest.Remove(t, dir, name) }
	}
	restore := func(names ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for _, name := range names {
				put(t, dir, name, read(t, other, name))
			}
		}
	}
	swap := func(one, two string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			first, second := read(t, dir, one), read(t, dir, two)
			put(t, dir, one, second)
			put(t, dir, two, first)
		}
	}
	return map[string]func(t *testing.T, dir string){
		"nothing":                  func(*testing.T, string) {},
		"a cent of an entry":       edit("tile/entries/001", cent),
		"a byte of a length":       edit("tile/entries/001", audittest.Flip(0)),
		"a hash":                   edit("tile/0/001", audittest.Flip(40)),
		"a bundle is cut short":    edit("tile/entries/001", func(b []byte) []byte { return b[:900] }),
		"a tile is cut short":      edit("tile/0/001", func(b []byte) []byte { return b[:900] }),
		"a bundle has more":        edit("tile/entries/001", func(b []byte) []byte { return append(b, 0) }),
		"a tile has more":          edit("tile/0/001", func(b []byte) []byte { return append(b, 0) }),
		"a bundle is empty":        edit("tile/entries/001", func([]byte) []byte { return nil }),
		"a tile is empty":          edit("tile/0/001", func([]byte) []byte { return nil }),
		"a bundle is missing":      remove("tile/entries/002"),
		"a tile is missing":        remove("tile/0/002"),
		"all bundles are missing":  remove("tile/entries"),
		"bundles are swapped":      swap("tile/entries/001", "tile/entries/002"),
		"tiles are swapped":        swap("tile/0/001", "tile/0/002"),
		"an older bundle":          restore("tile/entries/000"),
		"an older tile":            restore("tile/0/000"),
		"an older bundle and tile": restore("tile/entries/000", "tile/0/000"),
		"too large":                edit("tile/entries/001", func([]byte) []byte { return make([]byte, 3<<20) }),
		"a cent, and a tile before": func(t *testing.T, dir string) {
			audittest.Edit(t, dir, "tile/entries/002", cent)
			audittest.Remove(t, dir, "tile/0/001")
		},
	}
}

// cent changes a cent of the third entry of a bundle.
func cent(b []byte) []byte {
	parts := bytes.SplitAfterN(b, []byte("392.00"), 4)
	parts[2] = bytes.Replace(parts[2], []byte("392.00"), []byte("392.01"), 1)
	return bytes.Join(parts, nil)
}

// TestTamperedArchiveIsFoundAsATamperedLog tampers with a log in each way: with the files of a
// whole log, and with those that are in an archive alone. The finding is the same.
func TestTamperedArchiveIsFoundAsATamperedLog(t *testing.T) {
	t.Parallel()
	const size, base = 2000, 4 * merkle.TileWidth
	m, whole := audittest.Publish(t, size)
	other := t.TempDir()
	audittest.PublishIn(t, other, m.Forked(t, size))
	folder := t.TempDir()
	if _, err := archive.New(archive.NewFolder(folder)).Write(t.Context(),
		draft(m, whole)); err != nil {
		t.Fatal(err)
	}
	pruned := audittest.Copy(t, whole)
	trimmed := m.Clone()
	trimmed.Trim(t, base)
	if err := audittest.PublishIn(t, pruned, trimmed).Prune(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	g := s3test.Start(t)
	differs := 0
	for name, tamper := range tampering(other) {
		hot := audittest.Copy(t, whole)
		tamper(t, hot)
		want := verify(t, audit.Dir(hot))
		if want.Code == audit.ContentDiffers {
			differs++
		}
		same := func(t *testing.T, got *audit.Report) {
			t.Helper()
			if got.Code != want.Code || got.LastGood != want.LastGood ||
				got.Unproven != want.Unproven || (got.FirstBad == nil) != (want.FirstBad == nil) ||
				got.FirstBad != nil && (*got.FirstBad.Index != *want.FirstBad.Index ||
					got.FirstBad.File != want.FirstBad.File ||
					got.FirstBad.Expected != want.FirstBad.Expected ||
					got.FirstBad.Got != want.FirstBad.Got) {
				t.Errorf("%d %s, %+v; in a whole log %d %s, %+v", got.Code, got.Sentence,
					got.FirstBad, want.Code, want.Sentence, want.FirstBad)
			}
		}
		t.Run(name, func(t *testing.T) {
			archived := audittest.Copy(t, folder)
			tamper(t, archived)
			a := archive.New(archive.NewFolder(archived))
			same(t, verify(t, archive.Over(audit.Dir(pruned), a)))
			same(t, verify(t, a)) // the archive alone

			prefix := strings.ReplaceAll(name, " ", "-")
			b := archive.New(open(t, g.Location(prefix)))
			if _, err := b.Write(t.Context(), draft(m, whole)); err != nil {
				t.Fatal(err)
			}
			tamper(t, filepath.Join(g.Dir, prefix))
			same(t, verify(t, archive.Over(audit.Dir(pruned), b)))
			same(t, verify(t, b))

			c, err := b.Newest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			err = b.ReadBack(t.Context(), c, m.Signer.Keys(), 0, base,
				sha256.Sum256([]byte("the accounts, sealed")))
			if want.OK() != (err == nil) || err != nil && !errors.Is(err, audit.ErrDiffers) {
				t.Errorf("read back: %v", err)
			}
		})
	}
	if differs < 19 {
		t.Errorf("only %d ways were found", differs)
	}
}

// TestTamperedChapterIsFound tampers with the objects of a chapter.
func TestTamperedChapterIsFound(t *testing.T) {
	t.Parallel()
	m, dir := audittest.Publish(t, 700)
	original := t.TempDir()
	a := archive.New(archive.NewFolder(original))
	if _, err := a.Write(t.Context(), draft(m, dir)); err != nil {
		t.Fatal(err)
	}
	m.Grow(t, 700)
	audittest.PublishIn(t, dir, m)
	if _, err := a.Write(t.Context(), draft(m, dir)); err != nil {
		t.Fatal(err)
	}
	const newest, older = "chapter/0000000000001400/", "chapter/0000000000000700/"
	_, otherKey, err := checkpoint.GenerateKey(audittest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		tamper  func(t *testing.T, root string)
		want    int
		wantErr string // part of the error of reading it back
	}{
		{"nothing", func(*testing.T, string) {}, audit.Verified, ""},
		{"the checkpoint of an older one is put back", func(t *testing.T, root string) {
			old, err := os.ReadFile(filepath.Join(root, older+checkpoint.File))
			if err != nil {
				t.Fatal(err)
			}
			audittest.Edit(t, root, newest+checkpoint.File, func([]byte) []byte { return old })
		}, audit.CannotVerify, "signs 700 entries"},
		{"it is not signed by the log", func(t *testing.T, root string) {
			audittest.Edit(t, root, newest+checkpoint.File, func(b []byte) []byte {
				at := len(b) - 20 // in the signature, which is base64
				if b[at] == 'b' {
					b[at] = 'c'
				} else {
					b[at] = 'b'
				}
				return b
			})
		}, audit.WrongSignature, "not signed"},
		{"the key is another one", func(t *testing.T, root string) {
			audittest.Edit(t, root, newest+checkpoint.KeyFile, func([]byte) []byte {
				return []byte(otherKey + "\n")
			})
		}, audit.WrongSignature, ""},
		{"the key is missing", func(t *testing.T, root string) {
			audittest.Remove(t, root, newest+checkpoint.KeyFile)
		}, audit.CannotVerify, "log.vkey: file does not exist"},
		{"the newest chapter is gone", func(t *testing.T, root string) {
			audittest.Remove(t, root, newest)
		}, audit.RolledBack, ""},
		{"the snapshot is another one", func(t *testing.T, root string) {
			audittest.Edit(t, root, newest+"snapshot", audittest.Flip(3))
		}, audit.Verified, "differs from the signed tree"},
		{"the snapshot is gone", func(t *testing.T, root string) {
			audittest.Remove(t, root, newest+"snapshot")
		}, audit.Verified, "differs from the signed tree"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := audittest.Copy(t, original)
			tt.tamper(t, root)
			a := archive.New(archive.NewFolder(root))
			opts := audit.VerifyOptions{}
			if tt.want == audit.RolledBack { // which only somebody sees who saw the chapter
				opts.Saved, opts.VKey = m.Checkpoint, m.Signer.Verifier()
			}
			r, err := audit.Verify(t.Context(), a, opts)
			if err != nil || r.Code != tt.want {
				t.Errorf("%+v, %v", r, err)
			}
			c, err := a.Newest(t.Context())
			if err == nil {
				err = a.ReadBack(t.Context(), c, m.Signer.Keys(), 0, c.Size,
					sha256.Sum256([]byte("the accounts, sealed")))
			}
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(),
				tt.wantErr) {
				t.Errorf("read back: %v", err)
			}
			// With the log of the server the archive only has to have its tiles.
			if r := verify(t, archive.Over(audit.Dir(dir), a)); !r.OK() {
				t.Errorf("under the server's log: %d %s", r.Code, r.Sentence)
			}
		})
	}
}
