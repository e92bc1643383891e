package audit

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// said is what the entries of a log say about its keys.
type said struct{ rotations []Rotation }

// open reads and verifies the checkpoint, and returns it.
func (r *Report) open(ctx context.Context, files Files, opts *VerifyOptions) ([]byte, error) {
	signed, err := files.ReadFile(ctx, checkpointFile, maxCheckpoint)
	beside, keyErr := r.trust(ctx, files, opts)
	if opts.Saved != nil {
		if _, err := ParsePin(opts.Saved); err != nil {
			r.fail(CannotVerify, "the saved checkpoint: %v", err)
			return nil, nil
		}
	}
	switch {
	case keyErr != nil:
		return nil, r.cannot(keyErr)
	case err != nil:
		return nil, r.cannot(err)
	}
	var c Checkpoint
	c, r.Key, err = openAny(signed, r.trusted)
	if errors.Is(err, ErrSignature) && !beside {
		if r.trusted, err = r.followers(ctx, files, signed, r.trusted); err != nil {
			return signed, err
		}
		slices.Reverse(r.trusted) // the newest first
		if c, r.Key, err = openAny(signed, r.trusted); err == nil {
			r.Warnings = append(r.Warnings,
				"the key of the log was rotated: keep the one that signs it now, "+r.Key)
		}
	}
	switch {
	case errors.Is(err, ErrSignature):
		r.fail(WrongSignature, "%v", err)
		return signed, nil
	case err != nil:
		r.fail(CannotVerify, "%v", err)
		return signed, nil
	}
	if known, err := r.knownToPolicy(ctx, files, signed, opts.Policy); err != nil || !known {
		r.fail(WrongSignature, "the policy does not know this log")
		return signed, err
	}
	r.Origin, r.Size, r.Root, r.Signed = c.Origin, c.Size, c.Root, signed
	return signed, nil
}

// trust decides which keys are trusted, and reports whether it is the one beside the
// log for want of a better one.
func (r *Report) trust(ctx context.Context, files Files, opts *VerifyOptions) (beside bool,
	err error,
) {
	pin, _ := ParsePin(opts.Saved)
	switch {
	case opts.VKey != "":
		r.trusted = strings.Fields(opts.VKey)
	case len(pin.Keys) > 0:
		r.trusted = pin.Keys
	case opts.Policy != nil && len(opts.Policy.Logs) > 0:
		r.trusted = opts.Policy.Logs
	default:
		key, err := ReadKey(ctx, files)
		if err != nil {
			return true, err
		}
		r.trusted = strings.Fields(key)
		r.Warnings = append(r.Warnings,
			"the key beside the log was used: it proves nothing against somebody who could "+
				"replace both; name one with --vkey")
		return true, nil
	}
	return false, nil
}

// knownToPolicy reports whether a log that a policy names signed the checkpoint.
func (r *Report) knownToPolicy(ctx context.Context, files Files, signed []byte, p *Policy) (bool,
	error,
) {
	if p == nil || len(p.Logs) == 0 {
		return true, nil
	}
	if _, _, err := openAny(signed, p.Logs); err == nil || slices.Contains(p.Logs, r.Key) {
		return true, nil
	}
	keys, err := r.followers(ctx, files, signed, p.Logs)
	if err != nil {
		return false, err
	}
	_, _, err = openAny(signed, keys)
	return err == nil, nil
}

// followers returns keys and those that follow from them by entries of the log that
// they signed.
func (r *Report) followers(ctx context.Context, files Files, signed []byte,
	keys []string,
) ([]string, error) {
	said, err := r.rotations(ctx, files, signed, keys)
	return followers(keys, said), err
}

// rotations reads what the log says about its keys, once. A log of another origin than
// all of the keys has nothing to say.
func (r *Report) rotations(ctx context.Context, files Files, signed []byte,
	keys []string,
) ([]Rotation, error) {
	c, err := ParseCheckpoint(signed)
	of := func(key string) bool {
		origin, err := originOf(key)
		return err == nil && origin == c.Origin
	}
	if err != nil || !slices.ContainsFunc(keys, of) {
		return nil, nil
	}
	if r.said == nil {
		all, err := rotations(ctx, files, c.Size)
		if err != nil {
			return nil, err
		}
		r.said = &said{all}
	}
	return r.said.rotations, nil
}

// openSaved verifies the saved checkpoint: with the key that was saved with it, with one
// that is trusted, or with one that those have followed.
func (r *Report) openSaved(ctx context.Context, files Files, saved []byte) (Checkpoint, error) {
	pin, _ := ParsePin(saved) // open has found that it is one
	keys := slices.Concat(pin.Keys, r.trusted, []string{r.Key})
	c, _, err := openAny(pin.Signed, keys)
	if errors.Is(err, ErrSignature) {
		said, failed := r.rotations(ctx, files, r.Signed, keys)
		if failed != nil {
			return c, failed
		}
		c, _, err = openAny(pin.Signed, forerunners(keys, said))
	}
	switch {
	case errors.Is(err, ErrSignature):
		r.fail(WrongSignature, "the saved checkpoint: %v", err)
	case err != nil:
		r.fail(CannotVerify, "the saved checkpoint: %v", err)
	case c.Origin != r.Origin:
		r.fail(WrongSignature, "the saved checkpoint is of %s, the log of %s", c.Origin, r.Origin)
	}
	return c, nil
}

// A Pin is a checkpoint that somebody has seen, with the public keys that it was
// verified with.
type Pin struct {
	Checkpoint
	Signed []byte
	Keys   []string // none in a pin of before, which was the checkpoint alone
}

// pinKey is what a line of a pin with a key begins with.
const pinKey = "key "

// MarshalText writes a pin: the signed checkpoint, an empty line, and a line for each key.
func (p *Pin) MarshalText() ([]byte, error) {
	text := string(p.Signed) + "\n"
	for _, key := range p.Keys {
		text += pinKey + key + "\n"
	}
	return []byte(text), nil
}

// ParsePin reads what MarshalText writes, and a signed checkpoint alone. It verifies no
// signature.
func ParsePin(text []byte) (p Pin, err error) {
	signed, keys, found := strings.Cut(string(text), "\n\n"+pinKey)
	if found {
		signed += "\n"
		for line := range strings.SplitSeq(strings.TrimSuffix(pinKey+keys, "\n"), "\n") {
			key, is := strings.CutPrefix(line, pinKey)
			if _, err := originOf(key); !is || err != nil {
				return Pin{}, ErrNoCheckpoint
			}
			p.Keys = append(p.Keys, key)
		}
	}
	p.Signed = []byte(signed)
	if p.Checkpoint, err = ParseCheckpoint(p.Signed); err != nil {
		return Pin{}, err
	}
	return p, nil
}
