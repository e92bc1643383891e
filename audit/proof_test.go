package audit_test

import (
	"bytes"
	"errors"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/tlog"
)

// TestProofsHoldForAnotherProject proves entries of logs of many sizes, and verifies the proofs
// with the parser of another project.
func TestProofsHoldForAnotherProject(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 2, 3, 255, 256, 257, 600, largeSize} {
		s, dir := publishLarge(t)
		if size != largeSize {
			s, dir = audittest.Publish(t, size)
		}
		log, err := audit.OpenLog(t.Context(), audit.Dir(dir), s.Signer.Verifier())
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
			read, err := audit.ParseProof(text)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			leaf := s.Leaves[index]
			if r := read.Check(leaf, s.Signer.Verifier()); !r.OK() || r.Size != int64(size) {
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
			if err := tlog.CheckRecord(hashes, log.Size, log.Root, int64(theirs.Index),
				tlog.RecordHash(leaf)); err != nil {
				t.Errorf("entry %d of %d, as another project reads it: %v", index, size, err)
			}
			if !bytes.Equal(theirs.Marshal(), text) {
				t.Errorf("another project writes it as\n%s\nnot\n%s", theirs.Marshal(), text)
			}

			if err := read.Proves(int64(index), merkle.LeafHash(leaf)); err != nil {
				t.Errorf("entry %d of %d: %v", index, size, err)
			}
			if err := read.Proves(int64(index), merkle.LeafHash([]byte("another"))); !errors.Is(err,
				audit.ErrNoProof) {
				t.Errorf("another entry %d of %d: %v", index, size, err)
			}
			changed := bytes.Clone(leaf)
			changed[len(changed)/2] ^= 1
			if r := read.Check(changed, s.Signer.Verifier()); r.Code != audit.ContentDiffers {
				t.Errorf("a changed entry: %+v", r)
			}
			other := *read
			other.Index = (other.Index + 1) % max(log.Size, 2)
			if r := other.Check(leaf, s.Signer.Verifier()); r.Code != audit.ContentDiffers {
				t.Errorf("another index: %+v", r)
			}
		}
		if _, err := log.Prove(t.Context(), int64(size)); err == nil {
			t.Error("an entry that is not there was proved")
		}
	}
}

func TestProofThatDoesNotHoldSaysWhyByCode(t *testing.T) {
	t.Parallel()
	s, dir := audittest.Publish(t, 5)
	log, err := audit.OpenLog(t.Context(), audit.Dir(dir), s.Signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	p, err := log.Prove(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	leaf := s.Leaves[3]
	_, other, err := checkpoint.GenerateKey(s.Signer.Origin())
	if err != nil {
		t.Fatal(err)
	}
	if r := p.Check(leaf, other); r.Code != audit.WrongSignature {
		t.Errorf("another key: %+v", r)
	}
	if r := p.Check(leaf, "no key"); r.Code != audit.CannotVerify {
		t.Errorf("no key: %+v", r)
	}
	unsigned := *p
	unsigned.Checkpoint = []byte("a\nb\n")
	if r := unsigned.Check(leaf, s.Signer.Verifier()); r.Code != audit.CannotVerify {
		t.Errorf("no checkpoint: %+v", r)
	}
	text, err := p.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v1\n\nx",
		"c2sp.org/tlog-proof@v2\nindex 1\n\nx", "c2sp.org/tlog-proof@v1\nindex 01\n\nx",
		"c2sp.org/tlog-proof@v1\nindex -1\n\nx", "c2sp.org/tlog-proof@v1\nextra !\nindex 1\n\nx",
		"c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nx",
	} {
		if _, err := audit.ParseProof([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a proof", bad)
		}
	}
	if _, err := audit.ParseProof(bytes.Repeat(text, 1000)); err == nil {
		t.Error("a huge file was taken for a proof")
	}
}

// TestProofsAreCheckedBeforeTheyLeave requests proofs from a log with changed tiles.
func TestProofsAreCheckedBeforeTheyLeave(t *testing.T) {
	t.Parallel()
	m, original := audittest.Publish(t, 3000)
	open := func(change func(dir string)) *audit.Log {
		dir := audittest.Copy(t, original)
		log, err := audit.OpenLog(t.Context(), audit.Dir(dir), m.Signer.Verifier())
		if err != nil {
			t.Fatal(err)
		}
		change(dir)
		return log
	}
	const index = 2*256 + 44
	for name, change := range map[string]func(string){
		"its own hash": func(dir string) {
			audittest.Edit(t, dir, "tile/0/002", audittest.Flip(32*44))
		},
		"its sibling": func(dir string) {
			audittest.Edit(t, dir, "tile/0/002", audittest.Flip(32*45))
		},
		"the one above": func(dir string) {
			audittest.Edit(t, dir, "tile/0/002", audittest.Flip(32*60))
			audittest.Edit(t, dir, "tile/1/000.p/11", audittest.Flip(0))
		},
		"a tile cut short": func(dir string) {
			audittest.Edit(t, dir, "tile/0/002", func(b []byte) []byte { return b[1:] })
		},
		"no tile": func(dir string) { audittest.Remove(t, dir, "tile/0/002") },
	} {
		if _, err := open(change).Prove(t.Context(), index); !errors.Is(err, audit.ErrDiffers) {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
	sibling := func(dir string) { audittest.Edit(t, dir, "tile/0/002", audittest.Flip(32*45)) }
	if err := open(sibling).Holds(t.Context(), index, m.Leaves[index]); !errors.Is(err,
		audit.ErrDiffers) {
		t.Errorf("an entry is held by a tile that was changed: %v", err)
	}
	if _, err := open(sibling).ProveExtends(t.Context(), index+1); !errors.Is(err,
		audit.ErrDiffers) {
		t.Errorf("a proof that the log grew: %v", err)
	}
}

// TestSizesHaveABound signs, with the real key, trees of more entries than a log can have.
func TestSizesHaveABound(t *testing.T) {
	t.Parallel()
	m, original := audittest.Publish(t, 300)
	for _, size := range []int64{1<<53 + 1, 1<<62 + 1, 1<<63 - 1} {
		dir := audittest.Copy(t, original)
		signed := m.SignClaim(t, size)
		audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte { return signed })
		if r := audittest.Verify(t, dir, audit.VerifyOptions{}); r.Code != audit.CannotVerify {
			t.Errorf("%d entries: %d %s", size, r.Code, r.Sentence)
		}
		if _, err := audit.OpenLog(t.Context(), audit.Dir(dir),
			m.Signer.Verifier()); !errors.Is(err,
			checkpoint.ErrNoCheckpoint) {
			t.Errorf("%d entries are open for reading: %v", size, err)
		}
		if r := (&audit.Proof{Index: 1, Checkpoint: signed}).Check(m.Leaves[1],
			m.Signer.Verifier()); r.Code != audit.CannotVerify {
			t.Errorf("a proof of %d entries: %d %s", size, r.Code, r.Sentence)
		}
	}
}

func FuzzParseProof(f *testing.F) {
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra YQ==\nindex " +
		"1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\na\n" +
		"2\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— a AAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := audit.ParseProof(text)
		if err != nil {
			return
		}
		again, err := p.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if q, err := audit.ParseProof(again); err != nil || q.Index != p.Index ||
			len(q.Hashes) != len(p.Hashes) || !bytes.Equal(q.Checkpoint, p.Checkpoint) {
			t.Fatalf("%q is read as %+v, and that as %+v, %v", text, p, q, err)
		}
		p.Check([]byte("{}"), "log+00000000+AAAA")
	})
}
