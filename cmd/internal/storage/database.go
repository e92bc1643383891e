package storage

import (
	"context"
	"log/slog"
	"strings"

	"example.com/atm/vault/dynstore"
	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/replicated"
)

// A Config is everything by which the books in a database are opened.
type Config struct {
	Location

	// Secret is what secrets in the database are sealed under.
	Secret []byte

	// Adopt is told of shared files that another replica changed, before the next commit is
	// decided. Optional.
	Adopt func([]replicated.File) error

	// Replica names the server that commits here, for people. Empty for a program that works on
	// the database without being a replica.
	Replica string

	// Log is for the operator. Optional.
	Log *slog.Logger
}

// ofDynamoDB reports whether a URL is that of a table of DynamoDB.
func ofDynamoDB(url string) bool { return strings.HasPrefix(url, "dynamodb:") }

func (c Config) pgstore() (cfg pgstore.Config, err error) {
	cfg = pgstore.Config{
		URL: c.URL, Secret: c.Secret, Adopt: c.Adopt, Replica: c.Replica, Log: c.Log,
	}
	if c.Password == nil {
		return cfg, nil
	}
	password, err := c.Password()
	cfg.Password = string(password)
	return cfg, err
}

func (c Config) dynstore() dynstore.Config {
	return dynstore.Config{
		URL: c.URL, Secret: c.Secret, Adopt: c.Adopt, Replica: c.Replica, Log: c.Log,
	}
}

// Find returns whose books are in the database, and replicated.ErrNoBooks when it has none. It
// needs no secret.
func (c Config) Find(ctx context.Context) (*replicated.Installation, error) {
	if ofDynamoDB(c.URL) {
		return dynstore.Find(ctx, c.dynstore())
	}
	cfg, err := c.pgstore()
	if err != nil {
		return nil, err
	}
	return pgstore.Find(ctx, cfg)
}

// Open opens the books of an installation.
func (c Config) Open(ctx context.Context) (replicated.Store, error) {
	if ofDynamoDB(c.URL) {
		return opened(dynstore.Open(ctx, c.dynstore()))
	}
	cfg, err := c.pgstore()
	if err != nil {
		return nil, err
	}
	return opened(pgstore.Open(ctx, cfg))
}

// Create makes the books of an installation in an empty database, or opens those that an
// interrupted init began.
func (c Config) Create(ctx context.Context, name string) (replicated.Store, error) {
	if ofDynamoDB(c.URL) {
		return opened(dynstore.Create(ctx, c.dynstore(), name))
	}
	cfg, err := c.pgstore()
	if err != nil {
		return nil, err
	}
	return opened(pgstore.Create(ctx, cfg, name))
}

// opened is a store that was opened, or no store at all.
func opened[S replicated.Store](s S, err error) (replicated.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
