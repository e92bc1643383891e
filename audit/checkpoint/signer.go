package checkpoint

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"example.com/atm/audit/merkle"
	"golang.org/x/mod/sumdb/note"
)

// A Signer signs the heads of one log.
type Signer struct {
	origin string

	mu     sync.Mutex
	keys   []secretKey // guarded by mu; the newest first
	former []string    // guarded by mu; keys that signed before Adopt, the newest first
	last   []byte      // guarded by mu; the last checkpoint that was verified or signed here
}

// NewSigner returns a signer with secret keys of one log, one a line, the newest first: at least
// one of GenerateKey, or those of GenerateKeys. All of them sign, so that a verifier that knows
// only an older key can verify too.
//
// The line of an Ed25519 key in a module is its public key, and modules have those that are here.
// One that is not here does not sign; if it is the newest, Sign returns an error.
func NewSigner(skeys string, modules ...crypto.Signer) (*Signer, error) {
	s := &Signer{}
	for line := range strings.FieldsSeq(skeys) {
		key, err := parseSigning(line, modules)
		if err != nil {
			return nil, err
		}
		if s.origin == "" {
			s.origin = key.Name()
		}
		if key.Name() != s.origin || len(s.keys) >= maxSigners {
			return nil, errors.New("these are keys of more than one log, or too many")
		}
		s.keys = append(s.keys, key)
	}
	if len(s.Verifiers()) == 0 {
		return nil, errSecretKey
	}
	return s, nil
}

// maxSigners bounds the keys of one log that sign at the same time.
const maxSigners = 4

// Origin is the name of the log.
func (s *Signer) Origin() string { return s.origin }

// Verifier is the newest public key that Sign signs by, in the form of a note verifier key.
func (s *Signer) Verifier() string { return s.Verifiers()[0] }

// Verifiers are the public keys that Sign signs by, the newest first.
func (s *Signer) Verifiers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signing(algEd25519)
}

// signing are the public keys of an algorithm that sign now. The caller holds s.mu.
func (s *Signer) signing(a algorithm) (vkeys []string) {
	for _, key := range s.keys {
		if key.algorithm == a {
			vkeys = append(vkeys, key.vkey)
		}
	}
	return vkeys
}

// Keys are the public keys that verify what Sign signs or has signed, the newest first.
func (s *Signer) Keys() []string {
	return slices.DeleteFunc(s.AllKeys(), func(vkey string) bool {
		key, err := parseKey(vkey)
		return err != nil || key.algorithm != algEd25519
	})
}

// AllKeys are the public keys of both algorithms that sign or have signed here, the newest of
// each algorithm first.
func (s *Signer) AllKeys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(s.signing(algEd25519), s.signing(algMLDSA44), s.former)
}

// maxFormer bounds how many rotated keys are remembered.
const maxFormer = 64

// Adopt replaces the keys of s by those of another signer of the same log.
func (s *Signer) Adopt(other *Signer) error {
	if other.origin != s.origin {
		return errors.New("these are keys of another log")
	}
	keys, vkeys := other.keys, other.AllKeys()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range s.keys {
		if !slices.Contains(vkeys, key.vkey) {
			s.former = append([]string{key.vkey}, s.former...)
		}
	}
	s.former = s.former[:min(len(s.former), maxFormer)]
	s.keys = keys
	return nil
}

// Complete adds to a checkpoint that Sign signed the ML-DSA-44 signatures that its log promises,
// by the keys that sign now. One takes twenty times as long as with Ed25519, so Complete is for
// checkpoints that leave the vault, and not for every commit.
func (s *Signer) Complete(signed []byte) ([]byte, error) {
	c, _, err := OpenAny(signed, s.Keys())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	keys := s.keys
	s.mu.Unlock()
	completed := slices.Clone(signed)
	for _, key := range keys {
		if key.algorithm != algMLDSA44 {
			continue
		}
		// The time 0 states nothing but the tree. A time would state that the log had no larger
		// tree then, but the vault may have had one.
		signature, err := key.heads.SignSubtree(0, c.Origin, 0, uint64(c.Size), c.Root[:])
		if err != nil {
			return nil, fmt.Errorf("sign the checkpoint: %w", err)
		}
		line := append(binary.BigEndian.AppendUint32(nil, key.KeyHash()), signature...)
		completed = fmt.Appendf(completed, "— %s %s\n", key.Name(),
			base64.StdEncoding.EncodeToString(line))
	}
	return completed, nil
}

// Sign signs head with the Ed25519 keys. last is the checkpoint that was signed before, or nil if
// there is none, and extends is its tree. Sign returns an error that is ErrNotExtending unless
// last is signed by this log and head extends it.
func (s *Signer) Sign(last []byte, extends, head merkle.Head) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkLast(last, extends); err != nil {
		return nil, err
	}
	if head.Size < extends.Size {
		return nil, fmt.Errorf("%w: size %d after %d", ErrNotExtending, head.Size, extends.Size)
	}
	c := Checkpoint{Origin: s.Origin(), Size: head.Size, Root: head.Root()}
	var signers []note.Signer
	for _, key := range s.keys {
		if key.algorithm == algEd25519 && (!key.absent() || len(signers) == 0) {
			signers = append(signers, key)
		}
	}
	signed, err := note.Sign(&note.Note{Text: c.text()}, signers...)
	if err != nil {
		return nil, fmt.Errorf("sign the checkpoint: %w", err)
	}
	s.last = signed
	return signed, nil
}

// checkLast verifies that last is signed by this log and signs the tree extends. The caller
// holds s.mu.
func (s *Signer) checkLast(last []byte, extends merkle.Head) error {
	if extends.Size == 0 && last == nil {
		return nil
	}
	var c Checkpoint
	var err error
	if bytes.Equal(last, s.last) { // true for all but the first commit of a process
		c, err = Parse(last)
	} else {
		c, _, err = OpenAny(last, s.signing(algEd25519))
	}
	if err != nil {
		return fmt.Errorf("the last signed checkpoint: %w", err)
	}
	if c.Size != extends.Size || c.Root != extends.Root() {
		return fmt.Errorf("%w: the last one has size %d and root %s, the tree has size %d and "+
			"root %s",
			ErrNotExtending, c.Size, c.Root, extends.Size, extends.Root())
	}
	return nil
}
