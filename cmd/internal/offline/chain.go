package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/cmd/internal/backup"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/durable"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
)

// ErrChain reports backups that do not build on one another in the order given.
var ErrChain = errors.New("these backups are no chain")

// A Backup is a file that atmctl backup wrote.
type Backup struct {
	Name    string // for messages
	Content io.Reader
}

// unpack unpacks a backup, or a chain, into an empty folder.
func (f Folder) unpack(ctx context.Context, folder string, backups []Backup) error {
	if len(backups) > 1 {
		return f.join(ctx, folder, backups)
	}
	label, err := backup.Unpack(ctx, backups[0].Content, folder)
	if err == nil && label.Since != nil {
		err = isIncrement(backups[0].Name)
	}
	return err
}

func isIncrement(name string) error {
	return fmt.Errorf("%w: %s is an increment, and what it builds on comes before it", ErrChain,
		name)
}

// join unpacks a chain of backups into a folder: the records, the keys and the configuration of
// the last one, and the journal of all of them. Where the journal begins, and the snapshot that it
// begins with, are those of the first one.
func (f Folder) join(ctx context.Context, folder string, backups []Backup) (err error) {
	parts := filepath.Join(folder, ".chain")
	if err := os.Mkdir(parts, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(parts)) }()
	var links []*link
	for i, b := range backups {
		l, err := unpackLink(ctx, b, filepath.Join(parts, strconv.Itoa(i)))
		if err != nil {
			return err
		}
		if links = append(links, l); i > 0 {
			err = l.follows(links[i-1])
		} else if l.since != nil {
			err = isIncrement(b.Name)
		}
		if err != nil {
			return err
		}
	}
	last := links[len(links)-1]
	key, err := last.dir.ReadVaultKey(f.Passphrase)
	if err != nil {
		return fmt.Errorf("%s: %w", last.name, err)
	}
	if err := f.joinVaults(ctx, links, key, filepath.Join(folder, filepath.Base(
		last.dir.Vault()))); err != nil {
		return err
	}
	return place(folder, links[0].dir, last.dir)
}

// joinVaults opens the vaults of a chain, verifies that each continues the one before it, and
// writes one vault at path.
func (f Folder) joinVaults(ctx context.Context, links []*link, key datadir.VaultKey, path string,
) (err error) {
	for i, l := range links {
		if err := l.open(ctx, key, f.Passphrase); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		defer l.store.Close()
		if i > 0 {
			if err := l.continues(ctx); err != nil {
				return err
			}
		}
	}
	to, err := boltstore.Create(path, key.Secret)
	if err != nil {
		return err
	}
	return errors.Join(to.Fill(ctx, chained(links).dump), to.Close())
}

