package publish_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/publish"
)

// archived archives the log m, which is published in dir.
func archived(t *testing.T, m *audittest.Log, dir string) *archive.Archive {
	t.Helper()
	a := archive.New(archive.NewFolder(t.TempDir()))
	_, err := a.Write(t.Context(), archive.Draft{
		Log: audit.Dir(dir), Signed: m.Checkpoint, Keys: m.Signer.Keys(),
		Snapshot: archive.Bytes([]byte("accounts")),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// findings verifies the log in dir with its archive, and without it.
func findings(t *testing.T, dir string, a *archive.Archive) (with, without *audit.Report) {
	t.Helper()
	with, err := audit.Verify(t.Context(), archive.Over(audit.Dir(dir), a), audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	without, err = audit.Verify(t.Context(), archive.Over(audit.Dir(dir), nil),
		audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return with, without
}

// tilesBefore counts the bundles and tiles of level 0 in dir whose entries are all before base.
func tilesBefore(t *testing.T, dir string, base int64) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		tile, is := merkle.ParsePath(filepath.ToSlash(name))
		if is && tile.Level <= 0 && (tile.N+1)*merkle.TileWidth <= base {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPrunedLogGoesOnAndVerifiesWithItsArchive(t *testing.T) {
	t.Parallel()
	const base = 8 * merkle.TileWidth
	m, dir := audittest.Publish(t, 3000)
	a := archived(t, m, dir)
	p := audittest.PublishIn(t, dir, m)
	if err := p.Prune(t.Context(), base); err == nil {
		t.Fatal("entries were pruned that the source has to have archived")
	}
	m.Trim(t, base)
	if err := p.Prune(t.Context(), base+1); err == nil {
		t.Fatal("a bundle was pruned in part")
	}
	for _, base := range []int64{256, base, base, 0} {
		if err := p.Prune(t.Context(), base); err != nil {
			t.Fatal(err)
		}
	}
	if n := tilesBefore(t, dir, base); n != 0 {
		t.Errorf("%d tiles are left", n)
	}
	for range 2 { // the same publisher, and one that is started again
		p.Inspect()
		m.Grow(t, 1000)
		if err := p.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Tidy()
		with, without := findings(t, dir, a)
		if !with.OK() || with.Size != m.Head.Size || len(with.Warnings) != 1 {
			t.Errorf("with its archive: %d %s %q", with.Code, with.Sentence, with.Warnings)
		}
		want := fmt.Sprintf("entries 0 to %d could not be read: the log was pruned, and its "+
			"archive cannot be reached: none is named", base-1)
		if without.Code != audit.CannotVerify || without.Sentence != want ||
			without.LastGood != -1 {
			t.Errorf("without it: %d %s", without.Code, without.Sentence)
		}
		var w *audittest.Warnings
		p, w = audittest.NewPublisher(t, dir, m)
		if err := p.Recover(t.Context()); err != nil || w.String() != "" {
			t.Fatal(err, w.String())
		}
	}
	// What differs in the part that can be read is found without the archive.
	audittest.Edit(t, dir, "tile/entries/009", audittest.Flip(50))
	_, without := findings(t, dir, a)
	if without.Code != audit.ContentDiffers || *without.FirstBad.Index != 9*256 ||
		without.LastGood != -1 {
		t.Errorf("damaged: %d %s, last good %d", without.Code, without.Sentence, without.LastGood)
	}
}

// TestPruningRemovesFoldersThatAreEmpty prunes a log whose tiles are in several folders.
func TestPruningRemovesFoldersThatAreEmpty(t *testing.T) {
	t.Parallel()
	const base = 2003 * merkle.TileWidth
	m, dir := audittest.NewOf(t, base+10), t.TempDir()
	m.Trim(t, base)
	kept := 0
	for n := range int64(2010) {
		for level := merkle.EntriesLevel; level <= 1; level++ {
			tile := merkle.Tile{Level: level, N: n, Width: merkle.TileWidth}
			if n%501 == 7 {
				tile.Width = 3 // as a publisher that was killed can leave one
			}
			path := filepath.Join(dir, filepath.FromSlash(tile.Path()))
			err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700),
				os.WriteFile(path, []byte("x"), 0o600))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	p, _ := audittest.NewPublisher(t, dir, m)
	if err := p.Prune(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		tile, is := merkle.ParsePath(filepath.ToSlash(name))
		if !is {
			return err
		}
		if kept++; tile.Level <= 0 && tile.N < base/merkle.TileWidth {
			t.Errorf("%s is left", name)
		}
		return err
	})
	if want := 2010 + 2*7; err != nil || kept != want {
		t.Errorf("%d tiles are left, want %d; %v", kept, want, err)
	}
	for folder, want := range map[string]bool{
		"tile/entries/x001": false, "tile/0/x001": false, "tile/entries/x002": true,
		"tile/1/x001": true,
	} {
		if _, err := os.Stat(filepath.Join(dir, folder)); (err == nil) != want {
			t.Errorf("%s: %v", folder, err)
		}
	}
}

// TestLogIsPublishedAgainFromTheBaseOfItsSource publishes a log whose source has lost its beginning
// to its archive into an empty folder, and into one with an earlier state.
func TestLogIsPublishedAgainFromTheBaseOfItsSource(t *testing.T) {
	t.Parallel()
	const base = 300 * merkle.TileWidth
	m, dir := audittest.Publish(t, 700, 80_000)
	a := archived(t, m, dir)
	early, short := audittest.Copy(t, dir), m.At(t, 700)
	audittest.Remove(t, early, "tile")
	audittest.Edit(t, early, checkpoint.File, func([]byte) []byte { return short.Checkpoint })
	audittest.PublishIn(t, early, short)
	m.Trim(t, base)
	forked := m.Clone()
	forked.Signer = short.Signer
	for _, tt := range []struct {
		name, dir string
		archive   audit.Files
		saw       checkpoint.Checkpoint
		want      string // part of an error
	}{
		{"nothing published", t.TempDir(), nil, checkpoint.Checkpoint{}, ""},
		{"nothing published, seen at the base", t.TempDir(), nil, checkpoint.Checkpoint{
			Size: base, Root: m.At(t, base).Head.Root(),
		}, ""},
		{
			"nothing published, another state seen at the base", t.TempDir(), nil,
			checkpoint.Checkpoint{Size: base},
			"contradict",
		},
		{
			"nothing published, another state seen before it", t.TempDir(), a,
			checkpoint.Checkpoint{Size: 700},
			"contradict",
		},
		{"an early state", audittest.Copy(t, early), a, checkpoint.Checkpoint{}, ""},
		{
			"an early state, no archive", audittest.Copy(t, early), nil,
			checkpoint.Checkpoint{},
			"the archive, in which they could be compared, is not named",
		},
		{
			"an early state, an empty archive", audittest.Copy(t, early),
			archive.New(archive.NewFolder(t.TempDir())),
			checkpoint.Checkpoint{},
			"cannot be reached",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w audittest.Warnings
			p, err := publish.New(publish.Config{
				Dir: tt.dir, Keys: m.Signer.Keys, Source: m, Log: w.Logger(), Archived: tt.archive,
			})
			if err != nil {
				t.Fatal(err)
			}
			p.Saw(tt.saw)
			err = p.Recover(t.Context())
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %s; %s", err, tt.want, w.String())
				}
				return
			}
			if err != nil || strings.Contains(w.String(), "level=ERROR") {
				t.Fatal(err, w.String())
			}
			for range 2 {
				m.Grow(t, 300)
				if err := p.Publish(t.Context()); err != nil {
					t.Fatal(err)
				}
				p.Tidy()
				with, without := findings(t, tt.dir, a)
				if !with.OK() || with.Size != m.Head.Size {
					t.Errorf("%d %s", with.Code, with.Sentence)
				}
				if without.Code != audit.CannotVerify {
					t.Errorf("without the archive: %d %s", without.Code, without.Sentence)
				}
				w.Reset()
				p, _ := audittest.NewPublisher(t, tt.dir, m)
				if err := p.Recover(t.Context()); err != nil || w.String() != "" {
					t.Fatal(err, w.String())
				}
				audittest.Remove(t, tt.dir, "tile/entries/311")
				p.Inspect()
				if err := errors.Join(p.Publish(t.Context()), p.Err()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
