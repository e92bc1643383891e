//go:build linux

package daemon_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/internal/needs"
)

// TestServerGoesOnWhileItsArchiveTakesNothing fills the disk of an archive, and makes it read-only.
// The server answers, says what is wrong, and catches up when it can.
func TestServerGoesOnWhileItsArchiveTakesNothing(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	if !daemontest.OwnMounts(t) {
		return
	}
	for _, tt := range []struct {
		name, says  string
		spoil, mend func(t *testing.T, disk string)
	}{
		{
			"full", "no space left on device",
			func(t *testing.T, disk string) {
				var fs syscall.Statfs_t
				if err := syscall.Statfs(disk, &fs); err != nil {
					t.Fatal(err)
				}
				free := int(fs.Bavail) * int(fs.Bsize)
				if err := os.WriteFile(filepath.Join(disk, "ballast"), make([]byte, free/2),
					0o600); err != nil {
					t.Fatal(err)
				}
				// The server may be writing as well, so the rest is filled by what fits.
				f, err := os.Create(filepath.Join(disk, "rest"))
				for err == nil {
					_, err = f.Write(make([]byte, 4096))
				}
				f.Close()
			},
			func(t *testing.T, disk string) {
				for _, name := range []string{"ballast", "rest"} {
					if err := os.Remove(filepath.Join(disk, name)); err != nil {
						t.Fatal(err)
					}
				}
			},
		},
		{
			"read-only", "read-only file system",
			func(t *testing.T, disk string) {
				// It is busy while the server writes an object.
				daemontest.Until(t, func() bool {
					return syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "") == nil
				})
			},
			func(t *testing.T, disk string) {
				if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, ""); err != nil {
					t.Fatal(err)
				}
			},
		},
	} {
		disk := t.TempDir()
		daemontest.Run(t, "mount", "-t", "tmpfs", "-o", "size=192m", "tmpfs", disk)
		t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
		away := filepath.Join(disk, "archive")
		if err := os.Mkdir(away, 0o700); err != nil {
			t.Fatal(err)
		}
		h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), quickly(away))
		deposits(t, h, begins(t, h, 256))
		tt.spoil(t, disk)
		fails(t, h, tt.says)
		_, receipts := deposits(t, h, enough(300))
		tt.mend(t, disk)
		daemontest.Until(t, func() bool { return reasonOf(t, h) == "" })
		archived(t, away, receipts)
		if err := h.Stop(); err != nil {
			t.Fatal(err)
		}
		verifyWhole(t, h.Data, away)
		if t.Failed() {
			t.Fatal(tt.name)
		}
	}
}

// TestServerAnswersWhileItsArchiveIsSlow delays each object of an archive by a fifth of a second,
// and kills the server then. It has answered all the while, and loses nothing.
func TestServerAnswersWhileItsArchiveIsSlow(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "a victim is one server")
	needs.Program(t, "strace")
	folder := t.TempDir()
	c := &told{
		victim:  newVictim(t, filepath.Join(folder, "atm-data"), filepath.Join(folder, "archive")),
		answers: make(map[atm.RequestID]client.Answer),
	}
	c.slow(t, "linkat")
	ended := make(chan struct{})
	known, doubtful := c.untilItEnds(t, func() {
		go func() {
			defer close(ended)
			for range 20 {
				if a, err := c.client(t, 4).Inquiry(t.Context(), daemontest.Account); err != nil ||
					!a.OK() {
					t.Errorf("an inquiry is answered %+v, %v", a, err)
				}
			}
		}()
		<-ended
		c.kill()
	})
	c.start(t)
	c.askAgain(t, append(doubtful, known[max(0, len(known)-200):]...))
	daemontest.Until(t, func() bool { return c.pruned(t) > 0 })
	c.stop(t)
	c.verify(t)
	t.Logf("%d deposits while the archive was slow", len(known))
}
