// Package interop verifies our audit log and our webhooks with programs of other people. It is
// a module of its own, because they bring many others along.
package interop

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/publish"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// memory is a log as a vault holds it.
type memory struct {
	leaves     [][]byte
	head       merkle.Head
	checkpoint []byte
}

func (m *memory) Signed(context.Context) ([]byte, merkle.Head, error) {
	return m.checkpoint, m.head, nil
}

func (*memory) Base(context.Context) (int64, [][]merkle.Hash, error) { return 0, nil, nil }

func (m *memory) Entries(_ context.Context, from, to int64, yield func(int64, []byte) error) error {
	for i := from; i < to; i++ {
		if err := yield(i, m.leaves[i]); err != nil {
			return err
		}
	}
	return nil
}

// published makes a log of so many entries and publishes it, signed by both algorithms. vkey is
// its Ed25519 key.
func published(t *testing.T, size int) (dir, vkey string) {
	t.Helper()
	skeys, _, err := checkpoint.GenerateKeys("log.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(skeys)
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{}
	hashes := make([]merkle.Hash, size)
	for i := range hashes {
		leaf := fmt.Appendf(nil,
			`{"amount":"392.00","id":%d,"t":"2026-11-25T00:00:00.000000Z","v":1}`, i)
		m.leaves = append(m.leaves, leaf)
		hashes[i] = merkle.LeafHash(leaf)
	}
	head := m.head.Append(hashes...)
	if m.checkpoint, err = signer.Sign(nil, m.head, head); err != nil {
		t.Fatal(err)
	}
	m.head = head
	dir = t.TempDir()
	p, err := publish.New(publish.Config{
		Dir: dir, Keys: signer.AllKeys, Complete: signer.Complete, Source: m,
		Log: slog.New(slog.DiscardHandler), New: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dir, signer.Verifier()
}

const size = 100_037

// check is Tessera's fsck over a folder.
func check(t *testing.T, dir, vkey string) error {
	t.Helper()
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	hasher := func(bundle []byte) ([][]byte, error) {
		var b api.EntryBundle
		if err := b.UnmarshalText(bundle); err != nil {
			return nil, err
		}
		hashes := make([][]byte, len(b.Entries))
		for i, entry := range b.Entries {
			h := tlog.RecordHash(entry)
			hashes[i] = h[:]
		}
		return hashes, nil
	}
	return fsck.New(verifier.Name(), verifier, client.FileFetcher{Root: dir}, hasher,
		fsck.Opts{N: 2}).Check(t.Context())
}

// TestTesseraAcceptsOurLog runs the fsck of Tessera over one of our logs.
func TestTesseraAcceptsOurLog(t *testing.T) {
	dir, vkey := published(t, size)
	if err := check(t, dir, vkey); err != nil {
		t.Fatal(err)
	}
	// A changed entry makes it wait for ever (v1.0.4), so that it notices is
	// left to verify.py.
}

func flip(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[10] ^= 1 // within the first entry
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPythonVerifierAcceptsOurLogAndFindsTampering runs examples/verify.py over one of our
// logs.
func TestPythonVerifierAcceptsOurLogAndFindsTampering(t *testing.T) {
	dir, vkey := published(t, size)
	out, err := exec.Command("python3", "../examples/verify.py", dir).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), fmt.Sprintf("verified: %d entries, root ",
		size)) {
		t.Fatalf("%v\n%s", err, out)
	}
	key := filepath.Join(t.TempDir(), "key")
	_, other, err := checkpoint.GenerateKey("log.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, []byte(other+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("python3", "../examples/verify.py", dir,
		key).CombinedOutput(); err == nil {
		t.Errorf("with another key: %s", out)
	}
	if err := os.WriteFile(key, []byte(vkey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(dir, "tile", "entries", "100")
	whole, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"\x00\x0f{\"forged\":true}", "\n"} {
		if err := os.WriteFile(bundle, append(whole[:len(whole):len(whole)], more...),
			0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("python3", "../examples/verify.py", dir, key).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "more in it than was signed") {
			t.Errorf("one more entry: %v %s", err, out)
		}
	}
	if err := os.WriteFile(bundle, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	flip(t, filepath.Join(dir, "tile", "entries", "200"))
	if out, err := exec.Command("python3", "../examples/verify.py", dir,
		key).CombinedOutput(); err == nil || !strings.Contains(string(out),
		"do not hash to the signed root") {
		t.Errorf("a changed entry: %v %s", err, out)
	}
}
