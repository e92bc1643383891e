package checkpoint_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

func TestSignerSignsOnlyExtensionsOfItsLog(t *testing.T) {
	m := audittest.New(t)
	m.Grow(t, 10)
	first, head := m.Checkpoint, m.Head
	m.Grow(t, 10)

	fork := merkle.Head{}.Append(merkle.LeafHash([]byte("another")))
	for name, tt := range map[string]struct {
		last          []byte
		extends, head merkle.Head
	}{
		"a tree that nobody signed": {
			first, fork,
			fork.Append(merkle.LeafHash([]byte("more"))),
		},
		"a shorter tree":                   {m.Checkpoint, m.Head, head},
		"a tree without its checkpoint":    {nil, head, m.Head},
		"another log's checkpoint":         {audittest.NewOf(t, 10).Checkpoint, head, m.Head},
		"a checkpoint of a different size": {first, m.Head, m.Head.Append(merkle.LeafHash(nil))},
		"an empty tree after a full one":   {first, merkle.Head{}, fork},
	} {
		if signed, err := m.Signer.Sign(tt.last, tt.extends, tt.head); err == nil {
			t.Errorf("%s was signed: %s", name, signed)
		}
	}
	if _, err := m.Signer.Sign(first, head, m.Head); err != nil {
		t.Errorf("the rightful extension: %v", err)
	}
}

func TestCheckpointOpensOnlyWithItsSignature(t *testing.T) {
	m := audittest.NewOf(t, 10)
	c, err := checkpoint.Open(m.Checkpoint, m.Signer.Verifier())
	if err != nil || c.Size != 10 || c.Root != m.Head.Root() || c.Origin != "log.example" {
		t.Errorf("%+v, %v", c, err)
	}
	text := string(m.Checkpoint)
	for name, tt := range map[string]struct {
		text string
		want error
	}{
		"empty":        {"", checkpoint.ErrNoCheckpoint},
		"no signature": {text[:strings.Index(text, "\n\n")+2], checkpoint.ErrNoCheckpoint},
		"no size":      {"log.example\n\n— log.example AAAA\n", checkpoint.ErrNoCheckpoint},
		"size with zeros": {
			strings.Replace(text, "\n10\n", "\n010\n", 1),
			checkpoint.ErrNoCheckpoint,
		},
		"another size": {strings.Replace(text, "\n10\n", "\n11\n", 1), checkpoint.ErrSignature},
		"another origin": {
			strings.Replace(text, "log.example\n", "log.other\n", 1),
			checkpoint.ErrSignature,
		},
		"another key": {string(audittest.NewOf(t, 10).Checkpoint), checkpoint.ErrSignature},
	} {
		if _, err := checkpoint.Open([]byte(tt.text), m.Signer.Verifier()); !errors.Is(err,
			tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if _, err := checkpoint.Open(m.Checkpoint, "nonsense"); !errors.Is(err, checkpoint.ErrKey) {
		t.Errorf("a key that is none: %v", err)
	}
	if _, err := checkpoint.NewSigner("PRIVATE+KEY+x"); err == nil || strings.Contains(err.Error(),
		"PRIVATE") {
		t.Errorf("a secret key that is none: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	m := audittest.NewOf(f, 10)
	f.Add(m.Checkpoint)
	f.Add([]byte("log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— log.example " +
		"AAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := checkpoint.Open(text, m.Signer.Verifier())
		if err == nil && (c.Size != 10 || c.Root != m.Head.Root()) {
			t.Fatalf("forged: %q", text)
		}
	})
}

// TestKeysOfBothAlgorithmsAreRead parses keys, and texts that are none.
func TestKeysOfBothAlgorithmsAreRead(t *testing.T) {
	skeys, vkeys, err := checkpoint.GenerateKeys("log.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(skeys)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(signer.AllKeys(), "\n") + "\n"; got != vkeys {
		t.Errorf("the public keys are %s, not %s", got, vkeys)
	}
	second := signer.AllKeys()[1]
	if origin, err := checkpoint.OriginOf(second); err != nil || origin != "log.example" {
		t.Errorf("%q, %v", origin, err)
	}
	if short := checkpoint.Short(signer.AllKeys()...); len(short) > 200 ||
		!strings.HasPrefix(short, signer.Verifier()+" and log.example+") {
		t.Error(short)
	}
	ed25519, mldsa, _ := strings.Cut(skeys, "\n")
	newest, err := checkpoint.Newest(skeys + skeys)
	if err != nil || newest != skeys {
		t.Errorf("%q, %v", newest, err)
	}
	other, _, err := checkpoint.GenerateKeys("log.other")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no key of Ed25519": mldsa, "another log's": ed25519 + "\n" + other, "too many": skeys +
			skeys + skeys, "a seed cut short": ed25519 + "\n" + mldsa[:len(mldsa)-5],
	} {
		if _, err := checkpoint.NewSigner(text); err == nil || strings.Contains(err.Error(),
			"PRIVATE") {
			t.Errorf("%s: %v", name, err)
		}
	}
	name, rest, _ := strings.Cut(second, "+")
	for _, vkey := range []string{
		name + "x+" + rest, second[:len(second)-4], strings.Replace(second, "+B", "+C", 1),
		name + "+00000000+" + rest[9:], name, "", "++", name + "+" + rest[:8] + "+",
	} {
		if _, err := checkpoint.OriginOf(vkey); !errors.Is(err, checkpoint.ErrKey) {
			t.Errorf("%s: %v", vkey, err)
		}
	}
}

// TestOnlyItsOwnCheckpointIsCompleted asks for signatures of checkpoints that the log did not
// sign.
func TestOnlyItsOwnCheckpointIsCompleted(t *testing.T) {
	m, other := audittest.NewPair(t), audittest.NewPair(t)
	m.Grow(t, 10)
	other.Grow(t, 10)
	if _, err := m.Signer.Complete(m.Checkpoint); err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(string(m.Checkpoint), "\n10\n", "\n11\n", 1)
	for _, signed := range []string{string(other.Checkpoint), forged, "", "x"} {
		if completed, err := m.Signer.Complete([]byte(signed)); err == nil {
			t.Errorf("%q became %q", signed, completed)
		}
	}
}

func FuzzOriginOf(f *testing.F) {
	for _, key := range audittest.NewPair(f).Signer.AllKeys() {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, vkey string) {
		origin, err := checkpoint.OriginOf(vkey)
		if err == nil && !strings.HasPrefix(strings.TrimSpace(vkey), origin+"+") {
			t.Fatalf("%q is of %q", vkey, origin)
		}
	})
}

// BenchmarkSigning measures what a commit costs, and what a publication costs beyond it.
func BenchmarkSigning(b *testing.B) {
	m := audittest.NewPair(b)
	m.Grow(b, 10)
	b.Run("commit", func(b *testing.B) {
		for b.Loop() {
			if _, err := m.Signer.Sign(m.Checkpoint, m.Head, m.Head); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("publication", func(b *testing.B) {
		for b.Loop() {
			if _, err := m.Signer.Complete(m.Checkpoint); err != nil {
				b.Fatal(err)
			}
		}
	})
}
