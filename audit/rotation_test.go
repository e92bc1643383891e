package audit

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rotate makes another key sign the log, beside the one before, and adds the entry that
// says so.
func (m *memory) rotate(t testing.TB) Rotation {
	t.Helper()
	r := m.nextKey(t)
	m.say(t, r)
	return r
}

// nextKey makes another key sign the log from the next checkpoint on.
func (m *memory) nextKey(t testing.TB) Rotation {
	t.Helper()
	skey, _, err := GenerateKey("log.example")
	if err != nil {
		t.Fatal(err)
	}
	before := m.skey
	next, err := NewSigner(skey + "\n" + before)
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.signer.Rotation(next)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.signer.Adopt(next); err != nil {
		t.Fatal(err)
	}
	m.skey = skey
	return r
}

// say adds the entry of a rotation.
func (m *memory) say(t testing.TB, r Rotation) {
	t.Helper()
	leaf, err := (&Entry{Time: testTime, Event: EventKeyRotate, Args: r.Args()}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	m.leaves = append(m.leaves, leaf)
	m.sign(t, m.head.Append(LeafHash(leaf)))
}

// midway is a log whose key is rotated while a round reads its entries, after the round
// has read the checkpoint.
type midway struct {
	*memory
	then func()
}

func (m *midway) Entries(ctx context.Context, from, to int64,
	yield func(int64, []byte) error,
) error {
	if m.then != nil {
		m.then()
		m.then = nil
	}
	return m.memory.Entries(ctx, from, to, yield)
}

// TestKeyBesideTheLogSignedItsCheckpoint rotates keys at every point of a round, and
// around a start.
func TestKeyBesideTheLogSignedItsCheckpoint(t *testing.T) {
	m, dir := &midway{memory: newMemory(t)}, t.TempDir()
	var w warnings
	p, err := NewPublisher(dir, m.signer.Keys, m, w.logger())
	if err != nil {
		t.Fatal(err)
	}
	fits := func(when string) {
		t.Helper()
		if r := verify(t, dir, VerifyOptions{}); !r.OK() {
			t.Errorf("%s: %d %s", when, r.Code, r.Sentence)
		}
		if _, err := OpenLogBeside(t.Context(), Dir(dir)); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	publish := func() {
		t.Helper()
		if err := p.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m.grow(t, 300)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	fits("at first")
	first := m.signer.Verifier()
	var r Rotation
	m.grow(t, 5)
	m.then = func() { r = m.nextKey(t) }
	publish()
	fits("after a round that a rotation overtook")
	if p.Key() != first {
		t.Error("the new key is beside a checkpoint that it did not sign")
	}
	p, _ = NewPublisher(dir, m.signer.Keys, m, w.logger())
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	fits("after a start")
	m.say(t, r)
	publish()
	fits("after the entry of the rotation")
	if p.Key() != r.New {
		t.Error("the new key is not beside the checkpoint that it signed")
	}
	remove(t, dir, keyFile)
	m.nextKey(t)
	if err := p.EnsureKey(); err != nil {
		t.Fatal(err)
	}
	fits("after the key was deleted")
}

// TestTrustedKeyIsFollowedThroughRotations verifies a log of three keys with each of
// them, and with pins of before each rotation.
func TestTrustedKeyIsFollowedThroughRotations(t *testing.T) {
	m, dir := newMemory(t), t.TempDir()
	p, err := NewPublisher(dir, m.signer.Keys, m, (&warnings{}).logger())
	if err != nil {
		t.Fatal(err)
	}
	m.grow(t, 300)
	keys, saved := []string{m.signer.Verifier()}, [][]byte{m.checkpoint}
	for range 3 {
		m.rotate(t)
		m.grow(t, 300)
		keys, saved = append(keys, m.signer.Verifier()), append(saved, m.checkpoint)
	}
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		r := verify(t, dir, VerifyOptions{VKey: key + "\n"})
		if !r.OK() {
			t.Errorf("key %d: %d %s", i, r.Code, r.Sentence)
		}
		told := slices.Contains(r.Warnings, "the key of the log was rotated: keep the one that "+
			"signs it now, "+keys[3])
		if told != (i < 2) {
			t.Errorf("key %d: %q", i, r.Warnings)
		}
		pin, err := (&Pin{Signed: saved[i], Keys: []string{key}}).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		for name, opts := range map[string]VerifyOptions{
			"a pin":                             {Saved: pin},
			"a pin and today's key":             {Saved: pin, VKey: keys[3]},
			"a pin of before":                   {Saved: saved[i]},
			"a pin of before and the first key": {Saved: saved[i], VKey: keys[0]},
			"a pin of before and today's key":   {Saved: saved[i], VKey: keys[3]},
			"a policy": {Policy: &Policy{
				Logs:   []string{key},
				quorum: noQuorum,
			}},
			"a policy and the first key": {Policy: &Policy{
				Logs:   []string{key},
				quorum: noQuorum,
			}, VKey: keys[0]},
			"a file with a strange key and a good": {VKey: newMemory(t).signer.Verifier() + "\n" +
				key + "\n"},
		} {
			if r := verify(t, dir, opts); !r.OK() {
				t.Errorf("key %d, %s: %d %s", i, name, r.Code, r.Sentence)
			}
		}
	}
	if r := verify(t, dir, VerifyOptions{VKey: keys[0], Saved: m.at(t, 10).checkpoint}); !r.OK() {
		t.Errorf("%d %s", r.Code, r.Sentence)
	}
	// What is wrong with the content is still said with its place and code.
	edit(t, dir, "tile/entries/000", func(b []byte) []byte {
		return bytes.Replace(b, []byte("392.00"), []byte("392.01"), 1)
	})
	if r := verify(t, dir, VerifyOptions{VKey: keys[0]}); r.Code != ContentDiffers ||
		*r.FirstBad.Index != 0 {
		t.Errorf("a changed entry: %d %s", r.Code, r.Sentence)
	}
}

// TestForgedRotationIsNotFollowed has a log rewritten by somebody with a key of their
// own, who has entries say that it follows the trusted one.
func TestForgedRotationIsNotFollowed(t *testing.T) {
	m, _ := publish(t, 300)
	trusted := m.signer.Verifier()
	pin, err := (&Pin{Signed: m.checkpoint, Keys: []string{trusted}}).MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	other := newMemory(t)
	real := other.nextKey(t) // signed by another key
	server := &memory{signer: m.signer, skey: m.skey}
	another := server.nextKey(t)
	for name, forged := range map[string]Rotation{
		"unsigned":               {Old: trusted},
		"signed by the new key":  {Old: trusted, Signature: real.Signature},
		"signed for another key": another,
		"no signature":           {Old: trusted, Signature: "AAAA\n"},
		"a signature too many": {Old: trusted, Signature: real.Signature + "\n— log.example " +
			real.Signature},
	} {
		mine := newMemory(t)
		mine.leaves = slices.Clone(m.leaves[:300])
		var hashes []Hash
		for _, leaf := range mine.leaves {
			hashes = append(hashes, LeafHash(leaf))
		}
		mine.sign(t, Head{}.Append(hashes...))
		forged.New = mine.signer.Verifier()
		mine.say(t, forged)
		dir := t.TempDir()
		p, _ := newPublisher(t, dir, mine)
		if err := p.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, opts := range []VerifyOptions{{VKey: trusted}, {Saved: pin}} {
			if r := verify(t, dir, opts); r.Code != WrongSignature {
				t.Errorf("%s: %d %s", name, r.Code, r.Sentence)
			}
		}
	}
}

// TestPinIsReadAsItWasWritten reads pins with keys, pins of before, and what is none.
func TestPinIsReadAsItWasWritten(t *testing.T) {
	m := newMemory(t)
	m.grow(t, 3)
	one, two := m.signer.Verifier(), newMemory(t).signer.Verifier()
	for _, keys := range [][]string{nil, {one}, {one, two}} {
		text, err := (&Pin{Signed: m.checkpoint, Keys: keys}).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if keys == nil {
			text = m.checkpoint
		}
		pin, err := ParsePin(text)
		if err != nil || !bytes.Equal(pin.Signed, m.checkpoint) || !slices.Equal(pin.Keys, keys) ||
			pin.Size != 3 {
			t.Errorf("%q is %+v, %v", text, pin, err)
		}
	}
	for _, text := range []string{
		"", "x", string(m.checkpoint) + "\nkey nonsense\n",
		string(m.checkpoint) + "\nkey " + m.signer.Verifier() + "\nx\n",
	} {
		if pin, err := ParsePin([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, pin)
		}
	}
}

// FuzzParsePin makes sure that what is read is written the same.
func FuzzParsePin(f *testing.F) {
	m := newMemory(f)
	m.grow(f, 3)
	f.Add(m.checkpoint)
	f.Add([]byte(string(m.checkpoint) + "\nkey " + m.signer.Verifier() + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		pin, err := ParsePin(text)
		if err != nil || len(pin.Keys) == 0 {
			return
		}
		again, _ := pin.MarshalText()
		if strings.TrimSuffix(string(again), "\n") != strings.TrimSuffix(string(text), "\n") {
			t.Errorf("%q is written %q", text, again)
		}
	})
}

// TestKeysOfOldRotationsAreFollowedBackwards has entries of before rotations were signed:
// they lead from today's key to what was saved, and from no trusted key to today's.
func TestKeysOfOldRotationsAreFollowedBackwards(t *testing.T) {
	m, dir := newMemory(t), t.TempDir()
	m.grow(t, 300)
	first, saved := m.signer.Verifier(), m.checkpoint
	for range 2 {
		r := m.nextKey(t)
		r.Signature = ""
		m.say(t, r)
	}
	p, err := NewPublisher(dir, m.signer.Keys, m, (&warnings{}).logger())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, dir, VerifyOptions{Saved: saved}); !r.OK() {
		t.Errorf("%d %s", r.Code, r.Sentence)
	}
	if r := verify(t, dir, VerifyOptions{VKey: first}); r.Code != WrongSignature {
		t.Errorf("%d %s", r.Code, r.Sentence)
	}
	if data, err := os.ReadFile(filepath.Join(dir, keyFile)); err != nil ||
		strings.TrimSpace(string(data)) == first {
		t.Error(fmt.Sprint(err), string(data))
	}
}
