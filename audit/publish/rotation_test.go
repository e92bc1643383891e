package publish_test

import (
	"context"
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
