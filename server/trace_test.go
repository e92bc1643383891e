package server

import "testing"

// TestTraceparentIsReadOnlyInItsStandardForm has the examples of W3C Trace Context, and values
// that its section 3.2 forbids.
func TestTraceparentIsReadOnlyInItsStandardForm(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for value, want := range map[string]string{
		"00-" + trace + "-00f067aa0ba902b7-01":                    trace,
		"cc-" + trace + "-00f067aa0ba902b7-01-what-is-new":        trace,
		"00-" + trace + "-00f067aa0ba902b7-01-extra":              "",
		"ff-" + trace + "-00f067aa0ba902b7-01":                    "",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01": "",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": "",
		"00-" + trace + "-0000000000000000-01":                    "",
		"00-" + trace + "-00f067aa0ba902b7":                       "",
		"00-" + trace[1:] + "-00f067aa0ba902b7-01":                "",
		"": "",
	} {
		if got, is := parseTraceparent([]string{value}); got != want || is != (want != "") {
			t.Errorf("parseTraceparent(%q) = %q, %v", value, got, is)
		}
	}
	if _, is := parseTraceparent([]string{"00-" + trace + "-00f067aa0ba902b7-01", "00-" + trace +
		"-00f067aa0ba902b7-01"}); is {
		t.Error("two headers are one")
	}
}
