// Package offline does what needs a data folder that no server runs on: it
// checks the folder, rebuilds it, compacts it, restores it, moves its accounts,
// and begins another audit log.
package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/publish"
	"example.com/atm/auth"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/backup"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/durable"
	"example.com/atm/teller/replay"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/pgstore"
)

// ErrProblems reports that a check found something wrong.
var ErrProblems = errors.New("problems were found")

// A Checked is what a check looked at.
type Checked struct {
	Entries  int64 `json:"entries"`
	Accounts int   `json:"accounts"` // the bank's own too
	Problems int   `json:"problems"`
}

// A Folder is a data folder that no server runs on.
type Folder struct {
	Data       string
	Store      storage.Location       // where the accounts are
	Passphrase func() ([]byte, error) // asks for it; nil when nobody can be asked
	Logs       []string               // other copies of the audit log, for Recover

	// Progress is told how many entries of the journal have been replayed, by what replays
	// it. Optional.
	Progress func(done, total int64)
}

func (f Folder) progress(done, total int64) {
	if f.Progress != nil {
		f.Progress(done, total)
	}
}

// Check looks at everything in the vault of a data folder, replays its journal
// by the rules, and tells report what is wrong.
func (f Folder) Check(ctx context.Context, report func(problem string)) (*Checked, error) {
	dir, _, store, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	defer store.Close()
	found, err := f.check(ctx, dir, store, report)
	if behind := notBehind(ctx, dir, store); behind != nil &&
		(err == nil || errors.Is(err, ErrProblems)) {
		found.Problems++
		report(behind.Error())
		return found, ErrProblems
	}
	return found, err
}

