package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

// accounts are a kind whose keys other kinds have, too: see transaction.queueKeys, which loads
// them.
type accounts struct{}

func (accounts) of(r *vault.Records) any { return &r.Accounts }

func (accounts) load(*secrets.Keys, *pgx.Batch, *vault.Keys, *vault.Loaded) {}

func (accounts) dump(ctx context.Context, keys *secrets.Keys, q database.Querier, r *vault.Records,
	flush func() error,
) error {
	return dump(ctx, q, accountsIn(keys), &r.Accounts, flush, "SELECT "+accountColumns+
		" FROM accounts")
}

// write writes the accounts that are new, those of which only the money has changed, and the
// rest, in the order of their names.
func (accounts) write(keys *secrets.Keys, b *pgx.Batch, w *written) {
	opened, changed := accountRows{keys: keys}, accountRows{keys: keys}
	var moved moneyRows
	first := int64(w.first)
	inOrder := slices.SortedFunc(slices.Values(w.records.Accounts), func(a, b vault.Account) int {
		return strings.Compare(string(a.Name), string(b.Name))
	})
	for i := range inOrder {
		a := &inOrder[i]
		switch before := w.before[a.Name]; {
		case before == nil:
			opened.add(a, first)
		case onlyMoneyMoved(before, a):
			moved.add(a)
		default:
			changed.add(a, first)
		}
	}
	if len(moved.names) > 0 {
		b.Queue(moveSQL, moved.names, moved.balances, moved.versions)
	}
	if len(opened.names) > 0 {
		b.Queue(openSQL, opened.columns()...)
	}
	if len(changed.names) > 0 {
		b.Queue(changeSQL, changed.columns()...)
	}
}

// onlyMoneyMoved reports whether an account differs by what moveSQL writes alone.
func onlyMoneyMoved(before, a *vault.Account) bool {
	return before.Standing == a.Standing && before.Owner == a.Owner && before.Holder == a.Holder &&
		before.Limits == a.Limits && before.Spent == a.Spent &&
		slices.Equal(before.Pending, a.Pending) &&
		slices.Equal(before.Agreements, a.Agreements)
}

const (
	accountColumns = `name, owner, sealed_holder, standing, balance, version, pending,
		limit_operation, limit_amount, limit_count, limit_zone,
		spent_day, spent_amount, spent_count, agreements, creditors`

	openSQL = database.Written + `INSERT INTO accounts
		(name, number, owner, standing, balance, version, born, pending,
			limit_operation, limit_amount, limit_count, limit_zone,
			spent_day, spent_amount, spent_count, sealed_holder, agreements, creditors)
		SELECT name, CASE WHEN name LIKE '%:%' THEN NULL ELSE name::bigint END,
			owner, standing, balance, version, born, pending::bigint[],
			limit_operation, limit_amount, limit_count, limit_zone,
			spent_day, spent_amount, spent_count, holder,
			agreements::bigint[], creditors::text[]
		FROM ` + accountArrays + database.EachOf1
	changeSQL = database.Written + `UPDATE accounts a SET
			owner = n.owner, standing = n.standing, balance = n.balance, version = n.version,
			pending = n.pending::bigint[],
			limit_operation = n.limit_operation, limit_amount = n.limit_amount,
			limit_count = n.limit_count, limit_zone = n.limit_zone, spent_day = n.spent_day,
			spent_amount = n.spent_amount, spent_count = n.spent_count,
			sealed_holder = n.holder,
			agreements = n.agreements::bigint[], creditors = n.creditors::text[]
		FROM ` + accountArrays + ` WHERE a.name = n.name` + database.EachOf1
	accountArrays = `unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[],
			$6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[],
			$11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bytea[],
			$16::text[], $17::text[])
		AS n (name, owner, standing, balance, version, pending,
			limit_operation, limit_amount, limit_count, limit_zone,
			spent_day, spent_amount, spent_count, born, holder, agreements, creditors)`

	// A movement of money changes nothing but these columns.
	moveSQL = database.Written + `UPDATE accounts a SET balance = n.balance, version = n.version
		FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS n (name, balance, version)
		WHERE a.name = n.name` + database.EachOf1
)

// moneyRows are what a movement of money changes, by columns.
type moneyRows struct {
	names              []string
	balances, versions []int64
}

func (r *moneyRows) add(a *vault.Account) {
	r.names = append(r.names, string(a.Name))
	r.balances = append(r.balances, int64(a.Balance))
	r.versions = append(r.versions, int64(a.Version))
}

