package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"example.com/atm/audit/merkle"
	"golang.org/x/mod/sumdb/note"
)

// GenerateKey returns a new Ed25519 key for the log origin: the secret key, and the public key
// for verifiers.
func GenerateKey(origin string) (skey, vkey string, err error) {
	return note.GenerateKey(rand.Reader, origin)
}

// A Signer signs the heads of one log.
type Signer struct {
	origin string

	mu      sync.Mutex
	signers []note.Signer // guarded by mu; the newest first
	vkeys   []string      // guarded by mu; the public keys of signers
	former  []string      // guarded by mu; keys that signed before Adopt, the newest first
	last    []byte        // guarded by mu; the last checkpoint that was verified or signed here
}

// NewSigner returns a signer with the secret keys of GenerateKey, one a line, the newest first.
// All of them sign, so that a verifier that knows only an older key can verify too.
func NewSigner(skeys string) (*Signer, error) {
	s := &Signer{}
	for line := range strings.FieldsSeq(skeys) {
		signer, err := note.NewSigner(line)
		if err != nil {
			// The cause might quote the key, so it is dropped.
			return nil, errors.New("this is not the secret key of a log")
		}
		vkey, err := verifierOf(line)
		if err != nil {
			return nil, err
		}
		if s.origin == "" {
			s.origin = signer.Name()
		}
		if signer.Name() != s.origin || len(s.signers) >= maxSigners {
			return nil, errors.New("these are keys of more than one log, or too many")
		}
		s.signers, s.vkeys = append(s.signers, signer), append(s.vkeys, vkey)
	}
	if len(s.signers) == 0 {
		return nil, errors.New("this is not the secret key of a log")
	}
	return s, nil
}

// maxSigners bounds the keys of one log that sign at the same time.
const maxSigners = 4

// Origin is the name of the log.
func (s *Signer) Origin() string { return s.origin }

// Verifier is the newest public key, in the form of a note verifier key.
func (s *Signer) Verifier() string { return s.Verifiers()[0] }

// Verifiers are the public keys of all keys that sign, the newest first.
func (s *Signer) Verifiers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.vkeys)
}

// Keys are the public keys of all keys that sign or have signed here, the newest first.
func (s *Signer) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(slices.Clone(s.vkeys), s.former...)
}

// maxFormer bounds how many rotated keys are remembered.
const maxFormer = 64

// Adopt replaces the keys of s by those of another signer of the same log.
func (s *Signer) Adopt(other *Signer) error {
	if other.origin != s.origin {
		return errors.New("these are keys of another log")
	}
	signers, vkeys := other.signers, other.Verifiers()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, vkey := range s.vkeys {
		if !slices.Contains(vkeys, vkey) {
			s.former = append([]string{vkey}, s.former...)
		}
	}
	s.former = s.former[:min(len(s.former), maxFormer)]
	s.signers, s.vkeys = signers, vkeys
	return nil
}

// Sign signs head. last is the checkpoint that was signed before, or nil if there is none, and
// extends is its tree. Sign returns an error that is ErrNotExtending unless last is signed by
// this log and head extends it.
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
	signed, err := note.Sign(&note.Note{Text: c.text()}, s.signers...)
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
		c, _, err = OpenAny(last, s.vkeys)
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

// verifierOf derives the public key from a note's secret key, whose last part
// is the algorithm (1, Ed25519) and the seed.
func verifierOf(skey string) (string, error) {
	parts := strings.SplitN(skey, "+", 5) // base64 may have a plus as well
	if len(parts) != 5 {
		return "", errors.New("this is not the key of a log")
	}
	data, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(data) != 1+ed25519.SeedSize {
		return "", errors.New("this is not the Ed25519 key of a log")
	}
	public := ed25519.NewKeyFromSeed(data[1:]).Public().(ed25519.PublicKey)
	return note.NewEd25519VerifierKey(parts[2], public)
}
