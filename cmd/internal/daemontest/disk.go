//go:build linux

package daemontest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"example.com/atm/internal/needs"
)

// OwnMounts runs the test again in a mount namespace of its own, so that its mounts are invisible
// to other processes and end with it. It reports whether this is that run, which has env in its
// environment. Mounting requires root.
func OwnMounts(t *testing.T, env ...string) bool {
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
	cmd.Env = append(append(os.Environ(), "ATM_TEST_MOUNTS=yes"), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if file, _, is := strings.Cut(strings.TrimSpace(line), ":"); is &&
			strings.HasSuffix(file, "_test.go") {
			t.Log(strings.TrimSpace(line))
		}
	}
	return false
}

// A Disk is a file system in a file, whose power can be cut.
type Disk struct {
	Mounted string // the folder

	kind, image string
}

// NewDisk mounts a new disk. Call it in a test with mounts of its own.
func NewDisk(t *testing.T, kind string) *Disk {
	t.Helper()
	folder := t.TempDir()
	d := &Disk{
		kind: kind, image: filepath.Join(folder, "image"), Mounted: filepath.Join(folder, "disk"),
	}
	if err := os.Mkdir(d.Mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	Run(t, "truncate", "-s", "512M", d.image)
	Run(t, "mkfs."+kind, "-q", d.image)
	d.mount(t)
	t.Cleanup(func() { syscall.Unmount(d.Mounted, syscall.MNT_DETACH) })
	return d
}

func (d *Disk) mount(t *testing.T) {
	t.Helper()
	Run(t, "mount", "-t", d.kind, "-o", "loop", d.image, d.Mounted)
}

// CutPower stops the file system at once without flushing its journal, as if the power had
// failed. Data that no fsync made durable is lost.
func (d *Disk) CutPower(t *testing.T) {
	t.Helper()
	f, err := os.Open(d.Mounted)
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

// PowerOn mounts the file system again, which replays its journal.
func (d *Disk) PowerOn(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Unmount(d.Mounted, 0)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	d.mount(t)
}

// Run runs a program that must succeed.
func Run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
