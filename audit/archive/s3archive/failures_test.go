package s3archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/archive/s3archive"
	"example.com/atm/audit/archive/s3archive/s3test"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/merkle"
	"example.com/atm/internal/needs"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// draft is a chapter of the log l, which is published in dir.
func draft(l *audittest.Log, dir string) archive.Draft {
	return archive.Draft{
		Log: audit.Dir(dir), Signed: l.Checkpoint, Keys: l.Signer.Keys(),
		Snapshot: archive.Bytes([]byte("the accounts, sealed")),
	}
}

// verify verifies a log.
func verify(t *testing.T, files audit.Files) *audit.Report {
	t.Helper()
	r, err := audit.Verify(t.Context(), files, audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// beforeRead is a log that calls do before a file is read.
type beforeRead struct {
	audit.Files
	name string
	do   func()
}

func (f beforeRead) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name == f.name {
		f.do()
	}
	return f.Files.ReadFile(ctx, name, limit)
}

func TestStorageThatGoesIsUnreachableAndGoesOnLater(t *testing.T) {
	t.Parallel()
	l, dir := audittest.Publish(t, 2000)
	folder := t.TempDir()
	g := s3test.StartOn(t, folder)
	a := archive.New(open(t, g.Location("bank")))
	d := draft(l, dir)
	d.Log = beforeRead{d.Log, "tile/entries/003", g.Stop}
	if _, err := a.Write(t.Context(), d); !errors.Is(err, audit.ErrUnreachable) {
		t.Errorf("gone while it is written to: %v", err)
	}
	g = s3test.StartOn(t, folder)
	a = archive.New(open(t, g.Location("bank")))
	if _, err := a.Newest(t.Context()); !errors.Is(err, archive.ErrEmpty) {
		t.Errorf("half a chapter counts: %v", err)
	}
	if _, err := a.Write(t.Context(), draft(l, dir)); err != nil {
		t.Fatal(err)
	}
	const base = 5 * merkle.TileWidth
	l.Trim(t, base)
	if err := audittest.PublishIn(t, dir, l).Prune(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, archive.Over(audit.Dir(dir), a)); !r.OK() {
		t.Errorf("%d %s", r.Code, r.Sentence)
	}
	g.Stop()
	r := verify(t, archive.Over(audit.Dir(dir), a))
	want := fmt.Sprintf("entries 0 to %d could not be read: the archive s3://archive/bank/ cannot "+
		"be reached: ", base-1)
	if r.Code != audit.CannotVerify || !strings.HasPrefix(r.Sentence, want) {
		t.Errorf("gone while it is read: %d %s", r.Code, r.Sentence)
	}
	if r := verify(t, archive.New(open(t, g.Location("bank")))); r.Code != audit.CannotVerify {
		t.Errorf("an archive alone: %d %s", r.Code, r.Sentence)
	}
}

// relay passes on connections to an address. Each piece of an answer waits before it is passed on.
func relay(t *testing.T, to string, wait func()) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			go func() {
				defer out.Close()
				io.Copy(out, in)
			}()
			go func() {
				defer in.Close()
				piece := make([]byte, 32<<10)
				for {
					n, err := out.Read(piece)
					wait()
					if _, failed := in.Write(piece[:n]); err != nil || failed != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestSlowStorageOnlyTakesLonger(t *testing.T) {
	t.Parallel()
	l, dir := audittest.Publish(t, 1000)
	g := s3test.Start(t)
	slow := relay(t, g.Address, func() { time.Sleep(20 * time.Millisecond) })
	a := archive.New(open(t, s3test.LocationAt(slow, "bank")))
	if _, err := a.Write(t.Context(), draft(l, dir)); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, a); !r.OK() {
		t.Errorf("%d %s", r.Code, r.Sentence)
	}
}

func TestStorageThatNeverAnswersIsUnreachable(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	stop := make(chan struct{})
	silent := relay(t, g.Address, func() { <-stop })
	defer close(stop)
	b := open(t, s3test.LocationAt(silent, "bank"))
	b.TryFor(200 * time.Millisecond)
	_, err := b.Get(t.Context(), "a", 10)
	if !errors.Is(err, audit.ErrUnreachable) || !strings.Contains(err.Error(),
		"no answer in time") {
		t.Errorf("asked: %v", err)
	}
	for _, size := range []int{10, 17 << 20} {
		err := b.Put(t.Context(), "a", archive.Bytes(make([]byte, size)))
		if !errors.Is(err, audit.ErrUnreachable) {
			t.Errorf("written to: %v", err)
		}
	}
	if err := b.List(t.Context(), "", nil); !errors.Is(err, audit.ErrUnreachable) {
		t.Errorf("listed: %v", err)
	}
}

func TestStorageThatRefusesSaysWhy(t *testing.T) {
	g := s3test.Start(t)
	missing := open(t, strings.Replace(g.Location("bank"), s3test.Bucket, "elsewhere", 1))
	if _, err := missing.Get(t.Context(), "a", 10); !errors.Is(err, audit.ErrUnreachable) ||
		errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "NoSuchBucket") {
		t.Errorf("no such bucket: %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	stranger := open(t, g.Location("bank"))
	_, err := stranger.Get(t.Context(), "a", 10)
	if !errors.Is(err, audit.ErrUnreachable) || !strings.Contains(err.Error(), "Signature") {
		t.Errorf("a wrong secret, asked: %v", err)
	}
	err = stranger.Put(t.Context(), "a", archive.Bytes([]byte("x")))
	if err == nil || errors.Is(err, audit.ErrUnreachable) || !strings.Contains(err.Error(),
		"writing a to the archive s3://archive/bank/: SignatureDoesNotMatch") {
		t.Errorf("a wrong secret, written to: %v", err)
	}
}

// mount mounts a small file system that is gone with the test, and returns a function that changes
// its options.
func mount(t *testing.T, folder, options string) (change func(options string)) {
	t.Helper()
	needs.Root(t)
	do := func(args ...string) {
		if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
			needs.Skip(t, "root may not mount here: "+string(out))
		}
	}
	do("-t", "tmpfs", "-o", options, "tmpfs", folder)
	t.Cleanup(func() { exec.Command("umount", "-l", folder).Run() })
	return func(options string) { do("-o", "remount,"+options, folder) }
}

func TestFullArchiveGoesOnWhenThereIsSpace(t *testing.T) {
	t.Parallel()
	l, dir := audittest.Publish(t, 20_000)
	for name, open := range map[string]func(t *testing.T, disk string) archive.Objects{
		"a folder": func(_ *testing.T, disk string) archive.Objects {
			return archive.NewFolder(disk)
		},
		"a bucket": func(t *testing.T, disk string) archive.Objects {
			return open(t, s3test.StartOn(t, filepath.Dir(disk)).Location("bank"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Not what the gateway notes about objects: without it, it has half an object.
			disk := filepath.Join(t.TempDir(), s3test.Objects)
			if err := os.Mkdir(disk, 0o700); err != nil {
				t.Fatal(err)
			}
			change := mount(t, disk, "size=1m")
			a := archive.New(open(t, disk))
			_, err := a.Write(t.Context(), draft(l, dir))
			if err == nil || errors.Is(err, audit.ErrUnreachable) || !strings.Contains(
				strings.ToLower(err.Error()), "no space left on device") {
				t.Errorf("it is full: %v", err)
			}
			if _, err := a.Newest(t.Context()); !errors.Is(err, archive.ErrEmpty) {
				t.Errorf("a chapter is complete: %v", err)
			}
			change("size=64m")
			if _, err := a.Write(t.Context(), draft(l, dir)); err != nil {
				t.Fatal(err)
			}
			if r := verify(t, a); !r.OK() || r.Size != 20_000 {
				t.Errorf("%d %s", r.Code, r.Sentence)
			}
		})
	}
}

func TestReadOnlyArchiveIsReadAndNotWritten(t *testing.T) {
	t.Parallel()
	l, dir := audittest.Publish(t, 1000)
	disk := t.TempDir()
	change := mount(t, disk, "size=16m")
	a := archive.New(archive.NewFolder(disk))
	if _, err := a.Write(t.Context(), draft(l, dir)); err != nil {
		t.Fatal(err)
	}
	change("ro")
	l.Grow(t, 100)
	audittest.PublishIn(t, dir, l)
	_, err := a.Write(t.Context(), draft(l, dir))
	if err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("%v", err)
	}
	if r := verify(t, archive.New(archive.NewFolder(disk))); !r.OK() || r.Size != 1000 {
		t.Errorf("%d %s", r.Code, r.Sentence)
	}
}

func TestObjectsAreLockedAsTheLocationAsks(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	client, err := g.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for location, want := range map[string]types.ObjectLockMode{
		g.Location("plain"): "",
		g.Location("locked") + "&lock=compliance&days=2": types.ObjectLockModeCompliance,
	} {
		b := open(t, location)
		prefix := strings.TrimPrefix(b.String(), "s3://"+s3test.Bucket+"/")
		for _, size := range []int{10, 17 << 20} {
			name := fmt.Sprint(size)
			if err := b.Put(t.Context(), name, archive.Bytes(make([]byte, size))); err != nil {
				t.Fatal(err)
			}
			head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{
				Bucket: aws.String(s3test.Bucket), Key: aws.String(prefix + name),
			})
			if err != nil || head.ObjectLockMode != want {
				t.Errorf("%s: locked %q, %v", name, head.ObjectLockMode, err)
				continue
			}
			_, err = client.DeleteObject(t.Context(), &s3.DeleteObjectInput{
				Bucket: aws.String(s3test.Bucket), Key: aws.String(prefix + name),
				VersionId: head.VersionId,
			})
			if (err != nil) != (want != "") {
				t.Errorf("%s, locked %q: deleting it: %v", name, want, err)
			}
		}
	}
}

// TestPartsOfAnUploadThatFailsAreGone interrupts the upload of a large object.
func TestPartsOfAnUploadThatFailsAreGone(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	b := open(t, g.Location("bank"))
	ctx, cancel := context.WithCancel(t.Context())
	content := archive.Bytes(make([]byte, 64<<20))
	content.ReaderAt = &cancelling{content.ReaderAt.(*bytes.Reader), 40 << 20, cancel}
	if err := b.Put(ctx, "large", content); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	client, err := g.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left, err := client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{
		Bucket: aws.String(s3test.Bucket),
	})
	if err != nil || len(left.Uploads) != 0 {
		t.Errorf("%d uploads are left, %v", len(left.Uploads), err)
	}
}

