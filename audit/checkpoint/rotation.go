package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// A Rotation is the statement of one key of a log that another key follows it. It is
// what an entry key.rotate of the log says. A verifier that trusts the old key
// can trust the new one, because the old key signed the statement.
type Rotation struct {
	Old, New  string // public keys
	Signature string // of Old, as it stands in a signed note; empty in logs of before
}

// rotationLine is the second line of what the old key signs, and the event of the entry.
const rotationLine = "key.rotate"

// text is what the old key signs. No checkpoint is like it: the second line of one is a
// number.
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

// Rotation is the statement of the newest key of s that the newest of next follows it.
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

// Followers returns trusted and the keys that follow from it, by rotations that a key
// among them signed.
func Followers(trusted []string, rotations []Rotation) []string {
	return closure(trusted, rotations, func(r Rotation, known map[string]bool) string {
		if known[r.Old] && !known[r.New] && r.Signed() {
			return r.New
		}
		return ""
	})
}

// Forerunners returns keys and those that they followed, as the log says whose entries
// the rotations are. Its signature vouches for that, so an old one need not have.
func Forerunners(keys []string, rotations []Rotation) []string {
	return closure(keys, rotations, func(r Rotation, known map[string]bool) string {
		if known[r.New] && !known[r.Old] {
			return r.Old
		}
		return ""
	})
}

// closure adds to keys what more returns of each rotation, until that is nothing new.
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
