package pgstore

import (
	"fmt"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/pgstore/secrets"
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
	c.NotAfter = c.NotAfter.UTC()
	if issued != nil {
		c.Issued = issued.UTC()
	}
	return c, err
}

func putCertificate(_ *secrets.Keys, b *pgx.Batch, c *people.Certificate, _ vault.JournalIndex) {
	var issued *time.Time // null when it is not known
	if !c.Issued.IsZero() {
		issued = &c.Issued
	}
	b.Queue(putCertificateSQL, c.Serial, c.Subject, c.NotAfter, issued, c.Scope, c.Actor)
}