// cancelling cancels when it is read at a position.
type cancelling struct {
	*bytes.Reader
	at     int64
	cancel func()
}

func (c *cancelling) ReadAt(p []byte, off int64) (int, error) {
	if off >= c.at {
		c.cancel()
	}
	return c.Reader.ReadAt(p, off)
}

func TestLocationIsReadExactly(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_REGION", "")
	for location, want := range map[string]string{
		"s3://b?region=eu-central-1":                                     "s3://b/",
		"s3://b/a/c/?region=eu-central-1":                                "s3://b/a/c/",
		"s3://b/a?endpoint=https://s3.example&lock=governance&days=3650": "s3://b/a/",
		"s3://b/a?endpoint=http://127.0.0.1:9000":                        "s3://b/a/",
		"s3://b/a?endpoint=http://[::1]:9000":                            "s3://b/a/",
		"s3://b/a":                                                       "error: the region is missing",
		"s3://b/a?endpoint=http://10.0.0.1:9000":                         "error: endpoint is no https URL",
		"s3://b/a?endpoint=http://127.0.0.1.example":                     "error: endpoint is no https URL",
		"s3://b/a?endpoint=s3.example":                                   "error: endpoint is no https URL",
		"s3://user:secret@b/a":                                           "error: has no credentials in it",
		"s3:///a":                                                        "error: is not s3://BUCKET/PREFIX",
		"s3://b:80/a":                                                    "error: is not s3://BUCKET/PREFIX",
		"s3://b/a//c?region=x":                                           "error: empty name",
		"s3://b/a?regoin=x":                                              "error: regoin is unknown",
		"s3://b/a?region=x&region=y":                                     "error: region is there twice",
		"s3://b/a?region=x&lock=forever&days=1":                          "error: is governance or compliance",
		"s3://b/a?region=x&lock=governance":                              "error: belong together",
		"s3://b/a?region=x&days=1":                                       "error: belong together",
		"s3://b/a?region=x&lock=governance&days=0":                       "error: is a number from 1",
	} {
		b, err := s3archive.Open(t.Context(), location)
		wrong, isError := strings.CutPrefix(want, "error: ")
		switch {
		case isError && (err == nil || !strings.Contains(err.Error(), wrong)):
			t.Errorf("%s: %v, want %s", location, err, wrong)
		case isError && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: the error has a secret: %v", location, err)
		case !isError && (err != nil || b.String() != want):
			t.Errorf("%s: %v, want %s", location, err, want)
		}
	}
}

// TestEndpointOfTheEnvironmentIsEncryptedToo names a plain one where the kit looks for it.
func TestEndpointOfTheEnvironmentIsEncryptedToo(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_ENDPOINT_URL", "http://s3.example")
	_, err := s3archive.Open(t.Context(), "s3://b/a?region=x")
	if err == nil || !strings.Contains(err.Error(), "the endpoint is no https URL") {
		t.Errorf("%v", err)
	}
}
