package pgstore

import (
	"context"
	"slices"
	"strings"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"github.com/jackc/pgx/v5"
)

// A trigger, a rule or a policy can drop what a statement writes, and the database calls it
// done. So each statement of a commit counts the rows that it wrote, between written and one
// of the others, and fails, with divisionByZero, before the commit when it lacks one.
const (
	written = `WITH written AS (`
	// as many as $1 has elements
	eachOf1  = ` RETURNING 1) SELECT 1 / (count(*) = cardinality($1))::int FROM written`
	one      = ` RETURNING 1) SELECT 1 / (count(*) = 1)::int FROM written`
	dropping = "the database drops what is written: a trigger, a rule or a policy that is none " +
		"of this program's"
)

// dropped reports whether a commit failed because not all of it was written.
func dropped(err error) bool {
	state, _ := stateOf(err)
	return state == divisionByZero
}

const (
	journalSQL = written +
		`INSERT INTO journal (index, leaf) SELECT * FROM unnest($1::bigint[], $2::bytea[])` +
		eachOf1
	versionsSQL = written +
		`INSERT INTO versions (account, version, index) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])` + eachOf1

	openSQL = written + `INSERT INTO accounts (name, number, owner, standing, balance, version, born, pending,
			limit_operation, limit_amount, limit_count, limit_zone, spent_day, spent_amount, spent_count, holder)
		SELECT name, CASE WHEN name LIKE '%:%' THEN NULL ELSE name::bigint END, owner, standing, balance, version, born, pending::bigint[],
			limit_operation, limit_amount, limit_count, limit_zone, spent_day, spent_amount, spent_count, holder
		FROM ` + accountArrays + eachOf1
	changeSQL = written + `UPDATE accounts a SET owner = n.owner, standing = n.standing, balance = n.balance, version = n.version, pending = n.pending::bigint[],
			limit_operation = n.limit_operation, limit_amount = n.limit_amount, limit_count = n.limit_count, limit_zone = n.limit_zone,
			spent_day = n.spent_day, spent_amount = n.spent_amount, spent_count = n.spent_count, holder = n.holder
		FROM ` + accountArrays + `
		WHERE a.name = n.name` + eachOf1
	accountArrays = `unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[],
			$7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[])
		AS n (name, owner, standing, balance, version, pending, limit_operation, limit_amount, limit_count, limit_zone,
			spent_day, spent_amount, spent_count, born, holder)`

	// A movement of money changes nothing but these.
	moveSQL = written + `UPDATE accounts a SET balance = n.balance, version = n.version
		FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS n (name, balance, version) WHERE a.name = n.name` + eachOf1

	putRequestsSQL = written +
		`INSERT INTO requests (key, index, day) SELECT key, index, $3 FROM unnest($1::bytea[], $2::bigint[]) AS n (key, index)` + eachOf1

	// What is over is swept away by ordinary commits, a part at a time.
	sweepRequestsSQL = `DELETE FROM requests WHERE key IN (SELECT key FROM requests WHERE day < $1 ORDER BY day LIMIT 1000)`
	oldestSQL        = `SELECT coalesce(min(day), 0) FROM requests`

	putHoldSQL = written + `INSERT INTO holds (id, account, amount, state) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state` + one
	putGrantSQL = written + `INSERT INTO grants (id, grantor, grantee, accounts, operations, cap, spent, expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET spent = excluded.spent` + one
	putUserSQL = written + `INSERT INTO users (subject, roles, disabled, ha1, slow, changed) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (subject) DO UPDATE SET roles = excluded.roles, disabled = excluded.disabled, ha1 = excluded.ha1, slow = excluded.slow, changed = excluded.changed` + one
	putRevocationSQL = written + `INSERT INTO revocations (name, at, changed) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET at = excluded.at, changed = excluded.changed` + one
	putCertificateSQL = written + `INSERT INTO certificates (` + certificateColumns + `) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (serial) DO UPDATE SET
		subject = excluded.subject, not_after = excluded.not_after, issued = excluded.issued, scope = excluded.scope, actor = excluded.actor` + one
	sweepCertificatesSQL = `DELETE FROM certificates WHERE serial IN (SELECT serial FROM certificates c WHERE not_after < $1
		AND NOT EXISTS (SELECT FROM revocations WHERE name = 'cert:' || c.serial) ORDER BY not_after LIMIT 100)`
	certificateKept = 24 * time.Hour
	putHeadSQL      = written +
		`UPDATE log SET size = $1, head = $2, checkpoint = $3 WHERE size = $4` + one
	secondsOfDay = 24 * 60 * 60
)

