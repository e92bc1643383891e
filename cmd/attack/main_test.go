//go:build unix

package attack_test

import (
	"os"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

func TestMain(m *testing.M) { os.Exit(daemontest.Main(m)) }
