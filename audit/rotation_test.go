package audit_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/policy"
)

// TestTrustedKeyIsFollowedThroughRotations verifies a log that had three keys with each of
// them, and with pins from before each rotation.
func TestTrustedKeyIsFollowedThroughRotations(t *testing.T) {
	t.Parallel()
	m, dir := audittest.New(t), t.TempDir()
	m.Grow(t, 300)
	keys, saved := []string{m.Signer.Verifier()}, [][]byte{m.Checkpoint}
	for range 3 {
		m.Rotate(t)
		m.Grow(t, 300)
		keys, saved = append(keys, m.Signer.Verifier()), append(saved, m.Checkpoint)
	}
	audittest.PublishIn(t, dir, m)
	for i, key := range keys {
		r := audittest.Verify(t, dir, audit.VerifyOptions{VKey: key + "\n"})
		if !r.OK() {
			t.Errorf("key %d: %d %s", i, r.Code, r.Sentence)
		}
		told := slices.Contains(r.Warnings, "the key of the log was rotated: keep the one that "+
			"signs it now, "+keys[3])
		if told != (i < 2) {
			t.Errorf("key %d: %q", i, r.Warnings)
		}
		pin, err := (&audit.Pin{Signed: saved[i], Keys: []string{key}}).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		policy, err := policy.Parse([]byte("log " + key + "\nquorum none\n"))
		if err != nil {
			t.Fatal(err)
		}
		for name, opts := range map[string]audit.VerifyOptions{
			"a pin":                             {Saved: pin},
			"a pin and today's key":             {Saved: pin, VKey: keys[3]},
			"a pin of before":                   {Saved: saved[i]},
			"a pin of before and the first key": {Saved: saved[i], VKey: keys[0]},
			"a pin of before and today's key":   {Saved: saved[i], VKey: keys[3]},
			"a policy":                          {Policy: policy},
			"a policy and the first key":        {Policy: policy, VKey: keys[0]},
			"a file with a strange key and a good": {VKey: audittest.New(t).Signer.Verifier() +
				"\n" +
				key + "\n"},
		} {
			if r := audittest.Verify(t, dir, opts); !r.OK() {
				t.Errorf("key %d, %s: %d %s", i, name, r.Code, r.Sentence)
			}
		}
	}
	if r := audittest.Verify(t, dir, audit.VerifyOptions{
		VKey:  keys[0],
		Saved: m.At(t, 10).Checkpoint,
	}); !r.OK() {
		t.Errorf("%d %s", r.Code, r.Sentence)
	}
	// A difference in the content is still reported with its place and code.
	audittest.Edit(t, dir, "tile/entries/000", func(b []byte) []byte {
		return bytes.Replace(b, []byte("392.00"), []byte("392.01"), 1)
	})
	if r := audittest.Verify(t, dir,
		audit.VerifyOptions{VKey: keys[0]}); r.Code != audit.ContentDiffers ||
		*r.FirstBad.Index != 0 {
		t.Errorf("a changed entry: %d %s", r.Code, r.Sentence)
	}
}

