package needs

import (
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
