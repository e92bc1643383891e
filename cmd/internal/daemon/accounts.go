package daemon

import (
	"context"
	"log/slog"
	"time"

	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/keys"
	"example.com/atm/cmd/internal/replica"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/check"
)

// accounts are what keeps the accounts: a file in the folder, or a database.
type accounts struct {
	vault.Backend
	file    *boltstore.Store // the Backend when it is a file; nil otherwise
	replica *replica.Replica // has the Backend when it is a database; nil otherwise
}

// openAccounts opens what keeps the accounts, and returns the key that it is sealed under.
// Before that it makes the keys of a new installation, or fetches those that replicas share.
func openAccounts(ctx context.Context, opts Options, dir *datadir.Dir, fresh bool) (
	accounts, datadir.VaultKey, error,
) {
	if err := opts.Store.Check(dir); err != nil {
		return accounts{}, datadir.VaultKey{}, err
	}
	if opts.Store.InDatabase() {
		r, key, err := replica.Open(ctx, replica.Config{
			Dir: dir, Fresh: fresh, Location: opts.Store, Passphrase: opts.Passphrase,
			Log: opts.Log,
		})
		if err != nil {
			return accounts{}, key, err
		}
		return accounts{Backend: r.Store, replica: r}, key, nil
	}
	if fresh {
		if err := keys.Make(dir); err != nil {
			return accounts{}, datadir.VaultKey{}, err
		}
	}
	key, err := dir.ReadVaultKey(opts.Passphrase)
	if err != nil {
		return accounts{}, key, err
	}
	open := boltstore.Open
	if fresh {
		open = boltstore.Create
	}
	file, err := open(dir.Vault(), key.Secret)
	if err != nil {
		return accounts{}, key, storage.Advise(err)
	}
	return accounts{Backend: file, file: file}, key, nil
}

// replicas are the servers that have the accounts.
func (a accounts) replicas() keys.Replicas {
	if a.replica == nil {
		return keys.Alone{}
	}
	return a.replica
}

// joined reports that this start made the folder for an installation that was there.
func (a accounts) joined() bool { return a.replica != nil && a.replica.Joined }

// lost says why the vault in the folder is lost; nil while it is not.
func (a accounts) lost() error {
	if a.file == nil {
		return nil
	}
	return a.file.LostBecause()
}

// lookEvery is how often the vault is looked for where it should be.
const lookEvery = 500 * time.Millisecond

// gone is closed when the vault in the folder is lost. It looks for it until ended is closed.
func (a accounts) gone(ended <-chan struct{}) <-chan struct{} {
	if a.file == nil {
		return nil
	}
	go func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for a.file.Look() == nil {
			select {
			case <-tick.C:
			case <-a.file.Lost():
			case <-ended:
				return
			}
		}
	}()
	return a.file.Lost()
}

// snapshot writes the vault as it is at one moment to a file, sealed under secret. What is in
// a database goes into a file as well: a backup is restored without one.
func (a accounts) snapshot(ctx context.Context, file string, secret []byte) error {
	if a.file != nil {
		return a.file.Snapshot(file)
	}
	return storage.Export(ctx, a.Backend, file, secret)
}

const (
	// scrubEvery and scrubAtOnce make a running server compare ten accounts a second with
	// the journal, which costs it less than a thousandth of its time.
	scrubEvery  = 5 * time.Second
	scrubAtOnce = 50
)

// scrub compares the accounts with the journal, a few at a time, round and round, and counts
// what is wrong: a change by somebody who may write to the store is noticed while the server
// runs, not only by fsck.
func (a accounts) scrub(ctx context.Context, log *slog.Logger, found func(n int)) {
	tick := time.NewTicker(scrubEvery)
	defer tick.Stop()
	after := uint64(0)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		next, err := check.Scrub(ctx, a, after, scrubAtOnce, func(problem string) {
			found(1)
			log.Error("a record is not what the journal says; run atmctl fsck",
				slog.String("problem", problem))
		})
		if err != nil {
			continue // the store is away: it is asked again
		}
		after = next
	}
}

// close closes what keeps the accounts, if it is open.
func (a accounts) close() error {
	if a.Backend == nil {
		return nil
	}
	return a.Close()
}
