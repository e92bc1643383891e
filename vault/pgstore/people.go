package pgstore

import (
	"context"
	"fmt"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

const (
	userColumns = "subject, roles, disabled, ha1, slow"
	allUsers    = "SELECT " + userColumns + " FROM users"

	putUserSQL = database.Written + `INSERT INTO users
		(subject, roles, disabled, ha1, slow, changed) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (subject) DO UPDATE SET roles = excluded.roles, disabled = excluded.disabled,
		ha1 = excluded.ha1, slow = excluded.slow, changed = excluded.changed` + database.One
)

func scanUser(keys *secrets.Keys, row pgx.Row) (people.User, error) {
	var u people.User
	var roles []string
	if err := row.Scan(&u.Subject, &roles, &u.Disabled, &u.HA1, &u.Slow); err != nil {
		return u, err
	}
	for _, text := range roles {
		role, known := atm.ParseRole(text)
		if !known {
			return u, fmt.Errorf("user %s: %w", u.Subject, errRecord)
		}
		u.Roles = append(u.Roles, role)
	}
	var err error
	if u.HA1, err = keys.Open(secrets.HA1, u.Subject, u.HA1); err == nil {
		u.Slow, err = keys.Open(secrets.Slow, u.Subject, u.Slow)
	}
	return u, err
}

// usersIn reads users with the keys that open their secrets.
func usersIn(keys *secrets.Keys) func(pgx.Row) (people.User, error) {
	return func(row pgx.Row) (people.User, error) { return scanUser(keys, row) }
}

func putUser(keys *secrets.Keys, b *pgx.Batch, u *people.User, first vault.JournalIndex) {
	b.Queue(putUserSQL, u.Subject, texts(u.Roles), u.Disabled,
		keys.Seal(secrets.HA1, u.Subject, u.HA1), keys.Seal(secrets.Slow, u.Subject, u.Slow),
		int64(first))
}

const (
	allRevocations = "SELECT name, at FROM revocations"

	putRevocationSQL = database.Written + `INSERT INTO revocations (name, at, changed)
		VALUES ($1, $2, $3) ON CONFLICT (name)
		DO UPDATE SET at = excluded.at, changed = excluded.changed` + database.One
)

func scanRevocation(row pgx.Row) (people.Revocation, error) {
	var r people.Revocation
	err := row.Scan(&r.Name, &r.At)
	r.At = r.At.UTC()
	return r, err
}

func putRevocation(_ *secrets.Keys, b *pgx.Batch, r *people.Revocation, first vault.JournalIndex) {
	b.Queue(putRevocationSQL, r.Name, r.At, int64(first))
}

const (
	certificateColumns = "serial, subject, not_after, issued, scope, actor"

	putCertificateSQL = database.Written + `INSERT INTO certificates (` + certificateColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (serial)
		DO UPDATE SET subject = excluded.subject, not_after = excluded.not_after,
		issued = excluded.issued, scope = excluded.scope, actor = excluded.actor` + database.One

	// Each commit that adds certificates deletes some that have ended.
	sweepCertificatesSQL = `DELETE FROM certificates WHERE serial IN (
		SELECT serial FROM certificates c WHERE not_after < $1
		AND NOT EXISTS (SELECT FROM revocations WHERE name = 'cert:' || c.serial)
		ORDER BY not_after LIMIT 100)`
	certificateKept = 24 * time.Hour // after it ended
)

func scanCertificate(row pgx.Row) (people.Certificate, error) {
	var c people.Certificate
	var issued *time.Time
	err := row.Scan(&c.Serial, &c.Subject, &c.NotAfter, &issued, &c.Scope, &c.Actor)
	c.NotAfter, c.Issued = c.NotAfter.UTC(), database.Known(issued)
	return c, err
}

func putCertificate(_ *secrets.Keys, b *pgx.Batch, c *people.Certificate, _ vault.JournalIndex) {
	b.Queue(putCertificateSQL, c.Serial, c.Subject, c.NotAfter, database.Null(c.Issued), c.Scope,
		c.Actor)
}

const (
	passkeyColumns = "id, subject, name, added, key, count, flags, transports, removed"

	putPasskeySQL = database.Written + `INSERT INTO passkeys (` + passkeyColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id)
		DO UPDATE SET name = excluded.name, count = excluded.count, flags = excluded.flags,
		removed = excluded.removed` + database.One
)

func scanPasskey(row pgx.Row) (people.Passkey, error) {
	var p people.Passkey
	var removed *time.Time
	err := row.Scan(&p.ID, &p.Subject, &p.Name, &p.Added, &p.Key, &p.Count, &p.Flags,
		&p.Transports, &removed)
	p.Added, p.Removed = p.Added.UTC(), database.Known(removed)
	if len(p.Transports) == 0 {
		p.Transports = nil
	}
	return p, err
}

func putPasskey(_ *secrets.Keys, b *pgx.Batch, p *people.Passkey, _ vault.JournalIndex) {
	b.Queue(putPasskeySQL, p.ID, p.Subject, p.Name, p.Added, p.Key, int64(p.Count),
		int16(p.Flags), texts(p.Transports), database.Null(p.Removed))
}

const (
	sessionColumns = "id, subject, method, passkey, issuer, person, agent, bound, begun, seen, " +
		"ends, ended"

	putSessionSQL = database.Written + `INSERT INTO sessions (` + sessionColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (id)
		DO UPDATE SET seen = excluded.seen, ended = excluded.ended` + database.One

	// Each commit that begins, ends or uses sessions deletes some that are over.
	sweepSessionsSQL = `DELETE FROM sessions WHERE id IN (
		SELECT id FROM sessions WHERE ends < $1 ORDER BY ends LIMIT 100)`
)

func scanSession(row pgx.Row) (people.Session, error) {
	var s people.Session
	var ended *time.Time
	err := row.Scan(&s.ID, &s.Subject, &s.Method, &s.Passkey, &s.Issuer, &s.Person, &s.Agent,
		&s.Bound, &s.Begun, &s.Seen, &s.Ends, &ended)
	s.Begun, s.Seen, s.Ends = s.Begun.UTC(), s.Seen.UTC(), s.Ends.UTC()
	s.Ended = database.Known(ended)
	return s, err
}

func putSession(_ *secrets.Keys, b *pgx.Batch, s *people.Session, _ vault.JournalIndex) {
	b.Queue(putSessionSQL, s.ID, s.Subject, s.Method, s.Passkey, s.Issuer, s.Person, s.Agent,
		s.Bound, s.Begun, s.Seen, s.Ends, database.Null(s.Ended))
}

// Users implements people.Store.
func (r *reader) Users(ctx context.Context) ([]people.User, error) {
	return database.Listed(ctx, r.db, usersIn(r.keys), allUsers+" ORDER BY subject")
}

// Revocations implements people.Store.
func (r *reader) Revocations(ctx context.Context) ([]people.Revocation, error) {
	return database.Listed(ctx, r.db, scanRevocation, allRevocations+" ORDER BY name")
}

// Certificates implements people.Store.
func (r *reader) Certificates(ctx context.Context) ([]people.Certificate, error) {
	return database.Listed(ctx, r.db, scanCertificate, "SELECT "+certificateColumns+
		" FROM certificates ORDER BY serial")
}

// Passkeys implements people.Store.
func (r *reader) Passkeys(ctx context.Context, subject string) ([]people.Passkey, error) {
	return database.Listed(ctx, r.db, scanPasskey, "SELECT "+passkeyColumns+
		" FROM passkeys WHERE subject = $1 ORDER BY id", subject)
}

// Passkey implements people.Store.
func (r *reader) Passkey(ctx context.Context, id string) (*people.Passkey, error) {
	return first(database.Listed(ctx, r.db, scanPasskey, "SELECT "+passkeyColumns+
		" FROM passkeys WHERE id = $1", id))
}

// Sessions implements people.Store.
func (r *reader) Sessions(ctx context.Context, subject string) ([]people.Session, error) {
	return database.Listed(ctx, r.db, scanSession, "SELECT "+sessionColumns+
		" FROM sessions WHERE subject = $1 ORDER BY id", subject)
}

// Session implements people.Store.
func (r *reader) Session(ctx context.Context, id string) (*people.Session, error) {
	return first(database.Listed(ctx, r.db, scanSession, "SELECT "+sessionColumns+
		" FROM sessions WHERE id = $1", id))
}

func first[T any](list []T, err error) (*T, error) {
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}
