// Package journal is the journal in a database, and the index of the versions that its entries
// made: it adds to them, reads and trims them. What a journal keeps begins at its base. Entries
// and versions before the base are gone for every reader as soon as it is noted, even while
// their rows are still there.
package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"example.com/atm/vault"
	"example.com/atm/vault/pgstore/database"
	"github.com/jackc/pgx/v5"
)

// AtOnce bounds one reading of entries.
const AtOnce = 4096

// Base returns where the journal begins.
func Base(ctx context.Context, q database.Querier) (base vault.Base, err error) {
	var text []byte
	if err := q.QueryRow(ctx, "SELECT base FROM log").Scan(&text); err != nil {
		return base, database.Explain(err)
	}
	if text == nil {
		return base, nil
	}
	if err := json.Unmarshal(text, &base); err != nil {
		return base, fmt.Errorf("%w: base of the journal: %w", vault.ErrDamaged, err)
	}
	return base, nil
}

// Entries calls yield with the leaves of the journal from, from+1, … to-1 in order.
func Entries(ctx context.Context, q database.Querier, from, to vault.JournalIndex,
	yield func(index vault.JournalIndex, leaf []byte) error,
) error {
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := min(to, from+AtOnce)
		bounded, cancel := context.WithTimeout(ctx, database.ReadWithin)
		err := database.ForEach(bounded, q, func(rows pgx.Rows) error {
			var index int64
			var leaf []byte
			if err := rows.Scan(&index, &leaf); err != nil {
				return err
			}
			if vault.JournalIndex(index) != from {
				return errEnough
			}
			from++
			return yield(vault.JournalIndex(index), leaf)
		}, `SELECT index, leaf FROM journal WHERE index >= $1 AND index < $2
			AND index >= (SELECT begins FROM log) ORDER BY index`, int64(from), int64(end))
		cancel()
		switch {
		case err != nil && !errors.Is(err, errEnough):
			return err
		case from != end:
			return missing(ctx, q, from)
		}
	}
	return nil
}

// errEnough ends the reading of rows.
var errEnough = errors.New("enough")

// missing says why the journal does not have an entry.
func missing(ctx context.Context, q database.Querier, index vault.JournalIndex) error {
	base, err := Base(ctx, q)
	switch {
	case err != nil:
		return err
	case index < base.Index:
		return base.Trimmed(index)
	}
	return fmt.Errorf("journal entry %d is missing", index)
}

// A page of a history is short at first: most readers want the newest entries.
const (
	historyFirst = 64
	historyMost  = 1024
)

// History is a vault.History. It ends where the journal begins.
func History(ctx context.Context, q database.Querier, account vault.Name, from uint64,
	yield func(version uint64, index vault.JournalIndex, leaf []byte) bool,
) error {
	next := int64(min(from, 1<<62))
	for limit := historyFirst; next > 0; limit = min(2*limit, historyMost) {
		bounded, cancel := context.WithTimeout(ctx, database.ReadWithin)
		found, more := 0, true
		err := database.ForEach(bounded, q, func(rows pgx.Rows) error {
			var version, index, begins int64
			var leaf []byte
			if err := rows.Scan(&version, &index, &leaf, &begins); err != nil {
				return err
			}
			if index < begins { // older versions were trimmed
				more = false
				return errEnough
			}
			if found++; found > 1 && version != next {
				return fmt.Errorf("version %d of account %s is missing", next, account)
			}
			next = version - 1
			if !yield(uint64(version), vault.JournalIndex(index), leaf) {
				more = false
				return errEnough
			}
			return nil
		}, `SELECT v.version, v.index, j.leaf, (SELECT begins FROM log)
			FROM versions v JOIN journal j ON j.index = v.index
			WHERE v.account = $1 AND v.version <= $2 ORDER BY v.version DESC LIMIT $3`,
			string(account), next, limit)
		cancel()
		if errors.Is(err, errEnough) {
			err = nil
		}
		if err != nil || !more || found < limit {
			return err
		}
	}
	return nil
}
