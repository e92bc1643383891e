// Package offline works on a data folder without a running server: it checks, rebuilds,
// compacts and restores the folder, moves its accounts, and begins another audit log.
package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/publish"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/durable"
	"example.com/atm/teller/replay"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
)

// ErrProblems reports that a check found problems.
var ErrProblems = errors.New("problems were found")

// A Checked is the extent of a check.
type Checked struct {
	Entries  int64 `json:"entries"`
	Accounts int   `json:"accounts"` // including the bank's own
	Problems int   `json:"problems"`
}

// A Folder is a data folder without a running server.
type Folder struct {
	Data       string
	Store      storage.Location       // where the accounts are
	Passphrase func() ([]byte, error) // asks for it; nil if there is no terminal
	Logs       []string               // other copies of the audit log, for Recover
	Archive    string                 // of the audit log and of snapshots; empty for none

	// Progress is called with the number of replayed entries of the journal. Optional.
	Progress func(done, total int64)
}

func (f Folder) progress(done, total int64) {
	if f.Progress != nil {
		f.Progress(done, total)
	}
}

// Check checks everything in the vault of a data folder, replays its journal by the rules, and
// calls report for each problem.
func (f Folder) Check(ctx context.Context, report func(problem string)) (*Checked, error) {
	dir, key, store, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	defer store.Close()
	found, err := f.check(ctx, dir, key, store, report)
	if behind := notBehind(ctx, dir, store); behind != nil &&
		(err == nil || errors.Is(err, ErrProblems)) {
		found.Problems++
		report(behind.Error())
		return found, ErrProblems
	}
	return found, err
}

// notBehind returns an error if the store lacks entries that the folder has published, or
// contradicts them, because an older store was put back or its write-ahead log was truncated.
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
		return nil // audit verify reports what is wrong with it
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

func (f Folder) check(ctx context.Context, dir *datadir.Dir, key datadir.VaultKey,
	store vault.Backend, report func(string),
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
		return found, ErrProblems // the next checks would read damaged pages
	}
	rules, err := f.rules(ctx, dir, key, store)
	if errors.Is(err, replay.ErrNoSnapshot) {
		tell(err.Error())
		return found, ErrProblems
	}
	if err != nil {
		return nil, err
	}
	defer closeSnapshot(rules)
	compared, err := replay.Compare(ctx, store, rules, tell)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		tell(err.Error())
		return found, ErrProblems
	}
	found.Entries, found.Accounts = int64(compared.Trail.Size()), len(compared.Kept.Accounts)
	for _, problem := range compared.Differences(&compared.Kept, time.Now(), rules.Holders) {
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

// checkCheckpoint verifies the checkpoint in a store with the keys in the folder and their
// successors by rotations in the log, because another replica may have rotated the key.
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

// openWith is open with a function that opens a vault in the folder.
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

// An openFile opens a vault file.
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
	return storage.Config{Location: f.Store, Secret: key.Secret}.Open(ctx)
}

func (f Folder) lock(ctx context.Context) (*datadir.Dir, datadir.VaultKey, error) {
	if _, err := os.Stat(f.Data); err != nil {
		return nil, datadir.VaultKey{}, err // datadir.Open would create a new one
	}
	dir, fresh, err := datadir.Open(f.Data, datadir.Config{})
	if err != nil {
		return nil, datadir.VaultKey{}, err
	}
	if fresh {
		return nil, datadir.VaultKey{}, errors.Join(fmt.Errorf("%s is not a complete data folder",
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

// finishRekey completes or undoes an interrupted change of the vault key.
func (f Folder) finishRekey(ctx context.Context, dir *datadir.Dir) error {
	if !f.Store.InDatabase() {
		return nil
	}
	return storage.FinishRekey(ctx, dir, storage.Config{Location: f.Store}, f.Passphrase)
}

// SetPassphrase seals keys/vault.key with a passphrase, or stores it unsealed if the passphrase
// is empty.
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

// A Rebuilt says what a rebuild came to.
type Rebuilt struct {
	Wrong int `json:"wrong"` // records that were not what the journal says

	// Unnamed are the accounts whose holder has a name that was lost.
	Unnamed []vault.Name `json:"unnamed,omitempty"`
}

// Rebuild recreates the accounts of a data folder from its journal alone. The journal has
// hashes of the names of holders: a name stays if the account's hash is that of it, and is left
// out otherwise.
func (f Folder) Rebuild(ctx context.Context) (done Rebuilt, err error) {
	dir, key, store, err := f.open(ctx)
	if err != nil {
		return done, err
	}
	defer dir.Close()
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := notBehind(ctx, dir, store); err != nil {
		return done, err
	}
	rules, err := f.rules(ctx, dir, key, store)
	if err != nil {
		return done, err
	}
	defer closeSnapshot(rules)
	err = store.Rebuild(ctx, func(journal vault.Store) (*vault.Records, error) {
		replayed, err := replay.Reconcile(ctx, journal, rules)
		if err != nil {
			return nil, fmt.Errorf("the journal is not to be trusted: %w", err)
		}
		kept, err := store.All(ctx)
		if err != nil { // records that cannot be opened are wrong, too
			kept = &vault.Records{}
		}
		done.Wrong = len(replayed.Differences(kept, time.Now(), rules.Holders))
		records := replayed.Records()
		done.Unnamed, err = replay.Name(ctx, store, kept.Accounts, rules.Holders, records.Accounts)
		return records, err
	})
	return done, err
}

// growing reports the size of a file that is being written, which becomes at most as large as
// another one, until end is called.
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

// growingEvery is how often growing checks the size.
const growingEvery = 200 * time.Millisecond

// Compact returns the free pages of the vault of a data folder to the disk. It returns the
// sizes of the file before and after, in bytes.
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
	defer os.Remove(smaller) // exists only after an error
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
