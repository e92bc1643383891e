//go:build unix

package daemon_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit/archive"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/teller/replay"
)

// newArchive is a folder for an archive.
func newArchive(t *testing.T) string {
	t.Helper()
	away := filepath.Join(t.TempDir(), "archive")
	if err := os.Mkdir(away, 0o700); err != nil {
		t.Fatal(err)
	}
	return away
}

// metric is the value of a metric without labels.
func metric(t *testing.T, text, name string) float64 {
	t.Helper()
	_, line, found := strings.Cut(text, "\n"+name+" ")
	line, _, _ = strings.Cut(line, "\n")
	value, err := strconv.ParseFloat(line, 64)
	if err != nil || !found {
		t.Fatalf("no %s: %v", name, err)
	}
	return value
}

// TestArchiveThatIsGoneIsSaidAndKeepsNobodyFromAnOperation takes an archive away from a server that
// trims, and puts it back.
func TestArchiveThatIsGoneIsSaidAndKeepsNobodyFromAnOperation(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "the endpoints of one server are asked")
	away := newArchive(t)
	h := daemontest.Start(t, quickly(away))
	deposits(t, h, begins(t, h, 256))
	_, text := h.Get(t, "/metrics")
	if base := metric(t, text, "atm_journal_base"); base < 256 ||
		metric(t, text, "atm_archive_entries") <= base ||
		metric(t, text, "atm_archive_interval_seconds") != 0.3 ||
		time.Since(time.Unix(int64(metric(t, text, "atm_archive_chapter_timestamp_seconds")), 0)) >
			time.Hour {
		t.Error(text)
	}

	if err := os.Rename(away, away+".gone"); err != nil {
		t.Fatal(err)
	}
	says := func(want bool) func() bool {
		return func() bool {
			code, text := h.Get(t, "/readyz")
			if code != 200 {
				t.Fatalf("readyz answers %d: %s", code, text)
			}
			_, metrics := h.Get(t, "/metrics")
			return strings.Contains(text, "\narchive: ") == want &&
				(metric(t, metrics, "atm_archive_failing") == 1) == want
		}
	}
	daemontest.Until(t, says(true))
	daemontest.Until(t, func() bool {
		_, text := h.Get(t, "/readyz")
		return strings.Contains(text, "archive: lags: ") &&
			strings.Contains(text, "cannot be reached")
	})
	daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1, ""))

	if err := os.Rename(away+".gone", away); err != nil {
		t.Fatal(err)
	}
	daemontest.Until(t, says(false))
}

// TestJournalWhoseSnapshotIsNowhereIsAProblemThatSaysWhatToDo loses the snapshot in the folder of a
// stopped server, and then the archive with the other copy.
func TestJournalWhoseSnapshotIsNowhereIsAProblemThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	away := newArchive(t)
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), quickly(away))
	deposits(t, h, begins(t, h, 256))
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	forget := func() {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(h.Data, "snapshots")); err != nil {
			t.Fatal(err)
		}
	}
	forget()
	if found := checked(t, offline.Folder{Data: h.Data}); len(found) > 0 {
		t.Errorf("the noted archive has it: %q", found)
	}
	forget()
	if err := os.Remove(filepath.Join(h.Data, "archive.toml")); err != nil {
		t.Fatal(err)
	}
	found := checked(t, offline.Folder{Data: h.Data})
	if len(found) != 1 || !strings.Contains(found[0], "--archive") {
		t.Errorf("the snapshot is nowhere: %q", found)
	}
	if _, err := (offline.Folder{Data: h.Data}).Rebuild(t.Context()); !errors.Is(err,
		replay.ErrNoSnapshot) {
		t.Errorf("rebuild without a snapshot: %v", err)
	}
	found = checked(t, offline.Folder{Data: h.Data, Archive: newArchive(t)})
	if len(found) != 1 || !strings.Contains(found[0], "not in the archive") {
		t.Errorf("another archive: %q", found)
	}
	if found := checked(t, offline.Folder{Data: h.Data, Archive: away}); len(found) > 0 {
		t.Errorf("the archive that was named has it: %q", found)
	}
}

// TestReplicasShareOneArchive lets two servers on one database archive and trim. One does it at a
// time, the other one takes over when it stops, and each prunes its own folder and keeps the
// snapshot that the journal begins with.
func TestReplicasShareOneArchive(t *testing.T) {
	t.Parallel()
	away := newArchive(t)
	store := daemontest.Database(t)
	start := func(folder string) *daemontest.Server {
		t.Helper()
		return daemontest.StartOne(t, folder, func(o *daemon.Options) {
			o.Store = store
			quickly(away)(o)
		})
	}
	root := t.TempDir()
	first, other := filepath.Join(root, "one"), filepath.Join(root, "two")
	one := start(first)
	daemontest.Join(t, first, other)
	two := start(other)
	_, receipts := deposits(t, one, func() bool {
		return begins(t, one, 256)() && begins(t, two, 256)()
	})
	_, text := two.Get(t, "/metrics")
	if metric(t, text, "atm_archive_entries") == 0 {
		t.Error("the server that does not archive does not see the archive")
	}
	for _, h := range []*daemontest.Server{one, two} {
		kept, err := filepath.Glob(filepath.Join(h.Data, "snapshots", "*.db"))
		if err != nil || len(kept) == 0 || len(kept) > 3 {
			t.Errorf("%s keeps %q, %v", h.Data, kept, err)
		}
	}
	if strings.Contains(two.Log.String(), "archived the audit log") {
		t.Error("both archived")
	}
	if err := one.Stop(); err != nil {
		t.Fatal(err)
	}
	daemontest.Until(t, func() bool {
		return strings.Contains(two.Log.String(), "archived the audit log")
	})
	archived(t, away, receipts)
	if err := two.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{first, other} {
		f := offline.Folder{Data: data, Store: store}
		for _, problem := range checked(t, f) {
			t.Errorf("%s: %s", data, problem)
		}
	}
	if _, err := archive.New(archive.NewFolder(away)).Newest(t.Context()); err != nil {
		t.Error(err)
	}
}
