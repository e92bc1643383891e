package ask

import "testing"

func TestCompletionGoesAsFarAsItIsCertain(t *testing.T) {
	words := []string{"authorize", "deposit", "release", "retry"}
	for start, want := range map[string]string{
		"d": "deposit ", "re": "re", "rel": "release ", "r": "re", "x": "x", "": "",
		"deposit": "deposit ",
	} {
		if got := complete(start, words); got != want {
			t.Errorf("%q is completed to %q, not %q", start, got, want)
		}
	}
}
