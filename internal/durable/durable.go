// Package durable writes files such that a power cut leaves either the whole old file or the
// whole new one, and reads secrets that only their owner can read.
package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"example.com/atm/internal/owner"
)

// WriteFile replaces the content of the file at path by data. When it returns nil, the file and
// its name are durable. The file has exactly the permissions perm, regardless of the umask.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	temporary, err := writeTemporary(path, data, perm, true)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return SyncDir(filepath.Dir(path))
}

// CreateFile is WriteFile for a file that must not exist. It returns an error that is
// fs.ErrExist if it does.
func CreateFile(path string, data []byte, perm fs.FileMode) error {
	temporary, err := writeTemporary(path, data, perm, true)
	if err != nil {
		return err
	}
	if err := RenameNew(temporary, path); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
}

// Temporary creates an empty file beside path with exactly the permissions perm.
func Temporary(path string, perm fs.FileMode) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-"+filepath.Base(path)+"-*")
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(perm); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// writeTemporary writes a temporary file beside path and returns its name.
func writeTemporary(path string, data []byte, perm fs.FileMode, sync bool) (name string,
	err error,
) {
	f, err := Temporary(path, perm)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			f.Close()
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	if sync {
		if err := f.Sync(); err != nil {
			return "", err
		}
	}
	return f.Name(), f.Close()
}

// MkdirAll creates the folder at path and its missing parents with permissions perm. When it
// returns nil, their names are durable.
func MkdirAll(path string, perm fs.FileMode) error {
	path = filepath.Clean(path)
	info, err := os.Stat(path)
	if err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// SyncDir makes the names in the folder at path durable. Windows has no such call; its file
// system does so on its own a little later.
func SyncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Rename renames a file within its folder, durably.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// RenameNew is Rename to a name that must not exist. It returns an error that is fs.ErrExist if
// it does.
func RenameNew(from, to string) error {
	// Unlike a rename, a link does not replace a file.
	if err := os.Link(from, to); err != nil {
		return err
	}
	return errors.Join(os.Remove(from), SyncDir(filepath.Dir(to)))
}

// ErrNotRegular reports a symbolic link, pipe, device or folder in place of a regular file.
var ErrNotRegular = errors.New("not a regular file")

// openTries bounds how often opening a file is retried because the file was replaced.
const openTries = 16

// OpenRegular opens the regular file at path for reading. For anything else it returns
// ErrNotRegular. It does not follow a symbolic link or block on a pipe.
func OpenRegular(path string) (*os.File, fs.FileInfo, error) {
	folder, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, nil, err
	}
	defer folder.Close()
	name := filepath.Base(path)
	for range openTries {
		named, err := folder.Lstat(name)
		if err != nil {
			return nil, nil, err
		}
		if !named.Mode().IsRegular() {
			return nil, nil, ErrNotRegular
		}
		// The name may now be that of another file, a link or a pipe. Opening a pipe without
		// O_NONBLOCK would block.
		f, err := folder.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, nil, err
		}
		opened, err := f.Stat()
		if err == nil && os.SameFile(named, opened) {
			return f, opened, nil
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, ErrNotRegular
}

// sameByStat is SameFile wherever there is nothing better.
func sameByStat(path string, info fs.FileInfo) (size int64, same bool, err error) {
	now, err := os.Stat(path)
	if err != nil {
		return 0, false, err
	}
	return now.Size(), os.SameFile(now, info), nil
}

// ReadAll reads a file that had size bytes when it was opened, and at most limit bytes of it. It
// is io.ReadAll without copying the content while it grows.
func ReadAll(f *os.File, size, limit int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(size, limit)) + bytes.MinRead) // that much free at the end
	_, err := b.ReadFrom(io.LimitReader(f, limit))
	return b.Bytes(), err
}

// maxSecret is the largest size of a secret, in bytes.
const maxSecret = 64 << 10

// ReadSecret reads a file that only its owner may read, or a credential of systemd. It refuses
// other permissions, where the system has them, files that are not regular, and files larger than
// 64 KiB.
func ReadSecret(path string) ([]byte, error) {
	return ReadChecked(path, maxSecret, func(info fs.FileInfo) error {
		if owner.Exposed(path, info) {
			return fmt.Errorf("%s may be read by others (mode %04o); chmod 600 it", path,
				info.Mode().Perm())
		}
		return nil
	})
}

// ReadChecked reads a file unless check returns an error for it. It refuses files that are not
// regular, and files larger than mostBytes.
func ReadChecked(path string, mostBytes int64, check func(fs.FileInfo) error) ([]byte, error) {
	// Opening a pipe without O_NONBLOCK would block until its other end is opened.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if err := check(info); err != nil {
		return nil, err
	}
	if info.Size() > mostBytes {
		return nil, fmt.Errorf("%s has more than %d bytes", path, mostBytes)
	}
	data, err := io.ReadAll(io.LimitReader(f, mostBytes))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}
