package pgstore

import (
	"slices"
	"testing"

	"example.com/atm/vault"
	"example.com/atm/vault/vaulttest"
)

// TestEveryKindIsStored needs no database.
func TestEveryKindIsStored(t *testing.T) {
	var r vault.Records
	var stored []any
	for _, kind := range kinds {
		stored = append(stored, kind.of(&r))
	}
	for _, kind := range vaulttest.Kinds(&r) {
		if !slices.Contains(stored, kind.List()) {
			t.Errorf("%s have no table: add them to kinds", kind.Name)
		}
	}
}
