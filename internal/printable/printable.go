// Package printable makes text from strangers safe to print on a line of a terminal, in a cell
// of a table, or in a cell of a spreadsheet.
//
// Printable text has no character that moves the cursor, changes the display of other text, is
// invisible, or ends a line: no control character (C0, C1), line or paragraph separator,
// direction mark or other format character, no space but U+0020, and no invalid UTF-8. Each
// such character is replaced by an escape of JSON such as \u202e, so that it is visible, and
// JSON keeps its meaning. Invalid UTF-8 becomes U+FFFD.
package printable

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns s in a form that is safe within a line.
func Text(s string) string {
	if isPlain(s) {
		return s
	}
	return string(appendText(make([]byte, 0, len(s)+len(s)/2), s, false))
}

// Cell returns s for a cell of a table whose columns are separated by two or more spaces. It
// also escapes spaces that could be mistaken for the end of the cell.
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

// Linef prints exactly one line, whatever args contain.
func Linef(w io.Writer, format string, args ...any) error {
	_, err := io.WriteString(w, Text(fmt.Sprintf(format, args...))+"\n")
	return err
}

// formulas are the characters with which a spreadsheet begins a formula (OWASP, "CSV
// Injection"), and their full-width forms.
const formulas = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"

// CSV returns a line of comma-separated values (RFC 4180) in which no cell is a formula for a
// spreadsheet. A cell that would begin a formula gets an apostrophe in front, and a cell that
// is not a single word is quoted, so that no other separator can divide it.
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

// isSeparator reports whether r cannot be part of a word.
func isSeparator(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-:/→", r)
}

// A Writer makes everything that is written to it printable, except for newlines. It does for a
// whole program what Text does for one text, but it cannot tell a stranger's newline from the
// program's. It is not safe for concurrent use.
type Writer struct {
	to   io.Writer
	part []byte // beginning of a character whose remaining bytes have not been written yet
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{to: w} }

// Unwrap returns the underlying writer.
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

// isPlain reports whether s is printable without changes.
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

// isPrintable reports whether r is a visible letter, mark, number or sign, or U+0020.
func isPrintable(r rune) bool {
	return unicode.IsPrint(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

const hex = "0123456789abcdef"

// appendText appends s to dst in printable form.
func appendText(dst []byte, s string, newlines bool) []byte {
	for _, r := range s { // r is U+FFFD for invalid UTF-8
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
