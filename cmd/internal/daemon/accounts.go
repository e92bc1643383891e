package daemon

import (
	"context"
	"log/slog"
	"time"

	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/keys"
	"example.com/atm/cmd/internal/replica"
	"example.com/atm/cmd/internal/retention"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/check"
)

// accounts is the store of the accounts: a file in the folder, or a database.
type accounts struct {
	vault.Backend
	file    *boltstore.Store // the Backend if it is a file, and otherwise nil
	replica *replica.Replica // has the Backend if it is a database, and otherwise nil
}

// openAccounts opens the store, and returns the key that seals it. Before that it creates the
// keys of a new installation, or fetches the keys that replicas share.
func openAccounts(ctx context.Context, opts Options, dir *datadir.Dir, modules keys.Modules,
	fresh bool,
) (accounts, datadir.VaultKey, error) {
	if err := opts.Store.Check(dir); err != nil {
		return accounts{}, datadir.VaultKey{}, err
	}
	if opts.Store.InDatabase() {
		r, key, err := replica.Open(ctx, replica.Config{
			Dir: dir, Fresh: fresh, Location: opts.Store, Passphrase: opts.Passphrase,
			Modules: modules, Log: opts.Log,
		})
		if err != nil {
			return accounts{}, key, err
		}
		return accounts{Backend: r.Store, replica: r}, key, nil
	}
	if fresh {
		if err := keys.Make(dir, modules); err != nil {
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

// replicas are the servers that share the accounts.
func (a accounts) replicas() keys.Replicas {
	if a.replica == nil {
		return keys.Alone{}
	}
	return a.replica
}

// joined reports that this start created the folder for an existing installation.
func (a accounts) joined() bool { return a.replica != nil && a.replica.Joined }

// leads takes the lease of the server that archives and trims for all replicas, and reports
// whether this server has it.
func (a accounts) leads(ctx context.Context) (bool, error) {
	if a.replica == nil {
		return true, nil
	}
	return a.replica.Store.Lease(ctx, "retention", retention.LeadFor)
}

// lost returns why the vault file is lost, or nil if it is not.
func (a accounts) lost() error {
	if a.file == nil {
		return nil
	}
	return a.file.LostBecause()
}

// lookEvery is how often the server checks that the vault file still exists.
const lookEvery = 500 * time.Millisecond

// gone returns a channel that is closed when the vault file is lost. It checks until ended is
// closed.
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

// snapshot writes a consistent copy of the vault to a file, sealed under secret, and returns the
// checkpoint in it. The content of a database is written to such a file as well, so that a
// backup can be restored without a database.
func (a accounts) snapshot(ctx context.Context, file string, secret []byte) ([]byte, error) {
	if a.file != nil {
		return a.file.Snapshot(file)
	}
	trail, err := storage.ExportFrom(ctx, a.Backend, vault.Base{}, file, secret)
	if err != nil {
		return nil, err
	}
	return trail.Checkpoint, nil
}

const (
	// scrubEvery and scrubAtOnce make a running server compare ten accounts a second with the
	// journal, which takes less than a thousandth of its time.
	scrubEvery  = 5 * time.Second
	scrubAtOnce = 50
)

// scrub compares the accounts with the journal, a few at a time, over and over, and reports the
// number of differences. So a change by somebody with write access to the store is noticed
// while the server runs, and not only by fsck.
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
			continue // the store is unavailable: try again later
		}
		after = next
	}
}

// close closes the store, if it is open.
func (a accounts) close() error {
	if a.Backend == nil {
		return nil
	}
	return a.Close()
}
