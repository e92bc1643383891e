package publish_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/internal/needs"
)

// childKey says to a run of this test binary that it is the publisher that is
// to be killed: the folder it publishes into.
const childKey = "ATM_TEST_PUBLISH"

// sizes are those that the log has when it is published: partial tiles that
// grow, ones that become complete.
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

// TestPublishKilled kills a publisher with SIGKILL at each of its system calls
// that change the disk. The next start completes what it left, and the log
// verifies.
func TestPublishKilled(t *testing.T) {
	if folder := os.Getenv(childKey); folder != "" {
		publishAndDie(t, folder)
		return
	}
	needs.Program(t, "strace")
	skey, _, err := checkpoint.GenerateKey("log.example")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kills, whole := 0, 0
	for _, call := range []string{"renameat", "fsync", "unlinkat", "mkdirat", "write"} {
		for when := 1; ; when++ {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "key"), []byte(skey), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(folder, "log"), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("strace", "-f", "-qqq", "-o", os.DevNull, "-e", "trace="+call,
				"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, when),
				self, "-test.run=^TestPublishKilled$")
			cmd.Env = append(os.Environ(), childKey+"="+folder, "GOMAXPROCS=1")
			out, err := cmd.CombinedOutput()
			var died *exec.ExitError
			if err != nil && !errors.As(err, &died) {
				t.Fatal(err)
			}
			if strings.Contains(string(out), "--- FAIL") {
				t.Fatalf("%s", out)
			}
			// The log of the vault is where it was, and goes on.
			m := logOf(t, folder)
			m.Grow(t, sizes[len(sizes)-1]+5)
			dir := filepath.Join(folder, "log")
			p, warnings := audittest.NewPublisher(t, dir, m)
			if err := p.Recover(context.Background()); err != nil {
				t.Fatalf("killed at %s %d: %v", call, when, err)
			}
			p.Tidy()
			if r := audittest.Verify(t, dir,
				audit.VerifyOptions{VKey: m.Signer.Verifier()}); !r.OK() ||
				r.Size != m.Head.Size {
				t.Fatalf("killed at %s %d: %+v\n%s", call, when, r, warnings.String())
			}
			if err == nil && died == nil { // it came to its end
				whole++
				break
			}
			kills++
			if when >= 12 { // the calls of one kind are alike by then
				break
			}
		}
	}
	t.Logf("%d kills, %d runs that came to their end", kills, whole)
	if kills < 40 {
		t.Errorf("only %d kills: the publisher was not hit", kills)
	}
}

// publishAndDie publishes a log as it grows.
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
