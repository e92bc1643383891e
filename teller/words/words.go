// Package words reads the words of arguments that more than one place reads: the operation
// itself, and package replay in the entries of the journal.
package words

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"example.com/atm"
	"example.com/atm/vault"
)

// Roles reads names of roles, separated by spaces.
func Roles(s string) ([]atm.Role, error) {
	var roles []atm.Role
	for word := range strings.FieldsSeq(s) {
		role, known := atm.ParseRole(word)
		if !known {
			return nil, fmt.Errorf("there is no role %.64q", word)
		}
		roles = append(roles, role)
	}
	return roles, nil
}

// Newcomer is the role of a new subject that was given none.
func Newcomer(subject string) atm.Role {
	if strings.HasPrefix(subject, "service:") {
		return atm.Service
	}
	return atm.Customer
}

// Serial reads a serial number in hexadecimal, with or without colons.
func Serial(text string) (string, bool) {
	serial, ok := new(big.Int).SetString(strings.ReplaceAll(text, ":", ""), 16)
	if !ok || serial.Sign() <= 0 || serial.BitLen() > 160 {
		return "", false
	}
	return serial.Text(16), true
}

// maxGranted bounds the accounts of a grant.
const maxGranted = 16

// Granted is the account first and those in more, each once.
func Granted(first vault.Name, more string) ([]vault.Name, error) {
	accounts := []vault.Name{first}
	for word := range strings.FieldsSeq(more) {
		id, ok := atm.ParseAccountID(word)
		if !ok || len(accounts) == maxGranted {
			return nil, fmt.Errorf("a grant is for %d accounts at most, each a number", maxGranted)
		}
		if name := vault.Numbered(id); !slices.Contains(accounts, name) {
			accounts = append(accounts, name)
		}
	}
	return accounts, nil
}
