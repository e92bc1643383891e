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
	old, err := parseKey(r.Old)
	if err != nil {
		return false
	}
	verifier, err := old.ofRotations()
	if err != nil {
		return false
	}
	signed := text + "\n— " + verifier.Name() + " " + r.Signature + "\n"
	_, err = note.Open([]byte(signed), note.VerifierList(verifier))
	return err == nil
}

// Rotations returns the statements that the newest keys of next succeed those of s: for each
// algorithm one, by the newest key of that algorithm. The first ML-DSA-44 key of a log follows
// from its Ed25519 key.
func (s *Signer) Rotations(next *Signer) (list []Rotation, err error) {
	if next.origin != s.origin {
		return nil, errors.New("these are keys of another log")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range algorithms {
		i := slices.IndexFunc(next.keys, func(k secretKey) bool { return k.algorithm == a })
		if i < 0 {
			continue
		}
		old := slices.IndexFunc(s.keys, func(k secretKey) bool { return k.algorithm == a })
		if old < 0 {
			old = slices.IndexFunc(s.keys, func(k secretKey) bool {
				return k.algorithm == algEd25519
			})
		}
		r := Rotation{Old: s.keys[old].vkey, New: next.keys[i].vkey}
		text, err := r.text()
		if err != nil {
			return nil, err
		}
		signed, err := note.Sign(&note.Note{Text: text}, s.keys[old])
		if err != nil {
			return nil, fmt.Errorf("sign the rotation: %w", err)
		}
		line := strings.TrimSuffix(string(signed[len(text)+1:]), "\n")
		r.Signature = line[strings.LastIndexByte(line, ' ')+1:]
		list = append(list, r)
	}
	return list, nil
}

// Successors returns the trusted keys, and the keys that succeed them by rotations that a key
// among them signed. If a key of an algorithm is trusted, no key of the other algorithm is a
// way to one of its own, or the keys of both would be no safer than the weaker one.
func Successors(trusted []string, rotations []Rotation) []string {
	return closure(trusted, rotations, func(r Rotation, known map[string]bool) string {
		if known[r.Old] && !known[r.New] && r.Signed() && !r.intrudes(trusted) {
			return r.New
		}
		return ""
	})
}

// intrudes reports whether r leads to a key of another algorithm, of which the log has a key
// among those trusted.
func (r Rotation) intrudes(trusted []string) bool {
	from, err := parseKey(r.Old)
	to, err2 := parseKey(r.New)
	if err != nil || err2 != nil {
		return true
	}
	return from.algorithm != to.algorithm && slices.ContainsFunc(trusted, func(vkey string) bool {
		k, err := parseKey(vkey)
		return err == nil && k.algorithm == to.algorithm && k.Name() == to.Name()
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
