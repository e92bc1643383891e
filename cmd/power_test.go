//go:build linux

package cmd_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/internal/needs"
)

// inOwnMounts runs the test again in a mount namespace of its own, so that its mounts are
// invisible to other processes and end with it. It reports whether this is that run. Mounting
// requires root.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv("ATM_TEST_MOUNTS") != "" {
		return true
	}
	needs.Root(t)
	unshare := needs.Program(t, "unshare")
	if out, err := exec.Command(unshare, "--mount", "true").CombinedOutput(); err != nil {
		needs.Skip(t, "this machine does not give root mounts of its own: "+string(out))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(unshare, "--mount", "--propagation", "private",
		self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2h")
	cmd.Env = append(os.Environ(), "ATM_TEST_MOUNTS=yes", "ATM_TEST_PROGRAMS="+bin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(strings.TrimSpace(line), "power_test.go") {
			t.Log(strings.TrimSpace(line))
		}
	}
	return false
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// A disk is a file system in a file, whose power can be cut.
type disk struct {
	kind, image, mounted string
}

func newDisk(t *testing.T, kind string) *disk {
	t.Helper()
	folder := t.TempDir()
	d := &disk{kind: kind, image: filepath.Join(folder, "image"), mounted: filepath.Join(folder,
		"disk")}
	if err := os.Mkdir(d.mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "truncate", "-s", "512M", d.image)
	run(t, "mkfs."+kind, "-q", d.image)
	d.mount(t)
	t.Cleanup(func() { syscall.Unmount(d.mounted, syscall.MNT_DETACH) })
	return d
}

func (d *disk) mount(t *testing.T) {
	t.Helper()
	run(t, "mount", "-t", d.kind, "-o", "loop", d.image, d.mounted)
}

// cutPower stops the file system at once without flushing its journal, as if the power had
// failed. Data that no fsync made durable is lost.
func (d *disk) cutPower(t *testing.T) {
	t.Helper()
	f, err := os.Open(d.mounted)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const shutdown = 0x8004587d // FS_IOC_SHUTDOWN
	noLogFlush := uint32(2)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), shutdown,
		uintptr(unsafe.Pointer(&noLogFlush))); errno != 0 {
		t.Fatal(errno)
	}
}

// powerOn mounts the file system again, which replays its journal.
func (d *disk) powerOn(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Unmount(d.mounted, 0)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	d.mount(t)
}

// TestPowerCutKeepsWhatWasAnswered cuts the power of the disk while 8 clients deposit. A
// server whose commit fails answers that the outcome is unknown, and exits with 1.
func TestPowerCutKeepsWhatWasAnswered(t *testing.T) {
	t.Parallel()
	if !inOwnMounts(t) {
		return
	}
	for _, kind := range []string{"ext4", "xfs"} {
		d := newDisk(t, kind)
		s := startServerIn(t, d.mounted)
		c := &crasher{server: s, want: openingBalance}
		rounds := soak(2, 50)
		for round := range rounds {
			c.round(t, round,
				func() {
					d.cutPower(t)
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
					d.powerOn(t)
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
		run(t, "mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", mounted)
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