// accountRows are accounts by columns.
type accountRows struct {
	keys *secrets.Keys // seal the names of holders
	moneyRows
	owners, pending       []string
	holders               [][]byte
	agreements, creditors []string
	standings, born       []int64
	limits                struct {
		zones                                 []string
		perOperation, dailyAmount, dailyCount []int64
	}
	spent struct{ days, amounts, counts []int64 }
}

func (r *accountRows) add(a *vault.Account, born int64) {
	r.moneyRows.add(a)
	r.owners = append(r.owners, a.Owner)
	r.holders = append(r.holders, sealHolder(r.keys, string(a.Name), a.Holder))
	r.pending = append(r.pending, pendingText(a.Pending))
	r.agreements = append(r.agreements, agreementsText(a.Agreements))
	r.creditors = append(r.creditors, creditorsText(a.Agreements))
	r.standings = append(r.standings, int64(a.Standing))
	r.born = append(r.born, born)
	limits := &r.limits
	limits.zones = append(limits.zones, a.Limits.Zone)
	limits.perOperation = append(limits.perOperation, int64(a.Limits.PerOperation))
	limits.dailyAmount = append(limits.dailyAmount, int64(a.Limits.DailyAmount))
	limits.dailyCount = append(limits.dailyCount, a.Limits.DailyCount)
	spent := &r.spent
	spent.days = append(spent.days, a.Spent.Day)
	spent.amounts = append(spent.amounts, int64(a.Spent.Amount))
	spent.counts = append(spent.counts, a.Spent.Count)
}

// columns returns what accountArrays is given.
func (r *accountRows) columns() []any {
	return []any{
		r.names, r.owners, r.standings, r.balances, r.versions, r.pending,
		r.limits.perOperation, r.limits.dailyAmount, r.limits.dailyCount, r.limits.zones,
		r.spent.days, r.spent.amounts, r.spent.counts, r.born, r.holders,
		r.agreements, r.creditors,
	}
}

// accountNames returns names in order, each once.
func accountNames(names []vault.Name) []string {
	list := texts(names)
	slices.Sort(list)
	return slices.Compact(list)
}

func accountName(a *vault.Account) vault.Name { return a.Name }

// errRecord reports a row that no version of this program wrote.
var errRecord = errors.New("a row of no known form")

// accountsIn reads accounts with the keys that open the names of their holders.
func accountsIn(keys *secrets.Keys) func(pgx.Row) (vault.Account, error) {
	return func(row pgx.Row) (vault.Account, error) { return scanAccount(keys, row) }
}

func scanAccount(keys *secrets.Keys, row pgx.Row) (vault.Account, error) {
	var a vault.Account
	var name string
	var holder []byte
	var standing, version int64
	var pending, ends []int64
	var creditors []string
	err := row.Scan(&name, &a.Owner, &holder, &standing, &a.Balance, &version, &pending,
		&a.Limits.PerOperation, &a.Limits.DailyAmount, &a.Limits.DailyCount, &a.Limits.Zone,
		&a.Spent.Day, &a.Spent.Amount, &a.Spent.Count, &ends, &creditors)
	if err != nil {
		return a, err
	}
	a.Name, a.Standing, a.Version = vault.Name(name), vault.Standing(standing), uint64(version)
	if len(pending)%3 != 0 {
		return a, fmt.Errorf("account %s: %w", name, errRecord)
	}
	for p := range slices.Chunk(pending, 3) {
		a.Pending = append(a.Pending, vault.Pending{
			ID:     vault.HoldID(p[0]),
			Amount: atm.Amount(p[1]), Expires: time.Unix(p[2], 0).UTC(),
		})
	}
	if a.Agreements, err = agreementsOf(ends, creditors); err != nil {
		return a, fmt.Errorf("account %s: %w", name, err)
	}
	a.Holder, err = openHolder(keys, name, holder)
	return a, err
}

// pendingText is the array that scanAccount reads.
func pendingText(list []vault.Pending) string {
	if len(list) == 0 {
		return "{}"
	}
	b := []byte{'{'}
	for i, p := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(p.ID), 10)
		b = strconv.AppendInt(append(b, ','), int64(p.Amount), 10)
		b = strconv.AppendInt(append(b, ','), p.Expires.Unix(), 10)
	}
	return string(append(b, '}'))
}
