package audit

import (
	"bytes"
	"testing"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/tlog"
)

// TestProofs proves entries of logs of many sizes, and holds the proofs against
// the parser of another project.
func TestProofs(t *testing.T) {
	for _, size := range []int{1, 2, 3, 255, 256, 257, 600, 70_000} {
		s, dir := publish(t, size)
		log, err := OpenLog(t.Context(), Dir(dir), s.signer.Verifier())
		if err != nil {
			t.Fatal(err)
		}
		for _, index := range []int{0, 1, size / 2, size - 2, size - 1} {
			if index < 0 || index >= size {
				continue
			}
			made, err := log.Prove(t.Context(), int64(index))
			if err != nil {
				t.Fatal(err)
			}
			text, err := made.MarshalText()
			if err != nil {
				t.Fatal(err)
			}
			read, err := ParseProof(text)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			leaf := s.leaves[index]
			if r := read.Check(leaf, s.signer.Verifier()); !r.OK() || r.Size != int64(size) {
				t.Fatalf("entry %d of %d: %+v", index, size, r)
			}
			var theirs proof.TLogProof
			if err := theirs.Unmarshal(text); err != nil {
				t.Fatal(err)
			}
			hashes := make(tlog.RecordProof, len(theirs.Hashes))
			for i := range hashes {
				hashes[i] = theirs.Hashes[i]
			}
			if err := tlog.CheckRecord(hashes, log.Size, log.Root, int64(theirs.Index), tlog.RecordHash(leaf)); err != nil {
				t.Errorf("entry %d of %d, as another project reads it: %v", index, size, err)
			}
			if !bytes.Equal(theirs.Marshal(), text) {
				t.Errorf("another project writes it as\n%s\nnot\n%s", theirs.Marshal(), text)
			}

			changed := bytes.Clone(leaf)
			changed[len(changed)/2] ^= 1
			if r := read.Check(changed, s.signer.Verifier()); r.Code != ContentDiffers {
				t.Errorf("a changed entry: %+v", r)
			}
			other := *read
			other.Index = (other.Index + 1) % max(log.Size, 2)
			if r := other.Check(leaf, s.signer.Verifier()); r.Code != ContentDiffers {
				t.Errorf("another index: %+v", r)
			}
		}
		if _, err := log.Prove(t.Context(), int64(size)); err == nil {
			t.Error("an entry that is not there was proved")
		}
	}
}

func TestProofCodes(t *testing.T) {
	s, dir := publish(t, 5)
	log, err := OpenLog(t.Context(), Dir(dir), s.signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	p, err := log.Prove(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	leaf := s.leaves[3]
	_, other, err := GenerateKey(s.signer.Origin())
	if err != nil {
		t.Fatal(err)
	}
	if r := p.Check(leaf, other); r.Code != WrongSignature {
		t.Errorf("another key: %+v", r)
	}
	if r := p.Check(leaf, "no key"); r.Code != CannotVerify {
		t.Errorf("no key: %+v", r)
	}
	unsigned := *p
	unsigned.Checkpoint = []byte("a\nb\n")
	if r := unsigned.Check(leaf, s.signer.Verifier()); r.Code != CannotVerify {
		t.Errorf("no checkpoint: %+v", r)
	}
	text, err := p.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v1\n\nx", "c2sp.org/tlog-proof@v2\nindex 1\n\nx", "c2sp.org/tlog-proof@v1\nindex 01\n\nx",
		"c2sp.org/tlog-proof@v1\nindex -1\n\nx", "c2sp.org/tlog-proof@v1\nextra !\nindex 1\n\nx", "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nx",
	} {
		if _, err := ParseProof([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a proof", bad)
		}
	}
	if _, err := ParseProof(bytes.Repeat(text, 1000)); err == nil {
		t.Error("a huge file was taken for a proof")
	}
}

func FuzzParseProof(f *testing.F) {
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra YQ==\nindex 1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\na\n2\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— a AAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseProof(text)
		if err != nil {
			return
		}
		again, err := p.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if q, err := ParseProof(again); err != nil || q.Index != p.Index || len(q.Hashes) != len(p.Hashes) || !bytes.Equal(q.Checkpoint, p.Checkpoint) {
			t.Fatalf("%q is read as %+v, and that as %+v, %v", text, p, q, err)
		}
		p.Check([]byte("{}"), "log+00000000+AAAA")
	})
}
