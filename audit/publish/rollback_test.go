package publish_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/publish"
)

// TestPublisherNeverShortensALog rolls the source back within the last tile, where the entries
// that are left still hash to an earlier signed head. The published log stays, also when the
// source grows again.
func TestPublisherNeverShortensALog(t *testing.T) {
	const published = 1000
	for _, tt := range []struct {
		name string
		then func(t *testing.T, m *audittest.Log) *audittest.Log
		want error
	}{
		{"one entry less", func(t *testing.T, m *audittest.Log) *audittest.Log {
			return m.At(t, published-1)
		}, publish.ErrAhead},
		{"a tile less", func(t *testing.T, m *audittest.Log) *audittest.Log {
			return m.At(t, published-256)
		}, publish.ErrAhead},
		{"nothing left", func(_ *testing.T, m *audittest.Log) *audittest.Log {
			return &audittest.Log{Signer: m.Signer}
		}, publish.ErrAhead},
		{"as many, others", func(t *testing.T, m *audittest.Log) *audittest.Log {
			return m.Forked(t, published)
		}, publish.ErrForked},
		{"more, others within the tile", func(t *testing.T, m *audittest.Log) *audittest.Log {
			return m.Forked(t, published+7)
		}, publish.ErrForked},
		{"many more, others within the tile", func(t *testing.T, m *audittest.Log) *audittest.Log {
			return m.Forked(t, published+700)
		}, publish.ErrForked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, m := t.TempDir(), audittest.New(t)
			m.Grow(t, published)
			p, _, err := restart(t, dir, m)
			if err != nil {
				t.Fatal(err)
			}
			whole := *m
			before, err := os.ReadFile(filepath.Join(dir, checkpoint.File))
			if err != nil {
				t.Fatal(err)
			}
			*m = *tt.then(t, m)
			if err := p.Publish(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("publishing gives %v, want %v", err, tt.want)
			}
			// A divergence that was noticed once stays, even if the source is whole again.
			*m = whole
			m.Grow(t, 5)
			if err := p.Publish(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("publishing again gives %v, want %v", err, tt.want)
			}
			if after, err := os.ReadFile(filepath.Join(dir, checkpoint.File)); err != nil ||
				string(after) != string(before) {
				t.Errorf("the checkpoint was replaced: %v\n%s", err, after)
			}
		})
	}
}

// TestPublisherRefusesWhatWasSeen starts on a source that is behind an acknowledged state which
// was never published.
func TestPublisherRefusesWhatWasSeen(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(t *testing.T, m *audittest.Log) *audittest.Log
		want error
	}{
		{"the same", func(_ *testing.T, m *audittest.Log) *audittest.Log { return m }, nil},
		{"more", func(t *testing.T, m *audittest.Log) *audittest.Log {
			m.Grow(t, 400)
			return m
		}, nil},
		{"less", func(t *testing.T, m *audittest.Log) *audittest.Log {
			return m.At(t, 1005)
		}, publish.ErrAhead},
		{"others", func(t *testing.T, m *audittest.Log) *audittest.Log {
			return m.At(t, 1005).Forked(t, 1010)
		}, publish.ErrForked},
		{"more, others", func(t *testing.T, m *audittest.Log) *audittest.Log {
			return m.At(t, 1005).Forked(t, 1700)
		}, publish.ErrForked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, m := t.TempDir(), audittest.New(t)
			m.Grow(t, 1000)
			if _, _, err := restart(t, dir, m); err != nil {
				t.Fatal(err)
			}
			m.Grow(t, 10)
			seen := checkpoint.Checkpoint{Origin: "log.example", Size: 1010, Root: m.Head.Root()}
			p, _ := audittest.NewPublisher(t, dir, tt.then(t, m))
			p.Saw(seen)
			if err := p.Recover(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("the start gives %v, want %v", err, tt.want)
			}
		})
	}
}

// TestPublisherVerifiesTheCheckpoint changes a byte of the signature in the vault, and uses the
// signature of another head.
func TestPublisherVerifiesTheCheckpoint(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, m *audittest.Log)
	}{
		{"of an older head", func(t *testing.T, m *audittest.Log) {
			m.Checkpoint = m.At(t, 990).Checkpoint
		}},
		{"of another log", func(t *testing.T, m *audittest.Log) {
			other := audittest.New(t)
			other.Grow(t, len(m.Leaves))
			m.Checkpoint = other.Checkpoint
		}},
		{"one bit changed", func(_ *testing.T, m *audittest.Log) {
			m.Checkpoint = append([]byte(nil), m.Checkpoint...)
			m.Checkpoint[len(m.Checkpoint)-9] ^= 1
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, m := t.TempDir(), audittest.New(t)
			m.Grow(t, 900)
			p, _, err := restart(t, dir, m)
			if err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(filepath.Join(dir, checkpoint.File))
			if err != nil {
				t.Fatal(err)
			}
			m.Grow(t, 100)
			tt.change(t, m)
			if err := p.Publish(t.Context()); err == nil {
				t.Error("it was published")
			}
			if after, err := os.ReadFile(filepath.Join(dir, checkpoint.File)); err != nil ||
				string(after) != string(before) {
				t.Errorf("the checkpoint was replaced: %v\n%s", err, after)
			}
		})
	}
}
