//go:build unix

package keys

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"example.com/atm/certs"
)

func TestTokenKeysAreReadAsTheyWereWritten(t *testing.T) {
	text, err := newTokenKeys()
	if err != nil {
		t.Fatal(err)
	}
	table, err := parseTokenKeys(text)
	if err != nil || table.Active == nil || table.Next == nil || table.Retiring != nil {
		t.Fatalf("%+v, %v", table, err)
	}
	again, err := encodeTokenKeys(table)
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("%s became %s: %v", text, again, err)
	}
	plain, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if table, err := parseTokenKeys(plain); err != nil || table.Active == nil {
		t.Errorf("a key alone: %v", err)
	}
	fresh, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	rotated := table.Rotated(fresh, time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC))
	whole, err := encodeTokenKeys(rotated)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := parseTokenKeys(whole); err != nil || back.Retiring == nil ||
		!back.Since.Equal(rotated.Since) {
		t.Errorf("%+v, %v", back, err)
	}
	for name, bad := range map[string]string{
		"empty":         "",
		"two active":    strings.ReplaceAll(string(text), "ATM NEXT TOKEN KEY", "PRIVATE KEY"),
		"no active one": strings.ReplaceAll(string(text), "BEGIN PRIVATE KEY", "BEGIN X"),
		"another block": strings.ReplaceAll(string(text), "ATM NEXT TOKEN KEY", "CERTIFICATE"),
		"a time":        strings.Replace(string(whole), "2026-11-25T", "noon", 1),
	} {
		if _, err := parseTokenKeys([]byte(bad)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}
