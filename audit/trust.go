package audit

import (
	"context"
	"errors"
	"slices"
	"strings"

	"example.com/atm/audit/checkpoint"
)

// open reads the checkpoint, verifies it, and returns the bytes that it read.
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
		return nil, v.cannotVerify(keyErr)
	case err != nil:
		return nil, v.cannotVerify(err)
	}
	c, by, err := checkpoint.OpenEach(signed, v.trusted)
	if errors.Is(err, checkpoint.ErrSignature) && !beside {
		if v.trusted, err = v.successors(ctx, signed, v.trusted); err != nil {
			return signed, err
		}
		slices.Reverse(v.trusted) // the newest first
		if c, by, err = checkpoint.OpenEach(signed, v.trusted); err == nil {
			v.Warnings = append(v.Warnings, "the key of the log was rotated: keep the one that "+
				"signs it now, "+checkpoint.Short(by...))
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
	v.Key = strings.Join(by, "\n")
	if known, err := v.knownToPolicy(ctx, signed); err != nil || !known {
		v.fail(WrongSignature, "the policy does not know this log")
		return signed, err
	}
	v.Origin, v.Size, v.Root, v.Signed = c.Origin, c.Size, c.Root, signed
	return signed, nil
}

// trust sets v.trusted. It reports whether the trusted key is the one beside the log, because
// the options name none.
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

// knownToPolicy reports whether the checkpoint is signed by a log that the policy names, or by
// a key that such a log was rotated to.
func (v *verification) knownToPolicy(ctx context.Context, signed []byte) (bool, error) {
	p := v.opts.Policy
	if p == nil || len(p.Logs) == 0 {
		return true, nil
	}
	if _, _, err := checkpoint.OpenEach(signed, p.Logs); err == nil {
		return true, nil
	}
	keys, err := v.successors(ctx, signed, p.Logs)
	if err != nil {
		return false, err
	}
	_, _, err = checkpoint.OpenEach(signed, keys)
	return err == nil, nil
}

// successors returns keys and the keys that follow from them by rotations in the log that they
// signed.
func (v *verification) successors(ctx context.Context, signed []byte, keys []string) ([]string,
	error,
) {
	rotations, err := v.readRotations(ctx, signed, keys)
	return checkpoint.Successors(keys, rotations), err
}

// readRotations returns the rotations in the entries of the log, and reads them once. It reads
// nothing if the origin of the log is not that of any key.
func (v *verification) readRotations(ctx context.Context, signed []byte,
	keys []string,
) ([]checkpoint.Rotation, error) {
	c, err := checkpoint.Parse(signed)
	sameOrigin := func(key string) bool {
		origin, err := checkpoint.OriginOf(key)
		return err == nil && origin == c.Origin
	}
	if err != nil || !slices.ContainsFunc(keys, sameOrigin) {
		return nil, nil
	}
	if !v.rotationsRead {
		v.rotations, err = scanRotations(ctx, v.files, 0, c.Size)
		if err != nil {
			return nil, err
		}
		v.rotationsRead = true
	}
	return v.rotations, nil
}

// openSaved verifies the saved checkpoint with a key that was saved with it, a trusted key, or
// a predecessor of those.
func (v *verification) openSaved(ctx context.Context) (checkpoint.Checkpoint, error) {
	pin, _ := ParsePin(v.opts.Saved) // open has checked the error
	keys := slices.Concat(pin.Keys, v.trusted, strings.Fields(v.Key))
	c, _, err := checkpoint.OpenAny(pin.Signed, keys)
	if errors.Is(err, checkpoint.ErrSignature) {
		rotations, failed := v.readRotations(ctx, v.Signed, keys)
		if failed != nil {
			return c, failed
		}
		c, _, err = checkpoint.OpenAny(pin.Signed, checkpoint.Predecessors(keys, rotations))
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

// A Pin is a checkpoint that a verifier has seen, with the public keys that verified it.
type Pin struct {
	checkpoint.Checkpoint
	Signed []byte
	Keys   []string // none in a pin of an older version, which was the checkpoint alone
}

// pinKey is the prefix of a line with a key.
const pinKey = "key "

// MarshalText writes a pin: the signed checkpoint, an empty line, and a line for each key.
func (p *Pin) MarshalText() ([]byte, error) {
	text := string(p.Signed) + "\n"
	for _, key := range p.Keys {
		text += pinKey + key + "\n"
	}
	return []byte(text), nil
}

// ParsePin reads what MarshalText writes, and a signed checkpoint alone. It verifies no signature.
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
