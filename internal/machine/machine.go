// Package machine describes the machine that a program runs on, for operators and auditors:
// whether a server can run on it, the id of its boot, the quality of its clock, and the free
// space of a disk.
package machine

import (
	"errors"
	"os"
	"strings"
	"time"
)

// ErrNoServer reports a system that the server does not support.
var ErrNoServer = errors.New("a server and its data folder need Linux or macOS; " +
	"from here, atmclient and atmctl work with a server elsewhere")

// Serves returns nil if a server can run on this system, a GOOS.
func Serves(system string) error {
	if system == "linux" || system == "darwin" {
		return nil
	}
	return ErrNoServer
}

// bootFile has the id that Linux generates at each boot.
const bootFile = "/proc/sys/kernel/random/boot_id"

// Boot is the id of the machine's boot, or "" if the system has none.
func Boot() string {
	id, err := os.ReadFile(bootFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// A Clock is the state of the kernel's clock.
type Clock struct {
	Synchronised bool          // it is synchronised, by NTP for example
	MaxError     time.Duration // largest error, by the kernel's estimate
}
