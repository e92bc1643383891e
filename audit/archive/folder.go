package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.com/atm/audit"
	"example.com/atm/internal/durable"
)

// A Folder is an archive in a folder, which must exist: so a disk that is not mounted is
// unreachable rather than empty. Its file system must have hard links, with which a name is given
// to a file without replacing another. Any number of processes may use one folder.
type Folder struct {
	root  string
	sweep sync.Once

	turn sync.Mutex // held while names are made durable

	mu   sync.Mutex
	next *names // guarded by mu; those that are made durable next; nil while there are none
}

// names are of objects that are written at about the same time, and are made durable together.
type names struct {
	folders map[string]bool // that the names are in
	sync    func() error
}

// NewFolder returns the archive in the folder at root.
func NewFolder(root string) *Folder { return &Folder{root: filepath.Clean(root)} }

// String implements Objects.
func (f *Folder) String() string { return f.root }

const (
	// temporaries is the folder for objects that are being written.
	temporaries = ".tmp"

	// abandonedAfter is the age at which an object that is being written was given up.
	abandonedAfter = 24 * time.Hour
)

func (f *Folder) path(name string) (string, error) {
	if !fs.ValidPath(name) || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("%q is not the name of an object", name)
	}
	return filepath.Join(f.root, filepath.FromSlash(name)), nil
}

// open opens an object.
func (f *Folder) open(name string) (*os.File, int64, error) {
	path, err := f.path(name)
	if err != nil {
		return nil, 0, err
	}
	if _, err := os.Lstat(path); errors.Is(err, syscall.ENOTDIR) { // below an object
		return nil, 0, fs.ErrNotExist
	}
	file, info, err := durable.OpenRegular(path)
	switch {
	case err == nil:
		return file, info.Size(), nil
	case errors.Is(err, fs.ErrNotExist):
		if err := f.there(); err != nil {
			return nil, 0, err
		}
		return nil, 0, fs.ErrNotExist
	case errors.Is(err, durable.ErrNotRegular):
		return nil, 0, err
	}
	return nil, 0, f.unreachable(err)
}

// there checks that the folder of the archive exists.
func (f *Folder) there() error {
	info, err := os.Stat(f.root)
	if err == nil && !info.IsDir() {
		err = errors.New("is no folder")
	}
	return f.unreachable(err)
}

func (f *Folder) unreachable(err error) error {
	if err == nil {
		return nil
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	// The cause is text alone: a folder that is gone is not an object that is missing.
	return fmt.Errorf("the archive %s %w: %s", f.root, audit.ErrUnreachable, err)
}

// Get implements Objects.
func (f *Folder) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	file, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if size > limit {
		return nil, audit.ErrTooLarge
	}
	data, err := durable.ReadAll(file, size, limit+1)
	if err != nil {
		return nil, f.unreachable(err)
	}
	if int64(len(data)) > limit { // it grew since
		return nil, audit.ErrTooLarge
	}
	return data, ctx.Err()
}

// Copy implements Objects.
func (f *Folder) Copy(ctx context.Context, name string, w io.Writer) (int64, error) {
	file, _, err := f.open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	n, err := copyTo(ctx, w, file)
	var path *fs.PathError
	if errors.As(err, &path) && path.Path == file.Name() {
		err = f.unreachable(err) // rather than a failure of w
	}
	return n, err
}

// copyTo is io.Copy until ctx is done.
func copyTo(ctx context.Context, w io.Writer, r io.Reader) (n int64, err error) {
	const piece = 1 << 20
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, err := io.CopyN(w, r, piece)
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// Put implements Objects.
func (f *Folder) Put(ctx context.Context, name string, content Content) error {
	path, err := f.path(name)
	if err != nil {
		return err
	}
	if err := f.there(); err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return f.taken(path)
	}
	aside := filepath.Join(f.root, temporaries)
	err = errors.Join(durable.MkdirAll(aside, 0o700), durable.MkdirAll(filepath.Dir(path), 0o700))
	if err != nil {
		return f.cannotWrite(name, err)
	}
	f.sweep.Do(func() { removeAbandoned(aside) })
	temporary, err := writeAside(ctx, aside, name, content)
	if err != nil {
		return f.cannotWrite(name, err)
	}
	// Unlike a rename, a link does not replace a file.
	err = errors.Join(os.Link(temporary, path), os.Remove(temporary))
	if errors.Is(err, fs.ErrExist) {
		return f.taken(path)
	}
	if err == nil {
		err = f.syncNames(filepath.Dir(path))
	}
	return f.cannotWrite(name, err)
}

