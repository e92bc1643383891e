// Package printable makes text that a stranger wrote safe to print: on a line of a
// terminal, in a cell of a table, in a cell of a spreadsheet.
//
// Printable text has no character that moves the cursor, changes how other text is shown,
// hides, or ends a line: no control character (C0, C1), no line or paragraph separator, no
// direction mark, no other format character, no space but the ordinary one, and no byte
// that is not UTF-8. Each of them is written as an escape of JSON instead, such as \u202e,
// so that it is seen, and JSON stays the same JSON. What is not UTF-8 becomes U+FFFD.
package printable

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns s for a place within a line.
func Text(s string) string {
	if isPlain(s) {
		return s
	}
	return string(appendText(make([]byte, 0, len(s)+len(s)/2), s, false))
}

// Cell returns s for a cell of a table whose columns are separated by two spaces or more.
// A space that could be taken for the end of the cell is escaped as well.
func Cell(s string) string {
	s = Text(s)
	if !strings.HasPrefix(s, " ") && !strings.HasSuffix(s, " ") && !strings.Contains(s, "  ") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		last := i == len(s)-1
		if s[i] == ' ' && (i == 0 || last || s[i-1] == ' ') {
			b.WriteString(`\u0020`)
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Linef prints one line, whatever is in args.
func Linef(w io.Writer, format string, args ...any) error {
	_, err := io.WriteString(w, Text(fmt.Sprintf(format, args...))+"\n")
	return err
}

// formulas are the characters that a spreadsheet may take for the beginning of a formula
// (OWASP, "CSV Injection"), their full-width forms among them.
const formulas = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"

// CSV returns a line of comma-separated values (RFC 4180). A spreadsheet takes no cell for
// a formula: one that begins like a formula begins with an apostrophe instead, and what is
// more than a word is quoted, so that no other separator divides it.
func CSV(cells ...string) string {
	var b strings.Builder
	for i, cell := range cells {
		if i > 0 {
			b.WriteByte(',')
		}
		text := Text(cell)
		begin := strings.TrimLeft(cell, " ")
		if begin != "" && strings.ContainsRune(formulas, firstRune(begin)) {
			text = "'" + text
		}
		if strings.ContainsFunc(text, isSeparator) {
			text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
		}
		b.WriteString(text)
	}
	b.WriteByte('\n')
	return b.String()
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// isSeparator reports whether r is more than part of a word.
func isSeparator(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-:/→", r)
}

// A Writer makes everything that goes through it printable, but for the newlines that end
// lines. It does for whole programs what Text does for one text; a newline that a stranger
// wrote it cannot know from another one. It is not safe for concurrent use.
type Writer struct {
	to   io.Writer
	part []byte // the beginning of a character whose end has not been written
}

// NewWriter returns a Writer that writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{to: w} }

// Unwrap returns what w writes to.
func (w *Writer) Unwrap() io.Writer { return w.to }

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	text := p
	if len(w.part) > 0 {
		text = append(w.part, p...)
	}
	whole := len(text)
	for i := max(0, whole-utf8.UTFMax+1); i < whole; i++ {
		if utf8.RuneStart(text[i]) && !utf8.FullRune(text[i:]) {
			whole = i
			break
		}
	}
	out := appendText(make([]byte, 0, whole), string(text[:whole]), true)
	w.part = append([]byte(nil), text[whole:]...)
	if _, err := w.to.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// isPlain reports whether s is printable as it is.
func isPlain(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || !isPrintable(r) {
			return false
		}
		i += size
	}
	return true
}

// isPrintable reports whether r is a letter, mark, number, sign or the ordinary space, and
// can be seen.
func isPrintable(r rune) bool {
	return unicode.IsPrint(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

const hex = "0123456789abcdef"

// appendText appends s, printable, to dst.
func appendText(dst []byte, s string, newlines bool) []byte {
	for _, r := range s { // a byte that is not UTF-8 is U+FFFD
		switch {
		case isPrintable(r), r == '\n' && newlines:
			dst = utf8.AppendRune(dst, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = appendEscape(appendEscape(dst, high), low)
		default:
			dst = appendEscape(dst, r)
		}
	}
	return dst
}

func appendEscape(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
