package audit

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/tlog"
)

// A Proof proves offline that an entry is in a log, to a verifier that has the entry and the
// public key of the log (C2SP tlog-proof).
type Proof struct {
	Index      int64
	Hashes     []merkle.Hash // from the sibling of the leaf to a child of the root
	Checkpoint []byte        // signed
}

// MarshalText writes the proof in the form of C2SP tlog-proof.
func (p *Proof) MarshalText() ([]byte, error) {
	out := proof.TLogProof{Index: uint64(p.Index), Checkpoint: p.Checkpoint}
	for _, h := range p.Hashes {
		out.Hashes = append(out.Hashes, h)
	}
	return out.Marshal(), nil
}

// ErrNoProof reports text that is no proof.
var ErrNoProof = errors.New("no tlog-proof")

const (
	// MaxProof is the largest proof that is read, in bytes.
	MaxProof = checkpoint.MaxBytes + 8<<10

	maxProofHashes = 63 // the height of the largest tree
)

// ParseProof parses the exact bytes that MarshalText writes; the parser of the library would
// also accept other encodings of the same proof. Extra data, which proves nothing, is ignored.
func ParseProof(text []byte) (*Proof, error) {
	var in proof.TLogProof
	if len(text) > MaxProof || in.Unmarshal(text) != nil || !bytes.Equal(in.Marshal(), text) ||
		in.Index > math.MaxInt64 || len(in.Hashes) > maxProofHashes || !isExact(in.Checkpoint) {
		return nil, ErrNoProof
	}
	p := &Proof{Index: int64(in.Index), Checkpoint: in.Checkpoint}
	for _, h := range in.Hashes {
		p.Hashes = append(p.Hashes, h)
	}
	return p, nil
}

// isExact reports whether the signatures of a checkpoint are written in the only exact way. The
// parser of signed notes ignores the last bits of base64 and carriage returns.
func isExact(signed []byte) bool {
	_, signatures, _ := strings.Cut(string(signed), "\n\n")
	for line := range strings.Lines(signatures) {
		word := strings.TrimSuffix(line[strings.LastIndexByte(line, ' ')+1:], "\n")
		signature, err := base64.StdEncoding.DecodeString(word)
		if err != nil || base64.StdEncoding.EncodeToString(signature) != word {
			return false
		}
	}
	return true
}

// Check verifies with the public key vkey that leaf is in the log. The report has the codes of
// Verify. Its size and root are those of the tree in the proof.
func (p *Proof) Check(leaf []byte, vkey string) *Report {
	return p.CheckHash(merkle.LeafHash(leaf), vkey)
}

// CheckHash is Check for a verifier that has only the hash of the leaf, as in a receipt.
func (p *Proof) CheckHash(leaf merkle.Hash, vkey string) *Report {
	r := &Report{LastGood: -1, Key: vkey}
	c, err := checkpoint.Open(p.Checkpoint, vkey)
	switch {
	case errors.Is(err, checkpoint.ErrSignature):
		r.fail(WrongSignature, "%v", err)
		return r
	case err != nil:
		r.fail(CannotVerify, "%v", err)
		return r
	}
	r.Origin, r.Size, r.Root = c.Origin, c.Size, c.Root
	if p.Index >= c.Size {
		r.fail(ContentDiffers, "the proof is of entry %d, the tree has %d", p.Index, c.Size)
		return r
	}
	if err := tlog.CheckRecord(p.Hashes, c.Size, c.Root, p.Index, leaf); err != nil {
		index := p.Index
		r.FirstBad = &Bad{
			Index: &index, File: "proof", Expected: hashWord(c.Root),
			Got: hashWord(leaf),
		}
		r.fail(ContentDiffers, "the entry is not entry %d of the signed tree", p.Index)
		return r
	}
	r.LastGood = p.Index
	r.Sentence = fmt.Sprintf("entry %d is in the log of %s with %d entries, root %s", p.Index,
		c.Origin, c.Size, c.Root)
	return r
}

// Proves verifies that leaf is entry index of the tree in the proof's checkpoint. It does not
// verify the signature of the checkpoint, for callers that keep the proof and verify the
// signature later. It returns an error that is ErrNoProof.
func (p *Proof) Proves(index int64, leaf merkle.Hash) error {
	c, err := checkpoint.Parse(p.Checkpoint)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoProof, err)
	}
	if p.Index != index || index >= c.Size || tlog.CheckRecord(p.Hashes, c.Size, c.Root, index,
		leaf) != nil {
		return fmt.Errorf("%w of entry %d with the leaf hash %s", ErrNoProof, index, leaf)
	}
	return nil
}

