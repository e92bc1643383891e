package pgstore

import (
	"context"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/replicated"
)

// News is what other replicas may have done.
type News = replicated.News

// newsSQL reads the head, and what decides whether a commit would be durable: the session's
// own setting, and those that sessions get when they begin (ALTER DATABASE, ALTER ROLE).
const newsSQL = `SELECT ` + sightColumns + `, files, clock_timestamp(),
	current_setting('transaction_read_only'), current_setting('synchronous_commit'),
	(SELECT coalesce(string_agg(setdatabase || ' ' || setrole || ' ' || setconfig::text, ' '
			ORDER BY setdatabase, setrole), '')
		FROM pg_db_role_setting WHERE setdatabase IN (0,
			(SELECT oid FROM pg_database WHERE datname = current_database())))
	FROM log`

// newsRow is what newsSQL reads.
type newsRow struct {
	sightingRow
	files                           int64
	now                             time.Time
	readOnly, synchronous, settings string
}

// Since returns what has been written since the journal had a size, and tells Config.Adopt of
// files. It may return what was committed while it reads once more the next time.
func (s *Store) Since(ctx context.Context, size vault.JournalIndex) (*News, error) {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	asked := time.Now()
	seen := s.past.newest() // before the query: commits go on meanwhile
	var row newsRow
	if err := s.db.QueryRow(ctx, newsSQL, int64(seen.size)).Scan(row.columns(&row.files, &row.now,
		&row.readOnly, &row.synchronous, &row.settings)...); err != nil {
		return nil, database.Explain(err)
	}
	ahead := row.now.Sub(asked.Add(time.Since(asked) / 2))
	if err := row.check(s); err != nil {
		return nil, err
	}
	found, err := row.sighting()
	if err != nil {
		return nil, err
	}
	if err := s.past.observe(seen, found); err != nil {
		return nil, err
	}
	if err := s.Files.Adopt(ctx, s.db, row.files); err != nil {
		return nil, err
	}
	n := &News{Size: found.size, Ahead: ahead}
	if n.Size <= size {
		return n, nil
	}
	if n.Users, err = database.List(ctx, s.db, usersIn(s.keys), allUsers+" WHERE changed >= $1",
		int64(size)); err != nil {
		return nil, err
	}
	n.Revocations, err = database.List(ctx, s.db, scanRevocation, allRevocations+
		" WHERE changed >= $1", int64(size))
	return n, err
}

// check refuses a database on which this replica must not commit, and begins new sessions
// when theirs have other settings.
func (row *newsRow) check(s *Store) error {
	if s.Replicas.Fenced() {
		return ErrFenced
	}
	if was := s.settings.Swap(&row.settings); was != nil && *was != row.settings {
		s.db.Reset() // the sessions there are began with the old settings; the new ones decide
	}
	switch {
	case row.synchronous == "off":
		s.db.Reset()
		return ErrAsync
	case row.readOnly == "on": // it has become a standby, and may lag behind
		s.db.Reset()
		return ErrReadOnly
	}
	return nil
}
