// Package machine says what an operator, and later an auditor, has to know of the machine
// that a program runs on: which boot of it this is, and how well its clock is kept.
package machine

import (
	"os"
	"strings"
	"time"
)

// bootFile has the id that Linux makes anew at each boot.
const bootFile = "/proc/sys/kernel/random/boot_id"

// Boot is the id of the machine's boot, and "" where there is none.
func Boot() string {
	id, err := os.ReadFile(bootFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// A Clock is what the kernel says of its clock.
type Clock struct {
	Synchronised bool          // something such as NTP keeps it right
	MaxError     time.Duration // how wrong it can be, by the kernel's estimate
}
