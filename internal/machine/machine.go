// Package machine says what an operator, and later an auditor, has to know of the machine
// that a program runs on: whether a server can run on it, which boot of it this is, how
// well its clock is kept, and how much of a disk is free.
package machine

import (
	"errors"
	"os"
	"strings"
	"time"
)

// ErrNoServer reports a system that the server has not been made for.
var ErrNoServer = errors.New("a server and its data folder need Linux or macOS; " +
	"from here, atmclient and atmctl work with a server elsewhere")

// Serves returns nil when a server runs on this system, a GOOS.
func Serves(system string) error {
	if system == "linux" || system == "darwin" {
		return nil
	}
	return ErrNoServer
}

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
