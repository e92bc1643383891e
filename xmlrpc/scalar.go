package xmlrpc

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// isInt reports whether b is an optional sign and decimal digits, and fits into this number of
// bits. 0 bits means any number.
func isInt(b []byte, bits int) bool {
	rest := b
	if len(rest) > 0 && (rest[0] == '+' || rest[0] == '-') {
		rest = rest[1:]
	}
	if n := countDigits(rest); n == 0 || n != len(rest) {
		return false
	}
	if bits == 0 || len(rest) < 3 { // two digits fit into 8 bits
		return true
	}
	_, err := strconv.ParseInt(string(b), 10, bits)
	return err == nil
}

// isDouble reports whether b is a double as clients write it: a decimal number, or a name of an
// IEEE 754 infinity or NaN, which the method has to handle. Hexadecimal and similar forms are
// refused.
func isDouble(b []byte) bool {
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		b = b[1:]
	}
	return isDecimal(b) || isNoNumber(b)
}

func isNoNumber(b []byte) bool {
	for _, name := range []string{"nan", "inf", "infinity"} {
		if len(b) == len(name) && strings.EqualFold(string(b), name) {
			return true
		}
	}
	return false
}

// isDecimal reports whether b is digits with at most one decimal point, and an optional
// exponent. The specification has no exponent, but real clients send one.
func isDecimal(b []byte) bool {
	whole := countDigits(b)
	b = b[whole:]
	places := 0
	if len(b) > 0 && b[0] == '.' {
		places = countDigits(b[1:])
		b = b[1+places:]
	}
	if whole+places == 0 {
		return false
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		return isInt(b[1:], 0)
	}
	return len(b) == 0
}

func countDigits(b []byte) int {
	for i, c := range b {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(b)
}

// dateTimeLayouts are the form of the specification and the forms of ISO 8601 that clients send
// instead, each with and without a zone. time.Parse accepts fractions of a second in all of
// them.
var dateTimeLayouts = [...]string{
	"20060102T15:04:05",
	"2006-01-02T15:04:05",
	"20060102T15:04:05Z07:00",
	"2006-01-02T15:04:05Z07:00",
	"20060102T15:04:05Z0700",
	"2006-01-02T15:04:05Z0700",
}

// maxDateTime bounds the text of a date, in bytes. Only a meaninglessly long fraction of a
// second exceeds it.
const maxDateTime = 64

func isDateTime(b []byte) bool {
	if len(b) > maxDateTime {
		return false
	}
	for _, layout := range dateTimeLayouts {
		if _, err := time.Parse(layout, string(b)); err == nil {
			return true
		}
	}
	return false
}

// decodeBase64 decodes b, which may contain white space anywhere.
func decodeBase64(b []byte) (string, bool) {
	packed := b
	if bytes.ContainsAny(b, " \t\r\n") {
		packed = make([]byte, 0, len(b))
		for _, c := range b {
			if !isSpace(c) {
				packed = append(packed, c)
			}
		}
	}
	decoded, err := base64Strict.AppendDecode(nil, packed)
	return string(decoded), err == nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func isBlank(b []byte) bool {
	for _, c := range b {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

// trimSpace trims white space of XML from both ends.
func trimSpace(b []byte) []byte {
	b = trimLeft(b)
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func trimLeft(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return b
}
