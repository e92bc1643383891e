//go:build unix

package daemon_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/cmd/internal/backup"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/internal/needs"
)

// increment takes an increment on a backup of a running server.
func increment(t *testing.T, h *daemontest.Server, since []byte) []byte {
	t.Helper()
	status, body := askIncrement(t, h, checkpointIn(t, since))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	return body
}

// askIncrement asks for an increment on the backup that has a checkpoint.
func askIncrement(t *testing.T, h *daemontest.Server, checkpoint []byte) (int, []byte) {
	t.Helper()
	resp, err := daemontest.HTTPClient(t, h.TLS(t, "operator")).Post("https://"+h.Addr+
		"/admin/backup", "text/plain", bytes.NewReader(checkpoint))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// checkpointIn returns the checkpoint in a backup.
func checkpointIn(t *testing.T, file []byte) []byte {
	t.Helper()
	label, err := backup.ReadLabel(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return label.Checkpoint
}

// sizeOf returns how many entries the log in a backup has.
func sizeOf(t *testing.T, file []byte) int64 {
	t.Helper()
	c, err := checkpoint.Parse(checkpointIn(t, file))
	if err != nil {
		t.Fatal(err)
	}
	return c.Size
}

// chainOf names backups by their place.
func chainOf(files ...[]byte) (backups []offline.Backup) {
	for i, file := range files {
		backups = append(backups, offline.Backup{
			Name: fmt.Sprintf("%d.tar", i), Content: bytes.NewReader(file),
		})
	}
	return backups
}

// restoredFrom restores a chain, and requires that every check passes and the log verifies.
func restoredFrom(t *testing.T, files ...[]byte) (data string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "restored")
	found, err := offline.Folder{Data: data}.Restore(t.Context(), daemontest.Discard,
		chainOf(files...)...)
	if err != nil {
		t.Fatal(err)
	}
	if want := sizeOf(t, files[len(files)-1]); found.Entries != want {
		t.Errorf("%d entries are restored, the last backup had %d", found.Entries, want)
	}
	for _, problem := range checked(t, offline.Folder{Data: data}) {
		t.Errorf("fsck: %s", problem)
	}
	if left, err := filepath.Glob(filepath.Join(data, ".*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	return data
}

// TestChainRestoresWhatTheServerHadAtItsEnd takes a full backup and increments: right after the
// one before, after more than a bundle of entries, and after the keys of the vault and of the log
// were replaced.
func TestChainRestoresWhatTheServerHadAtItsEnd(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	for _, tt := range []struct {
		name  string
		store func(*testing.T, *daemon.Options)
	}{
		{"a vault in the data folder", func(*testing.T, *daemon.Options) {}},
		{"a database", func(t *testing.T, o *daemon.Options) { o.Store = daemontest.Database(t) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var opts daemon.Options
			h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"),
				func(o *daemon.Options) {
					tt.store(t, o)
					opts = *o
				})
			inFile := !opts.Store.InDatabase()
			h.ManyMovements(t, 300)
			chain := [][]byte{backupOf(t, h)}
			then := func(change func()) {
				change()
				chain = append(chain, increment(t, h, chain[len(chain)-1]))
			}
			then(func() {})
			then(func() { h.ManyMovements(t, 600) })
			then(func() { daemontest.WithAlice(t, h) })
			operator := h.As(t, "operator")
			if inFile {
				then(func() { daemontest.Must(t)(operator.Call(t.Context(), "admin.vault.rotate")) })
			}
			then(func() {
				daemontest.Must(t)(operator.Call(t.Context(), "admin.audit.rotate"))
				h.ManyMovements(t, 100)
			})
			id := atm.RequestID("the last one")
			var receipt string
			then(func() {
				receipt = daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(),
					daemontest.Account, 1, id)).Receipt
			})
			if whole, last := len(backupOf(t, h)), len(chain[len(chain)-1]); last >= whole {
				t.Errorf("an increment of a few entries has %d bytes, everything %d", last, whole)
			}

			// A full backup at the same moment, but for the entry about it, has the same.
			full := backupOf(t, h)
			chained, whole := restoredFrom(t, append(slices.Clone(chain),
				increment(t, h, chain[len(chain)-1]))...), restoredFrom(t, full)
			have, trail := everything(t, chained)
			want, _ := everything(t, whole)
			if have.First != 0 || trail.Base.Index != 0 {
				t.Errorf("the journal begins at %d", have.First)
			}
			if len(have.Leaves) != len(want.Leaves)+1 {
				t.Fatalf("%d entries, with a full backup %d", len(have.Leaves), len(want.Leaves))
			}
			have.Leaves = have.Leaves[:len(want.Leaves)]
			same(t, want, have)

			again := daemontest.StartOne(t, restoredFrom(t, chain...), nil)
			a := daemontest.Must(t)(again.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1, id))
			if a.Receipt != receipt {
				t.Errorf("a request id is answered with %q, it was %q", a.Receipt, receipt)
			}
			daemontest.Must(t)(again.As(t, "demo").Withdraw(t.Context(), daemontest.Account, 100, ""))
		})
	}
}

