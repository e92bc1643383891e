//go:build unix

package daemon_test

import (
	"os"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

func TestMain(m *testing.M) { os.Exit(daemontest.Main(m)) }
