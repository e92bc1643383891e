//go:build unix

package cmd_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/archive/s3archive"
	"example.com/atm/audit/archive/s3archive/s3test"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/merkle"
	"example.com/atm/cmd/internal/datadir"
)

// archivedLog is a folder with a log of 2,000 entries that was pruned, in atm-data, and the archive
// of its first 1,280 entries, in a folder and in a bucket.
type archivedLog struct {
	dir, bucket string
	storage     *s3test.Gateway
}

func newArchivedLog(t *testing.T) *archivedLog {
	t.Helper()
	const size, base = 2000, 5 * merkle.TileWidth
	a := &archivedLog{dir: t.TempDir(), storage: s3test.Start(t)}
	a.bucket = a.storage.Location("bank")
	published, folder := filepath.Join(a.dir, "atm-data/audit"), filepath.Join(a.dir, "archive")
	if err := errors.Join(os.MkdirAll(published, 0o700), os.Mkdir(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	m := audittest.NewBusy(t, size)
	p := audittest.PublishIn(t, published, m)
	bucket, err := s3archive.Open(t.Context(), a.bucket)
	if err != nil {
		t.Fatal(err)
	}
	for _, objects := range []archive.Objects{archive.NewFolder(folder), bucket} {
		_, err := archive.New(objects).Write(t.Context(), archive.Draft{
			Log: audit.Dir(published), Signed: m.Checkpoint, Keys: m.Signer.Keys(),
			Snapshot: archive.Bytes([]byte("accounts")),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	m.Trim(t, base)
	if err := p.Prune(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	return a
}

// run runs atmctl, and compares its exit code and its output.
func (a *archivedLog) run(t *testing.T, code int, output string, args ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "atmctl"), args...)
	cmd.Dir, cmd.Env = a.dir, append(os.Environ(), "HOME="+a.dir, "XDG_CONFIG_HOME="+a.dir)
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code || !regexp.MustCompile(output).Match(out) {
		t.Errorf("atmctl %q: exit %d, %v, want %d and %q:\n%.2000s", args, got, err, code, output,
			out)
	}
}

func TestCommandsReadALogWithItsArchive(t *testing.T) {
	t.Parallel()
	a := newArchivedLog(t)
	here := "atm-data/audit"
	for _, where := range [][]string{
		{here, "--archive", "archive"}, {here, "--archive", a.bucket}, {"archive"}, {a.bucket},
	} {
		with := func(args ...string) []string { return append(args, where...) }
		a.run(t, 0, `verified: 2000 entries`, with("audit", "verify")...)
		a.run(t, 0, `^entry 7, leaf `, with("audit", "show", "7")...)
		a.run(t, 0, `index 7\n`, with("audit", "prove", "7")...)
		a.run(t, 0, `(?s)^INDEX.*\b7 .*deposit`, with("audit", "list", "--account", "7")...)
		a.run(t, 0, `(?s)\A.*"index":0,.*"index":1999,`, with("audit", "export")...)
		a.run(t, 0, `pinned: 2000 entries`, with("audit", "checkpoint", "save")...)
	}
	unread := `entries 0 to 1279 could not be read: `
	a.run(t, 10, unread+`the log was pruned, and its archive cannot be reached: none is named`,
		"audit", "verify", here)
	a.run(t, 10, unread+`the archive \S+/nowhere cannot be reached: no such file or directory`,
		"audit", "verify", here, "--archive", "nowhere")
	a.run(t, 10, `has no complete chapter|cannot be reached`, "audit", "verify", here, "--archive",
		a.storage.Location("elsewhere"))
	a.run(t, 10, `the entries from 7 on: the log was pruned`, "audit", "show", "7", here)
	a.run(t, 0, `^entry 1999, leaf `, "audit", "show", "1999", here)
	a.run(t, 2, `has no credentials in it`, "audit", "verify", "s3://user:secret@bank/atm")

	// The server notes where it archives, so that nobody has to say it.
	note := datadir.Archived{Location: filepath.Join(a.dir, "archive")}
	if err := datadir.At(filepath.Join(a.dir, "atm-data")).Archived().Write(&note); err != nil {
		t.Fatal(err)
	}
	a.run(t, 0, `verified: 2000 entries`, "audit", "verify")

	audittest.Edit(t, a.dir, "archive/tile/entries/003", audittest.Flip(60))
	a.run(t, 12, `tile/entries/003 differs from the signed tree at entry 768`, "audit", "verify")
	a.run(t, 12, `tile/entries/003 at entry 768: differs`, "audit", "show", "768", here)
	audittest.Remove(t, a.storage.Dir, "bank/tile/0/002")
	a.run(t, 12, `(?s)tile/0/002 differs from the signed tree at entry 512.*got +missing`, "audit",
		"verify", here, "--archive", a.bucket)
	a.storage.Stop()
	a.run(t, 10, unread+`the archive s3://archive/bank/ cannot be reached`, "audit", "verify", here,
		"--archive", a.bucket)
	a.run(t, 10, `the archive s3://archive/bank/ cannot be reached`, "audit", "verify",
		a.bucket)
}

// TestVerifiedArchiveHasTheSnapshotThatARebuildNeeds lets a server archive, and then damages
// the snapshot in the archive, of which the log has nothing but the hash.
func TestVerifiedArchiveHasTheSnapshotThatARebuildNeeds(t *testing.T) {
	t.Parallel()
	away := filepath.Join(t.TempDir(), "archive")
	if err := os.Mkdir(away, 0o700); err != nil {
		t.Fatal(err)
	}
	s := startServerIn(t, t.TempDir(), "ATM_ARCHIVE="+away)
	var snapshots []string
	for begun := time.Now(); len(snapshots) == 0 && time.Since(begun) < time.Minute; {
		time.Sleep(10 * time.Millisecond) // the checkpoint comes last
		snapshots, _ = filepath.Glob(filepath.Join(away, "chapter/*/checkpoint"))
	}
	if len(snapshots) == 0 {
		t.Fatal("nothing was archived within a minute")
	}
	s.stop(t)
	chapter := filepath.Dir(snapshots[0])
	verify := func(dir string, code int, output string) {
		t.Helper()
		cmd := s.command("atmctl", "audit", "verify", dir, "-o", "json")
		out, err := cmd.Output()
		if got := cmd.ProcessState.ExitCode(); got != code ||
			!regexp.MustCompile(output).Match(out) {
			t.Errorf("exit %d, %v, want %d and %q:\n%s", got, err, code, output, out)
		}
	}
	verify(away, 0, `"first_bad":null`)
	name := filepath.Join("chapter", filepath.Base(chapter), "snapshot")
	bad := `"first_bad":\{"index":null,"file":"` + name + `","expected":"[^"]{44}","got":"`
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		got    string
	}{
		{"a byte", func(t *testing.T, dir string) {
			audittest.Edit(t, dir, name, audittest.Flip(5000))
		}, `[^"]{44}`},
		{"cut short", func(t *testing.T, dir string) {
			audittest.Edit(t, dir, name, func(b []byte) []byte { return b[:len(b)-1] })
		}, `[^"]{44}`},
		{"without an end", func(t *testing.T, dir string) {
			file := filepath.Join(dir, name)
			if err := errors.Join(os.Chmod(file, 0o600), os.Truncate(file, 1<<36)); err != nil {
				t.Fatal(err)
			}
		}, `[^"]*larger than such a file can be`},
		{"missing", func(t *testing.T, dir string) { audittest.Remove(t, dir, name) }, `missing`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := audittest.Copy(t, away)
			tt.damage(t, dir)
			verify(dir, 12, bad+tt.got+`"`)
		})
	}
}
