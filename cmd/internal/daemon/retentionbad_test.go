//go:build unix

package daemon_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/internal/needs"
)

// forNow archives often and removes nothing.
func forNow(to string) func(*daemon.Options) {
	return func(o *daemon.Options) {
		o.Retention = daemon.Retention{Archive: to, Every: 300 * time.Millisecond}
	}
}

// chaptersIn waits until an archive has more chapters than so many, the newest with an entry.
func chaptersIn(t *testing.T, away string, more int, entries int64) func() bool {
	return func() bool {
		sizes, err := archive.New(archive.NewFolder(away)).Sizes(t.Context())
		return err == nil && len(sizes) > more && sizes[len(sizes)-1] > entries
	}
}

// contentOf has the content of each file of an archive.
func contentOf(t *testing.T, away string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(away, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// archiveOf is what a server says of its archive.
func archiveOf(t *testing.T, h *daemontest.Server) map[string]any {
	t.Helper()
	record := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.status")).Result
	return record.(map[string]any)["log"].(map[string]any)["archive"].(map[string]any)
}

// reasonOf is why a server cannot archive or trim; empty if it can.
func reasonOf(t *testing.T, h *daemontest.Server) string {
	t.Helper()
	reason, _ := archiveOf(t, h)["reason"].(string) // the client leaves out what is empty
	return reason
}

// fails waits until a server says that archiving fails, with a word of the reason.
func fails(t *testing.T, h *daemontest.Server, word string) {
	t.Helper()
	daemontest.Until(t, func() bool {
		reason := reasonOf(t, h)
		return reason != "" && strings.Contains(reason, word)
	})
	if h.Metric(t, "atm_archive_failing") != 1 {
		t.Error("the metrics do not say that archiving fails")
	}
}

// TestServerGoesOnWithoutItsArchive takes the archive away from a server, and puts something else
// in its place. It answers all the same, says what is wrong, and catches up afterwards.
func TestServerGoesOnWithoutItsArchive(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	for _, tt := range []struct {
		name, word  string
		spoil, mend func(away string) error
	}{
		{
			"gone", "cannot be reached",
			func(away string) error { return os.Rename(away, away+".gone") },
			func(away string) error { return os.Rename(away+".gone", away) },
		},
		{
			"a file", "cannot be reached",
			func(away string) error {
				return errors.Join(os.Rename(away, away+".gone"), os.WriteFile(away, nil, 0o600))
			},
			func(away string) error {
				return errors.Join(os.Remove(away), os.Rename(away+".gone", away))
			},
		},
		{
			"nothing can be written", "not a directory",
			func(away string) error {
				return errors.Join(os.RemoveAll(filepath.Join(away, ".tmp")),
					os.WriteFile(filepath.Join(away, ".tmp"), nil, 0o600))
			},
			func(away string) error { return os.Remove(filepath.Join(away, ".tmp")) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			away := newArchive(t)
			h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), quickly(away))
			deposits(t, h, begins(t, h, 256))
			// The server may be writing a chapter, which makes folders.
			daemontest.Until(t, func() bool { return tt.spoil(away) == nil })
			fails(t, h, tt.word)
			ids, receipts := deposits(t, h, enough(300))
			if a := daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1,
				ids[len(ids)-1])); a.Receipt != receipts[len(ids)-1] {
				t.Errorf("a request id is answered with %q, it was %q", a.Receipt, receipts)
			}
			if err := tt.mend(away); err != nil {
				t.Fatal(err)
			}
			daemontest.Until(t, begins(t, h, 512))
			daemontest.Until(t, func() bool { return reasonOf(t, h) == "" })
			archived(t, away, receipts)
			if err := h.Stop(); err != nil {
				t.Fatal(err)
			}
			verifyWhole(t, h.Data, away)
		})
	}
}

// enough says so after a number of times that it is asked.
func enough(times int) func() bool {
	left := make(chan struct{}, times)
	for range times {
		left <- struct{}{}
	}
	return func() bool {
		select {
		case <-left:
			return false
		default:
			return true
		}
	}
}

// verifyWhole checks the vault of a stopped server, and its log with the archive.
func verifyWhole(t *testing.T, data, away string) {
	t.Helper()
	for _, problem := range checked(t, offline.Folder{Data: data, Archive: away}) {
		t.Errorf("fsck: %s", problem)
	}
	report, err := audit.Verify(t.Context(), archive.Over(audit.Dir(filepath.Join(data, "audit")),
		archive.New(archive.NewFolder(away))), audit.VerifyOptions{})
	if err != nil || !report.OK() {
		t.Errorf("the log with its archive: %+v, %v", report, err)
	}
}