// dayOf numbers the days since 1970, in UTC.
func dayOf(t time.Time) int64 { return t.Unix() / secondsOfDay }

// write sends all changes of a transaction and its commit at once. ended reports
// that the transaction is over and the connection good.
func (s *Store) write(ctx context.Context, conn *pgx.Conn, now time.Time, c *vault.Changes,
	size int64, before map[vault.Name]*vault.Account,
) (ended bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	var b pgx.Batch
	queueEntries(&b, c)
	s.queueRecords(&b, c, before)
	for i := range c.Certificates {
		b.Queue(putCertificateSQL, certificateRow(&c.Certificates[i])...)
	}
	if len(c.Certificates) > 0 {
		b.Queue(sweepCertificatesSQL, now.Add(-certificateKept))
	}
	oldest := s.oldest.Load()
	s.queueRequests(&b, c, now, &oldest)
	head, err := c.Head.MarshalBinary()
	if err != nil {
		return false, err
	}
	b.Queue(putHeadSQL, size, head, c.Checkpoint, c.First)
	b.Queue("COMMIT")
	if err := conn.SendBatch(ctx, &b).Close(); err != nil {
		return false, err
	}
	s.oldest.Store(oldest)
	return true, nil
}

// queueRecords writes what is no entry and does not depend on the time.
func (s *Store) queueRecords(b *pgx.Batch, c *vault.Changes, before map[vault.Name]*vault.Account) {
	queueAccounts(b, c, before)
	for i := range c.Holds {
		h := &c.Holds[i]
		b.Queue(putHoldSQL, int64(h.ID), string(h.Account), int64(h.Amount), int64(h.State))
	}
	for i := range c.Grants {
		queueGrant(b, &c.Grants[i])
	}
	for i := range c.Users {
		s.queueUser(b, &c.Users[i], c.First)
	}
	for _, r := range c.Revocations {
		b.Queue(putRevocationSQL, r.Name, r.At, c.First)
	}
}

func queueEntries(b *pgx.Batch, c *vault.Changes) {
	indexes, leaves := make([]int64, len(c.Entries)), make([][]byte, len(c.Entries))
	var accounts []string
	var versions, at []int64
	for i := range c.Entries {
		indexes[i], leaves[i] = c.First+int64(i), c.Entries[i].Leaf
		for _, change := range c.Entries[i].Touched {
			accounts, versions, at = append(accounts, change.Account),
				append(versions, int64(change.Version)), append(at, indexes[i])
		}
	}
	b.Queue(journalSQL, indexes, leaves)
	if len(accounts) > 0 {
		b.Queue(versionsSQL, accounts, versions, at)
	}
}

// queueAccounts writes the accounts that are new, those of which only the money
// has changed, and the rest.
func queueAccounts(b *pgx.Batch, c *vault.Changes, before map[vault.Name]*vault.Account) {
	var opened, changed accountRows
	var names []string
	var balances, versions []int64
	inOrder := slices.SortedFunc(slices.Values(c.Accounts), func(a, b vault.Account) int {
		return strings.Compare(string(a.Name), string(b.Name))
	})
	for i := range inOrder {
		a := &inOrder[i]
		switch first := before[a.Name]; {
		case first == nil:
			opened.add(a, c.First)
		case first.Standing == a.Standing && first.Owner == a.Owner && first.Holder == a.Holder &&
			first.Limits == a.Limits && first.Spent == a.Spent && slices.Equal(first.Pending,
			a.Pending):
			names, balances, versions = append(names, string(a.Name)),
				append(balances, int64(a.Balance)), append(versions, int64(a.Version))
		default:
			changed.add(a, c.First)
		}
	}
	if len(names) > 0 {
		b.Queue(moveSQL, names, balances, versions)
	}
	if len(opened.names) > 0 {
		b.Queue(openSQL, opened.columns()...)
	}
	if len(changed.names) > 0 {
		b.Queue(changeSQL, changed.columns()...)
	}
}