// TestRestoreRefusesWhatIsNoChain restores backups that do not build on one another, and changed
// ones. Each is refused by name, and nothing is made.
func TestRestoreRefusesWhatIsNoChain(t *testing.T) {
	t.Parallel()
	needs.Unraced(t)
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), nil)
	h.ManyMovements(t, 300)
	full := backupOf(t, h)
	first := increment(t, h, full)

	// Another history of the same installation: a server on what was restored.
	fork := daemontest.StartOne(t, restoredFrom(t, full), nil)
	forked := increment(t, fork, full)
	for sizeOf(t, first) < sizeOf(t, forked) {
		first = increment(t, h, full)
	}
	for sizeOf(t, forked) < sizeOf(t, first) {
		forked = increment(t, fork, full)
	}
	h.ManyMovements(t, 300)
	second := increment(t, h, first)
	later := backupOf(t, h)
	onFork := increment(t, fork, forked)
	other := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), nil)
	foreign := increment(t, other, backupOf(t, other))

	for _, tt := range []struct {
		name  string
		files [][]byte
		want  error
		says  string
	}{
		{"an increment alone", [][]byte{first}, offline.ErrChain, "0.tar is an increment"},
		{
			"an increment before the full one",
			[][]byte{first, full},
			offline.ErrChain,
			"0.tar is an increment",
		},
		{"a missing link", [][]byte{full, second}, offline.ErrChain, "one is missing"},
		{"another order", [][]byte{full, second, first}, offline.ErrChain, "the order is another"},
		{
			"a full one in the place of an increment",
			[][]byte{full, first, later},
			offline.ErrChain,
			"2.tar is a full backup",
		},
		{"an increment twice", [][]byte{full, first, first}, offline.ErrChain, "2.tar builds on"},
		{
			"an increment of another installation",
			[][]byte{full, foreign},
			offline.ErrChain,
			"1.tar is of the log atm-",
		},
		{
			"an increment of another history",
			[][]byte{full, first, onFork},
			offline.ErrChain,
			"2.tar builds on another backup",
		},
		{"one that claims to build on this history", [][]byte{
			full, first, relabelled(t, onFork, "since", checkpointIn(t, first)),
		}, offline.ErrChain, "the entries in 2.tar are not those"},
		{"one with a checkpoint of another vault", [][]byte{
			full, relabelled(t, first, "checkpoint", checkpointIn(t, forked)), onFork,
		}, backup.ErrIncomplete, "1.tar: "},
		{"a changed increment", [][]byte{full, altered(first)}, backup.ErrIncomplete, "1.tar: "},
		{
			"a truncated increment",
			[][]byte{full, first[:len(first)/2]},
			backup.ErrIncomplete,
			"1.tar: ",
		},
		{
			"a truncated link in the middle",
			[][]byte{full, first[:len(first)-2048], second},
			backup.ErrIncomplete, "1.tar: ",
		},
		{"something else", [][]byte{full, []byte("no archive")}, backup.ErrIncomplete, "1.tar: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parent := t.TempDir()
			_, err := offline.Folder{Data: filepath.Join(parent, "restored")}.Restore(t.Context(),
				daemontest.Discard, chainOf(tt.files...)...)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
			if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
				t.Errorf("%v is there, %v", left, err)
			}
		})
	}
	restoredFrom(t, full, first, second)
	restoredFrom(t, full, forked, onFork)
}

// altered returns an archive with one byte of its vault changed.
func altered(file []byte) []byte {
	changed := bytes.Clone(file)
	at := bytes.Index(changed, []byte("vault.db"))
	changed[at+(8<<10)] ^= 1
	return changed
}

