package output

import (
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/atm/cmd/internal/exit"
)

const (
	progressAfter = time.Second            // shorter work shows no progress
	progressEvery = 100 * time.Millisecond // shortest time between updates
	progressWidth = 30
)

// NewProgress returns a function to call with the amount done and the total. On a terminal it
// shows a bar, and erases it at the end.
func NewProgress(w io.Writer, what string) func(done, total int64) {
	terminal := exit.Terminal(w)
	if terminal == nil {
		return func(int64, int64) {}
	}
	return showProgress(terminal, what, time.Now())
}

func showProgress(terminal io.Writer, what string, begun time.Time) func(done, total int64) {
	var shown time.Time
	return func(done, total int64) {
		now := time.Now()
		switch {
		case done >= total && !shown.IsZero():
			fmt.Fprint(terminal, "\r\x1b[K")
			shown = time.Time{}
		case done < total && now.Sub(begun) >= progressAfter && now.Sub(shown) >= progressEvery:
			shown = now
			fmt.Fprintf(terminal, "\r%s", bar(what, done, total))
		}
	}
}

func bar(what string, done, total int64) string {
	filled := int(progressWidth * done / total)
	return fmt.Sprintf("%s [%s%s] %3d %% of %d", what,
		strings.Repeat("=", filled), strings.Repeat(" ", progressWidth-filled),
		100*done/total, total)
}
