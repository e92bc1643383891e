//go:build unix

package durable_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/atm/internal/durable"
)

// only fails the test unless dir has exactly these names.
func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("the folder holds %v, want %v", got, names)
	}
}

func TestWriteFileReplacesFilesAndSetsTheirMode(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"one", "two"} {
		if err := durable.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != text {
			t.Errorf("%q, %v", data, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, whatever the umask; %v", info.Mode(), err)
	}
	if err := os.Mkdir(filepath.Join(dir, "g"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "g"), nil, 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	if err := durable.WriteFile(filepath.Join(dir, "nowhere", "f"), nil, 0o600); !errors.Is(err,
		fs.ErrNotExist) {
		t.Errorf("into no folder: %v", err)
	}
	only(t, dir, "f", "g")
}

func TestCreateFileRefusesAFileThatExists(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := durable.CreateFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.CreateFile(path, []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "one" {
		t.Errorf("%q, %v", data, err)
	}
	only(t, dir, "f")
}

func TestFlushedBatchHasWrittenEveryFile(t *testing.T) {
	dir := t.TempDir()
	var b durable.Batch
	names := make([]string, 0, 100)
	for i := range 100 {
		name := string(rune('a'+i/10)) + string(rune('0'+i%10))
		names = append(names, name)
		if err := b.Add(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	only(t, dir, names...)
	for _, name := range names {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(data) != name {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	sub := filepath.Join(dir, "sub")
	if err := os.MkdirAll(filepath.Join(sub, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(filepath.Join(sub, "taken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Flush(); err == nil {
		t.Error("a folder was replaced")
	}
	only(t, sub, "taken")
}

// TestAbandonedBatchLeavesOnlyWholeFiles abandons a batch while it writes. Each file that
// exists afterwards is whole, and there are no temporary files.
func TestAbandonedBatchLeavesOnlyWholeFiles(t *testing.T) {
	dir := t.TempDir()
	var b durable.Batch
	for i := range 50 {
		if err := b.Add(filepath.Join(dir, string(rune('0'+i))), []byte("whole"),
			0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Abandon(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) >= 50 {
		t.Errorf("%d files are there, %v", len(files), err)
	}
	for _, f := range files {
		if data, err := os.ReadFile(filepath.Join(dir, f.Name())); err != nil ||
			string(data) != "whole" || f.Name()[0] == '.' {
			t.Errorf("%s: %q, %v", f.Name(), data, err)
		}
	}
}

func TestMkdirAllMakesFoldersWithTheirMode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := durable.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(filepath.Join(dir, "f"), 0o700); err == nil {
		t.Error("a file passed for a folder")
	}
}

func TestOpenRegularOpensFilesAlone(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		os.WriteFile(at("file"), []byte("text"), 0o600), os.Mkdir(at("folder"), 0o700),
		os.WriteFile(at("folder/inner"), []byte("text"), 0o600),
		os.Symlink("file", at("link")), os.Symlink("nothing", at("dangling")),
		os.Symlink("folder", at("linked")), syscall.Mkfifo(at("pipe"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"file": nil, "folder/inner": nil, "linked/inner": nil, "link": durable.ErrNotRegular,
		"dangling": durable.ErrNotRegular, "pipe": durable.ErrNotRegular,
		"folder":  durable.ErrNotRegular,
		"nothing": fs.ErrNotExist, "nowhere/file": fs.ErrNotExist,
	} {
		f, info, err := durable.OpenRegular(at(name))
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, want)
			continue
		}
		if want != nil {
			continue
		}
		text, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil || string(text) != "text" ||
			info.Size() != 4 {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

// TestOpenRegularReadsTheOldOrTheNewFileAndNoLink reads a file that is replaced all the time,
// as a checkpoint is each second. A symbolic link that replaces the file now and then is never
// followed.
func TestOpenRegularReadsTheOldOrTheNewFileAndNoLink(t *testing.T) {
	dir := t.TempDir()
	path, secret := filepath.Join(dir, "checkpoint"), filepath.Join(dir, "secret")
	if err := errors.Join(os.WriteFile(path, []byte("good"), 0o600),
		os.WriteFile(secret, []byte("evil"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, links := range []bool{false, true} {
		stop, stopped := make(chan struct{}), make(chan error, 1)
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					stopped <- nil
					return
				default:
				}
				err := os.WriteFile(path+".new", []byte("good"), 0o600)
				if links && i%2 == 0 {
					err = errors.Join(os.Remove(path+".new"), os.Symlink("secret", path+".new"))
				}
				if err = errors.Join(err, os.Rename(path+".new", path)); err != nil {
					stopped <- err
					return
				}
			}
		}()
		for range 2000 {
			f, _, err := durable.OpenRegular(path)
			if links && errors.Is(err, durable.ErrNotRegular) {
				continue
			}
			if err != nil {
				t.Errorf("links %v: %v", links, err)
				break
			}
			text, err := io.ReadAll(f)
			if err = errors.Join(err, f.Close()); err != nil || string(text) != "good" {
				t.Errorf("links %v: %q, %v", links, text, err)
				break
			}
		}
		close(stop)
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecretIsReadOnlyFromASmallPrivateFile(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, size int, perm fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, make([]byte, size), 0o600),
			os.Chmod(path, perm)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file("good", 10, 0o600):       "",
		file("stricter", 10, 0o400):   "",
		file("group", 10, 0o640):      "may be read by others (mode 0640); chmod 600 it",
		file("world", 10, 0o604):      "may be read by others",
		file("large", 65<<10, 0o600):  "more than",
		pipe:                          "not a regular file",
		dir:                           "not a regular file",
		filepath.Join(dir, "nothing"): "no such file",
	} {
		data, err := durable.ReadSecret(path)
		switch {
		case want == "" && (err != nil || len(data) != 10):
			t.Errorf("%s: %v", path, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