// accountRows are accounts by columns.
type accountRows struct {
	names, owners, holders, pending, zones  []string
	standings, balances, versions           []int64
	perOperation, dailyAmount, dailyCount   []int64
	spentDay, spentAmount, spentCount, born []int64
}

func (r *accountRows) add(a *vault.Account, born int64) {
	r.names, r.owners = append(r.names, string(a.Name)), append(r.owners, a.Owner)
	r.standings, r.balances, r.versions = append(r.standings, int64(a.Standing)),
		append(r.balances, int64(a.Balance)), append(r.versions, int64(a.Version))
	r.pending, r.zones = append(r.pending, pendingText(a.Pending)), append(r.zones, a.Limits.Zone)
	r.perOperation, r.dailyAmount, r.dailyCount = append(r.perOperation,
		int64(a.Limits.PerOperation)), append(r.dailyAmount, int64(a.Limits.DailyAmount)),
		append(r.dailyCount, a.Limits.DailyCount)
	r.spentDay, r.spentAmount, r.spentCount = append(r.spentDay, a.Spent.Day),
		append(r.spentAmount, int64(a.Spent.Amount)), append(r.spentCount, a.Spent.Count)
	r.born, r.holders = append(r.born, born), append(r.holders, a.Holder)
}

func (r *accountRows) columns() []any {
	return []any{
		r.names, r.owners, r.standings, r.balances, r.versions, r.pending,
		r.perOperation, r.dailyAmount, r.dailyCount, r.zones, r.spentDay, r.spentAmount,
		r.spentCount, r.born, r.holders,
	}
}

func queueGrant(b *pgx.Batch, g *vault.Grant) {
	accounts, operations := make([]string, len(g.Accounts)), make([]string, len(g.Operations))
	for i, a := range g.Accounts {
		accounts[i] = string(a)
	}
	for i, op := range g.Operations {
		operations[i] = string(op)
	}
	b.Queue(putGrantSQL, g.ID, g.Grantor, g.Grantee, accounts, operations, int64(g.Cap),
		int64(g.Spent), g.Expires)
}

func (s *Store) queueUser(b *pgx.Batch, u *people.User, index int64) {
	roles := make([]string, len(u.Roles))
	for i, role := range u.Roles {
		roles[i] = string(role)
	}
	b.Queue(putUserSQL, u.Subject, roles, u.Disabled, s.seal(forHA1, u.Subject, u.HA1),
		s.seal(forSlow, u.Subject, u.Slow), index)
}

// queueRequests writes request ids, and sweeps old ones away when there are any.
// oldest becomes a day before which there are none.
func (s *Store) queueRequests(b *pgx.Batch, c *vault.Changes, now time.Time, oldest *int64) {
	if kept := dayOf(now.Add(-vault.RequestLife)); *oldest < kept {
		b.Queue(sweepRequestsSQL, kept)
		b.Queue(oldestSQL).QueryRow(func(row pgx.Row) error {
			var first int64
			err := row.Scan(&first)
			if first == 0 { // there are none at all
				first = kept
			}
			*oldest = first
			return err
		})
	}
	if len(c.Requests) == 0 {
		return
	}
	keys, indexes := make([][]byte, 0, len(c.Requests)), make([]int64, 0, len(c.Requests))
	for i := range c.Requests {
		keys, indexes = append(keys, c.Requests[i].Key[:]), append(indexes, c.Requests[i].Index)
	}
	b.Queue(putRequestsSQL, keys, indexes, dayOf(now))
}
