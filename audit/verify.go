package audit

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"time"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/policy"
)

// The codes of a verification, in the order in which it checks.
const (
	Verified         = 0
	CannotVerify     = 10 // no key, no checkpoint, unsigned, an archive that cannot be reached
	WrongSignature   = 11 // signature, key or origin
	ContentDiffers   = 12 // content differs from the signed tree
	RolledBack       = 13 // rollback or fork against a saved checkpoint
	TooOld           = 14 // the newest entry is too old, or too few witnesses
	BalancesDisagree = 15 // never found by Verify, only by reconciling with the vault
)

// VerifyOptions says what to verify against.
type VerifyOptions struct {
	// VKey is the public key of the log, or several keys, one a line. The log must be signed by one
	// of them, or by a key that one of them was rotated to by entries key.rotate; if they are of
	// two algorithms, by one of each. If VKey is empty, the keys of Saved or Policy are used, and
	// else the keys beside the log, which an attacker who can replace the log can replace as well.
	VKey string

	// Saved is an earlier checkpoint of this log, or a Pin. Optional.
	Saved []byte

	// Policy lists known logs, and the witnesses that must have cosigned. Optional.
	Policy *policy.Policy

	// MaxAge is the largest allowed age of the newest entry at Now. 0 allows any age.
	MaxAge time.Duration
	Now    time.Time

	// Entry is told of each entry of the signed tree, in order, and says what is wrong with it.
	// It begins again with index 0 if the log grew meanwhile. Optional.
	Entry func(index int64, leaf []byte) error

	// Progress is called with the number of entries verified so far. Optional.
	Progress func(done, size int64)
}

// A Report is what a verification found.
type Report struct {
	Code     int
	Sentence string // for people
	Warnings []string

	Origin string
	Key    string // the public keys that it was verified with, one a line
	Signed []byte // the checkpoint, once it is known to be signed by Key
	Size   int64
	Root   merkle.Hash
	Newest time.Time // of the last entry

	FirstBad *Bad
	LastGood int64 // the last entry before the first bad one; -1 for none

	// Unproven reports that no combination of hashes in the files leads to the signed root.
	// FirstBad and LastGood are then only where the files contradict each other.
	Unproven bool
}

