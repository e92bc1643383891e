package audit

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

// The outcomes of a verification, in the order in which they are looked for.
const (
	Verified         = 0
	CannotVerify     = 10 // no key, no checkpoint, unsigned
	WrongSignature   = 11 // signature, key or origin
	ContentDiffers   = 12 // content differs from the signed tree
	RolledBack       = 13 // rollback or fork against a saved checkpoint
	TooOld           = 14 // the newest entry is too old, or too few witnesses
	BalancesDisagree = 15 // not found here but by reconciling with the vault
)

// VerifyOptions say what to verify against.
type VerifyOptions struct {
	// VKey is the public key of the log, or several, one a line. The log may be
	// signed by one of them, or by one that follows from them by entries
	// key.rotate. Empty means that of Saved, of Policy, or else the one beside the
	// log, which proves nothing against somebody who could replace both.
	VKey string

	// Saved is a checkpoint of this log from before, or a Pin; nil for none.
	Saved []byte

	// Policy says which logs are known and which witnesses must have cosigned;
	// nil for none.
	Policy *Policy

	// MaxAge is how old the newest entry may be at Now; 0 for any age.
	MaxAge time.Duration
	Now    time.Time

	// Progress is told how many of the entries have been verified. Optional.
	Progress func(done, size int64)
}

// A Report is what a verification found.
type Report struct {
	Code     int
	Sentence string // for people
	Warnings []string

	Origin string
	Key    string // the public key that it was verified with
	Signed []byte // the checkpoint, once it is known to be signed by Key
	Size   int64
	Root   merkle.Hash
	Newest time.Time // of the last entry

	FirstBad *Bad
	LastGood int64 // the last entry before the first bad one; -1 for none

	// Unproven says that nothing leads from the files to the signed root, so that
	// FirstBad and LastGood are what the files say of each other.
	Unproven bool
}

// A Bad is the place of the first thing that differs from the signed tree.
type Bad struct {
	Index    *int64 `json:"index"` // nil when no entry can be named
	File     string `json:"file"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

// OK reports whether everything was verified.
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

// reason says why the log is not verified.
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

// tries bounds how often a verification starts again because the log grew
// while it was read.
const tries = 5

// Verify verifies a published log: the signature of its checkpoint, every
// entry and every tile under it, and that it extends what was saved. It reads
// each file once and holds one tile of each level. An error means that
// the verification could not be carried out at all: the caller left, or a
// server could not be reached or refused.
func Verify(ctx context.Context, files Files, opts VerifyOptions) (*Report, error) {
	for try := 1; ; try++ {
		r, signed, err := verifyOnce(ctx, files, &opts)
		if err != nil || r.Code != ContentDiffers && r.Code != WrongSignature || try == tries {
			return r, err
		}
		// A log that is being written has another checkpoint by now: its files may
		// have been published again, or its key rotated, while they were read.
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
	said    *said    // what the log says about its keys; nil until it is asked for
}

// verifyOnce returns its report, and the checkpoint that it read.
func verifyOnce(ctx context.Context, files Files, opts *VerifyOptions) (*Report, []byte, error) {
	v := &verification{Report: &Report{LastGood: -1}, files: files, opts: opts}
	signed, err := v.open(ctx)
	if err != nil || !v.OK() {
		return v.Report, signed, err
	}
	return v.Report, signed, v.verify(ctx)
}

// verify verifies what the checkpoint signs, and holds it against what is known of the log.
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
	if dir, local := v.files.(Dir); local {
		v.Warnings = append(v.Warnings, dir.strangers(v.Size)...)
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

// walk compares all files with the signed root. It returns the last entry, and the roots
// that the tree had at the two sizes.
func (v *verification) walk(ctx context.Context, saved, witnessed int64) (
	roots map[int64]merkle.Hash, newest []byte, err error,
) {
	var built merkle.Head
	roots = map[int64]merkle.Hash{0: built.Root()} // every log extends the empty one
	largest := max(saved, witnessed)
	w := walk{
		ctx: ctx, files: v.files, size: v.Size, root: v.Root, progress: v.opts.Progress,
		entry: func(_ int64, leaf []byte, h merkle.Hash) {
			newest = append(newest[:0], leaf...)
			if built.Size < largest {
				built.Add(h)
				if built.Size == saved || built.Size == witnessed {
					roots[built.Size] = built.Root()
				}
			}
		},
	}
	bad, err := w.run()
	if err != nil || bad == nil {
		return roots, newest, err
	}
	v.FirstBad, v.Unproven = bad, w.loose
	if bad.Index == nil {
		v.fail(ContentDiffers, "the content does not hash to the signed root")
		return nil, nil, nil
	}
	v.LastGood = *bad.Index - 1
	v.fail(ContentDiffers, "%s differs from the signed tree at entry %d", bad.File, *bad.Index)
	return nil, nil, nil
}

// Unverifiable is the report when what to verify with cannot be had.
func Unverifiable(err error) *Report {
	return &Report{Code: CannotVerify, Sentence: err.Error(), LastGood: -1}
}

func (r *Report) fail(code int, format string, args ...any) {
	r.Code, r.Sentence = code, fmt.Sprintf(format, args...)
}

// cannot makes a missing or unusable file a finding, and passes on what says
// nothing about the log.
func (r *Report) cannot(err error) error {
	var file *FileError
	if !errors.As(err, &file) {
		return err
	}
	r.fail(CannotVerify, "%v", err)
	return nil
}

// openWitnessed reads the last checkpoint that witnesses cosigned, which the
// log may have outgrown since. Without one, the zero value stands for it.
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
	c, _, err := checkpoint.OpenAny(signed, append([]string{v.Key}, v.trusted...))
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

// checkPolicy decides whether enough witnesses have seen the log, now or at the
// size of w, when its root was root.
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

// compareSaved decides whether the log extends the saved checkpoint. root is
// that of the log at the saved size.
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

// fileWord says in a report what a file is that cannot be used.
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
