package datadir

import (
	"crypto/rand"
	"encoding/pem"
	"fmt"

	"example.com/atm/internal/durable"
)

const (
	vaultKeyBlock   = "ATM VAULT KEY"
	requestKeyBlock = "ATM REQUEST KEY"
	vaultKeyBytes   = 32
)

// Ensure makes the file at path with what create returns, readable by its
// owner alone, unless it exists.
func Ensure(path string, create func() ([]byte, error)) error {
	if exists(path) {
		return nil
	}
	data, err := create()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return durable.WriteFile(path, data, 0o600)
}

// A VaultKey is what keys/vault.key holds.
type VaultKey struct {
	// Secret is what the data keys of the vault are sealed under.
	Secret []byte

	// Requests is what the hashes of request ids are keyed by: the first
	// secret this vault had. It outlives the secret, because a request id must
	// find its answer for seven days.
	Requests []byte
}

// NewVaultKey returns the key of a new vault.
func NewVaultKey() VaultKey {
	secret := newSecret()
	return VaultKey{Secret: secret, Requests: secret}
}

func newSecret() []byte {
	secret := make([]byte, vaultKeyBytes)
	rand.Read(secret) // never fails
	return secret
}

// Next returns the key that takes the place of k.
func (k VaultKey) Next() VaultKey { return VaultKey{Secret: newSecret(), Requests: k.Requests} }

// Encode returns k in PEM.
func (k VaultKey) Encode() []byte {
	text := pem.EncodeToMemory(&pem.Block{Type: vaultKeyBlock, Bytes: k.Secret})
	if string(k.Requests) != string(k.Secret) {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: requestKeyBlock, Bytes: k.Requests})...)
	}
	return text
}

// ReadVaultKey reads the key of the vault.
func (d *Dir) ReadVaultKey() (VaultKey, error) {
	text, err := durable.ReadSecret(d.VaultKey())
	if err != nil {
		return VaultKey{}, err
	}
	secret, rest := pem.Decode(text)
	if secret == nil || secret.Type != vaultKeyBlock || len(secret.Bytes) != vaultKeyBytes {
		return VaultKey{}, fmt.Errorf("%s holds no vault key", d.VaultKey())
	}
	k := VaultKey{Secret: secret.Bytes, Requests: secret.Bytes}
	if requests, _ := pem.Decode(rest); requests != nil {
		if requests.Type != requestKeyBlock || len(requests.Bytes) != vaultKeyBytes {
			return VaultKey{}, fmt.Errorf("%s holds a key of no known kind", d.VaultKey())
		}
		k.Requests = requests.Bytes
	}
	return k, nil
}
