package audit

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
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
	Root   Hash
	Newest time.Time // of the last entry

	FirstBad *Bad
	LastGood int64 // the last entry before the first bad one; -1 for none

	// Unproven says that nothing leads from the files to the signed root, so that
	// FirstBad and LastGood are what the files say of each other.
	Unproven bool

	trusted []string // public keys of the log that are trusted
	said    *said    // nil until it is asked for
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
	if r.Root == (Hash{}) {
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
		r, checkpoint, err := verifyOnce(ctx, files, opts)
		if err != nil || r.Code != ContentDiffers && r.Code != WrongSignature || try == tries {
			return r, err
		}
		// A log that is being written has another checkpoint by now: its files may
		// have been published again, or its key rotated, while they were read.
		now, err := files.ReadFile(ctx, checkpointFile, maxCheckpoint)
		if err != nil || string(now) == string(checkpoint) {
			return r, nil
		}
	}
}

func verifyOnce(ctx context.Context, files Files, opts VerifyOptions) (*Report, []byte, error) {
	r := &Report{LastGood: -1}
	signed, err := r.open(ctx, files, &opts)
	if err != nil || r.Code != Verified {
		return r, signed, err
	}
	var saved Checkpoint
	if opts.Saved != nil {
		if saved, err = r.openSaved(ctx, files, opts.Saved); err != nil || r.Code != Verified {
			return r, signed, err
		}
	}
	// The roots that the tree had when it was as large as what it must extend.
	var built Head
	roots := map[int64]Hash{0: built.Root()} // every log extends the empty one
	witnessed, err := r.openWitnessed(ctx, files, opts.Policy)
	if err != nil {
		return r, signed, err
	}
	largest := max(saved.Size, witnessed.Size)
	var newest []byte
	w := walk{
		ctx: ctx, files: files, size: r.Size, root: r.Root, progress: opts.Progress,
		entry: func(_ int64, leaf []byte, h Hash) {
			newest = append(newest[:0], leaf...)
			if built.Size < largest {
				built.push(h)
				if built.Size == saved.Size || built.Size == witnessed.Size {
					roots[built.Size] = built.Root()
				}
			}
		},
	}
	bad, err := w.run()
	switch {
	case err != nil:
		return r, signed, err
	case bad != nil:
		r.FirstBad, r.Unproven = bad, w.loose
		if bad.Index != nil {
			r.LastGood = *bad.Index - 1
			r.fail(ContentDiffers, "%s differs from the signed tree at entry %d", bad.File,
				*bad.Index)
		} else {
			r.fail(ContentDiffers, "the content does not hash to the signed root")
		}
		return r, signed, nil
	}
	r.LastGood = r.Size - 1
	if dir, local := files.(Dir); local {
		r.Warnings = append(r.Warnings, dir.strangers(r.Size)...)
	}
	if entry, err := ParseEntry(newest); err == nil {
		r.Newest = entry.Time
	}
	if opts.Saved != nil {
		r.compareSaved(saved, roots[saved.Size])
	}
	if r.OK() && opts.MaxAge > 0 && opts.Now.Sub(r.Newest) > opts.MaxAge {
		r.fail(TooOld, "the newest entry is of %s, more than %s ago", r.Newest.Format(time.RFC3339),
			opts.MaxAge)
	}
	if r.OK() && opts.Policy != nil {
		r.checkPolicy(opts.Policy, signed, witnessed, roots[witnessed.Size])
	}
	if r.OK() {
		r.Sentence = fmt.Sprintf("%d entries, root %s, signed by %s", r.Size, r.Root, r.Origin)
	}
	return r, signed, nil
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
func (r *Report) openWitnessed(ctx context.Context, files Files, p *Policy) (witnessed, error) {
	if p == nil {
		return witnessed{}, nil
	}
	signed, err := files.ReadFile(ctx, witnessedFile, maxCheckpoint)
	var file *FileError
	if errors.As(err, &file) {
		return witnessed{}, nil
	}
	if err != nil {
		return witnessed{}, err
	}
	c, _, err := openAny(signed, append([]string{r.Key}, r.trusted...))
	if err != nil || c.Size > r.Size {
		return witnessed{}, nil // it proves nothing
	}
	return witnessed{c, signed}, nil
}

// witnessed is a checkpoint with the cosignatures of witnesses.
type witnessed struct {
	Checkpoint
	signed []byte
}

// checkPolicy decides whether enough witnesses have seen the log, now or at the
// size of w, when its root was root.
func (r *Report) checkPolicy(p *Policy, signed []byte, w witnessed, root Hash) {
	names := p.Cosigned(signed)
	if p.Satisfied(names) {
		return
	}
	if earlier := p.Cosigned(w.signed); w.signed != nil && w.Root == root && p.Satisfied(earlier) {
		r.Warnings = append(r.Warnings,
			fmt.Sprintf("witnesses have seen the first %d of %d entries", w.Size, r.Size))
		return
	}
	r.fail(TooOld, "%d witnesses of the policy have cosigned the log, fewer than it asks for",
		len(names))
}

// compareSaved decides whether the log extends the saved checkpoint. root is
// that of the log at the saved size.
func (r *Report) compareSaved(saved Checkpoint, root Hash) {
	switch {
	case saved.Size > r.Size:
		r.fail(RolledBack, "the log has %d entries and had %d when the checkpoint was saved",
			r.Size, saved.Size)
	case saved.Root != root:
		r.fail(RolledBack, "the first %d entries are not those of the saved checkpoint", saved.Size)
	}
}

// hashWord writes a hash for a report.
func hashWord(h Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }

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
