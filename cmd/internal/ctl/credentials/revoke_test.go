package credentials

import "testing"

// TestLikenessCountsAllButWhatIsMistyped compares serial numbers with mistyped ones.
func TestLikenessCountsAllButWhatIsMistyped(t *testing.T) {
	const serial = "5f3a9c0e2b1d"
	for _, tt := range []struct {
		typed string
		want  int
	}{
		{serial, 12},
		{"5f3a9d0e2b1d", 11},  // one digit differs
		{"5f3a90e2b1d", 11},   // one digit is missing
		{"5f3a99c0e2b1d", 12}, // one digit is doubled
		{"5f3a9c", 6},         // the first digits
		{"0e2b1d", 6},         // the last digits
		{"777777777777", 0},
		{"", 0},
	} {
		if got := likeness(tt.typed, serial); got != tt.want {
			t.Errorf("likeness(%q) is %d, want %d", tt.typed, got, tt.want)
		}
	}
}
