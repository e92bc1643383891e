// Package backup writes a data folder into a tar archive, and unpacks such an archive.
//
// An archive has everything in a folder except the published log, which can be rebuilt from the
// vault. The vault in it is a file wherever the accounts are. Its last file is SHA256SUMS, so
// truncated or changed archives are detected. It contains every key of the installation.
package backup

import (
	"archive/tar"
	"bytes"
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
	"strings"
	"sync"
	"time"

	"example.com/atm/cmd/internal/datadir"
	"github.com/BurntSushi/toml"
)

const (
	sumsFile     = "SHA256SUMS"
	vaultFile    = "vault.db"
	configFile   = "config.toml"
	maxFileBytes = 1 << 40
	maxFiles     = 1000
)

// folders are the folders in an archive besides the configuration and the vault.
var folders = []string{"ca", "tls", "keys", "clients", "snapshots"}

// Write writes an archive of the folder dir. It calls snapshot once to write a consistent copy
// of the vault into a new file. It holds lock while snapshot runs and the keys are read, so
// that they match.
func Write(ctx context.Context, w io.Writer, dir *datadir.Dir, lock sync.Locker,
	snapshot func(ctx context.Context, file string) error,
) error {
	// The vault is first copied on the same disk. A transaction that waits for a slow reader would
	// keep bbolt from reusing free pages.
	folder, err := os.MkdirTemp(dir.Root, ".backup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	copied := filepath.Join(folder, vaultFile)
	a := &archive{tar: tar.NewWriter(w)}
	lock.Lock()
	err = errors.Join(snapshot(ctx, copied), a.addConfig(dir.Config), a.addTree(dir.Root, folders))
	lock.Unlock()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(a.add(copied, vaultFile), a.close())
}

// addConfig adds the configuration of a folder whose vault is a file in it.
func (a *archive) addConfig(c datadir.Config) error {
	c.Store = ""
	text, err := toml.Marshal(c)
	if err != nil {
		return err
	}
	return a.write(&tar.Header{Name: configFile, Mode: 0o600, Size: int64(len(text))},
		bytes.NewReader(text))
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
			return a.add(path, filepath.ToSlash(inside))
		})
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && (name == "clients" || name == "snapshots")) {
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

// Unpack writes the files of an archive into folder, which must be empty.
func Unpack(ctx context.Context, from io.Reader, folder string) error {
	sums := make(map[string]string) // hash of each unpacked file, by name
	archive := &counted{r: from}
	t := tar.NewReader(archive)
	content := &content{t: t, archive: archive}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := t.Next()
		if err != nil { // an error even at io.EOF: SHA256SUMS must come before the end
			return fmt.Errorf("%w: %w", ErrIncomplete, err)
		}
		if header.Name == sumsFile {
			return checkSums(io.LimitReader(content, 1<<20), sums)
		}
		if header.Typeflag != tar.TypeReg || !belongs(header.Name) || header.Size > maxFileBytes ||
			len(sums) >= maxFiles {
			return fmt.Errorf("%w: %q does not belong into it", ErrIncomplete, header.Name)
		}
		sum, err := extract(content, filepath.Join(folder, filepath.FromSlash(header.Name)),
			fs.FileMode(header.Mode).Perm()&0o644)
		if err != nil {
			return err
		}
		sums[header.Name] = sum
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
	if name == vaultFile || name == configFile {
		return true
	}
	for _, known := range folders {
		if first == known {
			return true
		}
	}
	return false
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

func checkSums(r io.Reader, have map[string]string) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	listed := 0
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if have[name] == "" || have[name] != sum {
			return fmt.Errorf("%w: %s is not as it was", ErrIncomplete, name)
		}
		listed++
	}
	if listed != len(have) || have[vaultFile] == "" {
		return fmt.Errorf("%w: %d files are listed and %d are there", ErrIncomplete, listed,
			len(have))
	}
	return nil
}
