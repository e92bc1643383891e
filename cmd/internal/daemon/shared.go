package daemon

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
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm/audit"
	"example.com/atm/auth"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/durable"
	"example.com/atm/vault"
	"example.com/atm/vault/pgstore"
	"github.com/BurntSushi/toml"
)

// What several servers share when the accounts are in a database. Each has a data
// folder of its own, with the same keys/vault.key. The other keys are in the
// database, sealed; the folder has them because everything else reads them there.

// shared is what a server has in common with its replicas.
type shared struct {
	store    *pgstore.Store
	throttle *auth.Throttle
	joined   bool // this start made the folder, for an installation that was there

	ahead atomic.Int64 // by how much the clock of the database is ahead of this machine's

	mu    sync.Mutex
	known map[string][]byte // guarded by mu: what the replicas share, by name

	learning sync.Mutex // held while the database is asked what is new
	size     int64      // guarded by learning: of the journal, as far as it is known
	learned  time.Time  // guarded by learning: when it was asked last
	renewed  time.Time  // guarded by learning: when there was something new

	state sync.Mutex
	err   error     // guarded by state: of the last look at the database
	asked time.Time // guarded by state: when that was
}

const (
	// replicasEvery is how often the database is asked what others did. Within a
	// second of its commit a revocation counts everywhere.
	replicasEvery = 250 * time.Millisecond

	// silence is how long the database may say nothing before the server is not
	// ready.
	silence = 3 * time.Second

	// skew is how far a clock may be from that of the database before the
	// operator is told.
	skew = 2 * time.Second
)

// Joined reports that this start made the folder for an installation that was there.
func (h *Server) Joined() bool { return h.shared != nil && h.shared.joined }

// now is the time by the clock that all replicas share, or this machine's.
func (h *Server) now() time.Time {
	if h.shared == nil {
		return time.Now()
	}
	return time.Now().Add(time.Duration(h.shared.ahead.Load()))
}

// configName is the name under which replicas share what init fixed.
const configName = "config.toml"

// sharedFiles are the files that replicas share, relative to the folder. The key
// of the root is not among them: nothing that runs needs it.
func (h *Server) sharedFiles() map[string]string {
	d := h.dir
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

// ErrJoin reports a folder without the key of the installation that it is to join.
var ErrJoin = errors.New("copy the keys/vault.key of another replica into the keys folder of " +
	"this one first")

// openShared opens the database. A new folder either begins an installation in an empty
// one, or joins the installation that is there.
func (h *Server) openShared(ctx context.Context) error {
	h.shared = &shared{known: make(map[string][]byte), throttle: auth.NewThrottle(time.Now)}
	cfg, err := h.opts.Store.Config()
	if err != nil {
		return err
	}
	cfg.Log = h.opts.Log
	there, err := pgstore.Find(ctx, cfg)
	open := pgstore.Open
	switch {
	case errors.Is(err, pgstore.ErrNoBooks) && h.Fresh:
		open = func(ctx context.Context, cfg pgstore.Config) (*pgstore.Store, error) {
			return pgstore.Create(ctx, cfg, h.dir.Config.Name)
		}
	case err != nil:
		return err
	case h.Fresh && !datadir.Exists(h.dir.VaultKey()):
		return fmt.Errorf("the database has the books of %s already; to start one more replica "+
			"on them, %w", there.Name, ErrJoin)
	case !h.Fresh && there.Name != h.dir.Config.Name:
		return fmt.Errorf("the database has the books of %s; this folder is of %s", there.Name,
			h.dir.Config.Name)
	}
	if h.Fresh && there == nil {
		if err := h.makeKeys(); err != nil {
			return err
		}
	}
	if !h.Fresh {
		if err := settleRollover(h.dir); err != nil {
			return err
		}
	}
	if err := storage.FinishRekey(ctx, h.dir, cfg, h.opts.Passphrase); err != nil {
		return err
	}
	if err := h.readVaultKey(); err != nil {
		return err
	}
	cfg.Secret, cfg.Adopt = h.key.Secret, h.adoptFiles
	if cfg.Replica, err = replicaName(h.dir.Root); err != nil {
		return err
	}
	if h.shared.store, err = open(ctx, cfg); err != nil {
		return err
	}
	h.store = h.shared.store
	return h.fetch(ctx)
}

// replicaName is what people find a running replica by.
func replicaName(folder string) (string, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	machine, err := os.Hostname()
	return fmt.Sprintf("%s on %s (process %d)", folder, machine, os.Getpid()), err
}

// fetch makes the folder have what the replicas share, or the database, when it
// is new.
func (h *Server) fetch(ctx context.Context) error {
	files, err := h.shared.store.Files(ctx)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		if !h.Fresh {
			return fmt.Errorf("the database of %s has no keys; restore it, they are not made anew",
				h.Name())
		}
		if err := h.makeKeys(); err != nil { // what an interrupted init has not made
			return err
		}
		_, err := h.share(ctx)
		return err
	}
	installation, err := h.shared.store.Installation(ctx)
	if err != nil {
		return err
	}
	// otherwise it is the init of this folder
	if h.Fresh && !installation.Complete && !datadir.Exists(h.dir.AuditKey()) {
		return fmt.Errorf("the init of %s has not come to its end; start its first replica again",
			installation.Name)
	}
	h.shared.joined = h.Fresh && installation.Complete
	return h.settle(ctx, files)
}

