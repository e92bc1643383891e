package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/remote"
)

// TestServedLogIsWholeWithItsArchive verifies over HTTP a log whose beginning is in an archive.
func TestServedLogIsWholeWithItsArchive(t *testing.T) {
	t.Parallel()
	const size, base = 2000, 5 * merkle.TileWidth
	m, dir := audittest.Publish(t, size)
	root := filepath.Join(t.TempDir(), "archive")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	a := archive.New(archive.NewFolder(root))
	_, err := a.Write(t.Context(), archive.Draft{
		Log: audit.Dir(dir), Signed: m.Checkpoint, Keys: m.Signer.Keys(),
		Snapshot: archive.Bytes([]byte("accounts")),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Trim(t, base)
	if err := audittest.PublishIn(t, dir, m).Prune(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	verify := func(published audit.Files) *audit.Report {
		s := httptest.NewServer(LogFiles(dir, published))
		defer s.Close()
		files := remote.Files{Client: http.DefaultClient, Base: s.URL + "/"}
		r, err := audit.Verify(t.Context(), files, audit.VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verify(archive.Over(audit.Dir(dir), a)); !r.OK() || r.Size != size {
		t.Errorf("with the archive: %d %s", r.Code, r.Sentence)
	}
	if err := os.Remove(filepath.Join(root, "tile/entries/002")); err != nil {
		t.Fatal(err)
	}
	if r := verify(archive.Over(audit.Dir(dir), a)); r.Code != audit.ContentDiffers ||
		*r.FirstBad.Index != 512 || r.FirstBad.Got != "missing" {
		t.Errorf("an object is missing: %d %s", r.Code, r.Sentence)
	}
	if err := os.Rename(root, root+".gone"); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("entries 0 to %d could not be read", base-1)
	for name, published := range map[string]audit.Files{
		"the archive is gone": archive.Over(audit.Dir(dir), a),
		"none is named":       archive.Over(audit.Dir(dir), nil),
	} {
		r := verify(published)
		if r.Code != audit.CannotVerify || len(r.Sentence) < len(want) ||
			r.Sentence[:len(want)] != want {
			t.Errorf("%s: %d %s", name, r.Code, r.Sentence)
		}
	}
}