// TestArchiveOfAnotherLogStaysAsItIs names the archive of one server to another one: at its start,
// and to a server that cannot read it then.
func TestArchiveOfAnotherLogStaysAsItIs(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	away := newArchive(t)
	first := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), forNow(away))
	deposits(t, first, chaptersIn(t, away, 1, 300))
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	before := contentOf(t, away)

	data := filepath.Join(t.TempDir(), "atm-data")
	if err := daemontest.StartOne(t, data, nil).Stop(); err != nil {
		t.Fatal(err)
	}
	refused(t, data, away, archive.ErrOtherLog)
	if err := os.Rename(away, away+".gone"); err != nil {
		t.Fatal(err)
	}
	second := daemontest.StartOne(t, data, forNow(away))
	if err := os.Rename(away+".gone", away); err != nil {
		t.Fatal(err)
	}
	fails(t, second, "another log")
	deposits(t, second, enough(400))
	fails(t, second, "another log")
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	if after := contentOf(t, away); !maps.Equal(before, after) {
		t.Error("the archive of the first server was changed")
	}
}

// refused requires that a start with an archive ends with an error.
func refused(t *testing.T, data, away string, want error) {
	t.Helper()
	opts := daemon.Options{Data: data, Version: "test", Log: daemontest.Discard}
	forNow(away)(&opts)
	open, err := daemon.Open(t.Context(), opts)
	if err == nil {
		open.Close()
	}
	if !errors.Is(err, want) {
		t.Errorf("the start gives %v, want %v", err, want)
	}
}

// TestBackupFromBeforeATrimNeverForksItsArchive restores a backup that lacks what the archive has.
// The start is refused; what is rebuilt from the archive goes on.
func TestBackupFromBeforeATrimNeverForksItsArchive(t *testing.T) {
	t.Parallel()
	needs.Unraced(t)
	away := newArchive(t)
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), quickly(away))
	deposits(t, h, enough(300))
	taken := backupOf(t, h)
	deposits(t, h, begins(t, h, 512))
	entries := h.Metric(t, "atm_audit_entries")
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	before := contentOf(t, away)

	data := filepath.Join(t.TempDir(), "atm-data")
	if _, err := (offline.Folder{Data: data}).Restore(t.Context(), daemontest.Discard,
		offline.Backup{Content: bytes.NewReader(taken)}); err != nil {
		t.Fatal(err)
	}
	refused(t, data, away, archive.ErrAhead)

	// Without its archive it starts, and its log becomes another one, longer than what is archived.
	other := daemontest.StartOne(t, data, nil)
	deposits(t, other, func() bool {
		return other.Metric(t, "atm_audit_entries") > entries+100
	})
	if err := other.Stop(); err != nil {
		t.Fatal(err)
	}
	refused(t, data, away, archive.ErrOtherLog)
	if after := contentOf(t, away); !maps.Equal(before, after) {
		t.Error("the archive was changed")
	}

	if err := os.Remove(filepath.Join(data, "vault.db")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(data, "audit")); err != nil {
		t.Fatal(err)
	}
	if _, err := (offline.Folder{Data: data, Archive: away}).RebuildFrom(t.Context(),
		daemontest.Discard); err != nil {
		t.Fatal(err)
	}
	again := daemontest.StartOne(t, data, quickly(away))
	deposits(t, again, begins(t, again, 1024))
	if err := again.Stop(); err != nil {
		t.Fatal(err)
	}
	verifyWhole(t, data, away)
}

