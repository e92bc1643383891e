//go:build unix

package owner_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"example.com/atm/internal/owner"
)

func TestOwnFileIsTheCallers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for perm, may := range map[fs.FileMode]struct{ use, write bool }{
		0o600: {}, 0o400: {}, 0o640: {use: true}, 0o604: {use: true}, 0o601: {use: true},
		0o620: {true, true}, 0o602: {true, true}, 0o666: {true, true},
	} {
		os.Remove(path)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, perm); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if !owner.IsCaller(info) || !owner.IsCallerOrRoot(info) {
			t.Errorf("%04o: it is not the caller's", perm)
		}
		if got := owner.OthersMayUse(info); got != may.use {
			t.Errorf("%04o: others may use it: %v", perm, got)
		}
		if got := owner.OthersMayWrite(info); got != may.write {
			t.Errorf("%04o: others may write to it: %v", perm, got)
		}
	}
}

func TestFileOfAnotherIsNotTheCallers(t *testing.T) {
	if os.Geteuid() != 0 {
		info, err := os.Stat("/")
		if err != nil {
			t.Fatal(err)
		}
		if owner.IsCaller(info) || !owner.IsCallerOrRoot(info) {
			t.Error("the root of the file system is not root's")
		}
		return
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Skip(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if owner.IsCaller(info) || owner.IsCallerOrRoot(info) {
		t.Error("a file of user 12345 is the caller's")
	}
}

// TestFileWithoutAnOwnerIsNotTheCallers has a file system that does not report an owner.
func TestFileWithoutAnOwnerIsNotTheCallers(t *testing.T) {
	info, err := fs.Stat(os.DirFS(t.TempDir()), ".")
	if err != nil {
		t.Fatal(err)
	}
	if unowned := (bare{info}); owner.IsCaller(unowned) || owner.IsCallerOrRoot(unowned) {
		t.Error("it is the caller's")
	}
}

type bare struct{ fs.FileInfo }

func (bare) Sys() any { return nil }

func TestCredentialOfAServiceIsNotExposed(t *testing.T) {
	given := t.TempDir()
	path := filepath.Join(given, "client.key")
	for _, tt := range []struct {
		directory string
		mode      fs.FileMode
		exposed   bool
	}{
		{given, 0o440, false},
		{given + "/", 0o400, false},
		{given, 0o444, true},
		{given, 0o460, true},
		{"", 0o440, true},
		{filepath.Dir(given), 0o440, true},
	} {
		t.Setenv("CREDENTIALS_DIRECTORY", tt.directory)
		os.Remove(path)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, tt.mode)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || owner.Exposed(path, info) != tt.exposed {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
