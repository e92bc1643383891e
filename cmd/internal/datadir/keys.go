package datadir

import (
	"crypto/rand"
	"encoding/pem"
	"fmt"

	"example.com/atm/internal/durable"
)

const (
	vaultKeyBlock = "ATM VAULT KEY"
	vaultKeyBytes = 32
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

// NewVaultKey returns a new secret for the vault, in PEM.
func NewVaultKey() ([]byte, error) {
	key := make([]byte, vaultKeyBytes)
	rand.Read(key) // never fails
	return pem.EncodeToMemory(&pem.Block{Type: vaultKeyBlock, Bytes: key}), nil
}

// ReadVaultKey returns the secret of the vault.
func (d *Dir) ReadVaultKey() ([]byte, error) {
	text, err := durable.ReadSecret(d.VaultKey())
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != vaultKeyBlock || len(block.Bytes) != vaultKeyBytes {
		return nil, fmt.Errorf("%s holds no vault key", d.VaultKey())
	}
	return block.Bytes, nil
}