// syncNames makes the names in a folder durable, with those that others wait for.
func (f *Folder) syncNames(folder string) error {
	f.mu.Lock()
	if f.next == nil {
		folders := make(map[string]bool)
		f.next = &names{folders, sync.OnceValue(func() error {
			f.turn.Lock()
			defer f.turn.Unlock()
			f.mu.Lock()
			f.next = nil // a name that is given from now on may come too late for this sync
			f.mu.Unlock()
			var err error
			for folder := range folders {
				err = errors.Join(err, durable.SyncDir(folder))
			}
			return err
		})}
	}
	next := f.next
	next.folders[folder] = true
	f.mu.Unlock()
	return next.sync()
}

// taken reports that an object exists. Its name is made durable here, because the
// process that wrote it may have been killed before it did that.
func (f *Folder) taken(path string) error {
	if err := f.syncNames(filepath.Dir(path)); err != nil {
		return f.unreachable(err)
	}
	return fs.ErrExist
}

func (f *Folder) cannotWrite(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("writing %s to the archive %s: %w", name, f.root, err)
}

// writeAside writes content to a durable file with a temporary name.
func writeAside(ctx context.Context, aside, name string, content Content) (path string, err error) {
	file, err := durable.Temporary(filepath.Join(aside, filepath.Base(name)), 0o400)
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if err := content.copyTo(ctx, file); err != nil {
		return "", err
	}
	return file.Name(), file.Sync()
}

// ErrSum reports content that does not have the SHA-256 that it is said to have.
var ErrSum = errors.New("the content does not have its SHA-256")

// removeAbandoned removes what killed processes were writing. What cannot be removed stays.
func removeAbandoned(aside string) {
	entries, _ := os.ReadDir(aside)
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()) > abandonedAfter {
			os.Remove(filepath.Join(aside, entry.Name()))
		}
	}
}

// List implements Objects.
func (f *Folder) List(ctx context.Context, prefix string, yield func(name string) error) error {
	if err := f.there(); err != nil {
		return err
	}
	return f.list(ctx, ".", prefix, yield)
}

// list lists a folder. It skips folders whose objects cannot begin with prefix.
func (f *Folder) list(ctx context.Context, folder, prefix string,
	yield func(name string) error,
) error {
	entries, err := os.ReadDir(filepath.Join(f.root, filepath.FromSlash(folder)))
	if errors.Is(err, fs.ErrNotExist) {
		return f.there()
	}
	if err != nil {
		return f.unreachable(err)
	}
	for _, name := range inOrder(entries) {
		if err := ctx.Err(); err != nil {
			return err
		}
		full := strings.TrimPrefix(folder+"/"+name, "./")
		below, isFolder := strings.CutSuffix(full, "/")
		switch {
		case isFolder && (strings.HasPrefix(full, prefix) || strings.HasPrefix(prefix, full)):
			err = f.list(ctx, below, prefix, yield)
		case !isFolder && strings.HasPrefix(full, prefix):
			err = yield(full)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inOrder returns names in the order of the full names of objects. A folder has a slash at its
// end. Names that begin with a dot are no objects.
func inOrder(entries []fs.DirEntry) []string {
	var names []string
	for _, entry := range entries {
		switch {
		case strings.HasPrefix(entry.Name(), "."):
		case entry.IsDir():
			names = append(names, entry.Name()+"/")
		default:
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names
}
