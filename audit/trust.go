package audit

import (
	"context"
	"errors"
	"slices"
	"strings"

	"example.com/atm/audit/checkpoint"
)

// said is what the entries of a log say about its keys.
type said struct{ rotations []checkpoint.Rotation }

// open reads and verifies the checkpoint, and returns it.
func (v *verification) open(ctx context.Context) ([]byte, error) {
	signed, err := v.files.ReadFile(ctx, checkpoint.File, checkpoint.MaxBytes)
	beside, keyErr := v.trust(ctx)
	if v.opts.Saved != nil {
		if _, err := ParsePin(v.opts.Saved); err != nil {
			v.fail(CannotVerify, "the saved checkpoint: %v", err)
			return nil, nil
		}
	}
	switch {
	case keyErr != nil:
		return nil, v.cannot(keyErr)
	case err != nil:
		return nil, v.cannot(err)
	}
	var c checkpoint.Checkpoint
	c, v.Key, err = checkpoint.OpenAny(signed, v.trusted)
	if errors.Is(err, checkpoint.ErrSignature) && !beside {
		if v.trusted, err = v.followers(ctx, signed, v.trusted); err != nil {
			return signed, err
		}
		slices.Reverse(v.trusted) // the newest first
		if c, v.Key, err = checkpoint.OpenAny(signed, v.trusted); err == nil {
			v.Warnings = append(v.Warnings,
				"the key of the log was rotated: keep the one that signs it now, "+v.Key)
		}
	}
	switch {
	case errors.Is(err, checkpoint.ErrSignature):
		v.fail(WrongSignature, "%v", err)
		return signed, nil
	case err != nil:
		v.fail(CannotVerify, "%v", err)
		return signed, nil
	}
	if known, err := v.knownToPolicy(ctx, signed); err != nil || !known {
		v.fail(WrongSignature, "the policy does not know this log")
		return signed, err
	}
	v.Origin, v.Size, v.Root, v.Signed = c.Origin, c.Size, c.Root, signed
	return signed, nil
}

// trust decides which keys are trusted, and reports whether it is the one beside the
// log for want of a better one.
func (v *verification) trust(ctx context.Context) (beside bool, err error) {
	pin, _ := ParsePin(v.opts.Saved)
	switch {
	case v.opts.VKey != "":
		v.trusted = strings.Fields(v.opts.VKey)
	case len(pin.Keys) > 0:
		v.trusted = pin.Keys
	case v.opts.Policy != nil && len(v.opts.Policy.Logs) > 0:
		v.trusted = v.opts.Policy.Logs
	default:
		key, err := ReadKey(ctx, v.files)
		if err != nil {
			return true, err
		}
		v.trusted = strings.Fields(key)
		v.Warnings = append(v.Warnings,
			"the key beside the log was used: it proves nothing against somebody who could "+
				"replace both; name one with --vkey")
		return true, nil
	}
	return false, nil
}

// knownToPolicy reports whether a log that a policy names signed the checkpoint.
func (v *verification) knownToPolicy(ctx context.Context, signed []byte) (bool, error) {
	p := v.opts.Policy
	if p == nil || len(p.Logs) == 0 {
		return true, nil
	}
	if _, _, err := checkpoint.OpenAny(signed, p.Logs); err == nil ||
		slices.Contains(p.Logs, v.Key) {
		return true, nil
	}
	keys, err := v.followers(ctx, signed, p.Logs)
	if err != nil {
		return false, err
	}
	_, _, err = checkpoint.OpenAny(signed, keys)
	return err == nil, nil
}

// followers returns keys and those that follow from them by entries of the log that
// they signed.
func (v *verification) followers(ctx context.Context, signed []byte, keys []string) ([]string,
	error,
) {
	said, err := v.rotations(ctx, signed, keys)
	return checkpoint.Followers(keys, said), err
}

// rotations reads what the log says about its keys, once. A log of another origin than
// all of the keys has nothing to say.
func (v *verification) rotations(ctx context.Context, signed []byte,
	keys []string,
) ([]checkpoint.Rotation, error) {
	c, err := checkpoint.Parse(signed)
	of := func(key string) bool {
		origin, err := checkpoint.OriginOf(key)
		return err == nil && origin == c.Origin
	}
	if err != nil || !slices.ContainsFunc(keys, of) {
		return nil, nil
	}
	if v.said == nil {
		all, err := rotations(ctx, v.files, c.Size)
		if err != nil {
			return nil, err
		}
		v.said = &said{all}
	}
	return v.said.rotations, nil
}

// openSaved verifies the saved checkpoint: with the key that was saved with it, with one
// that is trusted, or with one that those have followed.
func (v *verification) openSaved(ctx context.Context) (checkpoint.Checkpoint, error) {
	pin, _ := ParsePin(v.opts.Saved) // open has found that it is one
	keys := slices.Concat(pin.Keys, v.trusted, []string{v.Key})
	c, _, err := checkpoint.OpenAny(pin.Signed, keys)
	if errors.Is(err, checkpoint.ErrSignature) {
		said, failed := v.rotations(ctx, v.Signed, keys)
		if failed != nil {
			return c, failed
		}
		c, _, err = checkpoint.OpenAny(pin.Signed, checkpoint.Forerunners(keys, said))
	}
	switch {
	case errors.Is(err, checkpoint.ErrSignature):
		v.fail(WrongSignature, "the saved checkpoint: %v", err)
	case err != nil:
		v.fail(CannotVerify, "the saved checkpoint: %v", err)
	case c.Origin != v.Origin:
		v.fail(WrongSignature, "the saved checkpoint is of %s, the log of %s", c.Origin, v.Origin)
	}
	return c, nil
}

// A Pin is a checkpoint that somebody has seen, with the public keys that it was
// verified with.
type Pin struct {
	checkpoint.Checkpoint
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
			if _, err := checkpoint.OriginOf(key); !is || err != nil {
				return Pin{}, checkpoint.ErrNoCheckpoint
			}
			p.Keys = append(p.Keys, key)
		}
	}
	p.Signed = []byte(signed)
	if p.Checkpoint, err = checkpoint.Parse(p.Signed); err != nil {
		return Pin{}, err
	}
	return p, nil
}
