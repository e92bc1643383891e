package audit_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/policy"
)

// publishedPair publishes a log of n entries that is signed by both algorithms.
func publishedPair(t *testing.T, n int) (l *audittest.Log, dir, ed25519, mldsa string) {
	t.Helper()
	l, dir = audittest.NewPair(t), t.TempDir()
	l.Grow(t, n)
	audittest.PublishIn(t, dir, l)
	keys := l.Signer.AllKeys()
	return l, dir, keys[0], keys[1]
}

// TestCheckpointIsVerifiedByEachAlgorithmAlone verifies a log with either key, with both, and
// with those beside it.
func TestCheckpointIsVerifiedByEachAlgorithmAlone(t *testing.T) {
	_, dir, ed25519, mldsa := publishedPair(t, 300)
	for name, vkey := range map[string]string{
		"Ed25519": ed25519, "ML-DSA-44": mldsa, "both": ed25519 + "\n" + mldsa, "those beside": "",
	} {
		r := audittest.Verify(t, dir, audit.VerifyOptions{VKey: vkey})
		if !r.OK() || r.Size != 300 {
			t.Errorf("%s: %d %s", name, r.Code, r.Sentence)
		}
		if vkey != "" && r.Key != vkey {
			t.Errorf("%s: verified with %s", name, r.Key)
		}
		if vkey == "" {
			continue
		}
		log, err := audit.OpenLog(t.Context(), audit.Dir(dir), vkey)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := log.Prove(t.Context(), 17)
		if err != nil {
			t.Fatal(err)
		}
		leaf := []byte(`{"amount":"392.00","id":17,"t":"2026-11-25T00:00:00.000000Z","v":1}`)
		if r := proof.Check(leaf, vkey); !r.OK() {
			t.Errorf("a proof, %s: %d %s", name, r.Code, r.Sentence)
		}
	}
}

// lines are the signature lines of a checkpoint, and its text before them.
func lines(signed []byte) (text, ed25519, mldsa string) {
	text, signatures, _ := strings.Cut(string(signed), "\n\n")
	each := strings.SplitAfter(signatures, "\n")
	return text + "\n\n", each[0], each[1]
}

// changed is a signature line with another byte at an index of the signature.
func changed(t *testing.T, line string, at int) string {
	t.Helper()
	end := strings.LastIndexByte(line, ' ') + 1
	signature, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(line[end:], "\n"))
	if err != nil {
		t.Fatal(err)
	}
	signature[at] ^= 1
	return line[:end] + base64.StdEncoding.EncodeToString(signature) + "\n"
}

// TestSignatureThatIsPromisedAndMissingIsAWrongSignature damages one signature of a checkpoint.
// A verifier with both keys never accepts it; one with the other key alone does.
func TestSignatureThatIsPromisedAndMissingIsAWrongSignature(t *testing.T) {
	l, dir, ed25519, mldsa := publishedPair(t, 300)
	before, err := os.ReadFile(filepath.Join(dir, checkpoint.File))
	if err != nil {
		t.Fatal(err)
	}
	_, oldFirst, oldSecond := lines(before)
	l.Grow(t, 5)
	audittest.PublishIn(t, dir, l)
	signed, err := os.ReadFile(filepath.Join(dir, checkpoint.File))
	if err != nil {
		t.Fatal(err)
	}
	text, first, second := lines(signed)
	stranger := audittest.NewPair(t)
	stranger.Grow(t, 305)
	_, _, strange := lines(complete(t, stranger))
	strangeForOurs := second[:strings.LastIndexByte(second, ' ')+1] +
		base64.StdEncoding.EncodeToString(append(idOf(t, second), idless(t, strange)...)) + "\n"
	pin, err := (&audit.Pin{Signed: before, Keys: []string{ed25519, mldsa}}).MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	policy, err := policy.Parse([]byte("log " + ed25519 + "\nlog " + mldsa +
		"\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	expecting := map[string]audit.VerifyOptions{
		"keys": {VKey: ed25519 + "\n" + mldsa}, "a pin": {Saved: pin},
		"a policy": {Policy: policy}, "the keys beside": {},
		"both, and a stranger's": {VKey: strings.Join(append(audittest.NewPair(t).Signer.AllKeys(),
			ed25519, mldsa), "\n")},
	}
	for name, tt := range map[string]struct{ signatures, alone string }{
		"no second":                        {first, ed25519},
		"no first":                         {second, mldsa},
		"the second changed":               {first + changed(t, second, 1000), ed25519},
		"the time of the second changed":   {first + changed(t, second, 11), ed25519},
		"the first changed":                {changed(t, first, 20) + second, mldsa},
		"the second by another key":        {first + strange, ed25519},
		"the second by another, as if not": {first + strangeForOurs, ed25519},
		"the second of an old checkpoint":  {first + oldSecond, ed25519},
		"the first of an old checkpoint":   {oldFirst + second, mldsa},
		"the second twice, and no first":   {second + second, mldsa},
		"the second cut":                   {first + second[:len(second)-9] + "\n", ed25519},
	} {
		audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte {
			return []byte(text + tt.signatures)
		})
		for by, opts := range expecting {
			if r := audittest.Verify(t, dir, opts); r.Code != audit.WrongSignature {
				t.Errorf("%s, with %s: %d %s", name, by, r.Code, r.Sentence)
			}
		}
		if r := audittest.Verify(t, dir, audit.VerifyOptions{VKey: tt.alone}); !r.OK() {
			t.Errorf("%s, with the other key: %d %s", name, r.Code, r.Sentence)
		}
	}
}

