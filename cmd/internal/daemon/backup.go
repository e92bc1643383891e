package daemon

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
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"github.com/BurntSushi/toml"
)

// A backup is a tar archive of a data folder, the published log apart, which
// is made anew from the vault. Its last file is SHA256SUMS, so an archive that
// was broken off or changed is noticed. It holds every key of the installation.

const (
	sumsFile    = "SHA256SUMS"
	backupLimit = 1 << 40 // bytes of one file in an archive
)

// backedUp are the folders that a backup has, beside the configuration and the
// vault.
var backedUp = []string{"ca", "tls", "keys", "clients"}

// Backup writes a backup of the running server. It holds everything that was
// answered before it began.
func (h *Server) Backup(ctx context.Context, w io.Writer) error {
	// The vault is copied on this disk first: a transaction that waits for a
	// slow reader would keep the file from using its free pages.
	folder, err := os.MkdirTemp(h.dir.Root, ".backup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	snapshot := filepath.Join(folder, "vault.db")
	a := &archive{tar: tar.NewWriter(w)}

	h.keys.Lock() // the key and the snapshot must belong together
	err = errors.Join(h.snapshot(ctx, snapshot), a.addConfig(h.dir.Config),
		a.addTree(h.dir.Root, backedUp))
	h.keys.Unlock()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(a.add(snapshot, "vault.db"), a.close())
}

// snapshot writes the vault as it is at one moment to a file. What is in a
// database goes into a vault of the same key: a backup is restored without one.
func (h *Server) snapshot(ctx context.Context, file string) error {
	if h.file != nil {
		return h.file.Snapshot(file)
	}
	return export(ctx, h.store, file, h.key.Secret)
}

// addConfig adds the configuration of a folder that has its vault in it.
func (a *archive) addConfig(c datadir.Config) error {
	c.Store = ""
	text, err := toml.Marshal(c)
	if err != nil {
		return err
	}
	return a.write(&tar.Header{Name: "config.toml", Mode: 0o600, Size: int64(len(text))},
		bytes.NewReader(text))
}

// An archive is a backup that is being written.
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
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && name == "clients") {
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

// ErrBackup reports an archive that is no whole backup.
var ErrBackup = errors.New("this is no whole backup")

// unpack puts the files of a backup into folder, which is empty.
func unpack(ctx context.Context, backup io.Reader, folder string) error {
	sums := make(map[string]string) // name → hash, of what was unpacked
	archive := &counted{r: backup}
	t := tar.NewReader(archive)
	content := &content{t: t, archive: archive}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := t.Next()
		if err != nil { // io.EOF too: the sums come before the end
			return fmt.Errorf("%w: %w", ErrBackup, err)
		}
		if header.Name == sumsFile {
			return checkSums(io.LimitReader(content, 1<<20), sums)
		}
		if header.Typeflag != tar.TypeReg || !belongs(header.Name) || header.Size > backupLimit ||
			len(sums) >= 1000 {
			return fmt.Errorf("%w: %q does not belong into it", ErrBackup, header.Name)
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

// content reads the files in an archive. They are never more than what was read of the
// archive: a sparse file, which says in a few bytes how large its holes are, is refused
// before it fills the disk.
type content struct {
	t       *tar.Reader
	archive *counted
	n       int64
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.t.Read(p)
	if c.n += int64(n); c.n > c.archive.n {
		return 0, errors.New("its files are larger than it is itself")
	}
	return n, err
}

// belongs reports whether a backup has files of this name.
func belongs(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	if !fs.ValidPath(name) || path.Clean(name) != name {
		return false
	}
	if name == "vault.db" || name == "config.toml" {
		return true
	}
	for _, known := range backedUp {
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
		err = fmt.Errorf("%w: %w", ErrBackup, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), errors.Join(err, f.Sync(), f.Close())
}

func checkSums(r io.Reader, have map[string]string) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	listed := 0
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if have[name] == "" || have[name] != sum {
			return fmt.Errorf("%w: %s is not as it was", ErrBackup, name)
		}
		listed++
	}
	if listed != len(have) || have["vault.db"] == "" {
		return fmt.Errorf("%w: %d files are listed and %d are there", ErrBackup, listed, len(have))
	}
	return nil
}

// checkServerKey makes sure that a server can serve with the key in a folder: no client
// would trust it with another one than that of its certificate.
func checkServerKey(folder string, log *slog.Logger) error {
	certFile, keyFile := (&datadir.Dir{Root: folder}).Server()
	if _, err := certs.NewReloader(certFile, keyFile, log); err != nil {
		return fmt.Errorf("%w: tls/server.key is not the key of tls/server.crt: %w", ErrBackup, err)
	}
	return nil
}
