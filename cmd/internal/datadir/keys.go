package datadir

import (
	"bytes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"

	"example.com/atm/internal/durable"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	vaultKeyBlock   = "ATM VAULT KEY"
	requestKeyBlock = "ATM REQUEST KEY"
	sealedBlock     = "ATM SEALED VAULT KEY"
	vaultKeyBytes   = 32
)

// The key that seals a vault key is derived from a passphrase with argon2id (RFC 9106), with
// more than its parameters for little memory: 3 passes over 64 MiB. It takes a tenth of a
// second, once at each start.
const (
	argonPasses  = 3
	argonKiB     = 64 << 10
	argonThreads = 4
	saltBytes    = 16

	// MinPassphrase is the smallest number of characters in a passphrase.
	MinPassphrase = 15
)

// Ensure creates the file at path with the result of create, readable by its owner alone,
// unless the file exists.
func Ensure(path string, create func() ([]byte, error)) error {
	if Exists(path) {
		return nil
	}
	data, err := create()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return durable.WriteFile(path, data, 0o600)
}

// A VaultKey is the content of keys/vault.key.
type VaultKey struct {
	// Secret seals the data keys of the vault.
	Secret []byte

	// Requests is the key for the hashes of request ids: the first secret that this vault had. It
	// is kept when Secret is replaced, because a request id must find its answer for seven days.
	Requests []byte

	// Passphrase seals the file. Empty if the file is not sealed.
	Passphrase []byte
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

// Next returns the key that replaces k.
func (k VaultKey) Next() VaultKey {
	k.Secret = newSecret()
	return k
}

// Snapshots is the secret that seals snapshots in an archive. It outlives the rotation of the
// secret of the vault: an archive is kept for years, and never written again.
func (k VaultKey) Snapshots() ([]byte, error) {
	return hkdf.Key(sha256.New, k.Requests, nil, "atm snapshot", sha256.Size)
}

// Encode returns k in PEM.
func (k VaultKey) Encode() ([]byte, error) {
	text := pem.EncodeToMemory(&pem.Block{Type: vaultKeyBlock, Bytes: k.Secret})
	if !bytes.Equal(k.Requests, k.Secret) {
		text = append(text, pem.EncodeToMemory(&pem.Block{
			Type:  requestKeyBlock,
			Bytes: k.Requests,
		})...)
	}
	if len(k.Passphrase) == 0 {
		return text, nil
	}
	salt := make([]byte, saltBytes+chacha20poly1305.NonceSizeX)
	rand.Read(salt) // never fails
	aead, err := passphraseCipher(k.Passphrase, salt[:saltBytes])
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{
		Type:  sealedBlock,
		Bytes: aead.Seal(salt, salt[saltBytes:], text, []byte(sealedBlock)),
	}), nil
}

// errNotFIPS reports a passphrase where only FIPS 140 algorithms are allowed.
var errNotFIPS = errors.New("a passphrase is stretched with argon2id, which is not allowed where " +
	"nothing but FIPS 140 is")

func passphraseCipher(passphrase, salt []byte) (cipher.AEAD, error) {
	if fips140.Enforced() {
		return nil, errNotFIPS
	}
	key := argon2.IDKey(passphrase, salt, argonPasses, argonKiB, argonThreads,
		chacha20poly1305.KeySize)
	return chacha20poly1305.NewX(key)
}

// ErrPassphrase reports a wrong passphrase for a sealed vault key.
var ErrPassphrase = errors.New("the passphrase does not open it")

// ReadVaultKey reads the key of the vault. It calls ask only if the file is sealed with a
// passphrase.
func (d *Dir) ReadVaultKey(ask func() ([]byte, error)) (VaultKey, error) {
	return d.ReadVaultKeyFrom(d.VaultKey(), ask)
}

// TakeVaultKey copies the key in file to keys/vault.key, unless that exists. A file without a key
// leaves the folder as it is.
func (d *Dir) TakeVaultKey(file string, ask func() ([]byte, error)) error {
	if _, err := d.ReadVaultKeyFrom(file, ask); err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(d.VaultKey()), 0o700); err != nil {
		return err
	}
	return Ensure(d.VaultKey(), func() ([]byte, error) { return durable.ReadSecret(file) })
}

// ReadVaultKeyFrom is ReadVaultKey for another file.
func (d *Dir) ReadVaultKeyFrom(path string, ask func() ([]byte, error)) (VaultKey, error) {
	text, err := durable.ReadSecret(path)
	if err != nil {
		return VaultKey{}, err
	}
	k, err := parseVaultKey(text, ask)
	if err != nil {
		return VaultKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

func parseVaultKey(text []byte, ask func() ([]byte, error)) (VaultKey, error) {
	block, rest := pem.Decode(text)
	if block != nil && block.Type == sealedBlock {
		return unsealVaultKey(block.Bytes, ask)
	}
	if block == nil || block.Type != vaultKeyBlock || len(block.Bytes) != vaultKeyBytes {
		return VaultKey{}, errors.New("it has no vault key")
	}
	k := VaultKey{Secret: block.Bytes, Requests: block.Bytes}
	if requests, _ := pem.Decode(rest); requests != nil {
		if requests.Type != requestKeyBlock || len(requests.Bytes) != vaultKeyBytes {
			return VaultKey{}, errors.New("it has a key of an unknown type")
		}
		k.Requests = requests.Bytes
	}
	return k, nil
}

func unsealVaultKey(sealed []byte, ask func() ([]byte, error)) (VaultKey, error) {
	const start = saltBytes + chacha20poly1305.NonceSizeX
	if len(sealed) < start {
		return VaultKey{}, ErrPassphrase
	}
	if ask == nil {
		return VaultKey{}, errors.New("it is sealed with a passphrase; see --vault-passphrase-file")
	}
	passphrase, err := ask()
	if err != nil {
		return VaultKey{}, err
	}
	aead, err := passphraseCipher(passphrase, sealed[:saltBytes])
	if err != nil {
		return VaultKey{}, err
	}
	text, err := aead.Open(nil, sealed[saltBytes:start], sealed[start:], []byte(sealedBlock))
	if err != nil {
		return VaultKey{}, ErrPassphrase
	}
	k, err := parseVaultKey(text, nil)
	k.Passphrase = passphrase
	return k, err
}
