package publish_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/internal/needs"
)

// childKey is the variable by which this test binary is told to be the publisher that is
// killed. Its value is the folder to publish into.
const childKey = "ATM_TEST_PUBLISH"

// sizes are the sizes at which the log is published: with partial tiles that grow, and with
// tiles that become complete.
var sizes = []int{3, 10, 256, 300, 520, 1_000}

// logOf returns an empty log with the key in a folder.
func logOf(t testing.TB, folder string) *audittest.Log {
	t.Helper()
	skey, err := os.ReadFile(filepath.Join(folder, "key"))
	if err != nil {
		t.Fatal(err)
	}
	return audittest.WithKey(t, string(skey))
}

// TestLogVerifiesAfterAKillAtAnySystemCall kills a publisher with SIGKILL at each of its system
// calls that change the disk. The next start completes what it left, and the log verifies.
func TestLogVerifiesAfterAKillAtAnySystemCall(t *testing.T) {
	if folder := os.Getenv(childKey); folder != "" {
		publishAndDie(t, folder)
		return
	}
	needs.Program(t, "strace")
	skey, _, err := checkpoint.GenerateKey("log.example")
	if err != nil {
		t.Fatal(err)
	}
	perCall, wantKills := 12, int64(40) // more calls of one kind find nothing new
	if testing.Short() {
		perCall, wantKills = 1, 5
	}
	var kills atomic.Int64
	t.Run("at", func(t *testing.T) {
		for _, call := range []string{"renameat", "fsync", "unlinkat", "mkdirat", "write"} {
			t.Run(call, func(t *testing.T) {
				t.Parallel()
				for when := 1; when <= perCall && publishKilled(t, skey, call, when); when++ {
					kills.Add(1)
				}
			})
		}
	})
	t.Logf("%d kills", kills.Load())
	if n := kills.Load(); n < wantKills {
		t.Errorf("only %d kills: the publisher was not hit", n)
	}
}

// publishKilled publishes a log in a process that is killed at its nth system call of this
// name, then starts again and verifies the log. It reports whether the process got as far as
// that call.
func publishKilled(t *testing.T, skey, call string, n int) bool {
	t.Helper()
	folder := t.TempDir()
	dir := filepath.Join(folder, "log")
	if err := errors.Join(os.WriteFile(filepath.Join(folder, "key"), []byte(skey), 0o600),
		os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("strace", "-f", "-qqq", "-o", os.DevNull,
		"-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n),
		self, "-test.run=^TestLogVerifiesAfterAKillAtAnySystemCall$")
	cmd.Env = append(os.Environ(), childKey+"="+folder, "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	var died *exec.ExitError
	if err != nil && !errors.As(err, &died) {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "--- FAIL") {
		t.Fatalf("%s", out)
	}
	// The vault's log is unchanged, and continues.
	m := logOf(t, folder)
	m.Grow(t, sizes[len(sizes)-1]+5)
	p, warnings := audittest.NewPublisher(t, dir, m)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatalf("killed at %s %d: %v", call, n, err)
	}
	p.Tidy()
	r := audittest.Verify(t, dir, audit.VerifyOptions{VKey: m.Signer.Verifier()})
	if !r.OK() || r.Size != m.Head.Size {
		t.Fatalf("killed at %s %d: %+v\n%s", call, n, r, warnings.String())
	}
	return died != nil
}

// publishAndDie publishes a log at each of the sizes.
func publishAndDie(t *testing.T, folder string) {
	m := logOf(t, folder)
	p, _ := audittest.NewPublisher(t, filepath.Join(folder, "log"), m)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, size := range sizes {
		m.Grow(t, size-len(m.Leaves))
		if err := p.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Tidy()
	}
}
