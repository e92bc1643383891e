package pgstore

import (
	"context"
	"errors"
	"slices"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/check"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/pgstore/journal"
	"example.com/atm/vault/pgstore/shared"
	"github.com/jackc/pgx/v5"
)

// Check implements vault.Backend: every row opens and has its form, the journal
// is whole and the signed tree is of it, the versions of every account form one
// chain that ends in its record, and holds and request ids lead where they
// should. Pages and indexes are the database's own to check (amcheck).
func (s *Store) Check(ctx context.Context, report func(problem string)) error {
	problems := check.NewProblems(report)
	c := &checker{store: s, problems: problems}
	err := s.db.Snapshot(ctx, func(tx pgx.Tx) (err error) {
		if c.base, err = journal.Base(ctx, tx); err != nil {
			return err
		}
		c.chains = check.NewChains(problems, c.base.Index > 0)
		for _, part := range []func(context.Context, pgx.Tx) error{
			c.journal, c.accounts, c.versions, c.holds, c.requests, c.secrets,
		} {
			if err := part(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = problems.Err()
	}
	return err
}

type checker struct {
	store    *Store
	problems *check.Problems

	base   vault.Base         // rows from before it are about to be removed
	size   vault.JournalIndex // of the journal
	chains *check.Chains
}

// journal reads all entries, and holds the tree that was signed against them.
func (c *checker) journal(ctx context.Context, tx pgx.Tx) error {
	checkpoint, head, err := signed(ctx, tx)
	if err != nil {
		c.problems.Add("head of the audit tree: %v", err)
		return nil
	}
	var numbers []int64 // where logs began
	var size, stored int64
	if err := tx.QueryRow(ctx,
		`SELECT logs, size, (SELECT count(*) FROM journal WHERE index >= begins) FROM log`).
		Scan(&numbers, &size, &stored); err != nil {
		return err
	}
	logs := journalIndexes(numbers)
	c.size = vault.JournalIndex(size)
	if len(logs) == 0 || vault.JournalEnd(logs, head) != c.size ||
		stored != size-int64(c.base.Index) {
		c.problems.Add("the head says %d entries in logs from %v and %d in the last one; the "+
			"journal has %d from entry %d on", c.size, logs, head.Size, stored, c.base.Index)
		return nil
	}
	begin := logs[len(logs)-1]
	rebuilt := c.base.Tree(begin)
	err = journal.Entries(ctx, tx, c.base.Index, c.size, func(index vault.JournalIndex,
		leaf []byte,
	) error {
		if index >= begin {
			rebuilt = rebuilt.Append(merkle.LeafHash(leaf))
		}
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			c.problems.Add("journal entry %d: %v", index, err)
			return nil
		}
		c.chains.Entry(index, entry)
		return nil
	})
	switch {
	case err != nil:
		c.problems.Add("journal: %v", err)
	case !slices.Equal(head.Edge, rebuilt.Edge):
		c.problems.Add("the signed tree is not that of the journal")
	}
	if (len(checkpoint) > 0) != (head.Size > 0) {
		c.problems.Add("the checkpoint is missing")
	}
	return ctx.Err()
}

func (c *checker) accounts(ctx context.Context, tx pgx.Tx) error {
	var accounts []vault.Account
	err := database.ForEach(ctx, tx, func(rows pgx.Rows) error {
		a, err := scanAccount(c.store.keys, rows)
		if err != nil && a.Name == "" { // not even the name could be read
			return err
		}
		if err != nil {
			c.problems.Add("%v", err)
		}
		accounts = append(accounts, a)
		return nil
	}, "SELECT "+accountColumns+" FROM accounts")
	if err != nil {
		return err
	}
	pending := make(map[vault.HoldID]vault.Hold)
	err = database.ForEach(ctx, tx, func(rows pgx.Rows) error {
		h, err := scanHold(rows)
		pending[h.ID] = h
		return err
	}, "SELECT id, account, amount, state FROM holds WHERE state = 0")
	for i := range accounts {
		if c.chains.Account(&accounts[i]) {
			c.chains.Pending(&accounts[i], func(id vault.HoldID) (vault.Hold, error) {
				h, is := pending[id]
				if !is {
					return h, errors.New("there is none")
				}
				return h, nil
			})
		}
	}
	c.chains.End()
	return err
}

// versions looks for entries that make versions which the index does not know, or
// knows in another place. Entries are read here and not by the database, whose encoding may
// lack characters that they have.
func (c *checker) versions(ctx context.Context, tx pgx.Tx) error {
	const otherwise = "account %s: version %d is not where its history says, in entry %d"
	type version struct {
		account string
		number  int64
		index   int64 // in the journal
	}
	scan := func(row pgx.Row) (v version, err error) {
		err = row.Scan(&v.account, &v.number, &v.index)
		return v, err
	}
	for from := c.base.Index; from < c.size; from += journal.AtOnce {
		to := min(from+journal.AtOnce, c.size)
		made := make(map[version]bool)
		err := journal.Entries(ctx, tx, from, to, func(index vault.JournalIndex,
			leaf []byte,
		) error {
			entry, err := audit.ParseEntry(leaf)
			if err != nil {
				return nil // which journal has told
			}
			for _, change := range entry.State {
				made[version{change.Account, int64(change.Version), int64(index)}] = true
			}
			return nil
		})
		if err != nil {
			return nil // an entry is missing, which journal has told
		}
		known, err := database.List(ctx, tx, scan, `SELECT account, version, index
			FROM versions WHERE index >= $1 AND index < $2`, int64(from), int64(to))
		if err != nil {
			return err
		}
		for _, v := range known {
			if !made[v] {
				c.problems.Add(otherwise, v.account, v.number, v.index)
			}
			delete(made, v)
		}
		for v := range made {
			c.problems.Add(otherwise, v.account, v.number, v.index)
		}
	}
	beyond, err := database.List(ctx, tx, scan, `SELECT account, version, index FROM versions
		WHERE index < 0 OR index >= $1`, int64(c.size))
	for _, v := range beyond {
		c.problems.Add(otherwise, v.account, v.number, v.index)
	}
	return err
}

func (c *checker) holds(ctx context.Context, tx pgx.Tx) error {
	return c.each(ctx, tx, "hold h%d of account %s is of nothing", `
		SELECT h.id, h.account FROM holds h
		LEFT JOIN accounts a ON a.name = h.account LEFT JOIN journal j ON j.index = h.id
		WHERE a.name IS NULL OR j.index IS NULL AND h.id >= (SELECT begins FROM log)`)
}

func (c *checker) requests(ctx context.Context, tx pgx.Tx) error {
	return database.ForEach(ctx, tx, func(rows pgx.Rows) error {
		var leaf []byte
		r, err := scanRequest(rows, &leaf)
		if err != nil {
			return err
		}
		entry, err := audit.ParseEntry(leaf)
		c.problems.Answer(&r, entry, err)
		return nil
	}, `SELECT r.key, r.index, r.day, j.leaf
		FROM requests r LEFT JOIN journal j ON j.index = r.index
		WHERE r.index >= (SELECT begins FROM log) OR r.index < 0`)
}

// each reports every row of a query.
func (c *checker) each(ctx context.Context, tx pgx.Tx, format, sql string) error {
	return database.ForEach(ctx, tx, func(rows pgx.Rows) error {
		values, err := rows.Values()
		if err == nil {
			c.problems.Add(format, values...)
		}
		return err
	}, sql)
}

// secrets opens everything that is sealed, and reads what has a form of its own.
func (c *checker) secrets(ctx context.Context, tx pgx.Tx) error {
	for _, table := range []struct {
		sql  string
		open func(pgx.Row) error
	}{
		{allUsers, func(row pgx.Row) error { _, err := scanUser(c.store.keys, row); return err }},
		{shared.AllFiles, func(row pgx.Row) error {
			_, err := c.store.Files.Scan(row)
			return err
		}},
		{allBooks, func(row pgx.Row) error { _, err := scanBook(row); return err }},
	} {
		err := database.ForEach(ctx, tx, func(rows pgx.Rows) error {
			if err := table.open(rows); err != nil {
				c.problems.Add("%v", err)
			}
			return nil
		}, table.sql)
		if err != nil {
			return err
		}
	}
	return nil
}
