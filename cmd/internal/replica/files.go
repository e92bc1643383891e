package replica

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/keys"
	"example.com/atm/internal/durable"
	"example.com/atm/vault"
	"example.com/atm/vault/replicated"
	"github.com/BurntSushi/toml"
)

// files are the files that replicas share.
type files struct {
	dir *datadir.Dir
	log *slog.Logger

	mu    sync.Mutex
	known map[string][]byte // guarded by mu: content that the replicas share, by name
	keys  *keys.Keys        // guarded by mu: nil until they have been read
}

// configName is the name under which replicas share the configuration of init.
const configName = "config.toml"

// paths are the paths of shared files, relative to the folder. The key of the root is not
// shared, because no running program needs it.
func (f *files) paths() map[string]string {
	d := f.dir
	serverCert, serverKey := d.ServerCA()
	clientCert, clientKey := d.ClientCA()
	rootCert, _ := d.RootCA()
	return map[string]string{
		"keys/audit.key": d.AuditKey(), "keys/token.key": d.TokenKey(), "ca/ca.crt": rootCert,
		"ca/servers.crt": serverCert, "ca/servers.key": serverKey,
		"ca/clients.crt": clientCert, "ca/clients.key": clientKey,
		"ca/clients.old.crt": d.OldClientCA(),
	}
}

// keepChanges finds files that were changed here while the server did not run, as by atmctl ca
// rollover, so that they are not overwritten. If another replica changed a file as well, this
// folder's version is renamed.
func (f *files) keepChanges(shared []replicated.File) error {
	had, err := f.dir.Shared().Read()
	if err != nil || had == nil {
		return err
	}
	paths := f.paths()
	for _, file := range shared {
		path, is := paths[file.Name]
		before, was := (*had)[file.Name]
		if !is || !was {
			continue
		}
		here, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		switch {
		case sum(here) == before:
		case sum(file.Data) == before:
			f.known[file.Name] = file.Data // the file differs from it, so Share sends it
		case sum(file.Data) != sum(here):
			f.log.Warn("a file was changed here and by another replica, whose change counts",
				slog.String("file", file.Name))
			if err := durable.WriteFile(path+".mine", here, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// sum identifies the content of a file; a missing file has another sum.
func sum(data []byte) string {
	if data == nil {
		return "none"
	}
	hash := sha256.Sum256(data)
	return hex.EncodeToString(hash[:])
}

// remember notes the shared content in the folder. The caller holds mu.
func (f *files) remember() error {
	sums := make(map[string]string, len(f.known))
	for name, data := range f.known {
		sums[name] = sum(data)
	}
	return f.dir.Shared().Write(&sums)
}

// adoptConfig takes over the configuration of init on the first replica, and of a later
// recovery of the audit log.
func (f *files) adoptConfig(text []byte, fresh bool) error {
	var c datadir.Config
	if _, err := toml.Decode(string(text), &c); err != nil {
		return fmt.Errorf("what replicas share: %w", err)
	}
	if fresh {
		return f.dir.Begin(c)
	}
	if c.Origin == f.dir.Config.Origin {
		return nil
	}
	// The log published here was given up.
	old := f.dir.Audit() + "." + time.Now().UTC().Format("20060102T150405")
	if err := os.Rename(f.dir.Audit(), old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.log.Warn("the audit log was given up on another replica; the one published here was "+
		"put aside", slog.String("folder", old))
	return f.dir.SetOrigin(c.Origin)
}

// adopt applies files that another replica changed. It is called before any decision that
// follows the change.
func (f *files) adopt(changed []replicated.File) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	paths := f.paths()
	authorities := false
	for _, file := range changed {
		path, is := paths[file.Name]
		if file.Name == configName {
			f.known[file.Name] = bytes.Clone(file.Data)
		}
		if !is {
			continue // the configuration, or a file of a newer program
		}
		if known, is := f.known[file.Name]; is && bytes.Equal(known, file.Data) {
			continue
		}
		if err := f.adoptOne(path, file.Data); err != nil {
			return fmt.Errorf("%s: %w", file.Name, err)
		}
		f.known[file.Name] = bytes.Clone(file.Data)
		authorities = authorities || strings.HasPrefix(file.Name, "ca/")
	}
	if authorities && f.keys != nil {
		if err := f.keys.ReplaceAuthorities(); err != nil { // the files may be incomplete yet
			f.log.Warn("authorities of another replica are not used yet", slog.Any("error", err))
		}
	}
	return f.remember()
}

// adoptOne writes another replica's content to the file at path, or removes the file if the
// content is nil.
func (f *files) adoptOne(path string, data []byte) error {
	if data == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	have, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || !bytes.Equal(have, data) {
		perm := fs.FileMode(0o600)
		if bytes.HasPrefix(data, []byte("-----BEGIN CERTIFICATE-----")) {
			perm = 0o644
		}
		if err := durable.WriteFile(path, data, perm); err != nil {
			return err
		}
	}
	if f.keys == nil {
		return nil // they will be read soon
	}
	return f.keys.Adopt(path, data)
}

// Share sends changed files of the folder to the other replicas, and reports whether there were
// any. The replicas apply them before their next decision.
func (r *Replica) Share(ctx context.Context) (changed bool, err error) {
	files, err := r.files.changed()
	if err != nil || len(files) == 0 {
		return false, err
	}
	// Do not hold mu here: the committer may wait for it while it holds the lock on the head of the
	// log, for which Put waits.
	if err := r.Store.PutFiles(ctx, files...); err != nil {
		return false, err
	}
	r.files.mu.Lock()
	defer r.files.mu.Unlock()
	for _, f := range files {
		r.files.known[f.Name] = f.Data
	}
	return true, r.files.remember()
}

// ShareFolder sends the files of a folder to the replicas on a store. A store in the folder has
// no replicas.
func ShareFolder(ctx context.Context, dir *datadir.Dir, store vault.Backend) error {
	database, is := store.(replicated.Store)
	if !is {
		return nil
	}
	r := &Replica{Store: database, files: files{dir: dir, known: make(map[string][]byte)}}
	_, err := r.Share(ctx)
	return err
}

// changed lists the files of this folder that differ from the shared ones.
func (f *files) changed() (list []replicated.File, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	config, err := toml.Marshal(f.dir.Config)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(f.known[configName], config) {
		list = append(list, replicated.File{Name: configName, Data: config})
	}
	for name, path := range f.paths() {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if known, is := f.known[name]; is && bytes.Equal(known, data) || !is && data == nil {
			continue
		}
		list = append(list, replicated.File{Name: name, Data: data})
	}
	return list, nil
}
