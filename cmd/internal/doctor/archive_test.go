package doctor_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/audittest"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/doctor"
	"example.com/atm/internal/needs"
)

// TestFaultsOfAnArchiveAreNamed notes an archive with a fault in a sound folder.
func TestFaultsOfAnArchiveAreNamed(t *testing.T) {
	sound := fresh(t)
	serve(t, sound)
	note := func(t *testing.T, data, location string) {
		t.Helper()
		err := datadir.At(data).Archived().Write(&datadir.Archived{Location: location})
		if err != nil {
			t.Fatal(err)
		}
	}
	folder := func(t *testing.T, data string) string {
		t.Helper()
		at := filepath.Join(filepath.Dir(data), "archive")
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		note(t, data, at)
		return at
	}
	pruned := func(t *testing.T, data string) {
		write(t, filepath.Join(data, "audit", "pruned"), []byte("256\n"))
	}
	for _, tt := range []struct {
		name       string
		plant      func(t *testing.T, data string)
		severity   doctor.Severity
		says, mend string
		alert      string
	}{
		{"none", func(*testing.T, string) {}, doctor.OK, "there is none", "", ""},
		{
			"the folder is missing", func(t *testing.T, data string) {
				note(t, data, filepath.Join(filepath.Dir(data), "nowhere"))
			}, doctor.Warning, "nowhere cannot be used", "ls -ld ", "AtmArchiveFails",
		},
		{
			"a file", func(t *testing.T, data string) {
				at := filepath.Join(filepath.Dir(data), "file")
				write(t, at, nil)
				note(t, data, at)
			}, doctor.Warning, "is no folder", "ls -ld ", "AtmArchiveFails",
		},
		{
			"nobody may write", func(t *testing.T, data string) {
				if err := os.Chmod(folder(t, data), 0o500); err != nil {
					t.Fatal(err)
				}
			}, doctor.Warning, "nobody may write to", "chmod 700 ", "AtmArchiveFails",
		},
		{
			"another owner", func(t *testing.T, data string) {
				needs.Root(t)
				if err := os.Chown(folder(t, data), 12345, -1); err != nil {
					t.Fatal(err)
				}
			}, doctor.Warning, "does not belong to the user", "chown -R --reference=",
			"AtmArchiveFails",
		},
		{
			"the same disk", func(t *testing.T, data string) { folder(t, data) },
			doctor.Warning, "is on the disk of the data folder", "--archive ELSEWHERE", "",
		},
		{
			"empty", func(t *testing.T, data string) { folder(t, data) },
			doctor.Note, "no complete chapter yet", "atmserver --data ", "",
		},
		{
			"of another server", func(t *testing.T, data string) {
				l, dir := audittest.Publish(t, 300)
				_, err := archive.New(archive.NewFolder(folder(t, data))).Write(t.Context(),
					archive.Draft{
						Log: audit.Dir(dir), Signed: l.Checkpoint, Keys: l.Signer.Keys(),
						Snapshot: archive.Bytes(nil),
					})
				if err != nil {
					t.Fatal(err)
				}
			}, doctor.Critical, "is the archive of " + audittest.Origin, "--archive ANOTHER", "",
		},
		{
			"in object storage", func(t *testing.T, data string) { note(t, data, "s3://b/atm") },
			doctor.Note, "is not asked", "atmctl audit verify 's3://b/atm'", "",
		},
		{
			"nobody knows the archive", pruned, doctor.Warning, "the first 256 entries",
			"--archive LOCATION", "",
		},
		{
			"no snapshot", func(t *testing.T, data string) {
				pruned(t, data)
				folder(t, data)
			}, doctor.Warning, "snapshots/ has no snapshot", "--archive ", "",
		},
		{
			"pruned is broken", func(t *testing.T, data string) {
				write(t, filepath.Join(data, "audit", "pruned"), []byte("x"))
			}, doctor.Warning, "audit/pruned", "atmserver --data ", "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data := like(t, sound)
			tt.plant(t, data)
			findings := examine(t, doctor.Options{Data: data})
			if !slices.ContainsFunc(findings, func(f doctor.Finding) bool {
				return f.Check == "archive" && f.Severity == tt.severity && f.Alert == tt.alert &&
					strings.Contains(f.Text, tt.says) && strings.Contains(f.Mend, tt.mend)
			}) {
				t.Errorf("it is not named: %+v", findings)
			}
		})
	}
}
