package machine_test

import (
	"os"
	"regexp"
	"testing"

	"example.com/atm/internal/machine"
)

func TestBootIsTheKernels(t *testing.T) {
	const file = "/proc/sys/kernel/random/boot_id"
	if _, err := os.Stat(file); err != nil {
		t.Skip("this kernel has no boot id")
	}
	first := machine.Boot()
	if !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(first) || machine.Boot() != first {
		t.Errorf("the boot id is %q, and then %q", first, machine.Boot())
	}
}

// TestClockSaysWhatTheKernelSays: what the kernel says of a clock that is synchronised has a
// bound for its error.
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
