package feeds_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"example.com/atm/vault/feeds"
)

func TestNameIsShortPlainAndNoID(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "7": true, "shop": true, "shop-1": true, "a--b": true, "f": true, "f01": true,
		"f-1": true, strings.Repeat("a", 32): true,
		"": false, "-": false, "a-": false, "-a": false, "Shop": false, "a b": false, "a.b": false,
		"a\n": false, "ä": false, "f1": false, "f4711": false, strings.Repeat("a", 33): false,
	} {
		if err := feeds.CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// FuzzParseID reads ids that nobody wrote. What is an id has no other form.
func FuzzParseID(f *testing.F) {
	for _, s := range []string{
		"f0", "f4711", "f9223372036854775807", "f9223372036854775808", "f01",
		"f+1", "4711", "f", "F1", "f1 ",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := feeds.ParseID(s)
		if ok && (id.String() != s || int64(id) < 0) {
			t.Errorf("%q is read as %s", s, id)
		}
		if ok && feeds.CheckName(s) == nil {
			t.Errorf("%q is an id and a name", s)
		}
	})
}

// TestSecretsAreTheSameEverywhereAndAlways has the secrets of a vault in numbers, which another
// program worked out: receivers keep them, so another derivation would be a mistake.
func TestSecretsAreTheSameEverywhereAndAlways(t *testing.T) {
	secrets, err := feeds.NewSecrets([]byte("the secret of a vault, in a test"))
	if err != nil {
		t.Fatal(err)
	}
	s := secrets.Of("f4711", 2)
	const (
		hmac    = "e4ce33650b2b6b163ab94813712412c684c376d17f29dc840fa7000414a20d84"
		ed25519 = "43c00a81c0d03601e93066628a00ddc354290d1d7edc6d502a8b7462bcdcfaa9"
	)
	if have := hex.EncodeToString(s.HMAC[:]); have != hmac {
		t.Errorf("HMAC: %s", have)
	}
	if have := hex.EncodeToString(s.Ed25519[:]); have != ed25519 {
		t.Errorf("Ed25519: %s", have)
	}
}

func TestEachGenerationHasASecretOfItsOwn(t *testing.T) {
	seen := make(map[string]string)
	for _, vault := range []string{"one", "other"} {
		secrets, err := feeds.NewSecrets([]byte(vault))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"f1", "f11", "f12"} {
			for _, generation := range []uint64{0, 1, 2, 11, 12} {
				s := secrets.Of(name, generation)
				for _, key := range [][]byte{s.HMAC[:], s.Ed25519[:]} {
					if before := seen[string(key)]; before != "" {
						t.Errorf("%s of %s has a key of %s", name, vault, before)
					}
					seen[string(key)] = name + " of " + vault
				}
			}
		}
	}
}
