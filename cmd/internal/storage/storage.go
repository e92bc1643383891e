// Package storage says where the accounts of an installation are, and opens
// what keeps them: vault.db in the data folder, or a database that several
// servers share.
//
// It also replaces the key of a vault in a database, step by step, so that an
// interrupted replacement is completed or undone by the next program that
// opens the folder.
package storage

import (
	"context"
	"errors"
	"fmt"
	"os"

	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/boltstore/guard"
	"example.com/atm/vault/pgstore"
)

// A Location says where accounts are. The zero value is vault.db in the data folder.
type Location struct {
	// URL of a database; empty for the data folder.
	URL string

	// Password for the database; nil for none.
	Password func() ([]byte, error)
}

// FromFlags is the location that flags name.
func FromFlags(flags *settings.Store) (Location, error) {
	url, err := flags.URL()
	if err != nil || url == "" {
		return Location{}, err
	}
	if err := pgstore.CheckURL(url); err != nil {
		return Location{}, fmt.Errorf("%w: --store: %w", datadir.ErrUsage, err)
	}
	return Location{URL: url, Password: flags.Password()}, nil
}

// InDatabase reports whether the accounts are in a database.
func (l Location) InDatabase() bool { return l.URL != "" }

// Check refuses a folder whose accounts are elsewhere.
func (l Location) Check(dir *datadir.Dir) error {
	switch {
	case l.InDatabase() && dir.Config.Store == "":
		return fmt.Errorf("%w: the accounts of %s are in its vault.db; atmctl export and atmctl "+
			"import move them into a database", datadir.ErrUsage, dir.Root)
	case !l.InDatabase() && dir.Config.Store != "":
		return fmt.Errorf("%w: the accounts of %s are in a database: --store postgres://…",
			datadir.ErrUsage, dir.Root)
	}
	return nil
}

// Config is how pgstore opens the database at l.
func (l Location) Config() (pgstore.Config, error) {
	c := pgstore.Config{URL: l.URL}
	if l.Password == nil {
		return c, nil
	}
	password, err := l.Password()
	c.Password = string(password)
	return c, err
}

// Migrate makes the schema in a database or brings it up to date, and lets a
// role that owns nothing do what a server does; empty for none.
func Migrate(ctx context.Context, at Location, role string) error {
	cfg, err := at.Config()
	if err != nil {
		return err
	}
	if err := pgstore.Migrate(ctx, cfg); err != nil {
		return err
	}
	if role == "" {
		return nil
	}
	return pgstore.Grant(ctx, cfg, role)
}

// Advise adds to an error of opening a vault in a file what to do about a
// damaged file, and about a write-ahead log that does not belong to it.
func Advise(err error) error {
	switch {
	case errors.Is(err, boltstore.ErrWAL):
		return fmt.Errorf("%w; nothing was changed: put the two files of one moment together, "+
			"restore a backup, or let atmctl audit recover go on without what was committed "+
			"last, and with a new log", err)
	case errors.Is(err, vault.ErrDamaged), errors.Is(err, guard.ErrUnreadable):
		return fmt.Errorf("%w; nothing was changed: restore a backup", err)
	}
	return err
}

// Export writes everything in a store to a new vault at path, which is sealed
// with secret.
func Export(ctx context.Context, from vault.Backend, path string, secret []byte) error {
	to, err := boltstore.Create(path, secret)
	if err != nil {
		return err
	}
	if err := errors.Join(to.Fill(ctx, from.Dump), to.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
