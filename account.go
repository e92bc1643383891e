package atm

import (
	"strconv"
	"strings"
)

// An AccountID is the number of a customer's account, 1 to MaxAccountID.
type AccountID uint64

// MaxAccountID is the largest account number, 2^53-1, so that every number survives programs
// that keep numbers as float64.
const MaxAccountID AccountID = 1<<53 - 1

// ParseAccountID parses an account number of decimal digits.
func ParseAccountID(s string) (AccountID, bool) {
	if !digits(s) {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n < 1 || AccountID(n) > MaxAccountID {
		return 0, false
	}
	return AccountID(n), true
}

// String is the account number in decimal digits.
func (id AccountID) String() string { return strconv.FormatUint(uint64(id), 10) }

// Account reads the argument as an account number: an Int, or a String of digits.
func (a Arg) Account() (AccountID, bool) {
	switch a.Kind {
	case Int:
		return ParseAccountID(strings.TrimPrefix(a.Text, "+")) // which XML-RPC allows
	case String:
		return ParseAccountID(a.Text)
	}
	return 0, false
}
