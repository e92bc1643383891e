package output

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

func TestBarIsAsLongAsWhatIsDone(t *testing.T) {
	for done, want := range map[int64]string{
		0:    "fsck [                              ]   0 % of 1000",
		500:  "fsck [===============               ]  50 % of 1000",
		1000: "fsck [==============================] 100 % of 1000",
	} {
		if got := bar("fsck", done, 1000); got != want {
			t.Errorf("%d of 1000: %q, not %q", done, got, want)
		}
	}
}

func TestProgressIsShownAfterASecondAndWipedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		progress := showProgress(&b, "fsck", time.Now())
		progress(1, 4)
		time.Sleep(progressAfter)
		progress(2, 4)
		progress(3, 4) // too soon after the previous call
		time.Sleep(progressEvery)
		progress(3, 4)
		progress(4, 4)
		progress(4, 4)
		if want := "\r" + bar("fsck", 2, 4) + "\r" + bar("fsck", 3, 4) +
			"\r\x1b[K"; b.String() != want {
			t.Errorf("%q, not %q", b.String(), want)
		}
	})
}

func TestNoProgressElsewhereThanOnATerminal(t *testing.T) {
	var b bytes.Buffer
	progress := NewProgress(&b, "fsck")
	for done := range int64(1000) {
		progress(done, 1000)
	}
	if b.Len() > 0 {
		t.Errorf("%q", b.String())
	}
}
