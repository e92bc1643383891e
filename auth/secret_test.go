package auth

import (
	"crypto/fips140"
	"errors"
	"testing"
)

func TestSecretIsCheckedByItsHash(t *testing.T) {
	hashed, err := HashSecret("my mare ate 7 green apples")
	if fips140.Enforced() {
		if !errors.Is(err, errNotFIPS) {
			t.Errorf("hashed in spite of FIPS 140: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	s := newSecrets()
	for _, tt := range []struct {
		name, hashed, secret string
		want                 bool
	}{
		{"right", string(hashed), "my mare ate 7 green apples", true},
		{"wrong", string(hashed), "my mare ate 8 green apples", false},
		{"empty", string(hashed), "", false},
		{"of nobody", "", "my mare ate 7 green apples", false},
	} {
		if got, err := s.check(t.Context(), tt.hashed, tt.secret, "192.0.2.1",
			"user:x"); got != tt.want || err != nil {
			t.Errorf("%s: %t, %v", tt.name, got, err)
		}
	}
	for _, bad := range []string{
		"x", phcHead, phcHead + "AAAA$AAAA",
		"$argon2id$v=19$m=4194304,t=99,p=1$" + string(hashed[len(phcHead):]),
	} {
		if got, err := s.check(t.Context(), bad, "x", "192.0.2.1", "user:x"); got || err == nil {
			t.Errorf("a stored secret %q was checked", bad)
		}
	}
}

// TestHashOfASecretIsArgon2id checks a secret against the hash of the reference implementation:
// argon2 somesaltsomesalt -id -k 19456 -t 2 -p 1 -l 32 -e.
func TestHashOfASecretIsArgon2id(t *testing.T) {
	if fips140.Enforced() {
		t.Skip("there are no slow secrets where nothing but FIPS 140 is allowed")
	}
	const reference = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$873GGCuSeW5Qb4pZ0KpID1wgN2au+C0cog/5FJmjELc"
	if good, err := newSecrets().check(t.Context(), reference, "my mare ate 7 green apples",
		"192.0.2.1", "user:x"); !good || err != nil {
		t.Errorf("%t, %v", good, err)
	}
}
