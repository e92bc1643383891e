package pgstore

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"

	"example.com/atm/vault/people"
	"example.com/atm/vault/sealing"
	"github.com/jackc/pgx/v5"
)

// What seals a value depends on what it is for; the record that it belongs to is
// associated data, so that it does not open in another one.
const (
	forHA1  = "atm pgstore ha1"
	forSlow = "atm pgstore slow"
	forFile = "atm pgstore file"
)

// unseal makes the ciphers of a store.
func (s *Store) unseal(secret []byte) error {
	s.suite, s.ciphers = sealing.Current(), make(map[string]cipher.AEAD)
	for _, purpose := range []string{forHA1, forSlow, forFile} {
		var err error
		if s.ciphers[purpose], err = s.suite.Derive(secret, purpose); err != nil {
			return err
		}
	}
	return nil
}

// seal returns a value as it is stored; nil for none. It begins with the suite.
func (s *Store) seal(purpose, record string, value []byte) []byte {
	if len(value) == 0 {
		return nil
	}
	return sealing.SealTo([]byte{byte(s.suite)}, s.ciphers[purpose], value, []byte(record))
}

// ErrSealed reports a value that does not open: it was changed, or moved.
var ErrSealed = errors.New("a sealed value does not open")

func (s *Store) open(purpose, record string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	aead := s.ciphers[purpose]
	if of := sealing.Suite(sealed[0]); of != s.suite {
		var err error
		if aead, err = of.Derive(s.cfg.Secret, purpose); err != nil {
			return nil, err
		}
	}
	value, err := sealing.Open(aead, sealed[1:], []byte(record))
	if err != nil {
		return nil, fmt.Errorf("%s of %q: %w", purpose, record, ErrSealed)
	}
	return value, nil
}

// markOf names a secret without telling it.
func markOf(secret []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, secret, nil, "atm vault key mark", 8)
}

// A File is one that all replicas share.
type File struct {
	Name string // relative to the data folder
	Data []byte
}

// An Installation is what a database's books belong to.
type Installation struct {
	Name     string
	Complete bool // whether its init came to an end
}

// Find returns whose books are in a database, and ErrNoBooks when it has none.
// It needs no secret.
func Find(ctx context.Context, cfg Config) (*Installation, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	if err := s.checkSchema(ctx); err != nil {
		return nil, err
	}
	h, _, err := s.installation(ctx)
	return h, err
}

func (s *Store) installation(ctx context.Context) (*Installation, []byte, error) {
	var h Installation
	var mark []byte
	err := s.pool.QueryRow(ctx, "SELECT name, complete, mark FROM installation").Scan(&h.Name,
		&h.Complete, &mark)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil, ErrNoBooks
	}
	return &h, mark, explain(err)
}

// Create makes the books of an installation in an empty database, or opens those that an
// init began which was interrupted.
func Create(ctx context.Context, cfg Config, name string) (*Store, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	err = s.checkSchema(ctx)
	if errors.Is(err, ErrNoBooks) || errors.Is(err, ErrSchema) && s.empty(ctx) {
		if err = s.checkEncoding(ctx); err == nil {
			err = Migrate(ctx, cfg)
		}
	}
	if err == nil {
		err = s.claim(ctx, name)
	}
	if err == nil {
		err = s.enter(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// empty reports whether the journal is empty. An older schema with an empty journal is one
// that another replica is making at this moment, or that an interrupted init began.
func (s *Store) empty(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	var empty bool
	err := s.pool.QueryRow(ctx, "SELECT NOT EXISTS (SELECT FROM journal)").Scan(&empty)
	return err == nil && empty
}

// checkEncoding refuses to begin in a database that cannot keep every text.
func (s *Store) checkEncoding(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	var encoding string
	if err := s.pool.QueryRow(ctx,
		"SELECT current_setting('server_encoding')").Scan(&encoding); err != nil {
		return explain(err)
	}
	if encoding != "UTF8" {
		return fmt.Errorf(
			"%w: this one is %s; CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0", ErrEncoding,
			encoding)
	}
	return nil
}

// claim makes the installation, unless there is one.
func (s *Store) claim(ctx context.Context, name string) error {
	mark, err := markOf(s.cfg.Secret)
	if err != nil {
		return err
	}
	_, err = s.pool.Exec(ctx, "INSERT INTO installation (id, name, mark, complete) VALUES (1, "+
		"$1, $2, "+
		"false) ON CONFLICT DO NOTHING", name, mark)
	return explain(err)
}

// Open opens the books of an installation.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err = s.checkSchema(ctx); err == nil {
		err = s.enter(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// enter makes sure that the secret is that of the installation, and notes the state of
// the journal.
func (s *Store) enter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	h, mark, err := s.installation(ctx)
	if err != nil {
		return err
	}
	mine, err := markOf(s.cfg.Secret)
	if err != nil {
		return err
	}
	if !bytes.Equal(mark, mine) {
		return fmt.Errorf("%w: it holds the books of %s; every replica has the keys/vault.key of "+
			"the first one", ErrWrongSecret, h.Name)
	}
	if err := s.unseal(s.cfg.Secret); err != nil {
		return err
	}
	now, err := sight(ctx, s.pool, highWater{}, "")
	if err != nil {
		return explain(err)
	}
	if err := s.observe(highWater{}, now); err != nil || s.cfg.Replica == "" {
		return err
	}
	return s.join(ctx)
}

// Installation returns what these books belong to.
func (s *Store) Installation(ctx context.Context) (*Installation, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	h, _, err := s.installation(ctx)
	return h, err
}

// Complete notes that the init of the installation came to its end.
func (s *Store) Complete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	_, err := s.pool.Exec(ctx, written+"UPDATE installation SET complete = true"+one)
	return explain(err)
}

// PutFiles changes files that all replicas share, together. The others adopt
// them before they decide anything else.
func (s *Store) PutFiles(ctx context.Context, files ...File) error {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	var version int64
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx,
			"UPDATE log SET files = files + 1 RETURNING files").Scan(&version); err != nil {
			return err
		}
		for _, f := range files {
			if _, err := tx.Exec(ctx, written+`INSERT INTO files (name, sealed, version) VALUES ($1, $2, $3)
				ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, version = excluded.version`+one, f.Name, s.sealFile(f), version); err != nil {
				return err
			}
		}
		return nil
	})
	return explain(err)
}

