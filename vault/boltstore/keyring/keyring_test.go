package keyring

import (
	"bytes"
	"errors"
	"testing"
)

// TestValueOpensOnlyWhereItWasSealed seals a value and opens it as it is, changed, cut short,
// in another place, and with another ring.
func TestValueOpensOnlyWhereItWasSealed(t *testing.T) {
	names := [][]byte{[]byte("accounts"), []byte("users")}
	ring, err := New(names)
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(names)
	if err != nil {
		t.Fatal(err)
	}
	accounts, key, value := names[0], []byte("7"), []byte("a record")
	sealed := ring.Seal(accounts, key, value)
	if len(sealed) != len(value)+Overhead || bytes.Contains(sealed, value) {
		t.Fatalf("sealed as %x", sealed)
	}
	if got, err := ring.Open(accounts, key, sealed); err != nil || !bytes.Equal(got, value) {
		t.Errorf("Open = %q, %v", got, err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for _, tt := range []struct {
		name                string
		ring                *Ring
		bucket, key, sealed []byte
	}{
		{"changed", ring, accounts, key, changed},
		{"cut short", ring, accounts, key, sealed[:len(sealed)-1]},
		{"empty", ring, accounts, key, nil},
		{"in another bucket", ring, names[1], key, sealed},
		{"under another key", ring, accounts, []byte("8"), sealed},
		{"with another ring", other, accounts, key, sealed},
	} {
		if got, err := tt.ring.Open(tt.bucket, tt.key, tt.sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: Open = %q, %v", tt.name, got, err)
		}
	}
}

// TestRotatedRingOpensWhatTheOlderOneSealed seals before and after a rotation.
func TestRotatedRingOpensWhatTheOlderOneSealed(t *testing.T) {
	bucket, key := []byte("accounts"), []byte("7")
	older, err := New([][]byte{bucket})
	if err != nil {
		t.Fatal(err)
	}
	newer, err := older.Rotated()
	if err != nil {
		t.Fatal(err)
	}
	before, after := older.Seal(bucket, key, []byte("a")), newer.Seal(bucket, key, []byte("b"))
	if !newer.IsOlder(before) || newer.IsOlder(after) || older.Mixed() || !newer.Mixed() {
		t.Error("a ring does not know what was sealed with its newest data key")
	}
	for _, ring := range []*Ring{newer, newer.Unmixed()} {
		a, errA := ring.Open(bucket, key, before)
		b, errB := ring.Open(bucket, key, after)
		if string(a) != "a" || string(b) != "b" {
			t.Errorf("Open = %q, %v and %q, %v", a, errA, b, errB)
		}
	}
	if _, err := older.Open(bucket, key, after); !errors.Is(err, ErrSealed) {
		t.Errorf("a ring opened what a newer one sealed: %v", err)
	}
}
