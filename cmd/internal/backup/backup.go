// Package backup writes a data folder into a tar archive, and unpacks such an archive.
//
// An archive has everything in a folder except the published log, which can be rebuilt from the
// vault. The vault in it is a file wherever the accounts are. Its last file is SHA256SUMS, so
// truncated or changed archives are detected. It contains every key of the installation.
//
// Its first file is the signed checkpoint of the journal in it, by which a later archive can build
// on it: an increment, which has all records and of the journal only the part after that. The
// second file of an increment is the checkpoint that it builds on.
package backup

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/atm/cmd/internal/datadir"
	"github.com/BurntSushi/toml"
)

const (
	sumsFile     = "SHA256SUMS"
	labelFile    = "checkpoint"
	sinceFile    = "since"
	vaultFile    = "vault.db"
	configFile   = "config.toml"
	maxFileBytes = 1 << 40
	maxLabel     = 64 << 10 // bytes of a checkpoint
	maxFiles     = 1000
)

// folders are the folders in an archive besides the configuration and the vault, and snapshots is
// one more, which increments do not have.
var folders = []string{"ca", "tls", "keys", "clients"}

const snapshots = "snapshots"

// A Draft is an archive that is to be written.
type Draft struct {
	Dir *datadir.Dir

	// Snapshot is called once to write a consistent copy of the vault into a new file. It returns
	// the signed checkpoint in it.
	Snapshot func(ctx context.Context, file string) (checkpoint []byte, err error)

	// Lock is held while Snapshot runs and the keys are read, so that they match.
	Lock sync.Locker

	// Since is the checkpoint that an increment builds on. Empty for all others.
	Since []byte
}

// Write writes the archive to w. After an error of Snapshot it has written nothing.
func (d *Draft) Write(ctx context.Context, w io.Writer) error {
	// The vault is first copied on the same disk. A transaction that waits for a slow reader would
	// keep bbolt from reusing free pages.
	folder, err := os.MkdirTemp(d.Dir.Root, ".backup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	copied := filepath.Join(folder, vaultFile)
	a := &archive{tar: tar.NewWriter(w)}
	if err := d.addFolder(ctx, a, copied); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(d.Since) == 0 { // without the lock: w may be slow, and a rotation changes no snapshot
		if err := a.addTree(d.Dir.Root, []string{snapshots}); err != nil {
			return err
		}
	}
	if err := a.add(copied, vaultFile); err != nil {
		return err
	}
	return a.close()
}

// addFolder adds everything but the snapshots and the vault, of which it makes a copy.
func (d *Draft) addFolder(ctx context.Context, a *archive, copied string) error {
	d.Lock.Lock()
	defer d.Lock.Unlock()
	checkpoint, err := d.Snapshot(ctx, copied)
	if err != nil {
		return err
	}
	return errors.Join(a.addText(labelFile, checkpoint), a.addText(sinceFile, d.Since),
		a.addConfig(d.Dir.Config), a.addTree(d.Dir.Root, folders))
}

// addText adds a small file, unless it is empty.
func (a *archive) addText(name string, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	return a.write(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text))},
		bytes.NewReader(text))
}

// addConfig adds the configuration of a folder whose vault is a file in it.
func (a *archive) addConfig(c datadir.Config) error {
	c.Store = ""
	text, err := toml.Marshal(c)
	if err != nil {
		return err
	}
	return a.addText(configFile, text)
}

// An archive is a tar archive that is being written.
type archive struct {
	tar  *tar.Writer
	sums strings.Builder
}

func (a *archive) addTree(root string, names []string) error {
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(root, name), func(path string, d fs.DirEntry,
			err error,
		) error {
			if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
				return err
			}
			inside, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			err = a.add(path, filepath.ToSlash(inside))
			if name == snapshots && errors.Is(err, fs.ErrNotExist) {
				return nil // it was removed meanwhile, because no journal begins with it
			}
			return err
		})
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && (name == "clients" || name == snapshots)) {
			return err
		}
	}
	return nil
}

func (a *archive) add(from, name string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{
		Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size(),
		ModTime: info.ModTime().Truncate(time.Second),
	}
	return a.write(header, f)
}

func (a *archive) write(header *tar.Header, content io.Reader) error {
	if err := a.tar.WriteHeader(header); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(a.tar, sum), content); err != nil {
		return err
	}
	fmt.Fprintf(&a.sums, "%x  %s\n", sum.Sum(nil), header.Name)
	return nil
}

func (a *archive) close() error {
	sums := a.sums.String()
	if err := a.tar.WriteHeader(&tar.Header{
		Name: sumsFile, Mode: 0o600,
		Size: int64(len(sums)),
	}); err != nil {
		return err
	}
	if _, err := io.WriteString(a.tar, sums); err != nil {
		return err
	}
	return a.tar.Close()
}

