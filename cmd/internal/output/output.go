// Package output writes the results of commands: tables for people, JSON for programs, and the
// files that are named on a command line.
//
// Text for people is always printable. On a terminal, and only there, it has colours, is cut
// to the width, and goes through a pager if it is long.
//
// A regular file is written and synced under a temporary name, and renamed last, so a command
// that fails or is killed leaves the old file. It is always a new file: it has the permissions
// that were asked for, not those of the file that it replaces. A link to a regular file, or to
// nothing, is refused. A device or a pipe, such as /dev/null or /dev/stdout, is written to
// directly.
package output

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"example.com/atm/cmd/internal/exit"
	"example.com/atm/internal/durable"
)

// A File is a file that a command writes. Call Commit when everything is written, and always
// Close.
type File struct {
	f         *os.File
	path      string
	straight  bool // f is the existing device or pipe, and not a temporary file beside path
	fresh     bool // path must not exist
	committed bool
	release   func() bool // ends the watch over the context
}

// Check returns the error of usage with which Create would refuse path.
func Check(path string) error { return check(path, false) }

// CheckNew returns the error of usage with which CreateNew would refuse path.
func CheckNew(path string) error { return check(path, true) }

func check(path string, fresh bool) error {
	_, err := isStraight(path, fresh)
	return err
}

// Create begins a file that replaces the regular file at path, if there is one.
func Create(ctx context.Context, path string, perm fs.FileMode) (*File, error) {
	return create(ctx, path, perm, false)
}

// CreateNew is Create for a file that must not replace one, such as a secret.
func CreateNew(ctx context.Context, path string, perm fs.FileMode) (*File, error) {
	return create(ctx, path, perm, true)
}

func create(ctx context.Context, path string, perm fs.FileMode, fresh bool) (*File, error) {
	straight, err := isStraight(path, fresh)
	if err != nil {
		return nil, err
	}
	o := &File{path: path, straight: straight, fresh: fresh}
	if straight {
		o.f, err = open(ctx, path)
	} else {
		o.f, err = durable.Temporary(path, perm)
	}
	if err != nil {
		return nil, err
	}
	// The reader of a pipe may stop reading.
	o.release = context.AfterFunc(ctx, func() { o.f.Close() })
	return o, nil
}

// Write writes the content of a file.
func Write(ctx context.Context, path string, data []byte, perm fs.FileMode) error {
	return write(ctx, path, data, perm, false)
}

// WriteNew is Write for a file that must not replace one.
func WriteNew(ctx context.Context, path string, data []byte, perm fs.FileMode) error {
	return write(ctx, path, data, perm, true)
}

func write(ctx context.Context, path string, data []byte, perm fs.FileMode, fresh bool) error {
	o, err := create(ctx, path, perm, fresh)
	if err != nil {
		return err
	}
	_, err = o.Write(data)
	if err == nil {
		err = o.Commit()
	}
	return errors.Join(err, o.Close())
}

// isStraight reports whether path is written to directly. It returns an error for a path that
// must not be written to.
func isStraight(path string, fresh bool) (bool, error) {
	if _, ok := inherited(path); ok {
		return true, nil
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		folder := filepath.Dir(path)
		if _, err := os.Stat(folder); err != nil {
			return false, exit.Usagef("%s: there is no folder %s", path, folder)
		}
		return false, nil
	case err != nil:
		return false, exit.Usagef("%w", err)
	}
	isLink := info.Mode()&fs.ModeSymlink != 0
	if isLink {
		if info, err = os.Stat(path); err != nil {
			return false, exit.Usagef("%s is a link that leads to no file; name the file itself",
				path)
		}
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return false, exit.Usagef("%s is a folder; name a file", path)
	case !mode.IsRegular():
		return true, nil
	case fresh:
		return false, exit.Usagef("%s exists; choose another file", path)
	case isLink:
		return false, exit.Usagef("%s is a link; name the file itself", path)
	}
	return false, nil
}

// open opens a device or a pipe. A pipe waits for its reader until ctx ends.
func open(ctx context.Context, path string) (*os.File, error) {
	if fd, ok := inherited(path); ok {
		return duplicate(fd, path)
	}
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOCTTY, 0)
		done <- opened{f, err}
	}()
	var o opened
	select {
	case o = <-done:
	case <-ctx.Done():
		return nil, fmt.Errorf("open %s: %w", path, ctx.Err()) // the program ends now
	}
	if o.err != nil {
		return nil, o.err
	}
	// The file may have been replaced since it was looked at.
	info, err := o.f.Stat()
	if err == nil && info.Mode().IsRegular() {
		err = exit.Usagef("%s was replaced by a file just now", path)
	}
	if err != nil {
		return nil, errors.Join(err, o.f.Close())
	}
	return o.f, nil
}

// Write implements io.Writer.
func (o *File) Write(p []byte) (int, error) { return o.f.Write(p) }

// Name is the name of the file that is being written. Until Commit it is a temporary name,
// unless the file is written to directly.
func (o *File) Name() string { return o.f.Name() }

// Commit renames the file to its name. When it returns nil, the file and its name are durable.
func (o *File) Commit() error {
	if !o.release() {
		return context.Canceled
	}
	err := o.f.Sync()
	if o.straight && (errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP)) {
		err = nil // pipes and terminals have no stable storage
	}
	if !o.straight { // Windows renames no file that is open
		err = errors.Join(err, o.f.Close())
	}
	if err != nil || o.straight {
		o.committed = err == nil
		return err
	}
	if o.fresh {
		err = durable.RenameNew(o.f.Name(), o.path)
	} else {
		err = durable.Rename(o.f.Name(), o.path)
	}
	if errors.Is(err, fs.ErrExist) {
		return exit.Usagef("%s exists; choose another file", o.path)
	}
	o.committed = err == nil
	return err
}

// Close closes the file, and removes it if it was not committed.
func (o *File) Close() error {
	o.release()
	err := o.f.Close()
	if errors.Is(err, fs.ErrClosed) {
		err = nil // the context ended
	}
	if o.straight || o.committed {
		return err
	}
	if removed := os.Remove(o.f.Name()); !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	return err
}

// Remove removes a committed file. Output that was written directly stays.
func (o *File) Remove() error {
	if o.straight || !o.committed {
		return nil
	}
	return os.Remove(o.path)
}
