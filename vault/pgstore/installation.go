package pgstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/pgstore/schema"
	"example.com/atm/vault/pgstore/shared"
	"example.com/atm/vault/replicated"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

// An Installation is what a database's books belong to.
type Installation = replicated.Installation

// Find returns whose books are in a database, and ErrNoBooks when it has none. It needs no
// secret.
func Find(ctx context.Context, cfg Config) (*Installation, error) {
	db, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := schema.Check(ctx, db); err != nil {
		return nil, err
	}
	found, _, err := installation(ctx, db)
	return found, err
}

// installation returns the installation and the mark of its secret.
func installation(ctx context.Context, db *database.DB) (*Installation, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	var found Installation
	var mark []byte
	err := db.QueryRow(ctx, "SELECT name, complete, mark FROM installation").
		Scan(&found.Name, &found.Complete, &mark)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil, ErrNoBooks
	}
	return &found, mark, database.Explain(err)
}

// Create makes the books of an installation in an empty database, or opens those that an
// interrupted init began.
func Create(ctx context.Context, cfg Config, name string) (*Store, error) {
	return open(ctx, cfg, func(s *Store) error {
		if err := schema.Ensure(ctx, s.db, cfg.address()); err != nil {
			return err
		}
		_, err := s.db.Exec(ctx, `INSERT INTO installation (id, name, mark, complete)
			VALUES (1, $1, $2, false) ON CONFLICT DO NOTHING`, name, s.keys.Mark())
		return database.Explain(err)
	})
}

// Open opens the books of an installation.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	return open(ctx, cfg, func(s *Store) error { return schema.Check(ctx, s.db) })
}

// open connects, prepares the books, and enters them.
func open(ctx context.Context, cfg Config, prepare func(*Store) error) (*Store, error) {
	db, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	keys, err := secrets.New(cfg.Secret)
	if err != nil {
		db.Close()
		return nil, err
	}
	s := &Store{
		reader:   reader{db: db, keys: keys},
		Claims:   shared.NewClaims(db),
		Files:    shared.NewFiles(db, keys, cfg.Adopt),
		Replicas: shared.New(db, cfg.Replica),
		replica:  cfg.Replica != "",
	}
	s.past.tell = s.Replicas.TellRollback
	if !s.replica {
		s.past.tell = nil
	}
	err = prepare(s)
	for _, step := range []func(context.Context, *Store) error{own, sealOld, enter} {
		if err == nil {
			err = step(ctx, s)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// own makes sure that the secret is that of the installation.
func own(ctx context.Context, s *Store) error {
	found, mark, err := installation(ctx, s.db)
	if err == nil && !bytes.Equal(mark, s.keys.Mark()) {
		err = fmt.Errorf("%w: it holds the books of %s; every replica has the keys/vault.key of "+
			"the first one", ErrWrongSecret, found.Name)
	}
	return err
}

// enter notes the state of the journal, and takes the lease of a replica.
func enter(ctx context.Context, s *Store) error {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	now, err := sight(ctx, s.db, highWater{}, "")
	if err != nil {
		return database.Explain(err)
	}
	if err := s.past.observe(highWater{}, now); err != nil || !s.replica {
		return err
	}
	return s.Replicas.Join(ctx, s.keys.Mark())
}

// Installation returns what these books belong to.
func (s *Store) Installation(ctx context.Context) (*Installation, error) {
	found, _, err := installation(ctx, s.db)
	return found, err
}

// Complete notes that the init of the installation came to its end.
func (s *Store) Complete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	_, err := s.db.Exec(ctx, database.Written+"UPDATE installation SET complete = true"+
		database.One)
	return database.Explain(err)
}

// Migrate makes the schema in an empty database, or brings an older one up to date. The role
// that does it owns the tables.
func Migrate(ctx context.Context, cfg Config) error {
	return schema.Migrate(ctx, cfg.address(), cfg.log())
}

// Grant lets a role of the database do what a server has to, and no more.
func Grant(ctx context.Context, cfg Config, role string) error {
	db, err := connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer db.Close()
	return schema.Grant(ctx, db, role)
}
