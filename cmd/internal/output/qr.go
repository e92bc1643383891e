package output

import (
	"os"
	"strings"

	"golang.org/x/term"
	"rsc.io/qr"
)

// quiet is the border of a QR code, in modules.
const quiet = 2

// QR prints text as a QR code on a terminal that is wide enough for it, and reports whether it
// did and how many columns it needs. A character is two modules, one above the other. What is
// light in the code is ink, as on a dark terminal; readers of QR codes take both.
func QR(terminal *os.File, text string) (printed bool, columns int, err error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return false, 0, err
	}
	need := code.Size + 2*quiet
	if width, _, err := term.GetSize(int(terminal.Fd())); err != nil || width < need {
		return false, need, nil
	}
	_, err = terminal.WriteString(blocks(code))
	return true, need, err
}

func blocks(code *qr.Code) string {
	var b strings.Builder
	light := func(x, y int) bool { return !code.Black(x, y) } // outside, too
	for y := -quiet; y < code.Size+quiet; y += 2 {
		for x := -quiet; x < code.Size+quiet; x++ {
			switch above, below := light(x, y), light(x, y+1); {
			case above && below:
				b.WriteRune('█')
			case above:
				b.WriteRune('▀')
			case below:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
