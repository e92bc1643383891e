//go:build unix

package cmd_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/remote"
	"example.com/atm/internal/needs"
)

// TestMirroredLogIsNotUnwatched has a monitor that reads the folder of a log serve its copy. Nobody
// else sees the log, and the server learns of it from the cosigned checkpoint alone.
func TestMirroredLogIsNotUnwatched(t *testing.T) {
	s := &server{dir: t.TempDir(), env: os.Environ()}
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	compile(t, s.command("atmserver", "init"))
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("atm-data/watched.toml", "at = 2026-01-01T00:00:00Z\n")
	mirror := []string{
		"monitor", "atm-data/audit", "--vkey", "atm-data/audit/log.vkey", "--max-age", "0",
		"--mirror-listen", "127.0.0.1:" + port, "--mirror-key", "mirror.key",
	}
	compile(t, s.command("atmctl", append(mirror, "--once", "--mirror-name", "mirror.example/a")...))
	key, err := os.ReadFile(filepath.Join(s.dir, "mirror.key.vkey"))
	if err != nil {
		t.Fatal(err)
	}
	at := "http://127.0.0.1:" + port + "/"
	put("mirrors", "witness mirror "+strings.TrimSpace(string(key))+" "+at+"\nquorum none\n")
	serving := s.command("atmctl", append(mirror, "--every", "1s")...)
	if err := serving.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { serving.Process.Kill(); serving.Wait() })
	vkey, err := os.ReadFile(filepath.Join(s.dir, "atm-data/audit/log.vkey"))
	if err != nil {
		t.Fatal(err)
	}
	origin, _, _ := strings.Cut(string(vkey), "+")
	if err := waitReady(at+audit.MirrorPath(origin)+"/checkpoint", nil); err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "ATM_MIRRORS=mirrors")
	s.prepare(t)
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var status struct {
			Log struct {
				Watched   time.Time
				Unwatched bool
			}
		}
		text := s.atmctl(t, "", "status", "-o", "json")
		if err := json.Unmarshal([]byte(text), &status); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if time.Since(status.Log.Watched) < time.Hour && !status.Log.Unwatched {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the log stays unwatched: %s", text)
		}
	}
	report, err := audit.Verify(t.Context(), remote.Files{
		Client: http.DefaultClient, Base: at + audit.MirrorPath(origin) + "/",
	}, audit.VerifyOptions{VKey: strings.TrimSpace(string(vkey))})
	if err != nil || !report.OK() || report.Size == 0 {
		t.Errorf("the mirror: %+v, %v", report, err)
	}
	s.stop(t)
	if err := serving.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := serving.Wait(); err != nil {
		t.Errorf("the mirror ends with %v", err)
	}
}
