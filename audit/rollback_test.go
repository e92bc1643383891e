package audit

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestPublisherNeverShortensALog lets the source go back within the last tile, where what it
// has still hashes to what it signed. What was published stays, also when more comes.
func TestPublisherNeverShortensALog(t *testing.T) {
	const published = 1000
	for _, tt := range []struct {
		name string
		then func(t *testing.T, m *memory) *memory
		want error
	}{
		{"one entry less", func(t *testing.T, m *memory) *memory {
			return m.at(t, published-1)
		}, ErrAhead},
		{"a tile less", func(t *testing.T, m *memory) *memory {
			return m.at(t, published-256)
		}, ErrAhead},
		{"nothing left", func(_ *testing.T, m *memory) *memory {
			return &memory{signer: m.signer}
		}, ErrAhead},
		{"as many, others", func(t *testing.T, m *memory) *memory {
			return forked(t, m, published)
		}, ErrForked},
		{"more, others within the tile", func(t *testing.T, m *memory) *memory {
			return forked(t, m, published+7)
		}, ErrForked},
		{"many more, others within the tile", func(t *testing.T, m *memory) *memory {
			return forked(t, m, published+700)
		}, ErrForked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, m := t.TempDir(), newMemory(t)
			m.grow(t, published)
			p, _, err := restart(t, dir, m)
			if err != nil {
				t.Fatal(err)
			}
			whole := *m
			before, err := os.ReadFile(filepath.Join(dir, checkpointFile))
			if err != nil {
				t.Fatal(err)
			}
			*m = *tt.then(t, m)
			if err := p.Publish(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("publishing gives %v, want %v", err, tt.want)
			}
			// What was noticed once counts, whatever the source says later.
			*m = whole
			m.grow(t, 5)
			if err := p.Publish(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("publishing again gives %v, want %v", err, tt.want)
			}
			if after, err := os.ReadFile(filepath.Join(dir, checkpointFile)); err != nil ||
				string(after) != string(before) {
				t.Errorf("the checkpoint was replaced: %v\n%s", err, after)
			}
		})
	}
}

// TestPublisherRefusesWhatWasSeen starts on a source that is behind a state which is
// published nowhere but known to have been acknowledged.
func TestPublisherRefusesWhatWasSeen(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(t *testing.T, m *memory) *memory
		want error
	}{
		{"the same", func(_ *testing.T, m *memory) *memory { return m }, nil},
		{"more", func(t *testing.T, m *memory) *memory { m.grow(t, 400); return m }, nil},
		{"less", func(t *testing.T, m *memory) *memory { return m.at(t, 1005) }, ErrAhead},
		{"others", func(t *testing.T, m *memory) *memory {
			return forked(t, m.at(t, 1005), 1010)
		}, ErrForked},
		{"more, others", func(t *testing.T, m *memory) *memory {
			return forked(t, m.at(t, 1005), 1700)
		}, ErrForked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, m := t.TempDir(), newMemory(t)
			m.grow(t, 1000)
			if _, _, err := restart(t, dir, m); err != nil {
				t.Fatal(err)
			}
			m.grow(t, 10)
			seen := Checkpoint{Origin: "log.example", Size: 1010, Root: m.head.Root()}
			p, _ := newPublisher(t, dir, tt.then(t, m))
			p.Saw(seen)
			if err := p.Recover(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("the start gives %v, want %v", err, tt.want)
			}
		})
	}
}

// TestPublisherVerifiesTheCheckpoint takes a byte of the signature in the vault, and the
// signature of another head.
func TestPublisherVerifiesTheCheckpoint(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, m *memory)
	}{
		{"of an older head", func(t *testing.T, m *memory) {
			m.checkpoint = m.at(t, 990).checkpoint
		}},
		{"of another log", func(t *testing.T, m *memory) {
			other := newMemory(t)
			other.grow(t, len(m.leaves))
			m.checkpoint = other.checkpoint
		}},
		{"one bit changed", func(_ *testing.T, m *memory) {
			m.checkpoint = append([]byte(nil), m.checkpoint...)
			m.checkpoint[len(m.checkpoint)-9] ^= 1
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, m := t.TempDir(), newMemory(t)
			m.grow(t, 900)
			p, _, err := restart(t, dir, m)
			if err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(filepath.Join(dir, checkpointFile))
			if err != nil {
				t.Fatal(err)
			}
			m.grow(t, 100)
			tt.change(t, m)
			if err := p.Publish(t.Context()); err == nil {
				t.Error("it was published")
			}
			if after, err := os.ReadFile(filepath.Join(dir, checkpointFile)); err != nil ||
				string(after) != string(before) {
				t.Errorf("the checkpoint was replaced: %v\n%s", err, after)
			}
		})
	}
}
