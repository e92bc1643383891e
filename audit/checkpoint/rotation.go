package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// A Rotation is the statement, signed by one key of a log, that another key succeeds it. An
// entry key.rotate of the log contains it. A verifier that trusts the old key can trust the new
// one, because the old key signed the statement.
type Rotation struct {
	Old, New  string // public keys
	Signature string // of Old, as in a signed note; empty in logs of older versions
}

// rotationLine is the second line of the signed text, and the event of the entry.
const rotationLine = "key.rotate"

// text is the text that the old key signs. It cannot be confused with a checkpoint, whose
// second line is a number.
func (r Rotation) text() (string, error) {
	origin, err := OriginOf(r.New)
	return origin + "\n" + rotationLine + "\n" + r.New + "\n", err
}

// Signed reports whether the old key signed r.
func (r Rotation) Signed() bool {
	text, err := r.text()
	if err != nil || strings.ContainsAny(r.Signature, " \n") {
		return false
	}
	verifier, err := note.NewVerifier(r.Old)
	if err != nil {
		return false
	}
	signed := text + "\n— " + verifier.Name() + " " + r.Signature + "\n"
	_, err = note.Open([]byte(signed), note.VerifierList(verifier))
	return err == nil
}

// Rotation returns the statement of the newest key of s that the newest key of next succeeds
// it.
func (s *Signer) Rotation(next *Signer) (Rotation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := Rotation{Old: s.vkeys[0], New: next.Verifier()}
	if next.origin != s.origin {
		return r, errors.New("these are keys of another log")
	}
	text, err := r.text()
	if err != nil {
		return r, err
	}
	signed, err := note.Sign(&note.Note{Text: text}, s.signers[0])
	if err != nil {
		return r, fmt.Errorf("sign the rotation: %w", err)
	}
	line := strings.TrimSuffix(string(signed[len(text)+1:]), "\n")
	r.Signature = line[strings.LastIndexByte(line, ' ')+1:]
	return r, nil
}

// Successors returns the trusted keys, and the keys that succeed them by rotations that a key
// among them signed.
func Successors(trusted []string, rotations []Rotation) []string {
	return closure(trusted, rotations, func(r Rotation, known map[string]bool) string {
		if known[r.Old] && !known[r.New] && r.Signed() {
			return r.New
		}
		return ""
	})
}

// Predecessors returns keys, and the keys that they succeeded by the rotations in the entries
// of a log. The signature of the log authenticates its rotations, so a rotation need not be
// signed itself, as those of older versions are not.
func Predecessors(keys []string, rotations []Rotation) []string {
	return closure(keys, rotations, func(r Rotation, known map[string]bool) string {
		if known[r.New] && !known[r.Old] {
			return r.Old
		}
		return ""
	})
}

// closure adds to keys what more returns for each rotation, until nothing new comes.
func closure(keys []string, rotations []Rotation,
	more func(Rotation, map[string]bool) string,
) []string {
	keys = slices.Clone(keys)
	known := make(map[string]bool)
	for _, key := range keys {
		known[key] = true
	}
	for grown := true; grown; {
		grown = false
		for _, r := range rotations {
			if key := more(r, known); key != "" {
				keys, known[key], grown = append(keys, key), true, true
			}
		}
	}
	return keys
}
