package atm_test

import (
	"strings"
	"testing"

	"example.com/atm"
)

func TestTextLooksTheSameEverywhere(t *testing.T) {
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{"Alice Smith", true},
		{"Zoë Ångström-O'Neill", true},
		{"山田 太郎", true},
		{strings.Repeat("x", 140), true},
		{strings.Repeat("ä", 128), true},
		{strings.Repeat("ä", 129), false}, // 258 bytes
		{strings.Repeat("x", 141), false},
		{"", false},
		{" Alice", false},
		{"Alice ", false},
		{"Alice\nSmith", false},
		{"Alice\x00", false},
		{"Alice\u202eSmith", false}, // from right to left
		{"Alice\u2066Smith", false},
		{"Alice\u200bSmith", false},
		{"Alice\u00a0Smith", false},
		{"Alice\xff", false},
		{"Alice\ufffd", false},
	} {
		if err := atm.CheckText(tt.text); (err == nil) != tt.ok {
			t.Errorf("CheckText(%q) = %v, want ok=%v", tt.text, err, tt.ok)
		}
	}
}

func TestMemoCannotChangeTheTextAroundIt(t *testing.T) {
	for _, tt := range []struct {
		memo string
		ok   bool
	}{
		{"", true},
		{"Rent, March", true},
		{" two  spaces ", true},
		{"<b>rent</b> & \"co\"; =1+1", true},
		{"10\u00a0€ für Zoë", true},
		{"שכר דירה", true},
		{"👩\u200d👧 ❤\ufe0f", true}, // a joiner and a variation selector
		{strings.Repeat("x", 140), true},
		{strings.Repeat("ä", 128), true},
		{strings.Repeat("😀", 64), true},
		{strings.Repeat("x", 141), false},
		{strings.Repeat("ä", 129), false}, // 258 bytes
		{strings.Repeat("😀", 65), false},
		{"two\nlines", false},
		{"two\r\nlines", false},
		{"a\tb", false},
		{"\x00", false},
		{"\x1b[2J", false},
		{"\x7f", false},
		{"a\u0085b", false}, // next line
		{"a\u009b2Jb", false},
		{"a\u2028b", false},
		{"a\u2029b", false},
		{"a\u061cb", false}, // Arabic letter mark
		{"a\u200eb", false},
		{"a\u200fb", false},
		{"a\u202ab", false},
		{"a\u202bb", false},
		{"a\u202cb", false},
		{"a\u202db", false},
		{"a\u202eb", false},
		{"a\u2066b", false},
		{"a\u2067b", false},
		{"a\u2068b", false},
		{"a\u2069b", false},
		{"a\xffb", false},
		{"a\ufffeb", false},
	} {
		if err := atm.CheckMemo(tt.memo); (err == nil) != tt.ok {
			t.Errorf("CheckMemo(%q) = %v, want ok=%v", tt.memo, err, tt.ok)
		}
	}
}
