package datadir

import (
	"bytes"
	"errors"
	"testing"
)

func TestVaultKeyIsReadAsItWasWritten(t *testing.T) {
	first := NewVaultKey()
	second := first.Next()
	if bytes.Equal(first.Secret, second.Secret) || !bytes.Equal(first.Requests, second.Requests) {
		t.Error("the next key has the same secret, or another one for request ids")
	}
	asked := 0
	ask := func() ([]byte, error) { asked++; return []byte("correct horse battery"), nil }
	for _, passphrase := range []string{"", "correct horse battery"} {
		for _, k := range []VaultKey{first, second} {
			k.Passphrase = []byte(passphrase)
			text, err := k.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if passphrase != "" && bytes.Contains(text, []byte("REQUEST")) {
				t.Error("a sealed key can be read")
			}
			got, err := parseVaultKey(text, ask)
			if err != nil || !bytes.Equal(got.Secret, k.Secret) || !bytes.Equal(got.Requests,
				k.Requests) || string(got.Passphrase) != passphrase {
				t.Errorf("%q: %v, %v", passphrase, got, err)
			}
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times, want once for each sealed key", asked)
	}
	first.Passphrase = []byte("correct horse battery")
	text, err := first.Encode()
	if err != nil {
		t.Fatal(err)
	}
	wrong := func() ([]byte, error) { return []byte("incorrect horse battery"), nil }
	if _, err := parseVaultKey(text, wrong); !errors.Is(err, ErrPassphrase) {
		t.Errorf("a wrong passphrase: %v", err)
	}
	if _, err := parseVaultKey(text, nil); err == nil {
		t.Error("a sealed key was opened without a passphrase")
	}
	for _, bad := range []string{"", "text", "-----BEGIN ATM VAULT KEY-----\nAAAA\n-----END ATM " +
		"VAULT KEY-----\n", "-----BEGIN ATM SEALED VAULT KEY-----\nAAAA\n-----END ATM SEALED " +
		"VAULT KEY-----\n"} {
		if _, err := parseVaultKey([]byte(bad), ask); err == nil {
			t.Errorf("%q was taken for a key", bad)
		}
	}
}