// settle writes what the replicas share into the folder.
func (h *Server) settle(ctx context.Context, files []pgstore.File) error {
	for _, folder := range []string{"ca", "tls", "keys"} {
		if err := durable.MkdirAll(h.dir.Path(folder), 0o700); err != nil {
			return err
		}
	}
	for _, f := range files {
		if f.Name == configName {
			if err := h.settleConfig(f.Data); err != nil {
				return err
			}
		}
	}
	if err := h.keepChanges(files); err != nil {
		return err
	}
	if err := h.adoptFiles(files); err != nil {
		return err
	}
	if !h.Fresh {
		_, err := h.share(ctx)
		return err
	}
	_, key := h.dir.Server()
	return datadir.Ensure(key, newKey)
}

// keepChanges finds files that were changed here while the server did not run,
// as by atmctl ca rollover, so that they are not overwritten. What another replica
// has changed meanwhile, too, is put aside here.
func (h *Server) keepChanges(files []pgstore.File) error {
	had, err := h.dir.ReadShared()
	if err != nil || had == nil {
		return err
	}
	paths := h.sharedFiles()
	for _, f := range files {
		path, is := paths[f.Name]
		before, was := had[f.Name]
		if !is || !was {
			continue
		}
		here, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		switch {
		case sum(here) == before:
		case sum(f.Data) == before:
			h.shared.known[f.Name] = f.Data // and here it is another one, which share tells of
		case sum(f.Data) != sum(here):
			h.opts.Log.Warn("a file was changed here and by another replica, whose change counts",
				slog.String("file", f.Name))
			if err := durable.WriteFile(path+".mine", here, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// sum tells one content of a file from another, and from none.
func sum(data []byte) string {
	if data == nil {
		return "none"
	}
	hash := sha256.Sum256(data)
	return hex.EncodeToString(hash[:])
}

// remember notes what the replicas share. The caller holds s.mu.
func (h *Server) remember() error {
	sums := make(map[string]string, len(h.shared.known))
	for name, data := range h.shared.known {
		sums[name] = sum(data)
	}
	return h.dir.WriteShared(sums)
}

// settleConfig takes over what init fixed on the first replica, and a recovery of
// the audit log after it.
func (h *Server) settleConfig(text []byte) error {
	var c datadir.Config
	if _, err := toml.Decode(string(text), &c); err != nil {
		return fmt.Errorf("what replicas share: %w", err)
	}
	if h.Fresh {
		return h.dir.Begin(c)
	}
	if c.Origin == h.dir.Config.Origin {
		return nil
	}
	// The log that is published here was given up.
	old := h.dir.Audit() + "." + time.Now().UTC().Format("20060102T150405")
	if err := os.Rename(h.dir.Audit(), old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	h.opts.Log.Warn("the audit log was given up on another replica; the one published here was "+
		"put aside", slog.String("folder", old))
	return h.dir.SetOrigin(c.Origin)
}

// forgetOldKey drops the public key beside the published log when it is one of
// this log that signs no more: other replicas have rotated it while this one was
// away. What is published is compared with the database whoever signed it.
func (h *Server) forgetOldKey() error {
	file := filepath.Join(h.dir.Audit(), "log.vkey")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	old := strings.TrimSpace(string(text))
	if origin, _, _ := strings.Cut(old, "+"); err != nil || origin != h.signer.Origin() ||
		slices.Contains(h.signer.Keys(), old) {
		return err
	}
	h.opts.Log.Warn("the key beside the published audit log was rotated by other replicas",
		slog.String("was", old))
	return os.Remove(file)
}

// adoptFiles is told of files that another replica changed, by what is about to
// decide something or by the one who follows.
func (h *Server) adoptFiles(files []pgstore.File) error {
	s := h.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	paths := h.sharedFiles()
	authorities := false
	for _, f := range files {
		path, is := paths[f.Name]
		if f.Name == configName {
			s.known[f.Name] = bytes.Clone(f.Data)
		}
		if !is {
			continue // the configuration, or of a newer program
		}
		if known, is := s.known[f.Name]; is && bytes.Equal(known, f.Data) {
			continue
		}
		if err := h.adoptFile(f, path); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		s.known[f.Name] = bytes.Clone(f.Data)
		authorities = authorities || strings.HasPrefix(f.Name, "ca/")
	}
	if authorities && h.signing.Load() != nil {
		if err := h.replaceAuthorities(); err != nil { // they may be on their way
			h.opts.Log.Warn("authorities of another replica are not used yet",
				slog.Any("error", err))
		}
	}
	return h.remember()
}

func (h *Server) adoptFile(f pgstore.File, path string) error {
	if f.Data == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	have, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || !bytes.Equal(have, f.Data) {
		perm := fs.FileMode(0o600)
		if bytes.HasPrefix(f.Data, []byte("-----BEGIN CERTIFICATE-----")) {
			perm = 0o644
		}
		if err := durable.WriteFile(path, f.Data, perm); err != nil {
			return err
		}
	}
	switch {
	case path == h.dir.AuditKey() && h.signer != nil:
		next, err := audit.NewSigner(string(f.Data))
		if err != nil {
			return err
		}
		return h.signer.Adopt(next)
	case path == h.dir.TokenKey() && h.tokens != nil && h.module == nil:
		table, err := parseTokenKeys(f.Data)
		if err != nil {
			return err
		}
		return h.tokens.Adopt(table)
	}
	return nil
}

// share gives the other replicas what has changed in the folder, and reports
// whether something had. They have it before they decide anything after that.
func (h *Server) share(ctx context.Context) (bool, error) {
	if h.shared == nil {
		return true, nil
	}
	changed, err := h.unshared()
	if err != nil || len(changed) == 0 {
		return false, err
	}
	// Not while s.mu is held: the committer may wait for it, and has the head
	// that this waits for.
	if err := h.shared.store.PutFiles(ctx, changed...); err != nil {
		return false, err
	}
	h.shared.mu.Lock()
	defer h.shared.mu.Unlock()
	for _, f := range changed {
		h.shared.known[f.Name] = f.Data
	}
	return true, h.remember()
}

// ShareFolder gives the replicas on a store what a folder has. A store in the folder
// itself has none.
func ShareFolder(ctx context.Context, dir *datadir.Dir, store vault.Backend) error {
	database, is := store.(*pgstore.Store)
	if !is {
		return nil
	}
	h := &Server{dir: dir, shared: &shared{store: database, known: make(map[string][]byte)}}
	_, err := h.share(ctx)
	return err
}

// errRotatedElsewhere reports a rotation that met one of another replica.
var errRotatedElsewhere = errors.New("another replica has rotated keys at the same moment; " +
	"nothing was rotated here")

// shareRotated is share for a key that is about to be used.
func (h *Server) shareRotated() error {
	own, err := h.share(context.Background())
	if err == nil && !own {
		err = errRotatedElsewhere
	}
	return err
}

// unshared are the files that the others do not have as they are.
func (h *Server) unshared() (changed []pgstore.File, err error) {
	s := h.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	config, err := toml.Marshal(h.dir.Config)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(s.known[configName], config) {
		changed = append(changed, pgstore.File{Name: configName, Data: config})
	}
	for name, path := range h.sharedFiles() {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if known, is := s.known[name]; is && bytes.Equal(known, data) || !is && data == nil {
			continue
		}
		changed = append(changed, pgstore.File{Name: name, Data: data})
	}
	return changed, nil
}
