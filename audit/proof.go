package audit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// A Proof proves offline that an entry is in a log, to somebody who has the
// entry and the public key of the log (C2SP tlog-proof).
type Proof struct {
	Index      int64
	Hashes     []Hash // from the sibling of the leaf to a child of the root
	Checkpoint []byte // signed
}

const proofHeader = "c2sp.org/tlog-proof@v1"

// MarshalText writes the proof in the form of C2SP tlog-proof.
func (p *Proof) MarshalText() ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nindex %d\n", proofHeader, p.Index)
	for _, h := range p.Hashes {
		b.WriteString(hashWord(h) + "\n")
	}
	b.WriteString("\n")
	b.Write(p.Checkpoint)
	return []byte(b.String()), nil
}

// ErrNoProof reports text that is no proof.
var ErrNoProof = errors.New("no tlog-proof")

// MaxProof is the largest proof that is read, in bytes.
const MaxProof = maxCheckpoint + 8<<10

// ParseProof reads what MarshalText writes. Extra data, which proves nothing,
// is passed over.
func ParseProof(text []byte) (*Proof, error) {
	if len(text) > MaxProof {
		return nil, ErrNoProof
	}
	head, checkpoint, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != proofHeader {
		return nil, ErrNoProof
	}
	lines = lines[1:]
	if extra, has := strings.CutPrefix(lines[0], "extra "); has {
		if _, err := base64.StdEncoding.DecodeString(extra); err != nil || len(lines) < 2 {
			return nil, ErrNoProof
		}
		lines = lines[1:]
	}
	digits, has := strings.CutPrefix(lines[0], "index ")
	index, err := strconv.ParseInt(digits, 10, 64)
	if !has || err != nil || index < 0 || strconv.FormatInt(index, 10) != digits ||
		len(lines) > 64 {
		return nil, ErrNoProof
	}
	p := &Proof{Index: index, Checkpoint: []byte(checkpoint)}
	for _, line := range lines[1:] {
		h, err := tlog.ParseHash(line)
		if err != nil || hashWord(h) != line {
			return nil, ErrNoProof
		}
		p.Hashes = append(p.Hashes, h)
	}
	return p, nil
}

// Check verifies that the proof proves leaf to be in the log with the public
// key vkey. The report has the codes of Verify; its size and root are those of
// the tree that the proof is about.
func (p *Proof) Check(leaf []byte, vkey string) *Report { return p.CheckHash(LeafHash(leaf), vkey) }

// CheckHash is Check for somebody who kept the hash of the leaf alone, as a
// receipt has it.
func (p *Proof) CheckHash(leaf Hash, vkey string) *Report {
	r := &Report{LastGood: -1, Key: vkey}
	c, err := OpenCheckpoint(p.Checkpoint, vkey)
	switch {
	case errors.Is(err, ErrSignature):
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

// Proves verifies that the proof proves leaf to be entry index of the tree that its
// checkpoint claims, whoever signed that. It is for somebody who keeps the proof and
// checks the signature later. It returns an error that is ErrNoProof.
func (p *Proof) Proves(index int64, leaf Hash) error {
	c, err := ParseCheckpoint(p.Checkpoint)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoProof, err)
	}
	if p.Index != index || index >= c.Size || tlog.CheckRecord(p.Hashes, c.Size, c.Root, index,
		leaf) != nil {
		return fmt.Errorf("%w of entry %d with the leaf hash %s", ErrNoProof, index, leaf)
	}
	return nil
}

// ErrDiffers reports files of a log that are not what was signed.
var ErrDiffers = errors.New("differs from the signed tree; run atmctl audit verify")

// Prove builds the proof of an entry in the tree of the log's checkpoint, and
// checks it. It returns an error that is ErrDiffers when the files prove nothing.
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
func (l *Log) proveHash(ctx context.Context, index int64, leaf Hash) ([]Hash, error) {
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
func (l *Log) proveExtends(ctx context.Context, older int64) ([]Hash, error) {
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

// maxTilesKept bounds the tiles that a log keeps for the next proof, of 8 KiB
// each.
const maxTilesKept = 1024

// Holds verifies that leaf is entry index of the log.
func (l *Log) Holds(ctx context.Context, index int64, leaf []byte) error {
	if index < 0 || index >= l.Size {
		return fmt.Errorf("the log has no entry %d: it has %d", index, l.Size)
	}
	_, err := l.proveHash(ctx, index, LeafHash(leaf))
	return err
}

// hashes reads single hashes of the tree out of the tiles. Nothing authenticates
// them: a wrong one makes a proof that does not verify.
func (l *Log) hashes(ctx context.Context) tlog.HashReader {
	if l.read == nil || len(l.read) > maxTilesKept {
		l.read = make(map[tile][]Hash)
	}
	read := l.read
	return tlog.HashReaderFunc(func(indexes []int64) ([]Hash, error) {
		found := make([]Hash, len(indexes))
		for i, index := range indexes {
			level, n := tlog.SplitStoredHashIndex(index)
			within := level % tileHeight
			first := n << within // among the hashes of the level of tiles
			t := tileOf(l.Size, level/tileHeight, first>>tileHeight)
			hashes := read[t]
			if hashes == nil {
				var err error
				if hashes, err = readHashes(ctx, l.files, t); err != nil {
					return nil, err
				}
				read[t] = hashes
			}
			at := int(first & (tileWidth - 1))
			if at+1<<within > len(hashes) {
				return nil, fmt.Errorf("%s is too short", t.path())
			}
			found[i] = subtree(hashes[at : at+1<<within])
		}
		return found, nil
	})
}