// ErrDiffers reports that the files of a log do not match the signed tree.
var ErrDiffers = errors.New("differs from the signed tree; run atmctl audit verify")

// Prove builds the proof that an entry is in the tree of the log's checkpoint, and checks it.
// It returns an error that is ErrDiffers if the files do not match the signed tree.
func (l *Log) Prove(ctx context.Context, index int64) (*Proof, error) {
	if index < 0 || index >= l.Size {
		return nil, fmt.Errorf("the log has no entry %d: it has %d", index, l.Size)
	}
	leaf, err := l.hashes(ctx).ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
	if err != nil {
		return nil, differs(err)
	}
	hashes, err := l.proveHash(ctx, index, leaf[0])
	if err != nil {
		return nil, err
	}
	return &Proof{Index: index, Hashes: hashes, Checkpoint: l.signed}, nil
}

// proveHash proves that the hash of entry index is leaf.
func (l *Log) proveHash(ctx context.Context, index int64, leaf merkle.Hash) ([]merkle.Hash, error) {
	proof, err := tlog.ProveRecord(l.Size, index, l.hashes(ctx))
	if err != nil {
		return nil, differs(err)
	}
	if err := tlog.CheckRecord(proof, l.Size, l.Root, index, leaf); err != nil {
		l.read = nil // the tiles may be put right
		return nil, fmt.Errorf("the proof of entry %d: %w", index, ErrDiffers)
	}
	return proof, nil
}

// differs makes ErrDiffers of a file that cannot be used, and passes on what says
// nothing about the log.
func differs(err error) error {
	var file *FileError
	if errors.As(err, &file) {
		return fmt.Errorf("%w (%s: %s)", ErrDiffers, file.Name, fileWord(err))
	}
	return err
}

// proveExtends builds the consistency proof (RFC 6962, section 2.1.2) from an
// older size to the log's, and checks it.
func (l *Log) proveExtends(ctx context.Context, older int64) ([]merkle.Hash, error) {
	if older == 0 || older == l.Size {
		return nil, nil
	}
	root, err := tlog.TreeHash(older, l.hashes(ctx))
	if err != nil {
		return nil, differs(err)
	}
	proof, err := tlog.ProveTree(l.Size, older, l.hashes(ctx))
	if err != nil {
		return nil, differs(err)
	}
	if err := tlog.CheckTree(proof, l.Size, l.Root, older, root); err != nil {
		l.read = nil
		return nil, fmt.Errorf("the proof that the first %d entries were extended: %w", older,
			ErrDiffers)
	}
	return proof, nil
}

// maxTilesKept bounds the tiles of 8 KiB that a Log caches for the next proof.
const maxTilesKept = 1024

// Holds verifies that leaf is entry index of the log.
func (l *Log) Holds(ctx context.Context, index int64, leaf []byte) error {
	if index < 0 || index >= l.Size {
		return fmt.Errorf("the log has no entry %d: it has %d", index, l.Size)
	}
	_, err := l.proveHash(ctx, index, merkle.LeafHash(leaf))
	return err
}

// hashes reads single hashes of the tree from the tiles. They are not authenticated here: a
// proof with a wrong hash does not verify.
func (l *Log) hashes(ctx context.Context) tlog.HashReader {
	if l.read == nil || len(l.read) > maxTilesKept {
		l.read = make(map[merkle.Tile][]merkle.Hash)
	}
	read := l.read
	return tlog.HashReaderFunc(func(indexes []int64) ([]merkle.Hash, error) {
		found := make([]merkle.Hash, len(indexes))
		for i, index := range indexes {
			level, n := tlog.SplitStoredHashIndex(index)
			within := level % merkle.TileHeight
			first := n << within // among the hashes of the level of tiles
			t := merkle.TileAt(l.Size, level/merkle.TileHeight, first>>merkle.TileHeight)
			hashes := read[t]
			if hashes == nil {
				var err error
				if hashes, err = readHashes(ctx, l.files, t); err != nil {
					return nil, err
				}
				read[t] = hashes
			}
			at := int(first & (merkle.TileWidth - 1))
			if at+1<<within > len(hashes) {
				return nil, fmt.Errorf("%s is too short", t.Path())
			}
			found[i] = merkle.Subtree(hashes[at : at+1<<within])
		}
		return found, nil
	})
}

// Receipt is the text with which a caller can prove later that an entry is in the log: its
// index and its leaf hash.
func Receipt(index int64, leaf merkle.Hash) string {
	text := append(strconv.AppendInt(make([]byte, 0, 64), index, 10), ' ')
	return string(base64.StdEncoding.AppendEncode(text, leaf[:]))
}