// TestForgedRotationIsNotFollowed verifies a log rewritten by an attacker with another key,
// whose entries claim that it succeeds the trusted key.
func TestForgedRotationIsNotFollowed(t *testing.T) {
	t.Parallel()
	m, _ := audittest.Publish(t, 300)
	trusted := m.Signer.Verifier()
	pin, err := (&audit.Pin{Signed: m.Checkpoint, Keys: []string{trusted}}).MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	other := audittest.New(t)
	real := other.NextKey(t) // signed by another key
	server := &audittest.Log{Signer: m.Signer, SecretKey: m.SecretKey}
	another := server.NextKey(t)
	for name, forged := range map[string]checkpoint.Rotation{
		"unsigned":               {Old: trusted},
		"signed by the new key":  {Old: trusted, Signature: real.Signature},
		"signed for another key": another,
		"no signature":           {Old: trusted, Signature: "AAAA\n"},
		"a signature too many": {Old: trusted, Signature: real.Signature + "\n— log.example " +
			real.Signature},
	} {
		mine := audittest.New(t)
		mine.Leaves = slices.Clone(m.Leaves[:300])
		var hashes []merkle.Hash
		for _, leaf := range mine.Leaves {
			hashes = append(hashes, merkle.LeafHash(leaf))
		}
		mine.Sign(t, merkle.Head{}.Append(hashes...))
		forged.New = mine.Signer.Verifier()
		mine.Say(t, forged)
		dir := t.TempDir()
		audittest.PublishIn(t, dir, mine)
		for _, opts := range []audit.VerifyOptions{{VKey: trusted}, {Saved: pin}} {
			if r := audittest.Verify(t, dir, opts); r.Code != audit.WrongSignature {
				t.Errorf("%s: %d %s", name, r.Code, r.Sentence)
			}
		}
	}
}

// TestPinIsReadAsItWasWritten parses pins with keys, pins of older versions, and text that is
// not a pin.
func TestPinIsReadAsItWasWritten(t *testing.T) {
	m := audittest.New(t)
	m.Grow(t, 3)
	one, two := m.Signer.Verifier(), audittest.New(t).Signer.Verifier()
	for _, keys := range [][]string{nil, {one}, {one, two}} {
		text, err := (&audit.Pin{Signed: m.Checkpoint, Keys: keys}).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if keys == nil {
			text = m.Checkpoint
		}
		pin, err := audit.ParsePin(text)
		if err != nil || !bytes.Equal(pin.Signed, m.Checkpoint) || !slices.Equal(pin.Keys, keys) ||
			pin.Size != 3 {
			t.Errorf("%q is %+v, %v", text, pin, err)
		}
	}
	for _, text := range []string{
		"", "x", string(m.Checkpoint) + "\nkey nonsense\n",
		string(m.Checkpoint) + "\nkey " + m.Signer.Verifier() + "\nx\n",
	} {
		if pin, err := audit.ParsePin([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, pin)
		}
	}
}

// FuzzParsePin makes sure that a parsed pin is written as the same text.
func FuzzParsePin(f *testing.F) {
	m := audittest.New(f)
	m.Grow(f, 3)
	f.Add(m.Checkpoint)
	f.Add([]byte(string(m.Checkpoint) + "\nkey " + m.Signer.Verifier() + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		pin, err := audit.ParsePin(text)
		if err != nil || len(pin.Keys) == 0 {
			return
		}
		again, _ := pin.MarshalText()
		if strings.TrimSuffix(string(again), "\n") != strings.TrimSuffix(string(text), "\n") {
			t.Errorf("%q is written %q", text, again)
		}
	})
}

// TestKeysOfOldRotationsAreFollowedBackwards has entries of older versions, whose rotations are
// not signed. They lead from the current key to the saved one, but not from a trusted key to
// the current one.
func TestKeysOfOldRotationsAreFollowedBackwards(t *testing.T) {
	m, dir := audittest.New(t), t.TempDir()
	m.Grow(t, 300)
	first, saved := m.Signer.Verifier(), m.Checkpoint
	for range 2 {
		r := m.NextKey(t)
		r.Signature = ""
		m.Say(t, r)
	}
	audittest.PublishIn(t, dir, m)
	if r := audittest.Verify(t, dir, audit.VerifyOptions{Saved: saved}); !r.OK() {
		t.Errorf("%d %s", r.Code, r.Sentence)
	}
	if r := audittest.Verify(t, dir,
		audit.VerifyOptions{VKey: first}); r.Code != audit.WrongSignature {
		t.Errorf("%d %s", r.Code, r.Sentence)
	}
	if data, err := os.ReadFile(filepath.Join(dir, checkpoint.KeyFile)); err != nil ||
		strings.TrimSpace(string(data)) == first {
		t.Error(fmt.Sprint(err), string(data))
	}
}
