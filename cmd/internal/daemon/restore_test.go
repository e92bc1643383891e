//go:build unix

package daemon_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/backup"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/internal/needs"
)

// attackFiles hands files to commands that would do harm with them.
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
		link := filepath.Join(dir, "null") // the machine's own device is not risked
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
		_, err := offline.Folder{Data: data}.Restore(t.Context(),
			bytes.NewReader(sparse(t, 256<<20)), discard)
		if !errors.Is(err, backup.ErrIncomplete) || !strings.Contains(err.Error(),
			"larger than it is itself") {
			t.Errorf("%v", err)
		}
		if _, err := os.Lstat(data); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something is there: %v", err)
		}
	})
}

// sparse is an archive of a few hundred bytes whose one file has size bytes, all but
// the last one in a hole.
func sparse(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	// The writer makes no sparse files: so their records have another name for it.
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

// backupOf takes a backup of a running server.
func backupOf(t *testing.T, h *testServer) []byte {
	t.Helper()
	resp, err := httpClient(t, h.tls(t, "operator")).Post("https://"+h.addr+"/admin/backup", "",
		http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	backup, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	return backup
}

// TestRestoreFillsTheFolderThatIsThere restores into an empty folder, into the root of
// a file system that was just made, and through a link. Each stays what it is.
func TestRestoreFillsTheFolderThatIsThere(t *testing.T) {
	h := start(t, nil)
	backup := backupOf(t, h)
	at := func(name string, prepare func(t *testing.T, folder string) (data string)) {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "folder")
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			data := prepare(t, folder)
			before, err := os.Stat(folder)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := (offline.Folder{Data: data}).Restore(t.Context(), bytes.NewReader(backup),
				discard); err != nil {
				t.Fatal(err)
			}
			after, err := os.Stat(folder)
			if err != nil || !os.SameFile(before, after) || after.Mode().Perm() != 0o700 {
				t.Errorf("another folder is there, %v, %v", after.Mode(), err)
			}
			if linked, err := os.Lstat(data); err != nil || data != folder &&
				linked.Mode()&fs.ModeSymlink == 0 {
				t.Errorf("the link is gone: %v, %v", linked.Mode(), err)
			}
			if left, err := filepath.Glob(filepath.Join(folder, ".restoring-*")); err != nil ||
				len(left) > 0 {
				t.Errorf("%v is left, %v", left, err)
			}
			if _, err := (offline.Folder{Data: data}).Check(t.Context(), func(problem string) {
				t.Error(problem)
			}); err != nil {
				t.Error(err)
			}
			_, err = offline.Folder{Data: data}.Restore(t.Context(), bytes.NewReader(backup),
				discard)
			if err == nil || !strings.Contains(err.Error(), "exists and is not empty") {
				t.Errorf("a second time: %v", err)
			}
		})
	}
	at("an empty folder", func(_ *testing.T, folder string) string { return folder })
	at("a new file system", func(t *testing.T, folder string) string {
		mount := exec.Command("mount", "-t", "tmpfs", "-o", "size=64m,mode=0755", "tmpfs", folder)
		if out, err := mount.CombinedOutput(); err != nil {
			needs.Skip(t, "root may not mount here: "+string(out))
		}
		t.Cleanup(func() { exec.Command("umount", "-l", folder).Run() })
		if err := os.Mkdir(filepath.Join(folder, "lost+found"), 0o700); err != nil {
			t.Fatal(err)
		}
		return folder
	})
	at("a link", func(t *testing.T, folder string) string {
		link := folder + "-link"
		if err := os.Symlink(folder, link); err != nil {
			t.Fatal(err)
		}
		return link
	})
	at("what a restore that was killed left", func(t *testing.T, folder string) string {
		if err := os.MkdirAll(filepath.Join(folder, ".restoring-1", "keys"), 0o700); err != nil {
			t.Fatal(err)
		}
		return folder
	})
}

// TestRestoreThatFailsLeavesTheFolderEmpty breaks an archive off.
func TestRestoreThatFailsLeavesTheFolderEmpty(t *testing.T) {
	whole := backupOf(t, start(t, nil))
	folder := t.TempDir()
	_, err := offline.Folder{Data: folder}.Restore(t.Context(),
		bytes.NewReader(whole[:len(whole)/2]), discard)
	if !errors.Is(err, backup.ErrIncomplete) {
		t.Errorf("%v", err)
	}
	if names, err := os.ReadDir(folder); err != nil || len(names) > 0 {
		t.Errorf("it holds %v, %v", names, err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("missing", link); err != nil {
		t.Fatal(err)
	}
	if _, err := (offline.Folder{Data: link}).Restore(t.Context(), bytes.NewReader(whole),
		discard); err == nil {
		t.Error("a link to nothing was restored to")
	}
	if _, err := os.Lstat(link); err != nil {
		t.Errorf("the link is gone: %v", err)
	}
}