// place moves what belongs beside a joined vault into its folder: the keys and the configuration
// of the last backup, and the snapshots of the first one.
func place(folder string, first, last *datadir.Dir) error {
	names, err := os.ReadDir(last.Root)
	if err != nil {
		return err
	}
	for _, e := range names {
		if path := last.Path(e.Name()); path != last.Vault() {
			if err := os.Rename(path, filepath.Join(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	if datadir.Exists(first.Snapshots()) {
		err = os.Rename(first.Snapshots(), datadir.At(folder).Snapshots())
	}
	return errors.Join(err, durable.SyncDir(folder))
}

// A link is one backup of a chain, unpacked.
type link struct {
	name  string
	dir   *datadir.Dir
	label checkpoint.Checkpoint  // of the journal; zero in backups of older versions
	since *checkpoint.Checkpoint // that an increment builds on; nil in a full backup

	// The rest is there once the vault is open.
	store *boltstore.Store
	base  vault.Base
	log   vault.JournalIndex // where the current audit log begins
	head  merkle.Head        // of that
}

func unpackLink(ctx context.Context, b Backup, folder string) (*link, error) {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	label, err := backup.Unpack(ctx, b.Content, folder)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Name, err)
	}
	l := &link{name: b.Name, dir: datadir.At(folder)}
	if label.Checkpoint != nil {
		if l.label, err = checkpoint.Parse(label.Checkpoint); err != nil {
			return nil, fmt.Errorf("%s: %w", b.Name, err)
		}
	}
	if label.Since != nil {
		since, err := checkpoint.Parse(label.Since)
		if err != nil {
			return nil, fmt.Errorf("%s: what it builds on: %w", b.Name, err)
		}
		l.since = &since
	}
	return l, nil
}

// follows returns an error unless l says that it builds on before.
func (l *link) follows(before *link) error {
	switch {
	case l.since == nil:
		return fmt.Errorf("%w: %s is a full backup, and no increment", ErrChain, l.name)
	case before.label.Origin == "":
		return fmt.Errorf("%w: %s is of an older version, and nothing builds on it", ErrChain,
			before.name)
	case l.since.Origin != before.label.Origin, l.label.Origin != before.label.Origin:
		return fmt.Errorf("%w: %s is of the log %s, and %s of %s", ErrChain, l.name,
			l.label.Origin, before.name, before.label.Origin)
	case l.since.Size != before.label.Size:
		return fmt.Errorf("%w: %s builds on a backup with %d entries, and %s has %d: one is "+
			"missing, or the order is another", ErrChain, l.name, l.since.Size, before.name,
			before.label.Size)
	case l.since.Root != before.label.Root:
		return fmt.Errorf("%w: %s builds on another backup with %d entries than %s", ErrChain,
			l.name, l.since.Size, before.name)
	}
	return nil
}

// open opens the vault of l. Usually the key of the last backup opens that of all: only vault
// rotate makes another one, while a new passphrase seals the same key anew.
func (l *link) open(ctx context.Context, key datadir.VaultKey, passphrase func() ([]byte, error),
) (err error) {
	if l.store, err = boltstore.OpenReadOnly(l.dir.Vault(), key.Secret); err != nil {
		own, failed := l.dir.ReadVaultKey(passphrase)
		if failed != nil {
			return failed
		}
		if l.store, err = boltstore.OpenReadOnly(l.dir.Vault(), own.Secret); err != nil {
			return storage.Advise(err)
		}
	}
	if err = l.look(ctx); err != nil {
		err = errors.Join(err, l.store.Close())
	}
	return err
}

func (l *link) look(ctx context.Context) (err error) {
	if l.base, err = l.store.Base(ctx); err != nil {
		return err
	}
	current, err := vault.OpenLog(ctx, l.store)
	if err != nil {
		return err
	}
	l.log = current.InJournal(0)
	if _, l.head, err = l.store.Signed(ctx); err != nil {
		return err
	}
	config, err := l.dir.ReadConfig()
	switch {
	case err != nil:
		return err
	case l.label.Origin == "": // of an older version
	case l.label.Origin != config.Origin || l.label.Size != l.head.Size ||
		l.label.Root != l.head.Root():
		return fmt.Errorf("%w: its checkpoint is not that of its vault", backup.ErrIncomplete)
	}
	return nil
}

// continues returns an error unless the log of l had the root that l builds on. It computes the
// root from the entries in l.
func (l *link) continues(ctx context.Context) error {
	tree := l.base.Tree(l.log)
	if tree.Size > l.since.Size || l.since.Size > l.head.Size {
		return fmt.Errorf("%w: %s has entries %d to %d, and goes on from entry %d", ErrChain,
			l.name, tree.Size, l.head.Size, l.since.Size)
	}
	end := l.log + vault.JournalIndex(l.since.Size)
	err := l.store.Entries(ctx, l.log+vault.JournalIndex(tree.Size), end, func(
		_ vault.JournalIndex, leaf []byte,
	) error {
		tree.Add(merkle.LeafHash(leaf))
		return nil
	})
	if err == nil && tree.Root() != l.since.Root {
		err = fmt.Errorf("%w: the entries in %s are not those of the backup before it", ErrChain,
			l.name)
	}
	return err
}

// chained are the open links of a chain, in order.
type chained []*link

// dump yields the journal of all links, and the records of the last one.
func (c chained) dump(ctx context.Context, yield func(*vault.Part) error) (*vault.Trail, error) {
	next := c[0].base.Index
	for _, l := range c {
		end := l.log + vault.JournalIndex(l.head.Size)
		if err := entries(ctx, l.store, next, end, yield); err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		next = end
	}
	trail, err := c[len(c)-1].store.DumpFrom(ctx, vault.Base{Index: next}, yield)
	if err != nil {
		return nil, err
	}
	trail.Base = c[0].base
	return trail, nil
}

// entries yields the entries from, … to-1 of a journal in parts.
func entries(ctx context.Context, from vault.Store, next, to vault.JournalIndex,
	yield func(*vault.Part) error,
) error {
	for next < to {
		part := vault.Part{First: next}
		end := min(to, next+entriesAtOnce)
		if err := from.Entries(ctx, next, end, func(_ vault.JournalIndex, leaf []byte) error {
			part.Leaves = append(part.Leaves, slices.Clone(leaf))
			return nil
		}); err != nil {
			return err
		}
		if err := yield(&part); err != nil {
			return err
		}
		next = end
	}
	return nil
}

// VerifyIncrement unpacks the increment in a file beside it, and checks that it is whole and goes
// on from a checkpoint. Whether its records are what the journal says is checked with the chain.
func VerifyIncrement(ctx context.Context, file string, since []byte,
	passphrase func() ([]byte, error), log *slog.Logger,
) (found *Checked, err error) {
	backups, closeAll, err := OpenBackups([]string{file})
	if err != nil {
		return nil, err
	}
	defer closeAll()
	folder, err := besides(file)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	l, err := unpackLink(ctx, backups[0], filepath.Join(folder, "increment"))
	if err != nil {
		return nil, err
	}
	before := &link{name: "the backup before it"}
	if before.label, err = checkpoint.Parse(since); err != nil {
		return nil, err
	}
	if err := l.follows(before); err != nil {
		return nil, err
	}
	key, err := l.dir.ReadVaultKey(passphrase)
	if err != nil {
		return nil, err
	}
	if err := l.open(ctx, key, passphrase); err != nil {
		return nil, err
	}
	defer l.store.Close()
	if err := errors.Join(l.continues(ctx), checkServerKey(l.dir.Root, log)); err != nil {
		return nil, err
	}
	return l.check(ctx, func(problem string) {
		log.ErrorContext(ctx, "vault in the increment", slog.String("problem", problem))
	})
}

// check checks the vault of an open link.
func (l *link) check(ctx context.Context, report func(problem string)) (*Checked, error) {
	found := &Checked{Entries: l.head.Size}
	if err := l.store.Check(ctx, report); err != nil {
		return found, err
	}
	_, err := l.store.Balances(ctx, func(vault.Account) { found.Accounts++ })
	return found, err
}
