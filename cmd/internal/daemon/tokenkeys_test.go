package daemon

import (
	"bytes"
	"strings"
	"testing"
)

func TestTokenKeys(t *testing.T) {
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
	plain, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	if table, err := parseTokenKeys(plain); err != nil || table.Active == nil {
		t.Errorf("a key alone: %v", err)
	}
	for name, bad := range map[string]string{
		"empty":      "",
		"two active": strings.Replace(string(text), "next", "active", 1),
		"no state":   strings.ReplaceAll(string(text), "State: ", "Other: "),
		"a time":     strings.Replace(string(text), "State: active", "Since: noon\nState: active", 1),
		"no key":     strings.ReplaceAll(string(text), "PRIVATE KEY", "CERTIFICATE"),
	} {
		if _, err := parseTokenKeys([]byte(bad)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}