// A file begins with whether it is there at all.
const (
	fileGone  = 0
	fileThere = 1
)

// Files returns all files that the replicas share. Data of one that was removed
// is nil.
func (s *Store) Files(ctx context.Context) ([]File, error) {
	files, _, err := s.filesSince(ctx, s.pool, 0)
	return files, err
}

func (s *Store) filesSince(ctx context.Context, q querier, version int64) (files []File,
	newest int64, err error,
) {
	newest = version
	files, err = list(ctx, q, func(row pgx.Row) (f File, err error) {
		var sealed []byte
		var version int64
		if err := row.Scan(&f.Name, &sealed, &version); err != nil {
			return f, err
		}
		newest = max(newest, version)
		plain, err := s.open(forFile, f.Name, sealed)
		if err == nil && len(plain) > 0 && plain[0] == fileThere {
			f.Data = plain[1:]
		}
		return f, err
	}, "SELECT name, sealed, version FROM files WHERE version > $1 ORDER BY version, name", version)
	return files, newest, err
}

func (s *Store) adopted() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files
}

// adopt tells of files that are new.
func (s *Store) adopt(ctx context.Context, q querier) error {
	s.adopting.Lock()
	defer s.adopting.Unlock()
	files, newest, err := s.filesSince(ctx, q, s.adopted())
	if err != nil {
		return err
	}
	if len(files) > 0 {
		if err := s.cfg.Adopt(files); err != nil {
			return fmt.Errorf("files of another replica: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = newest
	return nil
}

// Rekey seals everything under another secret, in one transaction with what it read, and
// reads it back in there. No replica may run. The store is of no use after it: open another
// one.
func (s *Store) Rekey(ctx context.Context, secret []byte) error {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	next := &Store{cfg: Config{Secret: secret}, pool: s.pool}
	if err := next.unseal(secret); err != nil {
		return err
	}
	mark, err := markOf(secret)
	if err != nil {
		return err
	}
	return s.alone(ctx, func(tx pgx.Tx, _ int64) error {
		users, files, err := s.secrets(ctx, tx)
		if err != nil {
			return err
		}
		var b pgx.Batch
		b.Queue(written+"UPDATE installation SET mark = $1"+one, mark)
		for i := range users {
			u := &users[i]
			b.Queue(written+"UPDATE users SET ha1 = $2, slow = $3 WHERE subject = $1"+one,
				u.Subject, next.seal(forHA1, u.Subject, u.HA1), next.seal(forSlow, u.Subject,
					u.Slow))
		}
		for _, f := range files {
			b.Queue(written+"UPDATE files SET sealed = $2 WHERE name = $1"+one, f.Name,
				next.sealFile(f))
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		// Before anybody relies on it, all of it is read back as what it was.
		nowUsers, nowFiles, err := next.secrets(ctx, tx)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(users, nowUsers) || !reflect.DeepEqual(files, nowFiles) {
			return fmt.Errorf("%w: what was sealed anew is not what it was", ErrSealed)
		}
		return nil
	})
}

// secrets reads everything that is sealed.
func (s *Store) secrets(ctx context.Context, q querier) ([]people.User, []File, error) {
	users, err := list(ctx, q, s.scanUser, allUsers+" ORDER BY subject")
	if err != nil {
		return nil, nil, err
	}
	files, err := list(ctx, q, func(row pgx.Row) (f File, err error) {
		var sealed []byte
		if err := row.Scan(&f.Name, &sealed); err != nil {
			return f, err
		}
		plain, err := s.open(forFile, f.Name, sealed)
		if err == nil && len(plain) > 0 && plain[0] == fileThere {
			f.Data = plain[1:]
		}
		return f, err
	}, "SELECT name, sealed FROM files ORDER BY name")
	return users, files, err
}

// ReadSealed opens everything that is sealed, and returns the first error.
func (s *Store) ReadSealed(ctx context.Context) error {
	return s.snapshot(ctx, func(tx pgx.Tx) error {
		_, _, err := s.secrets(ctx, tx)
		return err
	})
}

// sealFile is a file as it is stored.
func (s *Store) sealFile(f File) []byte {
	if f.Data == nil {
		return s.seal(forFile, f.Name, []byte{fileGone})
	}
	return s.seal(forFile, f.Name, append([]byte{fileThere}, f.Data...))
}
