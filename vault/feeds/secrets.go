package feeds

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
)

// A Secrets makes the secrets of subscriptions. No record has one: they follow from the secret of
// the vault, so every replica knows them, and a rebuild brings none of them into the open.
type Secrets struct{ key []byte }

// A Secret is what the events of a subscription are signed with.
type Secret struct {
	HMAC    [32]byte // key of HMAC-SHA-256
	Ed25519 [32]byte // seed of a private key
}

// NewSecrets derives the key of all secrets from the secret of the vault.
func NewSecrets(vault []byte) (*Secrets, error) {
	key, err := hkdf.Key(sha256.New, vault, nil, "atm feed", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("key of the event feed: %w", err)
	}
	return &Secrets{key}, nil
}

// Of returns the secret of a generation of a subscription, or of something else with a name of
// its own.
func (s *Secrets) Of(name string, generation uint64) (secret Secret) {
	both, err := hkdf.Expand(sha256.New, s.key, fmt.Sprintf("%s %d", name, generation),
		len(secret.HMAC)+len(secret.Ed25519))
	if err != nil { // only a length that is never asked for
		panic(err)
	}
	copy(secret.HMAC[:], both)
	copy(secret.Ed25519[:], both[len(secret.HMAC):])
	return secret
}
