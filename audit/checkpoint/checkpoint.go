// Package checkpoint makes and verifies the statements that the keys of a log sign: the size
// and root of the log (C2SP tlog-checkpoint), and the rotation of one key to the next.
//
// A Signer signs only a tree that extends the one it signed last, so it never signs two
// histories. Opening a checkpoint verifies that a key named by the caller signed it, and that
// the key belongs to its log.
//
// A log signs by Ed25519, at each commit, and by ML-DSA-44, which no quantum computer is known
// to break, at each publication (ADR 16). Each signature verifies without the other. Both are
// promised to a caller that names keys of both algorithms.
//
// Signatures are those of golang.org/x/mod/sumdb/note and of
// github.com/transparency-dev/formats/note. The three lines of a checkpoint are parsed here,
// because the parser of github.com/transparency-dev/formats/log accepts sizes up to 2^64 and
// signed texts with anything after the root.
package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.com/atm/audit/merkle"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The files of a log besides its tiles.
const (
	File          = "checkpoint"           // the signed checkpoint
	KeyFile       = "log.vkey"             // the public keys beside the log, one a line
	WitnessedFile = "checkpoint.witnessed" // the last checkpoint that witnesses cosigned
	PrunedFile    = "pruned"               // the index of the first entry that is still there

	// MaxBytes is the largest size of such a file that is read.
	MaxBytes = 64 << 10
)

// A Checkpoint is the statement that a log of this origin has this size and
// root (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   int64
	Root   merkle.Hash
}

// text is the signed text of c.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

var (
	// ErrNoCheckpoint reports text that is not a signed checkpoint.
	ErrNoCheckpoint = errors.New("no signed checkpoint")

	// ErrKey reports text that is not the public key of a log.
	ErrKey = errors.New("no verifier key")

	// ErrSignature reports a checkpoint that is not signed by the given key, or that belongs to
	// another log.
	ErrSignature = errors.New("checkpoint not signed by this log's key")

	// ErrNotExtending reports a tree that does not extend the last signed one.
	ErrNotExtending = errors.New("refusing to sign a tree that does not extend the last one that " +
		"was signed")
)

// Open verifies a signed checkpoint with the public key vkey, whose name must be the origin of
// the log, or with several keys, one a line, as OpenEach does. It returns an error that is
// ErrKey, ErrNoCheckpoint or ErrSignature.
func Open(signed []byte, vkey string) (Checkpoint, error) {
	c, _, err := OpenEach(signed, strings.Fields(vkey))
	return c, err
}

// OpenEach verifies a checkpoint by each algorithm of which vkeys has a key of its log: one key
// of the algorithm must have signed. So a caller with keys of both algorithms is sure of the
// checkpoint as long as nobody can forge both. It returns the keys that signed, one for each
// algorithm.
func OpenEach(signed []byte, vkeys []string) (c Checkpoint, by []string, err error) {
	return open(signed, vkeys, true)
}

// OpenAny verifies a checkpoint by any of several keys: one signature is enough. It returns the
// keys that signed, the first for each algorithm.
func OpenAny(signed []byte, vkeys []string) (c Checkpoint, by []string, err error) {
	return open(signed, vkeys, false)
}

func open(signed []byte, vkeys []string, each bool) (c Checkpoint, by []string, err error) {
	keys, err := parseKeys(vkeys)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	if c, err = Parse(signed); err != nil {
		return Checkpoint{}, nil, err
	}
	err = fmt.Errorf("%w: it is of %s, the key of %s", ErrSignature, c.Origin, keys[0].Name())
	var missing algorithm
	for _, a := range algorithms {
		ours := slices.DeleteFunc(slices.Clone(keys), func(k publicKey) bool {
			return k.algorithm != a || k.Name() != c.Origin
		})
		i := slices.IndexFunc(ours, func(k publicKey) bool {
			_, err := note.Open(signed, note.VerifierList(k))
			return err == nil
		})
		switch {
		case i >= 0:
			by = append(by, ours[i].vkey)
		case len(ours) > 0:
			err, missing = ErrSignature, a
		}
	}
	switch {
	case len(by) == 0:
		return Checkpoint{}, nil, err
	case each && missing != 0:
		return Checkpoint{}, nil, fmt.Errorf("%w: it lacks the %s signature that the keys of the "+
			"log promise", ErrSignature, missing)
	}
	return c, by, nil
}

// OpenAll verifies every signature of a checkpoint. Each must be by one of the public keys
// vkeys. Its errors are those of Open.
func OpenAll(signed []byte, vkeys []string) (Checkpoint, error) {
	c, _, err := OpenAny(signed, vkeys)
	if err != nil {
		return c, err
	}
	keys, err := parseKeys(vkeys)
	if err != nil {
		return Checkpoint{}, err
	}
	verifiers := make([]note.Verifier, len(keys))
	for i, key := range keys {
		verifiers[i] = key
	}
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil || len(n.UnverifiedSigs) > 0 {
		return Checkpoint{}, fmt.Errorf("%w: one of its signatures is by an unknown key",
			ErrSignature)
	}
	return c, nil
}

// OriginOf returns the name of the log whose public key is vkey.
func OriginOf(vkey string) (string, error) {
	key, err := parseKey(strings.TrimSpace(vkey))
	if err != nil {
		return "", err
	}
	return key.Name(), nil
}

// maxEntries bounds the size of a log, so that the numbers of its tiles and hashes cannot
// overflow, and every index is exact in JSON.
const maxEntries = 1 << 53

// Parse returns the content of a signed checkpoint without verifying its signature.
func Parse(signed []byte) (Checkpoint, error) {
	text, signatures, ok := strings.Cut(string(signed), "\n\n")
	if !ok || len(signed) > MaxBytes || !strings.HasPrefix(signatures, "— ") ||
		!strings.HasSuffix(signatures, "\n") {
		return Checkpoint{}, ErrNoCheckpoint
	}
	lines := strings.SplitN(text, "\n", 4) // extension lines may follow
	if len(lines) < 3 || lines[0] == "" {
		return Checkpoint{}, ErrNoCheckpoint
	}
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + lines[1] + "\n" +
		lines[2] + "\n"))
	if err != nil {
		return Checkpoint{}, ErrNoCheckpoint
	}
	if tree.N > maxEntries {
		return Checkpoint{}, fmt.Errorf("%w: no log has %d entries", ErrNoCheckpoint, tree.N)
	}
	return Checkpoint{Origin: lines[0], Size: tree.N, Root: tree.Hash}, nil
}
