//go:build unix

package daemon_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// TestStartSaysWhichProgramRunsByWhatSettings reads the log entries of a start and a stop,
// before and after a change of a setting and of a file that the settings name.
func TestStartSaysWhichProgramRunsByWhatSettings(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "each replica says it of itself")
	file := filepath.Join(t.TempDir(), "identities.toml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	settings := "a=1\n"
	change := func(o *daemon.Options) {
		o.Identities, o.Settings, o.Version = file, settings, "1.2.3"
	}
	h := daemontest.Start(t, change)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	settings = "a=2\n"
	h = daemontest.StartIn(t, h.Data, change)
	h.Says(t, "serving")
	daemontest.Replace(t, file, "# nobody\n")
	h.Says(t, "identities replaced")
	programs := make(map[audit.Event][]*audit.Entry)
	for _, e := range h.Entries(t) {
		if e.Program != nil {
			programs[e.Event] = append(programs[e.Event], e)
		}
	}
	starts, stops, reloads := programs[audit.EventStart], programs[audit.EventStop],
		programs[audit.EventSettings]
	if len(starts) != 2 || len(stops) != 2 || len(reloads) != 1 {
		t.Fatalf("%d starts, %d stops and %d reloads say something", len(starts), len(stops),
			len(reloads))
	}
	of := func(e *audit.Entry, name string) string {
		for _, s := range e.Program.Settings {
			if s.Name == name {
				return s.Value
			}
		}
		return ""
	}
	for _, e := range append(starts, stops...) {
		p := e.Program
		if p.Version != "1.2.3" || !strings.Contains(p.Build, "sha256:") || p.Boot == "" ||
			p.Clock == nil {
			t.Errorf("%s says %+v", e.Event, p)
		}
	}
	first, second, last := starts[0], starts[1], stops[1]
	if of(first, "effective") == of(second, "effective") ||
		!strings.HasPrefix(of(first, "effective"), "sha256:") {
		t.Errorf("the settings are %s and then %s", of(first, "effective"), of(second, "effective"))
	}
	if of(first, "identities") != of(second, "identities") || of(second, "identities") == of(last,
		"identities") {
		t.Errorf("the file of identities is %s, %s and %s", of(first, "identities"),
			of(second, "identities"), of(last, "identities"))
	}
	if reload := reloads[0]; of(reload, "identities") != of(last, "identities") ||
		len(reload.Args) != 1 || reload.Args[0].Value != "identities" {
		t.Errorf("the reload says %+v", reload)
	}
}

// TestStartRemovesWhatAKillLeft puts every kind of unfinished file into a data folder. A start
// removes them, and nothing else: no files of other programs, and no targets of links.
func TestStartRemovesWhatAKillLeft(t *testing.T) {
	daemontest.Single(t, "the folder is that of one server")
	h := daemontest.Start(t, nil)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	past := time.Now().Add(-time.Hour)
	write := func(path string) string {
		t.Helper()
		path = filepath.Join(h.Data, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700),
			os.WriteFile(path, []byte("x"), 0o600), os.Chtimes(path, past, past)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	gone := []string{
		write(".backup-1234/vault.db"), write("keys/.tmp-vault.key-77"), write("ca/.tmp-ca.crt-1"),
		write("tls/.tmp-server.key-2"), write(".tmp-config.toml-1"),
		write("audit/.tmp-checkpoint-123"), write("audit/tile/0/.tmp-000.p-5"),
		write("audit/tile/entries/000.p/.tmp-9-5"), write("vault.db.compact"),
		write("vault.db.part"),
	}
	stays := []string{
		write("notes.txt"), write("keys/kept.key"),
		write("clients/demo/.tmp-of-somebody"), write(".backup-plan"), outside,
	}
	if err := errors.Join(os.WriteFile(outside, []byte("x"), 0o600),
		os.Symlink(outside, filepath.Join(h.Data, "keys", ".tmp-link-1")),
		os.Symlink(filepath.Dir(outside), filepath.Join(h.Data, ".backup-link"))); err != nil {
		t.Fatal(err)
	}
	daemontest.StartIn(t, h.Data, nil)
	for _, path := range gone {
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s is still there", path)
			}
		}
	}
	for _, path := range stays {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s was removed: %v", path, err)
		}
	}
}
