package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/boltstore/keyring"
	"example.com/atm/vault/feeds"
)

// restore is the command that creates a data folder from a backup, in a new place.
const restore = "atmctl restore BACKUP --data NEW"

// vault opens the vault read-only, and compares the published log with it.
func (e *exam) vault(ctx context.Context) {
	switch {
	case e.dir.Config.Store != "":
		e.tell(Note, "atmctl status", "the accounts are in a database, which is not looked at: "+
			"\"atmctl fsck --store …\" checks it, while every server is stopped")
		return
	case e.running:
		e.tell(Note, "atmctl status",
			"the process that has the folder has the vault: its layout, its key and its head "+
				"are not looked at; stop the server, or ask it")
		return
	case !present(e.dir.Vault()):
		return // reported as a missing file
	}
	key, ok := e.vaultKey()
	if !ok {
		return
	}
	if wal := e.dir.Vault() + "-wal"; present(wal) {
		e.tell(Warning, e.start(),
			"the last stop was no clean one: what was committed last is in %s, and the next "+
				"start takes it from there", wal)
		e.tell(Note, "", "the vault is not looked at before that")
		return
	}
	store, err := boltstore.OpenReadOnly(e.dir.Vault(), key.Secret)
	switch {
	case errors.Is(err, keyring.ErrWrongSecret):
		e.tell(Critical, e.putBack("keys/vault.key"),
			"keys/vault.key is not the key of vault.db: %v", err)
		return
	case errors.Is(err, boltstore.ErrWAL):
		e.tell(Critical, restore,
			"%v: the file beside it is missing; put the two files of one moment together, or "+
				"restore a backup", err)
		return
	case err != nil:
		e.tell(Critical, restore, "%v", err)
		return
	}
	defer store.Close()
	_, head, err := store.Signed(ctx)
	if err != nil {
		e.tell(Critical, restore, "%v", err)
		return
	}
	e.tell(OK, "",
		"it opens with keys/vault.key, its layout is known and its pages are whole; the log in "+
			"it has %d entries", head.Size)
	e.feed(ctx, store)
	e.published(head)
}

// feed mentions subscriptions to the event feed that are not delivered. Their owners or receivers
// have to do something, the folder needs no repair.
func (e *exam) feed(ctx context.Context, store *boltstore.Store) {
	books, err := store.Feeds(ctx)
	if err != nil {
		e.tell(Critical, restore, "%v", err)
		return
	}
	cursors, err := store.Cursors(ctx)
	if err != nil {
		e.tell(Critical, restore, "%v", err)
		return
	}
	if n := feeds.Summarize(books, cursors); n.Failing+n.Stopped > 0 {
		e.tell(Note, "atmctl feed list --all, when the server runs", "the event feed has %s", n)
	}
}

// vaultKey reads the key of the vault, if that is possible.
func (e *exam) vaultKey() (key datadir.VaultKey, ok bool) {
	var unasked error
	key, err := e.dir.ReadVaultKey(func() ([]byte, error) {
		if e.opts.Passphrase == nil {
			unasked = errors.New("there is no terminal to ask for it")
			return nil, unasked
		}
		text, err := e.opts.Passphrase()
		unasked = err
		return text, err
	})
	withFile := "atmctl doctor --data " + quoted(e.opts.Data) + " --vault-passphrase-file FILE"
	switch {
	case unasked != nil:
		e.tell(Note, withFile,
			"keys/vault.key is sealed with a passphrase (%v): the vault is not looked at", unasked)
	case errors.Is(err, datadir.ErrPassphrase):
		e.tell(Critical, withFile, "keys/vault.key: %v", err)
	case err != nil && !errors.Is(err, fs.ErrNotExist): // a missing one has been reported
		e.tell(Critical, e.putBack("keys/vault.key"), "keys/vault.key: %v", err)
	}
	return key, err == nil
}

// published compares the published log with the head in the vault.
func (e *exam) published(head merkle.Head) {
	e.check = "log"
	signed, err := os.ReadFile(filepath.Join(e.dir.Audit(), "checkpoint"))
	if err != nil {
		return // reported by the check of the log's key
	}
	recover := "atmctl audit recover --data " + quoted(e.opts.Data)
	c, err := checkpoint.Parse(signed)
	switch {
	case err != nil:
		e.tell(Critical, "atmctl audit verify "+quoted(e.dir.Audit()), "audit/checkpoint: %v", err)
	case c.Origin != e.dir.Config.Origin:
		e.tell(Critical, recover,
			"the published log is of %s; this server's is %s", c.Origin, e.dir.Config.Origin)
	case c.Size > head.Size:
		e.tell(Critical, recover,
			"the published log has %d entries and the vault %d: the vault is older; "+
				"put the newer one back, or find out what happened and recover", c.Size,
			head.Size).Alert = "AtmLogWentBack"
	case c.Size == head.Size && c.Root != head.Root():
		e.tell(Critical, recover,
			"the published log and the vault differ at %d entries: one of them was changed; "+
				"find out what happened first", c.Size)
	case c.Size < head.Size:
		e.tell(Warning, e.start(),
			"the last %d entries are not published; the next start publishes them",
			head.Size-c.Size).Alert = "AtmLogNotPublished"
	default:
		e.tell(OK, "", "all %d entries are published, with the root that the vault has; "+
			"\"atmctl audit verify\" reads every one of them", c.Size)
	}
}
