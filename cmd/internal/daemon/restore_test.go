//go:build unix

package daemon_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/backup"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/internal/needs"
)

// backupOf takes a backup of a running server.
func backupOf(t *testing.T, h *daemontest.Server) []byte {
	t.Helper()
	resp, err := daemontest.HTTPClient(t, h.TLS(t, "operator")).Post("https://"+h.Addr+
		"/admin/backup", "",
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

// TestRestoreFillsTheFolderThatIsThere restores into an empty folder, into the root of a new
// file system, and through a symbolic link. None of them is replaced.
func TestRestoreFillsTheFolderThatIsThere(t *testing.T) {
	h := daemontest.Start(t, nil)
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
			if _, err := (offline.Folder{Data: data}).Restore(t.Context(), daemontest.Discard,
				offline.Backup{Content: bytes.NewReader(backup)}); err != nil {
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
			_, err = offline.Folder{Data: data}.Restore(t.Context(), daemontest.Discard,
				offline.Backup{Content: bytes.NewReader(backup)})
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

// TestRestoreThatFailsLeavesTheFolderEmpty restores a truncated archive.
func TestRestoreThatFailsLeavesTheFolderEmpty(t *testing.T) {
	whole := backupOf(t, daemontest.Start(t, nil))
	folder := t.TempDir()
	_, err := offline.Folder{Data: folder}.Restore(t.Context(), daemontest.Discard,
		offline.Backup{Content: bytes.NewReader(whole[:len(whole)/2])})
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
	if _, err := (offline.Folder{Data: link}).Restore(t.Context(), daemontest.Discard,
		offline.Backup{Content: bytes.NewReader(whole)}); err == nil {
		t.Error("a link to nothing was restored to")
	}
	if _, err := os.Lstat(link); err != nil {
		t.Errorf("the link is gone: %v", err)
	}
}
