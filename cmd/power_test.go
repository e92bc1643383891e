//go:build linux

package cmd_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// inOwnMounts is daemontest.OwnMounts with the programs that were built.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	return daemontest.OwnMounts(t, "ATM_TEST_PROGRAMS="+bin)
}

// TestPowerCutKeepsWhatWasAnswered cuts the power of the disk while 8 clients deposit. A
// server whose commit fails answers that the outcome is unknown, and exits with 1.
func TestPowerCutKeepsWhatWasAnswered(t *testing.T) {
	t.Parallel()
	if !inOwnMounts(t) {
		return
	}
	for _, kind := range []string{"ext4", "xfs"} {
		d := daemontest.NewDisk(t, kind)
		s := startServerIn(t, d.Mounted)
		c := &crasher{server: s, want: openingBalance}
		rounds := soak(2, 50)
		for round := range rounds {
			c.round(t, round,
				func() {
					d.CutPower(t)
					select {
					case <-s.ended: // its commit failed
						if code := s.cmd.ProcessState.ExitCode(); code != 1 {
							t.Errorf("after a failed commit the server ended with %d", code)
						}
					case <-time.After(patience):
						t.Error("the server goes on without a disk")
						s.kill(t)
					}
				},
				func() {
					d.PowerOn(t)
					s.start(t)
				})
			if t.Failed() {
				return
			}
		}
		s.stop(t)
		s.fsck(t)
		t.Logf("%s: %d power cuts, %d acknowledged, %d in doubt", kind, rounds, c.acknowledged,
			c.doubtful)
	}
}

// TestFullDiskIsUnavailableUntilThereIsSpace fills the disk of a server that keeps a reserve,
// and of one that does not. The first answers UNAVAILABLE, and serves again when there is
// space; the second ends at a failed commit, and loses nothing.
func TestFullDiskIsUnavailableUntilThereIsSpace(t *testing.T) {
	t.Parallel()
	if !inOwnMounts(t) {
		return
	}
	for _, reserve := range []int{16 << 20, 0} {
		mounted := t.TempDir()
		daemontest.Run(t, "mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", mounted)
		t.Cleanup(func() { syscall.Unmount(mounted, syscall.MNT_DETACH) })
		s := startServerIn(t, mounted, fmt.Sprint("ATM_DISK_RESERVE=", reserve))
		acknowledged := make(map[atm.RequestID]client.Answer)
		deposit := func(name string) (*client.Answer, error) {
			id := atm.RequestID(name)
			a, err := s.demo(t, 1).Deposit(t.Context(), 100, 1, id)
			if err == nil && a.OK() {
				acknowledged[id] = *a
			}
			return a, err
		}
		if a, err := deposit("before"); err != nil || !a.OK() {
			t.Fatal(a, err)
		}
		ballast := filepath.Join(mounted, "ballast")
		fill(t, ballast, mounted, reserve)

		c := s.demo(t, 1)
		full := false
		for i := 0; !full; i++ {
			id := atm.RequestID(fmt.Sprint("filling ", i))
			a, err := c.Deposit(t.Context(), 100, 1, id)
			switch {
			case err == nil && a.OK():
				acknowledged[id] = *a
			case reserve > 0 && (err != nil || a.Code != atm.Unavailable):
				t.Fatalf("below the reserve: %+v, %v", a, err)
			default:
				full = true
			}
		}
		admin := "http://localhost:" + lookUp(s.env, "ADMIN") + "/readyz"
		if reserve > 0 {
			resp, err := http.Get(admin)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("ready without space: %s", resp.Status)
			}
		} else {
			<-s.ended
			if code := s.cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("ended with %d", code)
			}
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if reserve == 0 {
			s.start(t)
		}
		if err := waitReady(admin, s.ended); err != nil {
			t.Fatal(err)
		}
		if a, err := deposit("after"); err != nil || !a.OK() {
			t.Fatal(a, err)
		}
		for id, first := range acknowledged {
			if again, err := s.demo(t, 1).Deposit(t.Context(), 100, 1, id); err != nil ||
				*again != first {
				t.Errorf("%s was answered %+v, and is now %+v, %v", id, first, again, err)
			}
		}
		s.stop(t)
		s.verify(t)
		s.fsck(t)
		t.Logf("reserve %d: %d deposits acknowledged, none lost", reserve, len(acknowledged))
	}
}

// fill writes a file until less than a MiB is free beyond keep.
func fill(t *testing.T, path, mounted string, keep int) {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(mounted, &fs); err != nil {
		t.Fatal(err)
	}
	free := int(fs.Bavail) * int(fs.Bsize)
	if err := os.WriteFile(path, make([]byte, free-keep-1<<19), 0o600); err != nil {
		t.Fatal(err)
	}
}