// relabelled returns an archive with another text in one of its files, and the hash of that.
func relabelled(t *testing.T, file []byte, name string, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	was := ""
	w := tar.NewWriter(&out)
	for r := tar.NewReader(bytes.NewReader(file)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		content, failed := io.ReadAll(r)
		if err = errors.Join(err, failed); err != nil {
			t.Fatal(err)
		}
		switch header.Name {
		case name:
			was = fmt.Sprintf("%x", sha256.Sum256(content))
			content = text
		case "SHA256SUMS":
			content = bytes.ReplaceAll(content, []byte(was), fmt.Appendf(nil, "%x",
				sha256.Sum256(text)))
		}
		header.Size = int64(len(content))
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestServerRefusesIncrementsOnAnotherHistory asks for increments on what the server has never
// been. The log says that somebody asked, and no backup counts as sent.
func TestServerRefusesIncrementsOnAnotherHistory(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), nil)
	full := backupOf(t, h)
	fork := daemontest.StartOne(t, restoredFrom(t, full), nil)
	fork.ManyMovements(t, 100)
	elsewhere := backupOf(t, fork)
	other := backupOf(t, daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), nil))
	refused := 0
	refuse := func(since []byte, says string) {
		t.Helper()
		status, body := askIncrement(t, h, since)
		if refused++; status != http.StatusConflict || !strings.Contains(string(body), says) {
			t.Errorf("%d %s", status, body)
		}
	}
	refuse(checkpointIn(t, other), "it is of the log atm-")
	refuse(checkpointIn(t, elsewhere), "and the log here")
	refuse([]byte("no checkpoint"), "take a full one")
	h.ManyMovements(t, 200)
	refuse(checkpointIn(t, elsewhere), "its root is")
	if status, body := askIncrement(t, h, bytes.Repeat([]byte("x"), 100<<10)); status !=
		http.StatusBadRequest {
		t.Errorf("%d %s", status, body)
	}
	demo, err := daemontest.HTTPClient(t, h.TLS(t, "demo")).Post("https://"+h.Addr+"/admin/backup",
		"text/plain", bytes.NewReader(checkpointIn(t, other)))
	if err != nil {
		t.Fatal(err)
	}
	defer demo.Body.Close()
	if text, err := io.ReadAll(demo.Body); err != nil || demo.StatusCode != http.StatusForbidden ||
		strings.Contains(string(text), "log") {
		t.Errorf("a customer is told %s %s, %v", demo.Status, text, err)
	}
	recorded := 0
	for _, e := range h.Entries(t) {
		if e.Operation == atm.Backup && e.Status.Code == atm.Fault {
			recorded++
		}
	}
	if recorded != refused {
		t.Errorf("%d refusals are in the log, there were %d", recorded, refused)
	}
}

// TestChainOfATrimmedVaultBeginsWithItsSnapshot takes a full backup of a server that has trimmed
// its journal, and an increment on it. An increment on what was trimmed is refused.
func TestChainOfATrimmedVaultBeginsWithItsSnapshot(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	away := filepath.Join(t.TempDir(), "archive")
	if err := os.Mkdir(away, 0o700); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "atm-data")
	h := daemontest.StartOne(t, data, quickly(away))
	early := backupOf(t, h)
	deposits(t, h, begins(t, h, 1024))
	if status, body := askIncrement(t, h, checkpointIn(t, early)); status != http.StatusConflict ||
		!strings.Contains(string(body), "take a full one") ||
		!strings.Contains(string(body), "begins with entry") {
		t.Errorf("%d %s", status, body)
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = daemontest.StartOne(t, data, nil) // trims no more
	full := backupOf(t, h)
	h.ManyMovements(t, 600)
	last := increment(t, h, full)
	restored := restoredFrom(t, full, last)
	if names, err := fs.Glob(os.DirFS(restored), "snapshots/*.db"); err != nil || len(names) == 0 ||
		len(names) > 3 {
		t.Errorf("snapshots: %v, %v", names, err)
	}
	_, trail := everything(t, restored)
	if trail.Base.Index < 1024 {
		t.Errorf("the journal begins at %d", trail.Base.Index)
	}
	again := daemontest.StartOne(t, restored, quickly(away))
	daemontest.Must(t)(again.As(t, "demo").Withdraw(t.Context(), daemontest.Account, 100, ""))
	deposits(t, again, begins(t, again, int64(trail.Base.Index)+512))
	if err := again.Stop(); err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(t.Context(), audit.Dir(filepath.Join(restored, "audit")),
		audit.VerifyOptions{})
	if err == nil && report.OK() && report.Size < sizeOf(t, last) {
		t.Errorf("%+v", report)
	}
}
