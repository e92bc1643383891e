//go:build unix

package daemon_test

import (
	"fmt"
	"os"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

func TestMain(m *testing.M) {
	if data := os.Getenv(victimData); data != "" {
		if err := runVictim(data); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(daemontest.Main(m))
}
