// Package durable writes files so that a power cut leaves either the old file
// or the new one, whole, and reads secrets that only their owner can read.
package durable

import (
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

// WriteFile makes data the content of the file at path, in place of what is
// there. When it returns nil, the file and its name are on stable storage. It
// has exactly the permissions perm, whatever the umask.
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

// CreateFile is WriteFile for a file that must not exist yet. It returns an
// error that is fs.ErrExist when it does.
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

// Temporary makes an empty file beside path, with exactly the permissions perm.
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

// writeTemporary writes a file beside path and returns its name.
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

// MkdirAll makes the folder at path and those above it that are missing, with
// permissions perm. When it returns nil, their names are on stable storage.
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

// SyncDir puts the names in the folder at path on stable storage. Windows cannot be
// asked for that: there its file system keeps names safe by itself, a little later.
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

// Rename gives a file another name in the same folder, durably.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// RenameNew is Rename to a name that must not be taken. It returns an error that is
// fs.ErrExist when it is.
func RenameNew(from, to string) error {
	// A link, unlike a rename, replaces nothing.
	if err := os.Link(from, to); err != nil {
		return err
	}
	return errors.Join(os.Remove(from), SyncDir(filepath.Dir(to)))
}

// ErrNotRegular reports a link, a pipe, a device or a folder in place of a file.
var ErrNotRegular = errors.New("not a regular file")

// openTries bounds how often a file is opened that is replaced again and again.
const openTries = 16

// OpenRegular opens the file at path for reading. In place of a file it refuses all
// else, with ErrNotRegular: a link is not followed, a pipe is not waited for.
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
		// By now another file, a link or a pipe may have the name. A pipe would be
		// waited for without O_NONBLOCK.
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

// maxSecret is the largest file that is read as a secret, in bytes.
const maxSecret = 64 << 10

// ReadSecret reads a file that nobody but its owner may read. It refuses
// other permissions, where the system has them, what is no regular file, and more
// than 64 KiB.
func ReadSecret(path string) ([]byte, error) {
	// Without O_NONBLOCK, opening a pipe would wait for its other end.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case owner.OthersMayUse(info):
		return nil, fmt.Errorf("%s may be read by others (mode %04o); chmod 600 it", path,
			mode.Perm())
	case info.Size() > maxSecret:
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxSecret)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}
