//go:build linux

package daemon_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// TestPowerCutsWhileArchivingLoseNothing cuts the power of the disk with the data folder, of that
// with the archive, and of one with both, while 8 clients deposit and the server archives and
// trims. A server whose archive is gone goes on; one whose vault is gone ends, and starts again.
func TestPowerCutsWhileArchivingLoseNothing(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "a database has a disk of its own")
	if !daemontest.OwnMounts(t) {
		return
	}
	rounds := 1
	if os.Getenv("ATM_SOAK") != "" {
		rounds = 40
	}
	for _, tt := range []struct{ name, data, archive string }{
		{"both", "first", "first"},
		{"the data folder", "first", "second"},
		{"the archive", "second", "first"},
	} {
		disks := map[string]*daemontest.Disk{
			"first": daemontest.NewDisk(t, "ext4"), "second": daemontest.NewDisk(t, "ext4"),
		}
		d := disks["first"]
		c := &told{
			victim: newVictim(t, filepath.Join(disks[tt.data].Mounted, "atm-data"),
				filepath.Join(disks[tt.archive].Mounted, "archive")),
			answers: make(map[atm.RequestID]client.Answer),
		}
		for round := range rounds {
			ends := tt.data == "first"
			known, doubtful := c.untilItEnds(t, func() {
				time.Sleep(500*time.Millisecond + time.Duration(rand.Int64N(int64(time.Second))))
				d.CutPower(t)
				if !ends { // it must answer without its archive
					time.Sleep(time.Second)
					select {
					case <-c.ended:
						t.Errorf("round %d: the server ended without its archive:\n%s", round,
							c.said)
					default:
					}
					d.PowerOn(t)
					time.Sleep(time.Second)
					c.kill()
				}
				<-c.ended
			})
			if ends {
				d.PowerOn(t)
			}
			c.start(t)
			c.askAgain(t, append(doubtful, known[max(0, len(known)-200):]...))
			if t.Failed() {
				t.Fatalf("%s, round %d", tt.name, round)
			}
		}
		c.untilTrimmed(t)
		c.stop(t)
		c.verify(t)
		t.Logf("%s: %d power cuts, %d deposits, %d of them in doubt", tt.name, rounds,
			len(c.answers), c.carried+c.unknown)
	}
}