// notBehind refuses a store that lacks what the folder has published of it, or says something
// else: an older one was put back, or its write-ahead log was cut.
func notBehind(ctx context.Context, dir *datadir.Dir, store vault.Backend) error {
	signed, err := os.ReadFile(filepath.Join(dir.Audit(), "checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var published checkpoint.Checkpoint
	if err == nil {
		published, err = checkpoint.Parse(signed)
	}
	if err != nil || published.Origin != dir.Config.Origin {
		return nil // what is wrong with it is for audit verify to say
	}
	_, head, err := store.Signed(ctx)
	switch {
	case err != nil:
		return err
	case published.Size > head.Size:
		return fmt.Errorf("%w: it has %d entries, the vault %d", publish.ErrAhead, published.Size,
			head.Size)
	case published.Size == head.Size && published.Root != head.Root():
		return fmt.Errorf("%w: with %d entries its root is %s, the vault's %s", publish.ErrForked,
			head.Size, published.Root, head.Root())
	}
	return nil
}

func (f Folder) check(ctx context.Context, dir *datadir.Dir, store vault.Backend,
	report func(string),
) (*Checked, error) {
	found := &Checked{}
	tell := func(problem string) {
		found.Problems++
		report(problem)
	}
	if err := store.Check(ctx, tell); err != nil && !errors.Is(err, vault.ErrDamaged) {
		return nil, err
	}
	if _, inFile := store.(*boltstore.Store); inFile && found.Problems > 0 {
		return found, ErrProblems // what follows would read pages that may be damaged
	}
	rules := replay.Rules{
		Permit: daemon.Permit, Issuer: auth.IssuerOf(dir.Config.Name),
		Progress: f.progress,
	}
	compared, err := replay.Compare(ctx, store, rules, tell)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		tell(err.Error())
		return found, ErrProblems
	}
	found.Entries, found.Accounts = int64(compared.Trail.Size()), len(compared.Kept.Accounts)
	for _, problem := range compared.Differences(&compared.Kept, time.Now()) {
		tell(problem)
	}
	if err := checkCheckpoint(dir, compared); err != nil {
		tell(err.Error())
	}
	if found.Problems > 0 {
		return found, ErrProblems
	}
	return found, nil
}

// checkCheckpoint verifies the checkpoint in a store with the keys that the folder has, and
// with those that follow from them in the log: another replica may have rotated the key.
func checkCheckpoint(dir *datadir.Dir, compared *replay.Compared) error {
	if compared.Trail.Head.Size == 0 {
		return nil
	}
	secret, err := durable.ReadSecret(dir.AuditKey())
	if err != nil {
		return err
	}
	signer, err := checkpoint.NewSigner(string(secret))
	if err != nil {
		return fmt.Errorf("%s: %w", dir.AuditKey(), err)
	}
	keys := checkpoint.Successors(signer.Verifiers(), compared.Rotations)
	c, err := checkpoint.OpenAll(compared.Trail.Checkpoint, keys)
	head := compared.Trail.Head
	switch {
	case err != nil:
		return fmt.Errorf("the checkpoint in the vault: %w", err)
	case c.Origin != dir.Config.Origin || c.Size != head.Size || c.Root != head.Root():
		return fmt.Errorf("the checkpoint in the vault is of %s with %d entries and root %s; the "+
			"log is %s with %d and %s",
			c.Origin, c.Size, c.Root, dir.Config.Origin, head.Size, head.Root())
	}
	return nil
}

func (f Folder) open(ctx context.Context) (*datadir.Dir, datadir.VaultKey, vault.Backend, error) {
	return f.openWith(ctx, boltstore.OpenChecked)
}

// openWith is open with a way of opening a vault in the folder.
func (f Folder) openWith(ctx context.Context, file openFile) (*datadir.Dir, datadir.VaultKey,
	vault.Backend, error,
) {
	dir, key, err := f.lock(ctx)
	if err != nil {
		return nil, key, nil, err
	}
	store, err := f.openStore(ctx, dir, key, file)
	if err != nil {
		return nil, key, nil, errors.Join(err, dir.Close())
	}
	return dir, key, store, nil
}

// An openFile opens a vault that is a file.
type openFile func(path string, secret []byte) (*boltstore.Store, error)

func (f Folder) openStore(ctx context.Context, dir *datadir.Dir, key datadir.VaultKey,
	file openFile,
) (vault.Backend, error) {
	if err := f.Store.Check(dir); err != nil {
		return nil, err
	}
	if !f.Store.InDatabase() {
		store, err := file(dir.Vault(), key.Secret)
		if err != nil {
			return nil, storage.Advise(err)
		}
		return store, nil
	}
	cfg, err := f.Store.Config()
	if err != nil {
		return nil, err
	}
	cfg.Secret = key.Secret
	return pgstore.Open(ctx, cfg)
}

func (f Folder) lock(ctx context.Context) (*datadir.Dir, datadir.VaultKey, error) {
	if _, err := os.Stat(f.Data); err != nil {
		return nil, datadir.VaultKey{}, err // datadir.Open would make a new one
	}
	dir, fresh, err := datadir.Open(f.Data, datadir.Config{})
	if err != nil {
		return nil, datadir.VaultKey{}, err
	}
	if fresh {
		return nil, datadir.VaultKey{}, errors.Join(fmt.Errorf("%s is no complete data folder",
			f.Data), dir.Close())
	}
	var key datadir.VaultKey
	if err = f.finishRekey(ctx, dir); err == nil {
		key, err = dir.ReadVaultKey(f.Passphrase)
	}
	if err != nil {
		return nil, key, errors.Join(err, dir.Close())
	}
	return dir, key, nil
}

// finishRekey ends a change of the vault key that was interrupted.
func (f Folder) finishRekey(ctx context.Context, dir *datadir.Dir) error {
	if !f.Store.InDatabase() {
		return nil
	}
	cfg, err := f.Store.Config()
	if err != nil {
		return err
	}
	return storage.FinishRekey(ctx, dir, cfg, f.Passphrase)
}

// SetPassphrase seals keys/vault.key with a passphrase, or takes the seal away
// when it is empty.
func (f Folder) SetPassphrase(ctx context.Context, passphrase []byte) error {
	if n := len([]rune(string(passphrase))); n > 0 && n < datadir.MinPassphrase {
		return fmt.Errorf("%w: a passphrase has at least %d characters", datadir.ErrUsage,
			datadir.MinPassphrase)
	}
	dir, key, err := f.lock(ctx)
	if err != nil {
		return err
	}
	defer dir.Close()
	key.Passphrase = passphrase
	text, err := key.Encode()
	if err != nil {
		return err
	}
	return durable.WriteFile(dir.VaultKey(), text, 0o600)
}

// Rebuild makes the accounts of a data folder anew from its journal alone. It
// returns how many of them were not what the journal says.
func (f Folder) Rebuild(ctx context.Context) (wrong int, err error) {
	dir, _, store, err := f.open(ctx)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := notBehind(ctx, dir, store); err != nil {
		return 0, err
	}
	err = store.Rebuild(ctx, func(journal vault.Store) (*vault.Records, error) {
		replayed, err := replay.Reconcile(ctx, journal, f.progress)
		if err != nil {
			return nil, fmt.Errorf("the journal is not to be trusted: %w", err)
		}
		kept, err := store.All(ctx)
		if err != nil { // records that do not even open are wrong, too
			kept = &vault.Records{}
		}
		wrong = len(replayed.Differences(kept, time.Now()))
		return replayed.Records(), nil
	})
	return wrong, err
}

// growing tells of the size of a file that becomes as large as another one at most, until
// end is called.
func (f Folder) growing(path, like string) (end func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(growingEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-done:
				f.progress(1, 1)
				return
			}
			whole, err := os.Stat(like)
			part, missing := os.Stat(path)
			if err == nil && missing == nil && part.Size() < whole.Size() {
				f.progress(part.Size(), whole.Size())
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// growingEvery is how often growing looks at the file.
const growingEvery = 200 * time.Millisecond

// Compact gives the free pages of the vault of a data folder back to the disk.
// It returns the sizes of the file before and after, in bytes.
func (f Folder) Compact(ctx context.Context) (before, after int64, err error) {
	dir, key, err := f.lock(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer dir.Close()
	store, err := boltstore.OpenChecked(dir.Vault(), key.Secret)
	if err != nil {
		return 0, 0, storage.Advise(err)
	}
	closed := false
	defer func() {
		if !closed {
			err = errors.Join(err, store.Close())
		}
	}()
	if err := notBehind(ctx, dir, store); err != nil {
		return 0, 0, err
	}
	smaller := dir.Vault() + ".compact"
	if err := os.Remove(smaller); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, err
	}
	end := f.growing(smaller, dir.Vault())
	err = store.Compact(smaller)
	end()
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(smaller) // what is left when something goes wrong
	copied, err := boltstore.OpenChecked(smaller, key.Secret)
	if err != nil {
		return 0, 0, err
	}
	problems := copied.Check(ctx, func(string) {})
	if err := errors.Join(problems, copied.Close()); err != nil {
		return 0, 0, fmt.Errorf("the compacted vault: %w", err)
	}
	closed = true
	if err := store.Close(); err != nil {
		return 0, 0, err
	}
	if before, err = size(dir.Vault()); err != nil {
		return 0, 0, err
	}
	if after, err = size(smaller); err != nil {
		return 0, 0, err
	}
	if err := os.Rename(smaller, dir.Vault()); err != nil {
		return 0, 0, err
	}
	return before, after, durable.SyncDir(dir.Root)
}

func size(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Restore makes a data folder out of a backup. The folder must not exist, or be
// empty. It is there only when all of it was unpacked, checked and the audit
// log published again. An empty folder that is there, such as a mount point or what a
// link leads to, is filled and stays the one that it is.
func (f Folder) Restore(ctx context.Context, archive io.Reader, log *slog.Logger) (found *Checked,
	err error,
) {
	data := filepath.Clean(f.Data)
	if _, err := os.Lstat(data); err == nil {
		if data, err = filepath.EvalSymlinks(data); err != nil {
			return nil, err
		}
		dir, staging, err := datadir.Claim(data)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		defer os.RemoveAll(staging)
		if found, err = f.restoreInto(ctx, staging, archive, log); err != nil {
			return nil, err
		}
		return found, dir.Place(staging)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := durable.MkdirAll(filepath.Dir(data), 0o700); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(filepath.Dir(data), "."+filepath.Base(data)+"-restoring-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	if found, err = f.restoreInto(ctx, folder, archive, log); err != nil {
		return nil, err
	}
	return found, durable.Rename(folder, data)
}

// restoreInto makes a complete data folder in an empty folder.
func (f Folder) restoreInto(ctx context.Context, folder string, archive io.Reader,
	log *slog.Logger,
) (*Checked, error) {
	if err := backup.Unpack(ctx, archive, folder); err != nil {
		return nil, err
	}
	if err := checkServerKey(folder, log); err != nil {
		return nil, err
	}
	unpacked := Folder{Data: folder, Passphrase: f.Passphrase, Progress: f.Progress}
	found, err := unpacked.Check(ctx, func(problem string) {
		log.Error("restored vault", slog.String("problem", problem))
	})
	if err != nil {
		return nil, err
	}
	return found, unpacked.publish(ctx, log)
}

// publish publishes the whole audit log of the vault, none of which is in the folder.
func (f Folder) publish(ctx context.Context, log *slog.Logger) error {
	srv, err := daemon.Open(ctx, daemon.Options{
		Data: f.Data, Store: f.Store, Passphrase: f.Passphrase, Log: log,
		Republish: true,
	})
	if err != nil {
		return err
	}
	return srv.Close()
}

// checkServerKey makes sure that a server can serve with the key in a folder: no client
// would trust it with another one than that of its certificate.
func checkServerKey(folder string, log *slog.Logger) error {
	certFile, keyFile := datadir.At(folder).Server()
	if _, err := certs.NewReloader(certFile, keyFile, log); err != nil {
		return fmt.Errorf("%w: tls/server.key is not the key of tls/server.crt: %w",
			backup.ErrIncomplete, err)
	}
	return nil
}

// VerifyBackup unpacks a backup beside where it lies, checks it as Restore
// does, and throws it away.
func VerifyBackup(ctx context.Context, file string, passphrase func() ([]byte, error),
	progress func(done, total int64), log *slog.Logger,
) (*Checked, error) {
	archive, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	folder, err := os.MkdirTemp(filepath.Dir(file), "."+filepath.Base(file)+"-checking-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	return Folder{
		Data: filepath.Join(folder, "atm-data"), Passphrase: passphrase,
		Progress: progress,
	}.Restore(ctx, archive, log)
}