// ErrIncomplete reports an archive that is not a complete backup.
var ErrIncomplete = errors.New("this is not a complete backup")

// A Label says how far the journal in an archive goes. Its checkpoints are as they were read:
// nobody has verified their signatures.
type Label struct {
	Checkpoint []byte // of the journal; nil in archives of older versions
	Since      []byte // what an increment builds on; nil for all others
}

// read reads a file of a label, and returns its hash.
func (l *Label) read(name string, r io.Reader) (sum string, err error) {
	text, err := io.ReadAll(io.LimitReader(r, maxLabel+1))
	if err != nil || len(text) > maxLabel {
		return "", fmt.Errorf("%w: %s: %w", ErrIncomplete, name, cmp.Or(err, errTooLarge))
	}
	if name == labelFile {
		l.Checkpoint = text
	} else {
		l.Since = text
	}
	hash := sha256.Sum256(text)
	return hex.EncodeToString(hash[:]), nil
}

var errTooLarge = errors.New("it is too large")

// ReadLabel reads the label of an archive. Of the rest it looks at nothing, but that the end is
// there.
func ReadLabel(from io.ReadSeeker) (label Label, err error) {
	have := make(map[string]string)
	for t := tar.NewReader(from); ; {
		header, err := t.Next()
		switch {
		case err != nil:
			return label, fmt.Errorf("%w: %w", ErrIncomplete, err)
		case header.Name == labelFile, header.Name == sinceFile:
			if have[header.Name], err = label.read(header.Name, t); err != nil {
				return label, err
			}
		case header.Name == sumsFile:
			listed, err := readSums(io.LimitReader(t, maxSums))
			for name, sum := range have {
				if err == nil && listed[name] != sum {
					err = changed(name)
				}
			}
			return label, err
		}
	}
}

// Unpack writes the files of an archive, but its label, into folder, which must be empty.
func Unpack(ctx context.Context, from io.Reader, folder string) (label Label, err error) {
	sums := make(map[string]string) // hash of each file, by name
	archive := &counted{r: from}
	t := tar.NewReader(archive)
	content := &content{t: t, archive: archive}
	for {
		if err := ctx.Err(); err != nil {
			return label, err
		}
		header, err := t.Next()
		if err != nil { // an error even at io.EOF: SHA256SUMS must come before the end
			return label, fmt.Errorf("%w: %w", ErrIncomplete, err)
		}
		name := header.Name
		if name == sumsFile {
			return label, checkSums(io.LimitReader(content, maxSums), sums)
		}
		if header.Typeflag != tar.TypeReg || !belongs(name) || header.Size > maxFileBytes ||
			len(sums) >= maxFiles {
			return label, fmt.Errorf("%w: %q does not belong into it", ErrIncomplete, name)
		}
		if name == labelFile || name == sinceFile {
			sums[name], err = label.read(name, content)
		} else {
			sums[name], err = extract(content, filepath.Join(folder, filepath.FromSlash(name)),
				fs.FileMode(header.Mode).Perm()&0o644)
		}
		if err != nil {
			return label, err
		}
	}
}

// counted counts the bytes that are read.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// content reads the files in an archive. Their total size must not exceed the bytes read from
// the archive: a sparse file, which describes large holes in a few bytes, is refused before it
// fills the disk.
type content struct {
	t       *tar.Reader
	archive *counted
	n       int64
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.t.Read(p)
	if c.n += int64(n); c.n > c.archive.n {
		return 0, errors.New("its files are larger than the archive")
	}
	return n, err
}

// belongs reports whether a backup has a file of this name.
func belongs(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	if !fs.ValidPath(name) || path.Clean(name) != name {
		return false
	}
	switch name {
	case labelFile, sinceFile, vaultFile, configFile:
		return true
	}
	return first == snapshots || slices.Contains(folders, first)
}

func extract(r io.Reader, to string, perm fs.FileMode) (sum string, err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return "", err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, hash), r)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), errors.Join(err, f.Sync(), f.Close())
}

// maxSums bounds SHA256SUMS, in bytes.
const maxSums = 1 << 20

// readSums returns the hashes in SHA256SUMS, by name.
func readSums(r io.Reader) (map[string]string, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	sums := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		sums[name] = sum
	}
	return sums, nil
}

func changed(name string) error {
	return fmt.Errorf("%w: %s is not as it was", ErrIncomplete, name)
}

func checkSums(r io.Reader, have map[string]string) error {
	listed, err := readSums(r)
	if err != nil {
		return err
	}
	for name, sum := range listed {
		if have[name] == "" || have[name] != sum {
			return changed(name)
		}
	}
	if len(listed) != len(have) || have[vaultFile] == "" {
		return fmt.Errorf("%w: %d files are listed and %d are there", ErrIncomplete, len(listed),
			len(have))
	}
	return nil
}
