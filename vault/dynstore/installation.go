package dynstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/replicated"
	"example.com/atm/vault/secrets"
)

// schema is the form of the items that this program knows.
const schema = 1

// Find returns whose books are in a table, and replicated.ErrNoBooks when it has none. It needs
// no secret.
func Find(ctx context.Context, cfg Config) (*replicated.Installation, error) {
	t, err := cfg.open(ctx)
	if err != nil {
		return nil, err
	}
	found, err := readInstallation(ctx, t)
	if err != nil {
		return nil, err
	}
	return &found.Installation, found.check()
}

// check refuses the form of another program.
func (i *installation) check() error {
	if i.Schema != schema {
		return fmt.Errorf("%w: it has version %d, not %d; use the program that made it",
			replicated.ErrSchema, i.Schema, schema)
	}
	return nil
}

// Create makes the books of an installation in an empty table, or opens those that an interrupted
// init began. It makes the table when there is none.
func Create(ctx context.Context, cfg Config, name string) (*Store, error) {
	t, err := cfg.open(ctx)
	if err != nil {
		return nil, err
	}
	_, err = readInstallation(ctx, t)
	if errors.Is(err, replicated.ErrNoBooks) {
		err = begin(ctx, t, cfg.Secret, name)
	}
	if err != nil {
		return nil, err
	}
	return open(ctx, cfg, t)
}

// begin notes whose books the table has, unless another program has just done so.
func begin(ctx context.Context, t *table.Table, secret []byte, name string) error {
	err := table.Patiently(ctx, func() error { return t.Check(ctx) })
	if errors.Is(err, table.ErrNoTable) {
		err = t.Make(ctx)
	}
	if err != nil {
		return err
	}
	keys, err := secrets.New(secret)
	if err != nil {
		return err
	}
	i := installation{
		Installation: replicated.Installation{Name: name}, Schema: schema, Mark: keys.Mark(),
	}
	item, err := i.item()
	if err != nil {
		return err
	}
	err = t.Patiently(ctx, table.Write{Item: item, If: table.Absent})
	if errors.Is(err, table.ErrCondition) {
		return nil
	}
	return err
}

// Migrate makes the table when there is none, and makes sure of what it must have.
func Migrate(ctx context.Context, cfg Config) error {
	t, err := cfg.open(ctx)
	if err != nil {
		return err
	}
	if err := t.Make(ctx); err != nil {
		return err
	}
	found, err := readInstallation(ctx, t)
	if errors.Is(err, replicated.ErrNoBooks) {
		return nil
	}
	if err != nil {
		return err
	}
	return found.check()
}

// Open opens the books of an installation.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	t, err := cfg.open(ctx)
	if err != nil {
		return nil, err
	}
	return open(ctx, cfg, t)
}

// open enters the books in a table.
func open(ctx context.Context, cfg Config, t *table.Table) (*Store, error) {
	keys, err := secrets.New(cfg.Secret)
	if err != nil {
		return nil, err
	}
	found, err := readInstallation(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := found.check(); err != nil {
		return nil, err
	}
	if !bytes.Equal(found.Mark, keys.Mark()) {
		return nil, fmt.Errorf("%w: it holds the books of %s; every replica has the "+
			"keys/vault.key of the first one", replicated.ErrWrongSecret, found.Name)
	}
	s := newStore(cfg, t, keys)
	if err := s.patiently(ctx, func(*chain.State) error { return nil }); err != nil {
		return nil, err
	}
	if cfg.Replica == "" {
		return s, nil
	}
	if err := s.join(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func newStore(cfg Config, t *table.Table, keys *secrets.Keys) *Store {
	c := &chain.Chain{Table: t, Replica: cfg.Replica != ""}
	adopt := cfg.Adopt
	if adopt == nil {
		adopt = func([]replicated.File) error { return nil }
	}
	s := &Store{
		reader: reader{table: t, chain: c, keys: keys, opened: new(opened)},
		shared: shared{
			claims: &claims{t},
			replicas: &replicas{
				table: t, chain: c, name: cfg.Replica, swept: make(map[string]time.Time),
			},
			files: &files{table: t, chain: c, keys: keys, tell: adopt},
		},
	}
	c.LeafHash = s.leafHash
	if cfg.Replica != "" {
		c.Lost = func(size int64) { s.TellRollback(context.Background(), size) }
	}
	return s
}

// Installation implements replicated.Store.
func (s *Store) Installation(ctx context.Context) (*replicated.Installation, error) {
	found, err := readInstallation(ctx, s.table)
	if err != nil {
		return nil, err
	}
	return &found.Installation, nil
}

// Complete implements replicated.Store.
func (s *Store) Complete(ctx context.Context) error {
	return s.chain.Change(ctx, func(*chain.State, *chain.Head) ([]chain.Write, error) {
		found, err := readInstallation(ctx, s.table)
		if err != nil {
			return nil, err
		}
		found.Complete = true
		item, err := found.item()
		return []chain.Write{{Write: table.Write{Item: item}}}, err
	})
}

// Since implements replicated.Store.
func (s *Store) Since(ctx context.Context, size vault.JournalIndex) (*replicated.News, error) {
	now, err := s.chain.Read(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.files.adopt(ctx, now.Files); err != nil {
		return nil, err
	}
	n := &replicated.News{Size: now.Size}
	if now.Size <= size || now.People <= size && size > 0 {
		return n, nil
	}
	if n.Users, err = s.Users(ctx); err != nil {
		return nil, err
	}
	n.Revocations, err = s.Revocations(ctx)
	return n, err
}
