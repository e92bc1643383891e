package auth_test

import (
	"testing"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/teller/methods"
)

// Package teller compares each row with a second table, and tries the operations.
func TestEveryOperationHasAPermissionRow(t *testing.T) {
	names := []atm.Operation{atm.Backup, atm.AuditRead} // these are no methods
	for _, op := range methods.All() {
		names = append(names, op.Name)
	}
	for _, op := range names {
		if !auth.Covers(op) {
			t.Errorf("the table of permissions has no row for %s", op)
		}
	}
	if auth.Covers("nothing") {
		t.Error("the table of permissions has a row for an operation that does not exist")
	}
}
