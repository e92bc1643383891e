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
