package atm_test

import (
	"strings"
	"testing"
	"time"

	"example.com/atm"
)

func TestAccountNumberIsAPositiveIntegerOfAtMost53Bits(t *testing.T) {
	for _, tt := range []struct {
		in   atm.Arg
		want atm.AccountID
		ok   bool
	}{
		{atm.Arg{Kind: atm.Int, Text: "100"}, 100, true},
		{atm.Arg{Kind: atm.String, Text: "100"}, 100, true},
		{atm.Arg{Kind: atm.String, Text: "007"}, 7, true},
		{atm.Arg{Kind: atm.Int, Text: "+007"}, 7, true}, // a sign is part of an int, not of digits
		{atm.Arg{Kind: atm.String, Text: "+7"}, 0, false},
		{atm.Arg{Kind: atm.String, Text: "9007199254740991"}, atm.MaxAccountID, true},
		{atm.Arg{Kind: atm.String, Text: "9007199254740992"}, 0, false},
		{atm.Arg{Kind: atm.Int, Text: "0"}, 0, false},
		{atm.Arg{Kind: atm.Int, Text: "-1"}, 0, false},
		{atm.Arg{Kind: atm.Double, Text: "100"}, 0, false},
		{atm.Arg{Kind: atm.String, Text: "cash:user:demo"}, 0, false},
		{atm.Arg{Kind: atm.String, Text: ""}, 0, false},
		{atm.Arg{}, 0, false},
	} {
		got, ok := tt.in.Account()
		if got != tt.want || ok != tt.ok {
			t.Errorf("account of %v = %v, %v, want %v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func TestSubjectIsAKindAndAPlainName(t *testing.T) {
	for in, want := range map[string]bool{
		"user:demo":                       true,
		"service:billing-2.eu_1":          true,
		"user:" + strings.Repeat("a", 64): true,
		"user:" + strings.Repeat("a", 65): false,
		"user:":                           false,
		"user:..":                         false,
		"user:a/b":                        false,
		"user:a:b":                        false,
		"system:init":                     false,
		"demo":                            false,
		"":                                false,
	} {
		if _, _, ok := atm.ParseSubject(in); ok != want {
			t.Errorf("ParseSubject(%q) ok = %v, want %v", in, ok, want)
		}
	}
}

func TestEveryFormOfAUUIDTellsItsTime(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_123)
	id := atm.RequestID(atm.NewUUID(now))
	if got, ok := id.Time(); !ok || !got.Equal(now) {
		t.Errorf("time of %s = %v, %v, want %v", id, got, ok, now)
	}
	plain := strings.ReplaceAll(string(id), "-", "")
	for _, form := range []string{
		strings.ToUpper(string(id)), plain, strings.ToUpper(plain), "{" + string(id) + "}",
		"{" + plain + "}",
		"urn:uuid:" + string(id), "URN:UUID:" + strings.ToUpper(string(id)), `"` + string(id) + `"`,
		`"{` + plain + `}"`,
	} {
		if got, ok := atm.RequestID(form).Time(); !ok || !got.Equal(now) {
			t.Errorf("the time of %s is %v, %v, want %v", form, got, ok, now)
		}
	}
	for _, in := range []atm.RequestID{
		"", "my-request", "550e8400-e29b-41d4-a716-446655440000", // version 4
		"0197e400-e29b-71d4-0716-446655440000", // no variant of RFC 9562
		"0197e400-e29b-71d4-z716-446655440000",
		// one dash is missing
		"0197e400e29b-71d4-8716-446655440000",
		// a digit more
		"0197e400-e29b-71d4-8716-4466554400001", "0197e400e29b71d487164466554400001",
		"{0197e400-e29b-71d4-8716-446655440000", "0197e400-e29b-71d4-8716-446655440000}", "{}",
		`""`, "{", "urn:uuid:",
		"550e8400e29b41d4a716446655440000", "{550e8400e29b41d4a716446655440000}",
	} {
		if got, ok := in.Time(); ok {
			t.Errorf("%q tells the time %v", in, got)
		}
	}
}

func TestRequestIDIsVisibleTextOfAtMost128Characters(t *testing.T) {
	for in, want := range map[string]bool{
		"a":                      true,
		"order 42 — zweite Rate": true,
		strings.Repeat("é", 128): true,
		strings.Repeat("é", 129): false,
		"":                       false,
		"a\nb":                   false,
		"a\x00b":                 false,
		"\xff":                   false,
		"a\ufe0f":                false, // a selector of a variant
		"a\U000e0100":            false,
		"a\u3164":                false, // the filler of Hangul
		"\u2800":                 false, // the blank of Braille
		"a\u034fb":               false, // the joiner of graphemes
		"a\u200db":               false,
	} {
		if _, err := atm.ParseRequestID(in); (err == nil) != want {
			t.Errorf("ParseRequestID(%q): %v", in, err)
		}
	}
}
