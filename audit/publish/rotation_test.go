package publish_test

import (
	"context"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/publish"
)

// midway is a log whose key is rotated while a round reads entries, after the round has read
// the checkpoint.
type midway struct {
	*audittest.Log
	then func()
}

func (m *midway) Entries(ctx context.Context, from, to int64,
	yield func(int64, []byte) error,
) error {
	if m.then != nil {
		m.then()
		m.then = nil
	}
	return m.Log.Entries(ctx, from, to, yield)
}

// TestKeyBesideTheLogSignedItsCheckpoint rotates keys at every point of a round, and before and
// after a start.
func TestKeyBesideTheLogSignedItsCheckpoint(t *testing.T) {
	m, dir := &midway{Log: audittest.New(t)}, t.TempDir()
	var w audittest.Warnings
	start := func() *publish.Publisher {
		t.Helper()
		p, err := publish.New(publish.Config{
			Dir: dir, Keys: m.Signer.Keys, Source: m, Log: w.Logger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := start()
	fits := func(when string) {
		t.Helper()
		if r := audittest.Verify(t, dir, audit.VerifyOptions{}); !r.OK() {
			t.Errorf("%s: %d %s", when, r.Code, r.Sentence)
		}
		if _, err := audit.OpenLogBeside(t.Context(), audit.Dir(dir)); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	round := func() {
		t.Helper()
		if err := p.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m.Grow(t, 300)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	fits("at first")
	first := m.Signer.Verifier()
	var r checkpoint.Rotation
	m.Grow(t, 5)
	m.then = func() { r = m.NextKey(t) }
	round()
	fits("after a round that a rotation overtook")
	if p.Key() != first {
		t.Error("the new key is beside a checkpoint that it did not sign")
	}
	p = start()
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	fits("after a start")
	m.Say(t, r)
	round()
	fits("after the entry of the rotation")
	if p.Key() != r.New {
		t.Error("the new key is not beside the checkpoint that it signed")
	}
	audittest.Remove(t, dir, checkpoint.KeyFile)
	m.NextKey(t)
	if err := p.EnsureKey(); err != nil {
		t.Fatal(err)
	}
	fits("after the key was deleted")
}

// TestPromisedSignatureIsPublishedAgain publishes a log that gains a second key, and removes
// the signature of that key before a start and while the publisher runs.
func TestPromisedSignatureIsPublishedAgain(t *testing.T) {
	m, dir := audittest.New(t), t.TempDir()
	m.Grow(t, 300)
	first := m.Signer.Verifier()
	audittest.PublishIn(t, dir, m)
	m.RotatePair(t)
	ofOne := m.Checkpoint
	both := audit.VerifyOptions{VKey: strings.Join(m.Signer.AllKeys(), "\n")}
	if r := audittest.Verify(t, dir, both); r.Code != audit.WrongSignature {
		t.Errorf("before it is published: %d %s", r.Code, r.Sentence)
	}
	p := audittest.PublishIn(t, dir, m)
	for _, when := range []string{"at first", "after a start", "after a round"} {
		for name, opts := range map[string]audit.VerifyOptions{
			"both": both, "those beside": {}, "the first key of all": {VKey: first},
		} {
			if r := audittest.Verify(t, dir, opts); !r.OK() {
				t.Errorf("%s, %s: %d %s", when, name, r.Code, r.Sentence)
			}
		}
		if keys := strings.Split(p.Key(), "\n"); len(keys) != 2 {
			t.Errorf("%s: beside the log are %q", when, keys)
		}
		audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte { return ofOne })
		if r := audittest.Verify(t, dir, both); r.Code != audit.WrongSignature {
			t.Errorf("without it: %d %s", r.Code, r.Sentence)
		}
		if when == "at first" {
			p = audittest.PublishIn(t, dir, m)
		} else if err := p.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
