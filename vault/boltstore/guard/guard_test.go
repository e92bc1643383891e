//go:build unix

package guard

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestPageThatIsGoneIsAnErrorAndAMistakeStaysAPanic reads a mapped page of a file that was cut
// short, and a nil pointer.
func TestPageThatIsGoneIsAnErrorAndAMistakeStaysAPanic(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "mapped"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(8192); err != nil {
		t.Fatal(err)
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, 8192, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(data)
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	var sum byte
	if err := Call(func() error {
		sum += data[5000]
		return nil
	}); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a page that is gone: %v", err)
	}
	if err := Call(func() error { return os.ErrClosed }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("an error of another kind became %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a mistake of the program was taken for a fault of the disk")
		}
	}()
	var nothing *struct{ bytes []byte }
	Call(func() error { sum += nothing.bytes[0]; return nil })
}

// TestAnotherFileUnderTheSameNameEndsTheDatabase changes what has the names of an open database and
// of the file beside it.
func TestAnotherFileUnderTheSameNameEndsTheDatabase(t *testing.T) {
	const vault, beside = "vault.db", "vault.db.wal"
	for _, tt := range []struct {
		name   string
		change func() error
		want   error
	}{
		{"nothing", func() error { return nil }, nil},
		{"the file beside it grows", func() error { return os.Truncate(beside, 1<<20) }, nil},
		{"the database grows", func() error { return os.Truncate(vault, 1<<20) }, nil},
		{"the database is cut", func() error { return os.Truncate(vault, 4096) }, ErrReplaced},
		{"the database is removed", func() error { return os.Remove(vault) }, ErrReplaced},
		{"the file beside it is removed", func() error { return os.Remove(beside) }, ErrReplaced},
		{"a copy of the database", func() error { return replace(vault) }, ErrReplaced},
		{"a copy of the file beside it", func() error { return replace(beside) }, ErrReplaced},
		{"a link to where the database is now", func() error {
			return errors.Join(os.Rename(vault, "moved"), os.Symlink("moved", vault))
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			db, err := Open(vault, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := os.WriteFile(beside, []byte("log"), 0o600); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(beside)
			if err != nil {
				t.Fatal(err)
			}
			db.Watch(beside, info)
			if err := errors.Join(db.Look(), tt.change()); err != nil {
				t.Fatal(err)
			}
			if err := db.Look(); !errors.Is(err, tt.want) {
				t.Errorf("%v, not %v", err, tt.want)
			}
			if err := db.Err(); !errors.Is(err, tt.want) {
				t.Errorf("afterwards: %v, not %v", err, tt.want)
			}
		})
	}
}

// replace puts a copy of a file in its place.
func replace(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile("copy", data, 0o600), os.Rename("copy", path))
}
