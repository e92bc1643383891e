//go:build unix

package attack_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/backup"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/output"
)

// attackFiles passes harmful files to commands.
func (a *arena) attackFiles(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("victim"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("a link", func(t *testing.T) {
		link := filepath.Join(dir, "link")
		if err := os.Symlink(victim, link); err != nil {
			t.Fatal(err)
		}
		if err := output.Write(t.Context(), link, []byte("entries"), 0o600); err == nil {
			t.Error("it was written to")
		}
		if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("it was replaced: %v, %v", info.Mode(), err)
		}
		if data, err := os.ReadFile(victim); err != nil || string(data) != "victim" {
			t.Errorf("what it leads to holds %q, %v", data, err)
		}
	})
	t.Run("a device", func(t *testing.T) {
		link := filepath.Join(dir, "null") // do not risk the machine's own device
		if err := os.Symlink(os.DevNull, link); err != nil {
			t.Fatal(err)
		}
		if err := output.Write(t.Context(), link, []byte("proof"), 0o600); err != nil {
			t.Error(err)
		}
		if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("it was replaced: %v, %v", info.Mode(), err)
		}
	})
	t.Run("a sparse archive", func(t *testing.T) {
		data := filepath.Join(dir, "restored")
		_, err := offline.Folder{Data: data}.Restore(t.Context(), daemontest.Discard,
			offline.Backup{Content: bytes.NewReader(sparse(t, 256<<20))})
		if !errors.Is(err, backup.ErrIncomplete) || !strings.Contains(err.Error(),
			"larger than the archive") {
			t.Errorf("%v", err)
		}
		if _, err := os.Lstat(data); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something is there: %v", err)
		}
	})
}

// sparse is an archive of a few hundred bytes with one file of size bytes, all but the last one
// in a hole.
func sparse(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	// archive/tar cannot write sparse files, so the name of their records is replaced afterwards.
	err := w.WriteHeader(&tar.Header{
		Name: "vault.db", Mode: 0o600, Size: 1, Format: tar.FormatPAX,
		PAXRecords: map[string]string{
			"GNU_sparse.size": strconv.Itoa(size), "GNU_sparse.numblocks": "1",
			"GNU_sparse.map": strconv.Itoa(size-1) + ",1",
		},
	})
	_, wrote := w.Write([]byte{1})
	if err := errors.Join(err, wrote, w.Close()); err != nil {
		t.Fatal(err)
	}
	archive := bytes.ReplaceAll(b.Bytes(), []byte("GNU_sparse"), []byte("GNU.sparse"))
	if header, err := tar.NewReader(bytes.NewReader(archive)).Next(); err != nil ||
		header.Size != int64(size) {
		t.Fatalf("it is no sparse file: %+v, %v", header, err)
	}
	return archive
}
