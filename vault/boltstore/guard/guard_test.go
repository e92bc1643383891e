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
