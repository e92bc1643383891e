//go:build unix

package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/internal/needs"
)

// TestReceiversNoticeThatAnOlderBackupWasRestored stops a server, puts its data folder back to
// what it was some deposits before, and lets other deposits happen. The cursors are back there as
// well, so nothing is left out: the first entry that is another one than before is refused by the
// receivers, and the bank is told why. Nothing that follows is taken.
func TestReceiversNoticeThatAnOlderBackupWasRestored(t *testing.T) {
	t.Parallel()
	s := startFeedServer(t)
	folder := filepath.Join(s.dir, "atm-data")
	deposit := func(n int) {
		t.Helper()
		for range n {
			if a, err := s.demo(t, 4).Deposit(t.Context(), 100, 1, ""); err != nil || !a.OK() {
				t.Fatalf("%+v, %v", a, err)
			}
		}
	}
	running := receivers(t, s)
	for _, r := range running {
		port, err := needs.Port()
		if err != nil {
			t.Fatal(err)
		}
		_, secret := s.subscribe(t, "operator", strings.ToLower(r.name),
			"https://localhost:"+port+"/", map[string]any{"proofs": "1"})
		mine := t.TempDir()
		file := filepath.Join(mine, "secret")
		if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		r.run(t, port, file, filepath.Join(mine, "state"))
	}
	deposit(3)
	s.stop(t)
	backup := filepath.Join(t.TempDir(), "backup")
	copyFolder(t, folder, backup)
	s.start(t)
	deposit(5)
	for _, r := range running {
		eventually(t, r.name+" has what will be undone", func() bool {
			return strings.Count(r.out.String(), " atm.deposit\n") == 8
		})
	}
	s.stop(t)

	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	copyFolder(t, backup, folder)
	s.start(t)
	deposit(20)
	operator := s.as(t, "operator", 4)
	for _, r := range running {
		eventually(t, "the bank is told by "+r.name, func() bool {
			a, err := operator.Call(t.Context(), "feed.show", strings.ToLower(r.name))
			if err != nil || !a.OK() {
				t.Fatalf("%+v, %v", a, err)
			}
			record, _ := a.Result.(map[string]any)
			problem, _ := record["error"].(string)
			return strings.Contains(problem, "the receiver answered 409 Conflict")
		})
		if !strings.Contains(r.err.String(), ", and is now ") {
			t.Errorf("%s does not say what is another one:\n%s", r.name, r.err.String())
		}
		if n := strings.Count(r.out.String(), " atm.deposit\n"); n != 8 {
			t.Errorf("%s took %d deposits of another history", r.name, n-8)
		}
	}
}

// copyFolder copies a folder with the permissions of its files.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
