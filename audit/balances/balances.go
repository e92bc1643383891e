// Package balances compares the balances in an audit log with those in a vault.
package balances

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
)

// A Hash is a hash over accounts with their versions and balances, with which two parties can
// compare them. Accounts are added in the order of Order.
type Hash struct{ hash hash.Hash }

// NewHash returns the hash of no accounts.
func NewHash() *Hash { return &Hash{sha256.New()} }

// Add adds an account.
func (b *Hash) Add(account string, version uint64, balance atm.Amount) {
	fmt.Fprintf(b.hash, "%s %d %s\n", account, version, balance)
}

// Sum is the hash of the accounts that were added.
func (b *Hash) Sum() string { return base64.StdEncoding.EncodeToString(b.hash.Sum(nil)) }

// Order compares the names of accounts: accounts of customers by number, then accounts
// of the bank by name.
func Order(a, b string) int {
	na, customerA := atm.ParseAccountID(a)
	nb, customerB := atm.ParseAccountID(b)
	switch {
	case customerA && customerB:
		return cmp.Compare(na, nb)
	case customerA:
		return -1
	case customerB:
		return 1
	}
	return cmp.Compare(a, b)
}

// A Balance is the balance of an account according to the log.
type Balance struct {
	Version uint64
	Amount  atm.Amount
}

// Of replays the first size entries of the log, and returns the balance of every account
// after them. It returns a ContradictionError if a version does not follow the one before it,
// or if the changes of an entry do not sum to zero.
func Of(ctx context.Context, l *audit.Log, size int64) (map[string]Balance, error) {
	accounts := make(map[string]Balance)
	err := l.Entries(ctx, 0, size, func(index int64, leaf []byte, _ merkle.Hash) error {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		var sum atm.Amount
		for _, c := range entry.State {
			if was := accounts[c.Account]; c.Version != was.Version+1 || c.Before != was.Amount {
				return &ContradictionError{fmt.Sprintf("entry %d makes version %d of account %s "+
					"out of %s; the log had version %d with %s",
					index, c.Version, c.Account, c.Before, was.Version, was.Amount)}
			}
			accounts[c.Account] = Balance{c.Version, c.After}
			sum += c.After - c.Before
		}
		if sum != 0 {
			return &ContradictionError{fmt.Sprintf("entry %d makes %s out of nothing", index, sum)}
		}
		return nil
	})
	return accounts, err
}

// A ContradictionError reports a log whose entries contradict each other.
type ContradictionError struct{ sentence string }

// Error implements error.
func (e *ContradictionError) Error() string { return e.sentence }
