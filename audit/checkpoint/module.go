package checkpoint

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// A moduleSigner signs by an Ed25519 key whose secret half is in a module.
type moduleSigner struct {
	publicKey
	module crypto.Signer // nil for one that is not here
}

// parseModuleKey parses the line of a key in a module, which is its public key.
func parseModuleKey(line string, modules []crypto.Signer) (secretKey, error) {
	public, err := parseKey(line)
	if err != nil || public.algorithm != algEd25519 {
		return secretKey{}, errSecretKey
	}
	s := &moduleSigner{publicKey: public}
	for _, m := range modules {
		if key, is := m.Public().(ed25519.PublicKey); is && bytes.Equal(key, public.bytes) {
			s.module = m
		}
	}
	return secretKey{Signer: s, algorithm: algEd25519, vkey: line, module: s}, nil
}

// Sign implements note.Signer.
func (s *moduleSigner) Sign(text []byte) ([]byte, error) {
	if s.module == nil {
		return nil, fmt.Errorf("the key %s+%08x is in a module that is not here", s.Name(),
			s.KeyHash())
	}
	signature, err := s.module.Sign(rand.Reader, text, crypto.Hash(0))
	if err != nil {
		return nil, err
	}
	// One that does not verify must not become durable: the next start could not tell it from that
	// of somebody else.
	if !s.Verify(text, signature) {
		return nil, errors.New("the module returned a signature that its key does not verify")
	}
	return signature, nil
}

// absent reports whether k is in a module that is not here.
func (k secretKey) absent() bool { return k.module != nil && k.module.module == nil }

// ModuleKey is the public key for verifiers of the log origin whose Ed25519 key is in a module.
func ModuleKey(origin string, module crypto.Signer) (vkey string, err error) {
	key, is := module.Public().(ed25519.PublicKey)
	if !is {
		return "", fmt.Errorf("the key in the module is a %T, not one of Ed25519", module.Public())
	}
	return note.NewEd25519VerifierKey(origin, key)
}

// GenerateKeysBeside returns keys as NewSigner takes them for the log origin: the line of the
// Ed25519 key in a module, and a new key of ML-DSA-44.
func GenerateKeysBeside(module crypto.Signer, origin string) (skeys string, err error) {
	vkey, err := ModuleKey(origin, module)
	if err != nil {
		return "", err
	}
	skey, _, err := cosignature.GenerateMLDSAKey(origin)
	return vkey + "\n" + skey + "\n", err
}

// InModule reports whether the newest Ed25519 key is in a module.
func (s *Signer) InModule() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.keys, func(k secretKey) bool { return k.algorithm == algEd25519 })
	return s.keys[i].module != nil
}

// Absent are the public keys that sign for the log, but not here, because they are in modules that
// NewSigner was not given, the newest first.
func (s *Signer) Absent() (vkeys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range s.keys {
		if key.absent() {
			vkeys = append(vkeys, key.vkey)
		}
	}
	return vkeys
}
