// Package canonical appends values in canonical JSON (RFC 8785): strings in their one form, and
// times in the one form that entries of the audit log have.
package canonical

import (
	"time"
	"unicode/utf8"
)

// TimeFormat is RFC 3339 with exactly six decimals.
const TimeFormat = "2006-01-02T15:04:05.000000Z"

// AppendTime is t.AppendFormat(b, TimeFormat) by hand, which is faster. Each entry has a time.
func AppendTime(b []byte, t time.Time) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, TimeFormat)
	}
	b = append(appendDigits(b, year, 4), '-')
	b = append(appendDigits(b, int(month), 2), '-')
	b = append(appendDigits(b, day, 2), 'T')
	b = append(appendDigits(b, hour, 2), ':')
	b = append(appendDigits(b, minute, 2), ':')
	b = append(appendDigits(b, second, 2), '.')
	return append(appendDigits(b, t.Nanosecond()/1000, 6), 'Z')
}

// appendDigits appends the last digits of n.
func appendDigits(b []byte, n, digits int) []byte {
	b = append(b, "000000"[:digits]...)
	for i := len(b) - 1; n > 0 && digits > 0; i, digits = i-1, digits-1 {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

const lowerHex = "0123456789abcdef"

// AppendString appends a string. Only quotation marks, backslashes and control characters are
// escaped. Invalid UTF-8 becomes U+FFFD.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	i := plainBytes(s)
	b = append(b, s[:i]...)
	for i < len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\b':
			b = append(b, '\\', 'b')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\f':
			b = append(b, '\\', 'f')
		case c == '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&15])
		}
	}
	return append(b, '"')
}

// plainBytes is the number of bytes at the start of s that need no escaping. It reads eight
// bytes at a time: a byte of the final expression has its highest bit set if that byte of s is
// not ASCII, a control character, a quotation mark or a backslash. A borrow can also set the bit
// for the byte after such a one, which only makes the byte-wise loop below run.
func plainBytes(s string) int {
	const each, highest = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, slash := w^each*'"', w^each*'\\'
		if (w|(w-each*' ')|(quote-each)&^quote|(slash-each)&^slash)&highest != 0 {
			break
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}
