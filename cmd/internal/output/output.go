// Package output is what commands give: tables for people, JSON for programs, and the files
// that somebody names on a command line.
//
// What people read is printable, whoever wrote it, and on a terminal alone it has colours,
// is cut to the width, and goes through a pager when it is long.
//
// A regular file is written whole and synced under a temporary name, and gets its own
// name last: a command that fails or is killed leaves what was there. It is always a
// new file, so it has the permissions that were asked for and never those of the file
// that it replaces. A link to a regular file, or to nothing, is refused. What is there
// and is no regular file, such as /dev/null, /dev/stdout or a pipe, is written to
// straight, and stays what it is.
package output

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"example.com/atm/cmd/internal/exit"
	"example.com/atm/internal/durable"
)

// A File is what a command writes for somebody. End it with Close, after Commit
// when everything was written.
type File struct {
	f         *os.File
	path      string
	straight  bool // f is what was there; else it is a temporary file beside path
	fresh     bool // path must not exist
	committed bool
	release   func() bool // ends the watch over the context
}

// Check says beforehand, as an error of usage, why Create would refuse path.
func Check(path string) error { return check(path, false) }

// CheckNew says beforehand, as an error of usage, why CreateNew would refuse path.
func CheckNew(path string) error { return check(path, true) }

func check(path string, fresh bool) error {
	_, err := isStraight(path, fresh)
	return err
}

// Create begins the file at path, in place of a regular file that is there.
func Create(ctx context.Context, path string, perm fs.FileMode) (*File, error) {
	return create(ctx, path, perm, false)
}

// CreateNew is Create for what must not replace a file, such as a secret.
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
	// Whoever reads a pipe may stop reading.
	o.release = context.AfterFunc(ctx, func() { o.f.Close() })
	return o, nil
}

// Write writes the content of a file.
func Write(ctx context.Context, path string, data []byte, perm fs.FileMode) error {
	return write(ctx, path, data, perm, false)
}

// WriteNew is Write for what must not replace a file.
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

// isStraight reports whether path is written to as it is there. It refuses what must
// not be written to.
func isStraight(path string, fresh bool) (bool, error) {
	if _, ok := inherited(path); ok {
		return true, nil
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
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

// open opens what is there and is no regular file. A pipe waits for its other end, as
// long as ctx allows.
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
	// It may be another one than the one that was looked at.
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

// Name is the name of the file that is being written: until Commit it is a temporary
// one, unless the file is written to straight.
func (o *File) Name() string { return o.f.Name() }

// Commit gives the file its name. When it returns nil, the file and its name are on
// stable storage.
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

// Close ends the file. Without a Commit before, nothing is left of it.
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

// Remove takes back what Commit did. What was written to straight stays.
func (o *File) Remove() error {
	if o.straight || !o.committed {
		return nil
	}
	return os.Remove(o.path)
}
