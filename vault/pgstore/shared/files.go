package shared

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/replicated"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

// A File is one that all replicas share.
type File = replicated.File

// Files are the files that all replicas share: keys and certificates of the installation.
type Files struct {
	db    *database.DB
	keys  *secrets.Keys
	adopt func([]File) error

	adopting sync.Mutex   // held while files are adopted
	adopted  atomic.Int64 // version of the newest file that was adopted
}

// NewFiles returns the files in a database. adopt is told of files that another replica has
// changed; it may be nil.
func NewFiles(db *database.DB, keys *secrets.Keys, adopt func([]File) error) *Files {
	if adopt == nil {
		adopt = func([]File) error { return nil }
	}
	return &Files{db: db, keys: keys, adopt: adopt}
}

const putFileSQL = database.Written + `INSERT INTO files (name, sealed, version)
	VALUES ($1, $2, $3) ON CONFLICT (name)
	DO UPDATE SET sealed = excluded.sealed, version = excluded.version` + database.One

// Put changes files, together. The other replicas adopt them before they decide anything else.
func (f *Files) Put(ctx context.Context, files ...File) error {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	return database.Explain(pgx.BeginTxFunc(ctx, f.db, pgx.TxOptions{}, func(tx pgx.Tx) error {
		var version int64
		if err := tx.QueryRow(ctx, "UPDATE log SET files = files + 1 RETURNING files").
			Scan(&version); err != nil {
			return err
		}
		for _, file := range files {
			if _, err := tx.Exec(ctx, putFileSQL, file.Name, f.Seal(file), version); err != nil {
				return err
			}
		}
		return nil
	}))
}

// A sealed file begins with whether it is there at all.
const (
	fileGone  = 0
	fileThere = 1
)

// Seal returns a file as it is stored.
func (f *Files) Seal(file File) []byte {
	plain := []byte{fileGone}
	if file.Data != nil {
		plain = append([]byte{fileThere}, file.Data...)
	}
	return f.keys.Seal(secrets.File, file.Name, plain)
}

// AllFiles reads what Scan understands.
const AllFiles = "SELECT name, sealed, version FROM files"

// Scan opens a file of AllFiles.
func (f *Files) Scan(row pgx.Row) (File, error) {
	v, err := f.scan(row)
	return v.File, err
}

type versioned struct {
	File
	version int64
}

func (f *Files) scan(row pgx.Row) (v versioned, err error) {
	var sealed []byte
	if err := row.Scan(&v.Name, &sealed, &v.version); err != nil {
		return v, err
	}
	plain, err := f.keys.Open(secrets.File, v.Name, sealed)
	if err == nil && len(plain) > 0 && plain[0] == fileThere {
		v.Data = plain[1:]
	}
	return v, err
}

// All returns all files, those that were removed too.
func (f *Files) All(ctx context.Context) ([]File, error) { return f.In(ctx, f.db) }

// In is All in a transaction.
func (f *Files) In(ctx context.Context, q database.Querier) ([]File, error) {
	return database.List(ctx, q, f.Scan, AllFiles+" ORDER BY version, name")
}

// Adopt tells of files that are new, if newest, the version of the newest file, says that there
// are any.
func (f *Files) Adopt(ctx context.Context, q database.Querier, newest int64) error {
	if newest <= f.adopted.Load() {
		return nil
	}
	f.adopting.Lock()
	defer f.adopting.Unlock()
	found, err := database.List(ctx, q, f.scan,
		AllFiles+" WHERE version > $1 ORDER BY version, name", f.adopted.Load())
	if err != nil || len(found) == 0 {
		return err
	}
	files := make([]File, len(found))
	for i := range found {
		files[i] = found[i].File
	}
	if err := f.adopt(files); err != nil {
		return fmt.Errorf("files of another replica: %w", err)
	}
	f.adopted.Store(found[len(found)-1].version)
	return nil
}