// complete is the newest checkpoint as it is published.
func complete(t *testing.T, l *audittest.Log) []byte {
	t.Helper()
	signed, err := l.Signer.Complete(l.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// decoded is the signature in a line, after the four bytes of its key ID.
func decoded(t *testing.T, line string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(
		line[strings.LastIndexByte(line, ' ')+1:]))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func idOf(t *testing.T, line string) []byte   { t.Helper(); return decoded(t, line)[:4:4] }
func idless(t *testing.T, line string) []byte { t.Helper(); return decoded(t, line)[4:] }

// TestRotationsLeadFromTheKeysOfEachAlgorithm rotates both keys three times.
func TestRotationsLeadFromTheKeysOfEachAlgorithm(t *testing.T) {
	l, dir, ed25519, mldsa := publishedPair(t, 300)
	saved := complete(t, l)
	for range 3 {
		l.RotatePair(t)
		l.Grow(t, 10)
	}
	audittest.PublishIn(t, dir, l)
	want := l.Signer.AllKeys()
	for name, vkey := range map[string]string{
		"Ed25519": ed25519, "ML-DSA-44": mldsa, "both": ed25519 + "\n" + mldsa,
	} {
		r := audittest.Verify(t, dir, audit.VerifyOptions{VKey: vkey, Saved: saved})
		if !r.OK() {
			t.Fatalf("%s: %d %s", name, r.Code, r.Sentence)
		}
		for _, key := range strings.Fields(r.Key) {
			if !slices.Contains(want, key) {
				t.Errorf("%s: it was verified with %s", name, key)
			}
		}
		if name == "both" && len(strings.Fields(r.Key)) != 2 {
			t.Errorf("it was verified with %s alone", r.Key)
		}
	}
	audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte { return l.Checkpoint })
	if r := audittest.Verify(t, dir, audit.VerifyOptions{VKey: ed25519 + "\n" +
		mldsa}); r.Code != audit.WrongSignature {
		t.Errorf("without the second signature: %d %s", r.Code, r.Sentence)
	}
}

// TestFirstKeyOfMLDSAFollowsFromEd25519 gives a log of one algorithm its second one.
func TestFirstKeyOfMLDSAFollowsFromEd25519(t *testing.T) {
	l, dir := audittest.New(t), t.TempDir()
	l.Grow(t, 300)
	first, saved := l.Signer.Verifier(), l.Checkpoint
	for range 2 {
		l.RotatePair(t)
		audittest.PublishIn(t, dir, l)
		r := audittest.Verify(t, dir, audit.VerifyOptions{VKey: first, Saved: saved})
		if !r.OK() {
			t.Fatalf("%d %s", r.Code, r.Sentence)
		}
	}
	r := audittest.Verify(t, dir, audit.VerifyOptions{VKey: first})
	if len(strings.Fields(r.Key)) != 2 {
		t.Errorf("a key that was followed led to %s alone", r.Key)
	}
	r = audittest.Verify(t, dir, audit.VerifyOptions{
		VKey: strings.Join(l.Signer.AllKeys(), "\n"), Saved: saved,
	})
	if !r.OK() {
		t.Errorf("today's keys and a pin of before: %d %s", r.Code, r.Sentence)
	}
}

// TestBrokenAlgorithmDoesNotForgeTheOther verifies a log that somebody rewrote who can sign as
// the Ed25519 key, and has an entry that leads from it to an ML-DSA-44 key of their own.
func TestBrokenAlgorithmDoesNotForgeTheOther(t *testing.T) {
	l, _, ed25519, mldsa := publishedPair(t, 300)
	pin, err := (&audit.Pin{Signed: complete(t, l), Keys: []string{ed25519, mldsa}}).MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	stolen, _, _ := strings.Cut(l.SecretKey, "\n")
	forged := audittest.WithKey(t, stolen)
	var hashes []merkle.Hash
	for _, leaf := range l.Leaves {
		forged.Leaves = append(forged.Leaves, leaf)
		hashes = append(hashes, merkle.LeafHash(leaf))
	}
	forged.Sign(t, merkle.Head{}.Append(hashes...))
	forged.RotatePair(t)
	dir := t.TempDir()
	audittest.PublishIn(t, dir, forged)
	for name, opts := range map[string]audit.VerifyOptions{
		"both keys": {VKey: ed25519 + "\n" + mldsa}, "the second": {VKey: mldsa},
		"a pin": {Saved: pin},
	} {
		if r := audittest.Verify(t, dir, opts); r.Code != audit.WrongSignature {
			t.Errorf("%s: %d %s", name, r.Code, r.Sentence)
		}
	}
	if r := audittest.Verify(t, dir, audit.VerifyOptions{VKey: ed25519}); !r.OK() {
		t.Errorf("the test forges nothing: %d %s", r.Code, r.Sentence)
	}
}
