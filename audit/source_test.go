package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// memory is a log as a vault would hold it.
type memory struct {
	signer     *Signer
	skey       string // the newest secret key of signer
	leaves     [][]byte
	head       Head
	checkpoint []byte
}

func newMemory(t testing.TB) *memory {
	t.Helper()
	skey, _, err := GenerateKey("log.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &memory{signer: signer, skey: skey}
}

// grow adds n entries of about the size of real ones and signs once.
func (m *memory) grow(t testing.TB, n int) {
	t.Helper()
	var hashes []Hash
	for range n {
		leaf := fmt.Appendf(nil,
			`{"amount":"392.00","id":%d,"t":"2026-11-25T00:00:00.000000Z","v":1}`, len(m.leaves))
		m.leaves = append(m.leaves, leaf)
		hashes = append(hashes, LeafHash(leaf))
	}
	m.sign(t, m.head.Append(hashes...))
}

func (m *memory) sign(t testing.TB, head Head) {
	t.Helper()
	checkpoint, err := m.signer.Sign(m.checkpoint, m.head, head)
	if err != nil {
		t.Fatal(err)
	}
	m.head, m.checkpoint = head, checkpoint
}

// at returns the log as it was at size n, signed by the same key.
func (m *memory) at(t testing.TB, n int) *memory {
	t.Helper()
	old := &memory{signer: m.signer}
	var hashes []Hash
	for _, leaf := range m.leaves[:n] {
		hashes = append(hashes, LeafHash(leaf))
	}
	old.leaves = m.leaves[:n:n]
	old.sign(t, Head{}.Append(hashes...))
	return old
}

func (m *memory) Signed(context.Context) ([]byte, Head, error) { return m.checkpoint, m.head, nil }

func (m *memory) Entries(_ context.Context, from, to int64, yield func(int64, []byte) error) error {
	for i := from; i < to; i++ {
		if err := yield(i, m.leaves[i]); err != nil {
			return err
		}
	}
	return nil
}

// warnings collects what a publisher logs.
type warnings struct{ strings.Builder }

func (w *warnings) logger() *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func newPublisher(t testing.TB, dir string, m *memory) (*Publisher, *warnings) {
	t.Helper()
	var w warnings
	p, err := NewPublisher(dir, m.signer.Verifiers, m, w.logger())
	if err != nil {
		t.Fatal(err)
	}
	return p, &w
}

// publish writes the log of m into a new folder, in several rounds.
func publish(t testing.TB, sizes ...int) (*memory, string) {
	t.Helper()
	m, dir := newMemory(t), t.TempDir()
	p, _ := newPublisher(t, dir, m)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range sizes {
		m.grow(t, n-len(m.leaves))
		if err := p.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.Tidy()
	return m, dir
}

func verify(t testing.TB, dir string, opts VerifyOptions) *Report {
	t.Helper()
	r, err := Verify(t.Context(), Dir(dir), opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// edit changes a file of a log.
func edit(t testing.TB, dir, name string, change func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// In place of the file, which may be a link to that of another log.
	if err := errors.Join(os.Remove(path), os.WriteFile(path, change(data), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// copyLog makes a copy of a log that is cheap: of links, which edit replaces.
func copyLog(t testing.TB, original string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	err := filepath.WalkDir(original, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(original, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.Mkdir(filepath.Join(dir, rel), 0o700)
		}
		return os.Link(path, filepath.Join(dir, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func remove(t testing.TB, dir, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
		t.Fatal(err)
	}
}

// flip returns a change that flips one bit of the byte at a position, counted
// from the end when it is negative.
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		i := at
		if i < 0 {
			i += len(b)
		}
		b[i] ^= 1
		return b
	}
}

var testTime = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
