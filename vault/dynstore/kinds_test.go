package dynstore

import (
	"slices"
	"strings"
	"testing"

	"example.com/atm/vault"
	"example.com/atm/vault/vaulttest"
)

// TestEveryKindIsStored needs no table.
func TestEveryKindIsStored(t *testing.T) {
	var r vault.Records
	var stored []any
	for _, kind := range kinds {
		stored = append(stored, kind.of(&r))
	}
	for _, kind := range vaulttest.Kinds(&r) {
		if !slices.Contains(stored, kind.List()) {
			t.Errorf("%s have no items: add them to kinds", kind.Name)
		}
	}
}

func TestTextKeysReadBack(t *testing.T) {
	for _, key := range []string{
		"user:demo", "a%b", "Zoë", "\x00", "100% \xff", "%41", "",
		strings.Repeat("x", 2000), strings.Repeat("\xff", 1000),
	} {
		sk := textSK([]byte(key))
		got, err := textOf(sk, longOf(sk, []byte(key)))
		if sk == "" || len(sk) > 1024 || err != nil || string(got) != key {
			t.Errorf("%q is kept as %q and read as %q, %v", key, sk, got, err)
		}
	}
	for _, sk := range []string{"%4", "%zz", textSK([]byte(strings.Repeat("x", 2000)))} {
		if got, err := textOf(sk, []byte("y")); err == nil {
			t.Errorf("%q is read as %q", sk, got)
		}
	}
}
