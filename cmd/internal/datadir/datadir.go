// Package datadir manages the folder in which a server keeps everything that must not be lost:
// its configuration, keys, authorities, vault and audit log.
//
// Only a complete folder is used. Init first writes its decisions to init.toml; each step after
// that completes what it finds; and the last step renames init.toml to config.toml. So the next
// start completes an init that crashed. A file that is missing from a complete folder is never
// created again: it stops the start.
package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"example.com/atm/internal/durable"
	"example.com/atm/internal/machine"
	"example.com/atm/internal/owner"
	"github.com/BurntSushi/toml"
	"github.com/gofrs/flock"
)

// A Dir is a data folder that this process has locked.
type Dir struct {
	Paths
	Config Config

	lock *flock.Flock
}

// Config is what init decided, for good.
type Config struct {
	Name   string `toml:"name"`   // trust domain and token issuer
	Realm  string `toml:"realm"`  // of HTTP Digest
	Origin string `toml:"origin"` // of the audit log
	Empty  bool   `toml:"empty"`  // created without the demo account

	// Store is where the accounts are: empty for vault.db in the folder, Postgres or
	// DynamoDB.
	Store string `toml:"store,omitempty"`
}

// IsServerName reports whether s can be a trust domain (SPIFFE ID, section 2.1)
// and a host name.
func IsServerName(s string) bool {
	if len(s) < 1 || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// Postgres means that the accounts are in a database, which several servers, each with its own
// folder, share.
const Postgres = "postgres"

// DynamoDB is Postgres for a table of Amazon DynamoDB.
const DynamoDB = "dynamodb"

const (
	configFile = "config.toml"
	initFile   = "init.toml"
)

// ErrUsage marks a request or an option that contradicts the decisions of init.
var ErrUsage = errors.New("usage")

// ErrInUse reports a data folder that another process has locked.
var ErrInUse = errors.New("in use by another process")

// required lists the files that a complete folder must have.
func (d *Dir) required() []string {
	files := []string{d.VaultKey(), d.AuditKey(), d.TokenKey()}
	if d.Config.Store == "" {
		files = append(files, d.Vault())
	}
	for _, pair := range []func() (string, string){d.ServerCA, d.ClientCA, d.Server} {
		cert, key := pair()
		files = append(files, cert, key)
	}
	return files
}

// Open locks the folder at root. If the folder does not exist, is empty, or has an interrupted
// init, fresh is true, and the caller has to carry out init and then call Complete. wanted is
// the configuration of a new folder; decisions of an interrupted init take precedence. A folder
// for accounts in a database may have the keys/vault.key of another server from the start.
func Open(root string, wanted Config) (d *Dir, fresh bool, err error) {
	if err := machine.Serves(runtime.GOOS); err != nil {
		return nil, false, err
	}
	root = filepath.Clean(root)
	info, err := os.Stat(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := durable.MkdirAll(root, 0o700); err != nil {
			return nil, false, fmt.Errorf("create the data folder: %w", err)
		}
	case err != nil:
		return nil, false, fmt.Errorf("data folder: %w", err)
	case !info.IsDir():
		return nil, false, fmt.Errorf("the data folder %s is not a folder", root)
	case owner.OthersMayUse(info):
		return nil, false, fmt.Errorf("the data folder %s may be read by others (mode %04o); "+
			"chmod 700 it",
			root, info.Mode().Perm())
	}
	d = At(root)
	if err := d.acquire(); err != nil {
		return nil, false, err
	}
	fresh, err = d.read(wanted)
	if err != nil {
		return nil, false, errors.Join(err, d.Close())
	}
	return d, fresh, nil
}

// stagingPrefix is the prefix of the folder in which the content of a claimed folder is
// prepared.
const stagingPrefix = ".restoring-"

// Claim locks the folder at root, which must exist and be empty, and returns a folder in it in
// which to prepare its content. Place ends that. Claim removes content that another process
// prepared and never placed.
func Claim(root string) (claimed *Dir, staging string, err error) {
	if err := machine.Serves(runtime.GOOS); err != nil {
		return nil, "", err
	}
	d := At(root)
	if err := d.acquire(); err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	names, err := d.contents()
	if err != nil {
		return nil, "", err
	}
	for _, e := range names {
		if !strings.HasPrefix(e.Name(), stagingPrefix) {
			return nil, "", fmt.Errorf("%s exists and is not empty", root)
		}
	}
	for _, e := range names {
		if err := os.RemoveAll(d.Path(e.Name())); err != nil {
			return nil, "", err
		}
	}
	staging, err = os.MkdirTemp(root, stagingPrefix)
	return d, staging, err
}

// Place moves the complete data folder at staging, which Claim created, to its place. The file
// that marks a folder as complete comes last.
func (d *Dir) Place(staging string) (err error) {
	var moved []string
	defer func() {
		for _, path := range moved {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}()
	if err := os.Chmod(d.Root, 0o700); err != nil {
		return err
	}
	names, err := os.ReadDir(staging)
	if err != nil {
		return err
	}
	for _, e := range names {
		if e.Name() == configFile {
			continue
		}
		if err := os.Rename(filepath.Join(staging, e.Name()), d.Path(e.Name())); err != nil {
			return err
		}
		moved = append(moved, d.Path(e.Name()))
	}
	if err := durable.SyncDir(d.Root); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(staging, configFile), d.Path(configFile)); err != nil {
		return err
	}
	moved = nil
	return errors.Join(os.Remove(staging), durable.SyncDir(d.Root))
}

// acquire locks the folder itself, so that the lock leaves no file behind and ends with the
// process, however the process ends.
func (d *Dir) acquire() error {
	lock := flock.New(d.Root, flock.SetFlag(os.O_RDONLY))
	switch locked, err := lock.TryLock(); {
	case err != nil:
		return fmt.Errorf("lock the data folder %s: %w", d.Root, err)
	case !locked:
		return fmt.Errorf("the data folder %s is %w", d.Root, ErrInUse)
	}
	d.lock = lock
	return nil
}

// Close unlocks the folder.
func (d *Dir) Close() error { return d.lock.Close() }

func (d *Dir) read(wanted Config) (fresh bool, err error) {
	if Exists(d.Path(configFile)) {
		if err := d.decode(configFile); err != nil {
			return false, err
		}
		for _, file := range d.required() {
			if !Exists(file) {
				return false, fmt.Errorf("%s is missing from a complete data folder; restore it, "+
					"it is not made anew", file)
			}
		}
		return false, nil
	}
	if Exists(d.Path(initFile)) {
		return true, d.decode(initFile)
	}
	names, err := d.contents()
	if err != nil {
		return false, err
	}
	if len(names) > 0 && !(wanted.Store != "" && d.onlyVaultKey(names)) {
		return false, fmt.Errorf("%s is not a data folder: it has no %s and is not empty", d.Root,
			configFile)
	}
	if err := d.Begin(wanted); err != nil {
		return false, fmt.Errorf("begin the data folder: %w", err)
	}
	return true, nil
}

// contents lists the folder, without what a new file system has in its root.
func (d *Dir) contents() ([]fs.DirEntry, error) {
	names, err := os.ReadDir(d.Root)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	return slices.DeleteFunc(names, func(e fs.DirEntry) bool {
		return e.Name() == "lost+found"
	}), nil
}

func (d *Dir) onlyVaultKey(names []fs.DirEntry) bool {
	keys, err := os.ReadDir(d.Path("keys"))
	return err == nil && len(names) == 1 && len(keys) == 1 && Exists(d.VaultKey())
}

// Begin fixes the configuration that the folder will have after init.
func (d *Dir) Begin(wanted Config) error {
	d.Config = wanted
	return d.encode(initFile, wanted)
}

// BeginAgain is Begin for a folder that may have a configuration: init makes what it lacks.
func (d *Dir) BeginAgain(wanted Config) error {
	if err := d.Begin(wanted); err != nil {
		return err
	}
	if err := os.Remove(d.Path(configFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(d.Root)
}

// ReadConfig reads the configuration of a folder, also of one whose init was interrupted. It
// returns an error that is fs.ErrNotExist if there is none.
func (d *Dir) ReadConfig() (*Config, error) {
	err := d.decode(configFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = d.decode(initFile)
	}
	if err != nil {
		return nil, err
	}
	return &d.Config, nil
}

func (d *Dir) encode(name string, c Config) error {
	text, err := toml.Marshal(c)
	if err != nil {
		return err
	}
	return durable.WriteFile(d.Path(name), text, 0o600)
}

func (d *Dir) decode(name string) error {
	if info, err := os.Stat(d.Path(name)); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", d.Path(name)) // opening a pipe would block
	}
	meta, err := toml.DecodeFile(d.Path(name), &d.Config)
	if err != nil {
		return fmt.Errorf("%s: %w", d.Path(name), err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return fmt.Errorf("%s: unknown key %s", d.Path(name), unknown[0])
	}
	switch d.Config.Store {
	case "", Postgres, DynamoDB:
	default:
		return fmt.Errorf("%s: there is no store %q", d.Path(name), d.Config.Store)
	}
	if d.Config.Name == "" || d.Config.Realm == "" || d.Config.Origin == "" {
		return fmt.Errorf("%s: name, realm and origin must be set", d.Path(name))
	}
	return nil
}

// SetOrigin changes the origin of the audit log.
func (d *Dir) SetOrigin(origin string) error {
	changed := d.Config
	changed.Origin = origin
	return d.change(changed)
}

// SetStore changes where the accounts are.
func (d *Dir) SetStore(store string) error {
	changed := d.Config
	changed.Store = store
	return d.change(changed)
}

func (d *Dir) change(c Config) error {
	if err := d.encode(configFile, c); err != nil {
		return err
	}
	d.Config = c
	return nil
}

// Complete ends init by marking the folder as complete.
func (d *Dir) Complete() error {
	for _, file := range d.required() {
		if !Exists(file) {
			return fmt.Errorf("init did not make %s", file)
		}
	}
	if err := os.Rename(d.Path(initFile), d.Path(configFile)); err != nil {
		return fmt.Errorf("complete the data folder: %w", err)
	}
	return durable.SyncDir(d.Root)
}

// Exists reports whether path exists.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
