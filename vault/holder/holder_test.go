package holder_test

import (
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/vault/holder"
)

func TestHashesDifferByAccountNameAndSecret(t *testing.T) {
	ours, other := newHasher(t, "the secret of a test"), newHasher(t, "another secret")
	seen := make(map[string]bool)
	for _, hash := range []string{
		ours.Hash("100", "Alice Smith"), ours.Hash("200", "Alice Smith"),
		ours.Hash("100", "Alice smith"), other.Hash("100", "Alice Smith"),
		ours.Hash("100", ours.Hash("100", "Alice Smith")),
	} {
		if seen[hash] || !holder.Hashed(hash) || atm.CheckText(hash) != nil ||
			strings.Contains(hash, "Alice") {
			t.Errorf("hash %q", hash)
		}
		seen[hash] = true
	}
	if !seen[ours.Hash("100", "Alice Smith")] {
		t.Error("the hash of a name is another one the second time")
	}
}

func TestWhatTheLogSaysOfANameIsOneHash(t *testing.T) {
	h := newHasher(t, "the secret of a test")
	hash := h.Hash("100", "Alice Smith")
	for text, want := range map[string]string{
		"Alice Smith": hash, // as entries of earlier versions have it
		hash:          hash,
		"":            "",
		hash[:70]:     h.Hash("100", hash[:70]), // a name, though an odd one
	} {
		if got := h.Logged("100", text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func newHasher(t *testing.T, secret string) *holder.Hasher {
	t.Helper()
	h, err := holder.NewHasher([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return h
}