// A Bad is the first difference from the signed tree.
type Bad struct {
	Index    *int64 `json:"index"` // nil when no entry can be named
	File     string `json:"file"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

// OK reports whether the whole log was verified.
func (r *Report) OK() bool { return r.Code == Verified }

// MarshalJSON writes the report for programs.
func (r *Report) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		OK       bool   `json:"ok"`
		Code     int    `json:"code"`
		Size     int64  `json:"size"`
		Root     string `json:"root"`
		FirstBad *Bad   `json:"first_bad"`
		LastGood int64  `json:"last_good"`
		Reason   string `json:"reason,omitempty"`
	}{r.OK(), r.Code, r.Size, rootText(r), r.FirstBad, r.LastGood, r.reason()})
}

// reason is the sentence of a log that is not verified, and empty for a verified one.
func (r *Report) reason() string {
	if r.OK() {
		return ""
	}
	return r.Sentence
}

func rootText(r *Report) string {
	if r.Root == (merkle.Hash{}) {
		return "" // there was no checkpoint
	}
	return r.Root.String()
}

// maxTries bounds how often a verification starts again because the log grew or its key was
// rotated while it was read.
const maxTries = 5

// Verify verifies a published log: the signature of its checkpoint, every entry and tile under
// it, and that it extends opts.Saved. It reads each file once and keeps one tile of each level
// in memory. It returns an error only if the verification could not be carried out: ctx was
// cancelled, or a server was unreachable or refused.
func Verify(ctx context.Context, files Files, opts VerifyOptions) (*Report, error) {
	for try := 1; ; try++ {
		r, signed, err := verifyOnce(ctx, files, &opts)
		if err != nil || r.Code != ContentDiffers && r.Code != WrongSignature || try == maxTries {
			return r, err
		}
		// If the log was published again or its key rotated while it was read, it has another
		// checkpoint by now, and the finding may be about a mix of the two.
		now, err := files.ReadFile(ctx, checkpoint.File, checkpoint.MaxBytes)
		if err != nil || string(now) == string(signed) {
			return r, nil
		}
	}
}

// A verification is one attempt to verify a log.
type verification struct {
	*Report
	files   Files
	opts    *VerifyOptions
	trusted []string // public keys of the log that are trusted

	rotations     []checkpoint.Rotation // of the log's key; read when first needed
	rotationsRead bool
}

// verifyOnce also returns the checkpoint that it read.
func verifyOnce(ctx context.Context, files Files, opts *VerifyOptions) (*Report, []byte, error) {
	v := &verification{Report: &Report{LastGood: -1}, files: files, opts: opts}
	signed, err := v.open(ctx)
	if err == nil && v.OK() {
		err = v.verify(ctx)
	}
	if errors.Is(err, ErrUnreachable) {
		v.fail(CannotVerify, "%v", err)
		err = nil
	}
	return v.Report, signed, err
}

// verify verifies the files under the checkpoint, and compares the log with the saved
// checkpoint, the age limit and the policy.
func (v *verification) verify(ctx context.Context) error {
	var saved checkpoint.Checkpoint
	var err error
	if v.opts.Saved != nil {
		if saved, err = v.openSaved(ctx); err != nil || !v.OK() {
			return err
		}
	}
	witnessed, err := v.openWitnessed(ctx)
	if err != nil {
		return err
	}
	roots, newest, err := v.walk(ctx, saved.Size, witnessed.Size)
	if err != nil || !v.OK() {
		return err
	}
	v.LastGood = v.Size - 1
	if dir, local := folderOf(v.files); local {
		v.Warnings = append(v.Warnings, dir.unexpected(v.Size)...)
	}
	if entry, err := ParseEntry(newest); err == nil {
		v.Newest = entry.Time
	}
	if v.opts.Saved != nil {
		v.compareSaved(saved, roots[saved.Size])
	}
	if v.OK() && v.opts.MaxAge > 0 && v.opts.Now.Sub(v.Newest) > v.opts.MaxAge {
		v.fail(TooOld, "the newest entry is of %s, more than %s ago", v.Newest.Format(time.RFC3339),
			v.opts.MaxAge)
	}
	if v.OK() && v.opts.Policy != nil {
		v.checkPolicy(witnessed, roots[witnessed.Size])
	}
	if v.OK() {
		v.Sentence = fmt.Sprintf("%d entries, root %s, signed by %s", v.Size, v.Root, v.Origin)
	}
	return nil
}

// walk compares all files with the signed root. It returns the last entry, and the roots that
// the tree had at the sizes saved and witnessed.
func (v *verification) walk(ctx context.Context, saved, witnessed int64) (
	roots map[int64]merkle.Hash, newest []byte, err error,
) {
	var built merkle.Head
	roots = map[int64]merkle.Hash{0: built.Root()} // every log extends the empty one
	largest := max(saved, witnessed)
	var contradiction *Bad
	w := walk{
		ctx: ctx, files: v.files, size: v.Size, root: v.Root, progress: v.opts.Progress,
		entry: func(index int64, leaf []byte, h merkle.Hash) {
			newest = append(newest[:0], leaf...)
			if v.opts.Entry != nil && contradiction == nil {
				contradiction = contradicts(index, v.opts.Entry(index, leaf))
			}
			if built.Size < largest {
				built.Add(h)
				if built.Size == saved || built.Size == witnessed {
					roots[built.Size] = built.Root()
				}
			}
		},
	}
	bad, err := w.run()
	good := int64(math.MaxInt64) // entries behind one that was not read are not known to be good
	if w.unread.err != nil {
		good = w.unread.from - 1
	}
	if err == nil && contradiction != nil { // what differs from the tree is behind it
		v.FirstBad, v.LastGood = contradiction, min(*contradiction.Index-1, good)
		v.fail(ContentDiffers, "entry %d contradicts itself: %s", *contradiction.Index,
			contradiction.Got)
		return nil, nil, nil
	}
	if err == nil && bad == nil && w.unread.err != nil {
		v.LastGood = good
		v.fail(CannotVerify, "entries %d to %d could not be read: %v", w.unread.from,
			w.unread.to-1, w.unread.err)
	}
	if err != nil || bad == nil {
		return roots, newest, err
	}
	v.FirstBad, v.Unproven = bad, w.unproven
	if bad.Index == nil {
		v.fail(ContentDiffers, "the content does not hash to the signed root")
		return nil, nil, nil
	}
	v.LastGood = min(*bad.Index-1, good)
	v.fail(ContentDiffers, "%s differs from the signed tree at entry %d", bad.File, *bad.Index)
	return nil, nil, nil
}

// contradicts is the finding of an entry with which something is wrong; nil for none.
func contradicts(index int64, err error) *Bad {
	if err == nil {
		return nil
	}
	t := merkle.TileAt(index+1, merkle.EntriesLevel, index>>merkle.TileHeight)
	return &Bad{Index: &index, File: t.Path(), Expected: "what was confirmed", Got: err.Error()}
}

// Unverifiable is the report if there is nothing to verify with, such as no key.
func Unverifiable(err error) *Report {
	return &Report{Code: CannotVerify, Sentence: err.Error(), LastGood: -1}
}

func (r *Report) fail(code int, format string, args ...any) {
	r.Code, r.Sentence = code, fmt.Sprintf(format, args...)
}

// cannotVerify turns a missing or unusable file into a finding. It returns other errors, which
// say nothing about the log.
func (r *Report) cannotVerify(err error) error {
	var file *FileError
	if !errors.As(err, &file) {
		return err
	}
	r.fail(CannotVerify, "%v", err)
	return nil
}

// openWitnessed reads the last checkpoint that witnesses cosigned, which may be older than the
// log's. It returns the zero value if there is none.
func (v *verification) openWitnessed(ctx context.Context) (witnessed, error) {
	if v.opts.Policy == nil {
		return witnessed{}, nil
	}
	signed, err := v.files.ReadFile(ctx, checkpoint.WitnessedFile, checkpoint.MaxBytes)
	var file *FileError
	if errors.As(err, &file) {
		return witnessed{}, nil
	}
	if err != nil {
		return witnessed{}, err
	}
	c, _, err := checkpoint.OpenAny(signed, append(strings.Fields(v.Key), v.trusted...))
	if err != nil || c.Size > v.Size {
		return witnessed{}, nil // it proves nothing
	}
	return witnessed{c, signed}, nil
}

// witnessed is a checkpoint with the cosignatures of witnesses.
type witnessed struct {
	checkpoint.Checkpoint
	signed []byte
}

// checkPolicy decides whether enough witnesses have cosigned the log, either now or at the size
// of w, where the root of the log was root.
func (v *verification) checkPolicy(w witnessed, root merkle.Hash) {
	p := v.opts.Policy
	names := p.Cosigned(v.Signed)
	if p.Satisfied(names) {
		return
	}
	if earlier := p.Cosigned(w.signed); w.signed != nil && w.Root == root && p.Satisfied(earlier) {
		v.Warnings = append(v.Warnings,
			fmt.Sprintf("witnesses have seen the first %d of %d entries", w.Size, v.Size))
		return
	}
	v.fail(TooOld, "%d witnesses of the policy have cosigned the log, fewer than it asks for",
		len(names))
}

// compareSaved decides whether the log extends the saved checkpoint. root is the root of the
// log at the saved size.
func (v *verification) compareSaved(saved checkpoint.Checkpoint, root merkle.Hash) {
	switch {
	case saved.Size > v.Size:
		v.fail(RolledBack, "the log has %d entries and had %d when the checkpoint was saved",
			v.Size, saved.Size)
	case saved.Root != root:
		v.fail(RolledBack, "the first %d entries are not those of the saved checkpoint", saved.Size)
	}
}

// hashWord writes a hash for a report.
func hashWord(h merkle.Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }

// fileWord is the word for an unusable file in a report.
func fileWord(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "missing"
	}
	var file *FileError
	if errors.As(err, &file) {
		return file.Err.Error()
	}
	return err.Error()
}