// TestNothingIsTrimmedThatTheArchiveDoesNotGiveBack changes an object of the archive before it is
// read back. Nothing is removed until it is whole again.
func TestNothingIsTrimmedThatTheArchiveDoesNotGiveBack(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	const back = "reading back what is to be removed"
	flip := func(data []byte) []byte { data[len(data)/2] ^= 1; return data }
	for _, tt := range []struct {
		name, object string // of the archive, or a pattern of objects
		says         string // with what nothing is trimmed
		change       func(older []byte, data []byte) []byte
	}{
		{"an entry", "tile/entries/000", back, func(_, data []byte) []byte { return flip(data) }},
		{"a hash", "tile/0/000", back, func(_, data []byte) []byte { return flip(data) }},
		{"a bundle is missing", "tile/entries/000", back, func(_, _ []byte) []byte { return nil }},
		{"a tile is missing", "tile/0/000", back, func(_, _ []byte) []byte { return nil }},
		{"a bundle is another one", "tile/entries/001", back, func(older, _ []byte) []byte {
			return older
		}},
		{"snapshots", "chapter/*/snapshot", back, func(_, data []byte) []byte { return flip(data) }},
		{"snapshots are missing", "chapter/*/snapshot", back, func(_, _ []byte) []byte { return nil }},
		{"snapshots are older", "chapter/*/snapshot", back, func(older, _ []byte) []byte {
			return older
		}},
		{"checkpoints are older", "chapter/*/checkpoint", "signs", func(older, _ []byte) []byte {
			return older
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			away := newArchive(t)
			h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), forNow(away))
			deposits(t, h, chaptersIn(t, away, 3, 600))
			if err := h.Stop(); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(away, tt.object))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			slices.Sort(files)
			whole := make(map[string][]byte)
			older, err := os.ReadFile(files[0])
			if strings.HasPrefix(tt.object, "tile/entries") && err == nil {
				older, err = os.ReadFile(filepath.Join(away, "tile/entries/000"))
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(files) > 1 && strings.Contains(tt.name, "older") {
				files = files[1:]
			}
			for _, file := range files {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				whole[file] = bytes.Clone(data)
				replace(t, file, tt.change(older, data))
			}
			again := daemontest.StartOne(t, h.Data, func(o *daemon.Options) {
				o.Retention = daemon.Retention{
					Archive: away, Keep: time.Millisecond, Every: time.Hour, // no new chapter
				}
			})
			fails(t, again, tt.says)
			deposits(t, again, enough(50))
			if begins(t, again, 1)() {
				t.Error("it was trimmed")
			}
			if err := again.Stop(); err != nil {
				t.Fatal(err)
			}
			if _, trail := everything(t, h.Data); trail.Base.Index > 0 {
				t.Errorf("the journal begins at %d", trail.Base.Index)
			}
			for file, data := range whole {
				replace(t, file, data)
			}
			third := daemontest.StartOne(t, h.Data, quickly(away))
			daemontest.Until(t, begins(t, third, 256))
			if err := third.Stop(); err != nil {
				t.Fatal(err)
			}
			verifyWhole(t, h.Data, away)
		})
	}
}

// replace replaces a file, or removes it when there is no data.
func replace(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if data == nil {
		return
	}
	if err := os.WriteFile(file, data, 0o400); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedFilesBelowTheBaseComeFromTheArchive damages the published files of a pruned log: those
// of which the archive has a copy, and those that the vault can publish again.
func TestDamagedFilesBelowTheBaseComeFromTheArchive(t *testing.T) {
	t.Parallel()
	needs.Unraced(t)
	away := newArchive(t)
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), quickly(away))
	_, receipts := deposits(t, h, begins(t, h, 512))
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	hot := filepath.Join(h.Data, "audit")
	for _, tt := range []struct {
		name string
		do   func() error
	}{
		{"a bundle that should be gone is damaged", func() error {
			return errors.Join(os.MkdirAll(filepath.Join(hot, "tile/entries"), 0o700),
				os.WriteFile(filepath.Join(hot, "tile/entries/000"), []byte("?"), 0o600))
		}},
		{"a tile above them is damaged", func() error {
			above, err := filepath.Glob(filepath.Join(hot, "tile/1/*.p/*"))
			for _, file := range above {
				err = errors.Join(err, os.WriteFile(file, []byte("?"), 0o600))
			}
			return err
		}},
		{"the tiles above them are gone", func() error {
			return os.RemoveAll(filepath.Join(hot, "tile/1"))
		}},
		{"the note of the base is damaged", func() error {
			return os.WriteFile(filepath.Join(hot, "pruned"), []byte("?"), 0o600)
		}},
		{"the note of the base is gone", func() error {
			return os.Remove(filepath.Join(hot, "pruned"))
		}},
		{"all of it is gone", func() error { return os.RemoveAll(hot) }},
	} {
		if err := tt.do(); err != nil {
			t.Fatal(tt.name, err)
		}
		again := daemontest.StartOne(t, h.Data, quickly(away))
		daemontest.Until(t, begins(t, again, 512))
		// A damaged file in the folder is in the way until it is removed.
		index, _, _ := strings.Cut(receipts[0], " ")
		daemontest.Until(t, func() bool {
			a, err := again.As(t, "demo").Call(t.Context(), "receipt", index)
			return err == nil && a.OK()
		})
		deposits(t, again, enough(300))
		daemontest.Until(t, func() bool { return reasonOf(t, again) == "" })
		if err := again.Stop(); err != nil {
			t.Fatal(tt.name, err)
		}
		verifyWhole(t, h.Data, away)
		if t.Failed() {
			t.Fatal(tt.name)
		}
	}
}
