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
	died := killed(t, "TestLogVerifiesAfterAKillAtAnySystemCall", folder, call, n)
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
	return died
}

// killed runs a test as a child, which is killed at its nth system call of this name. It reports
// whether the child got as far as that call.
func killed(t *testing.T, test, folder, call string, n int) bool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("strace", "-f", "-qqq", "-o", os.DevNull,
		"-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n),
		self, "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), childKey+"="+folder, "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	var died *exec.ExitError
	if err != nil && !errors.As(err, &died) {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "--- FAIL") {
		t.Fatalf("%s", out)
	}
	return died != nil
}

// TestLogVerifiesAfterAKillWhilePruning kills a publisher at each system call with which it prunes.
// With its archive the log verifies at once, and the next start removes the rest.
func TestLogVerifiesAfterAKillWhilePruning(t *testing.T) {
	if folder := os.Getenv(childKey); folder != "" {
		pruneAndDie(t, folder)
		return
	}
	needs.Program(t, "strace")
	m, original := audittest.Publish(t, 1000)
	a := archived(t, m, original)
	kills := 0
	for _, call := range []string{"renameat", "fsync", "unlinkat"} {
		for n := 1; ; n++ {
			folder := t.TempDir()
			dir := filepath.Join(folder, "log")
			err := errors.Join(os.WriteFile(filepath.Join(folder, "key"), []byte(m.SecretKey),
				0o600), os.Rename(audittest.Copy(t, original), dir))
			if err != nil {
				t.Fatal(err)
			}
			died := killed(t, t.Name(), folder, call, n)
			with, without := findings(t, dir, a)
			if !with.OK() || !without.OK() && without.Code != audit.CannotVerify {
				t.Fatalf("killed at %s %d: %s; without the archive %s", call, n, with.Sentence,
					without.Sentence)
			}
			again := logOf(t, folder)
			again.Grow(t, 1040)
			again.Trim(t, 768)
			p, w := audittest.NewPublisher(t, dir, again)
			err = errors.Join(p.Recover(t.Context()), p.Prune(t.Context(), 768))
			if err != nil || w.String() != "" {
				t.Fatalf("killed at %s %d: %v %s", call, n, err, w.String())
			}
			with, without = findings(t, dir, a)
			if left := tilesBefore(t, dir, 768); left > 0 || !with.OK() || with.Size != 1040 ||
				without.Code != audit.CannotVerify {
				t.Fatalf("killed at %s %d: %s, %d tiles left; without the archive %s", call, n,
					with.Sentence, left, without.Sentence)
			}
			if !died {
				break
			}
			if kills++; testing.Short() && n == 2 {
				break
			}
		}
	}
	if t.Logf("%d kills", kills); kills < 4 {
		t.Errorf("only %d kills: the publisher was not hit", kills)
	}
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

// pruneAndDie prunes a log of a thousand entries, and publishes more.
func pruneAndDie(t *testing.T, folder string) {
	m := logOf(t, folder)
	m.Grow(t, 1000)
	m.Trim(t, 768)
	p := audittest.PublishIn(t, filepath.Join(folder, "log"), m)
	if err := p.Prune(t.Context(), 768); err != nil {
		t.Fatal(err)
	}
	m.Grow(t, 30)
	if err := p.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
}
