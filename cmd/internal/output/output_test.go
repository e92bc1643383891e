//go:build unix

package output_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
)

// place is a folder with a file, symbolic links to it and to nothing, a pipe and a folder.
func place(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	victim := filepath.Join(dir, "victim")
	err := errors.Join(
		os.WriteFile(victim, []byte("victim"), 0o600),
		os.Chmod(victim, 0o666),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
		os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	for link, target := range map[string]string{
		"link": victim, "dangling": "missing", "to-pipe": "pipe", "to-folder": "folder",
	} {
		err = errors.Join(err, os.Symlink(target, filepath.Join(dir, link)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// names lists a folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func holds(t *testing.T, path, text string, perm fs.FileMode) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || string(data) != text {
		t.Errorf("%s holds %q, %v, want %q", path, data, err, text)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != perm {
		t.Errorf("%s has mode %v, %v, want %v", path, info.Mode(), err, perm)
	}
}

func TestFileThatIsReplacedLendsNoMode(t *testing.T) {
	dir := place(t)
	before := names(t, dir)
	victim := filepath.Join(dir, "victim")
	if err := output.Write(t.Context(), victim, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	holds(t, victim, "new", 0o600)
	if after := names(t, dir); after != before {
		t.Errorf("the folder holds %s, before %s", after, before)
	}
}

func TestLinksFoldersAndSecretsThatExistAreRefused(t *testing.T) {
	dir := place(t)
	before := names(t, dir)
	for _, tt := range []struct {
		name  string
		fresh bool
		says  string
	}{
		{"link", false, "is a link"},
		{"dangling", false, "is a link"},
		{"folder", false, "is a folder"},
		{"to-folder", false, "is a folder"},
		{"victim/below", false, "not a directory"},
		{"victim", true, "exists; choose another file"},
		{"link", true, "exists; choose another file"},
		{"dangling", true, "is a link"},
	} {
		path := filepath.Join(dir, tt.name)
		write, check := output.Write, output.Check
		if tt.fresh {
			write, check = output.WriteNew, output.CheckNew
		}
		for _, err := range []error{check(path), write(t.Context(), path, []byte("new"), 0o600)} {
			if exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
			}
		}
	}
	holds(t, filepath.Join(dir, "victim"), "victim", 0o666)
	if after := names(t, dir); after != before {
		t.Errorf("the folder holds %s, before %s", after, before)
	}
}

func TestFileIsWholeOrNotThere(t *testing.T) {
	dir := place(t)
	before := names(t, dir)
	for _, name := range []string{"victim", "new"} {
		f, err := output.Create(t.Context(), filepath.Join(dir, name), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("half")); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	f, err := output.Create(ctx, filepath.Join(dir, "victim"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := f.Commit(); !errors.Is(err, context.Canceled) {
		t.Errorf("a command that was ended: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(dir, "victim"), "victim", 0o666)
	if after := names(t, dir); after != before {
		t.Errorf("the folder holds %s, before %s", after, before)
	}
}

func TestNewFileThatAppearsMeanwhileStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	f, err := output.CreateNew(t.Context(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("of somebody else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); exit.Code(err) != exit.Usage {
		t.Errorf("it was replaced: %v", err)
	}
	if err := errors.Join(f.Close(), f.Remove()); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "of somebody else", 0o600)
}

func TestSecretIsTakenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	f, err := output.CreateNew(t.Context(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Commit(), f.Close(), f.Remove()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// TestDevicesAndPipesAreWrittenStraight writes to devices and pipes. They are not replaced,
// even if the command undoes its output.
func TestDevicesAndPipesAreWrittenStraight(t *testing.T) {
	dir := place(t)
	before := names(t, dir)
	// Use a device of our own if permitted, because the machine's must not be damaged.
	devices := t.TempDir()
	null, toNull := filepath.Join(devices, "null"), filepath.Join(devices, "to-null")
	made := syscall.Mknod(null, syscall.S_IFCHR|0o600, 1<<8|3)
	if made != nil || exec.Command("sh", "-c", `: >"$0"`, null).Run() != nil {
		os.Remove(null)
		if err := os.Symlink(os.DevNull, null); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(null, toNull); err != nil {
		t.Fatal(err)
	}
	device, err := os.Lstat(null)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{null, toNull} {
		for _, fresh := range []bool{false, true} {
			create := output.Create
			if fresh {
				create = output.CreateNew
			}
			f, err := create(t.Context(), path, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.Write([]byte("gone"))
			if err := errors.Join(err, f.Commit(), f.Close(), f.Remove()); err != nil {
				t.Error(err)
			}
		}
	}
	after, err := os.Lstat(null)
	if err != nil || !os.SameFile(device, after) || after.Mode() != device.Mode() {
		t.Fatalf("%s was %v and is not what it was, %v", null, device.Mode(), err)
	}
	if got := names(t, devices); got != "null to-null" {
		t.Errorf("beside the device is %s", got)
	}
	for _, name := range []string{"pipe", "to-pipe"} {
		path := filepath.Join(dir, name)
		read := make(chan string)
		go func() {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
			}
			read <- string(data)
		}()
		if err := output.WriteNew(t.Context(), path, []byte("through"), 0o600); err != nil {
			t.Error(err)
		}
		if got := <-read; got != "through" {
			t.Errorf("%s: %q came through", name, got)
		}
	}
	if after := names(t, dir); after != before {
		t.Errorf("the folder holds %s, before %s", after, before)
	}
}

func TestPipeWithoutAReaderEndsWithTheCommand(t *testing.T) {
	path := filepath.Join(place(t), "pipe")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := output.Write(ctx, path, []byte("nowhere"), 0o600); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // ends the wait of the other end
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// TestStandardOutputIsAppendedToAndKeepsItsMode runs itself with each kind of standard output
// that a shell can open. A file is not overwritten from its beginning, and keeps its mode,
// because the shell opened it.
func TestStandardOutputIsAppendedToAndKeepsItsMode(t *testing.T) {
	const child = "ATM_OUTPUT_CHILD"
	if path := os.Getenv(child); path != "" {
		if err := output.WriteNew(t.Context(), path, []byte("from the child\n"),
			0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, path := range []string{"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "//dev/stdout"} {
		file := filepath.Join(t.TempDir(), "out")
		f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("before\n"); err != nil {
			t.Fatal(err)
		}
		var piped bytes.Buffer
		for _, w := range []any{f, &piped} {
			cmd := exec.CommandContext(t.Context(), os.Args[0],
				"-test.run=^"+t.Name()+"$", "-test.v")
			cmd.Env = append(os.Environ(), child+"="+path)
			if to, ok := w.(*os.File); ok {
				cmd.Stdout = to
			} else {
				cmd.Stdout = &piped
			}
			if err := cmd.Run(); err != nil {
				t.Fatalf("%s: %v\n%s", path, err, piped.String())
			}
		}
		f.Close()
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []string{string(data), "before\n" + piped.String()} {
			if !strings.HasPrefix(got, "before\n") || !strings.Contains(got, "from the child\n") {
				t.Errorf("%s: %q", path, got)
			}
		}
	}
}
