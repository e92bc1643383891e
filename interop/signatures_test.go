package interop

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// served is the checkpoint that a real server has published, and its public keys.
func served(t *testing.T) (signed string, vkeys []string) {
	t.Helper()
	dir := t.TempDir()
	server := filepath.Join(dir, "atmserver")
	build := exec.Command("go", "build", "-o", server, "./cmd/atmserver")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.Command(server, "--listen", "localhost:0", "--admin-listen=")
	run.Dir = dir
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	run.Stderr = said
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	told := func() string {
		text, _ := os.ReadFile(said.Name())
		return string(text)
	}
	for end := time.Now().Add(time.Minute); !strings.Contains(told(), `"serving"`) &&
		time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	if err := run.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, told())
	}
	key := filepath.Join(dir, "atm-data", "audit", "log.vkey")
	text, err := os.ReadFile(filepath.Join(filepath.Dir(key), "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), strings.Fields(string(keys))
}

// signatureOf is the signature in a note of the key with a name and an id in hexadecimal.
func signatureOf(t *testing.T, signed, name, id string) []byte {
	t.Helper()
	_, lines, _ := strings.Cut(signed, "\n\n")
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		bytes, err := base64.StdEncoding.DecodeString(words[2])
		if err != nil {
			t.Fatal(err)
		}
		if words[1] == name && strconv.FormatUint(uint64(binary.BigEndian.Uint32(bytes)),
			16) == strings.TrimLeft(id, "0") {
			return bytes[4:]
		}
	}
	t.Fatalf("%s+%s signed nothing of %q", name, id, signed)
	return nil
}

// withLarger is a checkpoint that says one entry more.
func withLarger(signed string) string {
	lines := strings.SplitN(signed, "\n", 3)
	size, _ := strconv.ParseInt(lines[1], 10, 64)
	return lines[0] + "\n" + strconv.FormatInt(size+1, 10) + "\n" + lines[2]
}

// TestCheckpointOfAServerIsVerifiedByProgramsThatKnowOneAlgorithm starts a server, and verifies
// what it published with the Ed25519 of the standard library, with the notes of the Go checksum
// database, with the ML-DSA-44 of CIRCL, and with the cosignatures of transparency.dev, each by
// one key alone.
func TestCheckpointOfAServerIsVerifiedByProgramsThatKnowOneAlgorithm(t *testing.T) {
	signed, vkeys := served(t)
	if len(vkeys) != 2 {
		t.Fatalf("the server has the keys %q", vkeys)
	}
	for name, verify := range map[string]func(t *testing.T, signed string) bool{
		"Go's Ed25519": func(t *testing.T, signed string) bool {
			name, id, key := parts(t, vkeys[0], 1)
			text, _, _ := strings.Cut(signed, "\n\n")
			return ed25519.Verify(key, []byte(text+"\n"), signatureOf(t, signed, name, id))
		},
		"the notes of sumdb": func(t *testing.T, signed string) bool {
			verifier, err := note.NewVerifier(vkeys[0])
			if err != nil {
				t.Fatal(err)
			}
			n, err := note.Open([]byte(signed), note.VerifierList(verifier))
			return err == nil && len(n.Sigs) == 1 && len(n.UnverifiedSigs) == 1
		},
		"CIRCL's ML-DSA-44": func(t *testing.T, signed string) bool {
			name, id, bytes := parts(t, vkeys[1], 6)
			var key mldsa44.PublicKey
			if err := key.UnmarshalBinary(bytes); err != nil {
				t.Fatal(err)
			}
			signature := signatureOf(t, signed, name, id)
			return mldsa44.Verify(&key, cosigned(t, signed, name, signature[:8]), nil,
				signature[8:])
		},
		"the cosignatures of transparency.dev": func(t *testing.T, signed string) bool {
			verifier, err := cosignature.NewMLDSAVerifier(vkeys[1])
			if err != nil {
				t.Fatal(err)
			}
			n, err := note.Open([]byte(signed), note.VerifierList(verifier))
			return err == nil && len(n.Sigs) == 1 && len(n.UnverifiedSigs) == 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			if !verify(t, signed) {
				t.Error("the checkpoint is not verified")
			}
			if verify(t, withLarger(signed)) {
				t.Error("a checkpoint with another size is verified")
			}
		})
	}
}

// parts are the name, the id and the key of a vkey of a type.
func parts(t *testing.T, vkey string, kind byte) (name, id string, key []byte) {
	t.Helper()
	words := strings.SplitN(vkey, "+", 3)
	key, err := base64.StdEncoding.DecodeString(words[2])
	if err != nil || key[0] != kind {
		t.Fatalf("%s: %v", vkey, err)
	}
	return words[0], words[1], key[1:]
}

// cosigned is what an ML-DSA-44 key signs of a checkpoint (C2SP tlog-cosignature).
func cosigned(t *testing.T, signed, name string, timestamp []byte) []byte {
	t.Helper()
	lines := strings.SplitN(signed, "\n", 4)
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		t.Fatal(err)
	}
	m := append([]byte("subtree/v1\n\x00"), byte(len(name)))
	m = append(append(m, name...), timestamp...)
	m = append(append(m, byte(len(lines[0]))), lines[0]...)
	m = binary.BigEndian.AppendUint64(m, 0)
	m = binary.BigEndian.AppendUint64(m, size)
	return append(m, root...)
}
