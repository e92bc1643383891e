package secrets_test

import (
	"bytes"
	"errors"
	"testing"

	"example.com/atm/vault/secrets"
)

// TestSealedValueOpensInItsOwnPlaceAlone moves a sealed value to another record, another
// purpose and another secret, and changes it.
func TestSealedValueOpensInItsOwnPlaceAlone(t *testing.T) {
	keys := func(secret string) *secrets.Keys {
		k, err := secrets.New([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	one, another := keys("one"), keys("another")
	sealed := one.Seal(secrets.HA1, "user:eve", []byte("value"))
	if value, err := one.Open(secrets.HA1, "user:eve", sealed); string(value) != "value" {
		t.Fatalf("it opens as %q, %v", value, err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for what, open := range map[string]func() ([]byte, error){
		"another record": func() ([]byte, error) {
			return one.Open(secrets.HA1, "user:eva", sealed)
		},
		"another purpose": func() ([]byte, error) {
			return one.Open(secrets.Slow, "user:eve", sealed)
		},
		"another secret": func() ([]byte, error) {
			return another.Open(secrets.HA1, "user:eve", sealed)
		},
		"a change": func() ([]byte, error) {
			return one.Open(secrets.HA1, "user:eve", changed)
		},
	} {
		if value, err := open(); !errors.Is(err, secrets.ErrSealed) {
			t.Errorf("with %s it opens as %q, %v", what, value, err)
		}
	}
	if bytes.Equal(one.Mark(), another.Mark()) {
		t.Error("two secrets have one mark")
	}
}
