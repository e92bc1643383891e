package needs

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestMissingProgramSkipsByNameAndIsSummarized(t *testing.T) {
	list := filepath.Join(t.TempDir(), "skipped")
	t.Setenv("CI", "")
	t.Setenv("ATM_SKIPPED", list)
	t.Run("inner", func(t *testing.T) {
		Program(t, "no-such-program")
		t.Error("the test went on")
	})
	const want = "TestMissingProgramSkipsByNameAndIsSummarized/inner: " +
		"no-such-program is not installed\n"
	if got, err := os.ReadFile(list); err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestNothingMayBeSkippedWhereCIIsSet(t *testing.T) {
	list := filepath.Join(t.TempDir(), "skipped")
	t.Setenv("CI", "true")
	t.Setenv("ATM_SKIPPED", list)
	if Lacking("TestSome", "reason") {
		t.Error("a test may be skipped with CI=true")
	}
	if _, err := os.Stat(list); !os.IsNotExist(err) {
		t.Errorf("it was listed as skipped: %v", err)
	}
}

// TestPortIsGivenOnce is given ports, begins at the first of them again, and listens on each.
func TestPortIsGivenOnce(t *testing.T) {
	const many = 20
	given := make(map[string]bool)
	for range 2 {
		for range many {
			port, err := Port()
			if err != nil {
				t.Fatal(err)
			}
			given[port] = true
			l, err := net.Listen("tcp", "localhost:"+port)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
		portMu.Lock()
		lastPort = (lastPort + ports - many) % ports
		portMu.Unlock()
	}
	if len(given) != 2*many {
		t.Errorf("%d ports were given as %d", len(given), 2*many)
	}
}
