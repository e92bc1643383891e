package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/note"
)

// A Rotation is the statement of one key of a log that another key follows it. It is
// what an entry key.rotate of the log says. Whoever trusts the old key can trust the
// new one, because the old one signed that: nobody without it can lead them elsewhere.
type Rotation struct {
	Old, New  string // public keys
	Signature string // of Old, as it stands in a signed note; empty in logs of before
}

// The names of the arguments of an entry key.rotate.
const (
	argOld       = "old"
	argNew       = "new"
	argSignature = "signature"
)

// Args are the arguments of the entry that says r.
func (r Rotation) Args() []Arg {
	return []Arg{
		{Name: argOld, Value: r.Old},
		{Name: argNew, Value: r.New},
		{Name: argSignature, Value: r.Signature},
	}
}

// RotationOf reads a rotation of the key of the log out of an entry. Keys of tokens and
// of authorities, whose rotations are entries as well, are no keys of a log.
func RotationOf(e *Entry) (Rotation, bool) {
	var r Rotation
	for _, arg := range e.Args {
		switch arg.Name {
		case argOld:
			r.Old = arg.Value
		case argNew:
			r.New = arg.Value
		case argSignature:
			r.Signature = arg.Value
		}
	}
	from, err := originOf(r.Old)
	if err != nil {
		return r, false
	}
	to, err := originOf(r.New)
	return r, err == nil && from == to && e.Event == EventKeyRotate
}

// text is what the old key signs. No checkpoint is like it: the second line of one is a
// number.
func (r Rotation) text() (string, error) {
	origin, err := originOf(r.New)
	return origin + "\n" + string(EventKeyRotate) + "\n" + r.New + "\n", err
}

// signed reports whether the old key signed r.
func (r Rotation) signed() bool {
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

const (
	// maxRotations bounds the rotations that are read from one log, and maxGone the
	// bundles of it that may be missing meanwhile.
	maxRotations = 10_000
	maxGone      = 1_000
)

// rotations reads what the entries of a log of this size say about its keys. Nothing of
// it is authenticated but what a key signed: Rotation.signed.
func rotations(ctx context.Context, files Files, size int64) ([]Rotation, error) {
	var (
		wg         sync.WaitGroup
		next, gone atomic.Int64
		mu         sync.Mutex
		found      = make(map[Rotation]bool) // guarded by mu
		failed     error                     // guarded by mu
	)
	caller := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	bundle := func(n int64) error {
		t := tileOf(size, entriesLevel, n)
		data, held, err := readTile(ctx, files, t)
		var file *FileError
		if errors.As(err, &file) {
			if gone.Add(1) > maxGone {
				stop()
			}
			return nil // verifying will find it missing
		}
		if err != nil || !bytes.Contains(data, []byte(EventKeyRotate)) {
			return err
		}
		_, err = readBundle(data, t.width, held, func(_ int, leaf []byte) error {
			entry, err := ParseEntry(leaf)
			if err != nil {
				return nil // it says nothing
			}
			if r, is := RotationOf(entry); is {
				mu.Lock()
				defer mu.Unlock()
				if len(found) < maxRotations {
					found[r] = true
				}
			}
			return nil
		})
		if errors.Is(err, errBundle) {
			return nil // verifying will find it cut short
		}
		return err
	}
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for n := next.Add(1) - 1; n<<tileHeight < size &&
				ctx.Err() == nil; n = next.Add(1) - 1 {
				if err := bundle(n); err != nil && ctx.Err() == nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					stop()
				}
			}
		})
	}
	wg.Wait()
	if failed == nil {
		failed = caller.Err()
	}
	return slices.Collect(maps.Keys(found)), failed
}

// Followers returns trusted keys and those that follow from them.
func Followers(trusted []string, rotations []Rotation) []string {
	return followers(trusted, rotations)
}

// followers returns trusted and the keys that follow from it, by rotations that a key
// among them signed.
func followers(trusted []string, rotations []Rotation) []string {
	return closure(trusted, rotations, func(r Rotation, known map[string]bool) string {
		if known[r.Old] && !known[r.New] && r.signed() {
			return r.New
		}
		return ""
	})
}

// forerunners returns keys and those that they followed, as the log says whose entries
// the rotations are. Its signature vouches for that, so an old one need not have.
func forerunners(keys []string, rotations []Rotation) []string {
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
