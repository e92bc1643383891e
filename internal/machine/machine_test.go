package machine_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"example.com/atm/internal/machine"
)

func TestServerRunsOnLinuxAndMacOSAlone(t *testing.T) {
	for system, want := range map[string]error{
		"linux": nil, "darwin": nil, "windows": machine.ErrNoServer, "freebsd": machine.ErrNoServer,
	} {
		if got := machine.Serves(system); !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", system, got, want)
		}
	}
}

func TestFreeIsOfTheDiskThatThePathIsOn(t *testing.T) {
	dir := t.TempDir()
	free, err := machine.Free(dir)
	if err != nil || free == 0 {
		t.Fatalf("%d bytes are free, %v", free, err)
	}
	if _, err := machine.Free(filepath.Join(dir, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestBootIsTheKernels(t *testing.T) {
	const file = "/proc/sys/kernel/random/boot_id"
	if _, err := os.Stat(file); err != nil {
		t.Skip("this kernel has no boot id")
	}
	first := machine.Boot()
	if !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(first) ||
		machine.Boot() != first {
		t.Errorf("the boot id is %q, and then %q", first, machine.Boot())
	}
}

// TestClockSaysWhatTheKernelSays checks that a synchronised clock has a bound for its error.
func TestClockSaysWhatTheKernelSays(t *testing.T) {
	c, ok := machine.ReadClock()
	if !ok {
		t.Skip("this kernel says nothing of its clock")
	}
	if c.MaxError < 0 || c.Synchronised && c.MaxError == 0 {
		t.Errorf("the kernel says %+v", c)
	}
	t.Logf("%+v", c)
}
