// Package storage determines where the accounts of an installation are, and opens their store:
// vault.db in the data folder, or a database that several servers share.
//
// It also replaces the key of a vault in a database, in steps, so that an interrupted
// replacement is completed or undone by the next program that opens the folder.
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
	"example.com/atm/vault/dynstore"
	"example.com/atm/vault/pgstore"
)

// A Location is where accounts are. The zero value is vault.db in the data folder.
type Location struct {
	// URL of the database; empty for the data folder.
	URL string

	// Password of the database; nil for none.
	Password func() ([]byte, error)
}

// FromFlags is the location in the flags.
func FromFlags(flags *settings.Store) (Location, error) {
	url, err := flags.URL()
	if err != nil || url == "" {
		return Location{}, err
	}
	check := pgstore.CheckURL
	if ofDynamoDB(url) {
		check = dynstore.CheckURL
	}
	if err := check(url); err != nil {
		return Location{}, fmt.Errorf("%w: --store: %w", datadir.ErrUsage, err)
	}
	return Location{URL: url, Password: flags.Password()}, nil
}

// InDatabase reports whether the accounts are in a database.
func (l Location) InDatabase() bool { return l.URL != "" }

// Kind is what the configuration of a data folder calls the database; empty for none.
func (l Location) Kind() string {
	switch {
	case l.URL == "":
		return ""
	case ofDynamoDB(l.URL):
		return datadir.DynamoDB
	}
	return datadir.Postgres
}

// Check returns an error if the accounts of a folder are elsewhere.
func (l Location) Check(dir *datadir.Dir) error {
	switch {
	case l.InDatabase() && dir.Config.Store == "":
		return fmt.Errorf("%w: the accounts of %s are in its vault.db; atmctl export and atmctl "+
			"import move them into a database", datadir.ErrUsage, dir.Root)
	case l.Kind() != dir.Config.Store:
		return fmt.Errorf("%w: the accounts of %s are in a database: --store %s://…",
			datadir.ErrUsage, dir.Root, dir.Config.Store)
	}
	return nil
}

// Migrate creates or upgrades the schema of a database. Unless role is empty, it grants that
// role, which owns nothing, the privileges of a server.
func Migrate(ctx context.Context, at Location, role string) error {
	cfg := Config{Location: at}
	if ofDynamoDB(at.URL) {
		if role != "" {
			return fmt.Errorf("%w: --grant is for PostgreSQL; in DynamoDB the IAM policy of a "+
				"server grants it what it needs", datadir.ErrUsage)
		}
		return dynstore.Migrate(ctx, cfg.dynstore())
	}
	postgres, err := cfg.pgstore()
	if err != nil {
		return err
	}
	if err := pgstore.Migrate(ctx, postgres); err != nil {
		return err
	}
	if role == "" {
		return nil
	}
	return pgstore.Grant(ctx, postgres, role)
}

// Advise adds advice to an error of opening a vault file: about a damaged file, and about a
// write-ahead log that does not belong to it.
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

// Export writes the content of a store to a new vault at path, sealed with secret.
func Export(ctx context.Context, from vault.Backend, path string, secret []byte) error {
	_, err := ExportFrom(ctx, from, vault.Base{}, path, secret)
	return err
}

// ExportFrom is Export with the journal from a base on alone. It returns what the journal was.
func ExportFrom(ctx context.Context, from vault.Backend, base vault.Base, path string,
	secret []byte,
) (trail *vault.Trail, err error) {
	to, err := boltstore.Create(path, secret)
	if err != nil {
		return nil, err
	}
	err = to.Fill(ctx, func(ctx context.Context, yield func(*vault.Part) error) (*vault.Trail,
		error,
	) {
		trail, err = from.DumpFrom(ctx, base, yield)
		return trail, err
	})
	err = errors.Join(err, to.Close())
	if err == nil {
		err = boltstore.Fit(path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return trail, nil
}
