package xmlrpc

import (
	"bytes"
	"unicode/utf8"
)

// resolve appends raw to dst with references resolved and line ends normalised. Only the five
// predefined entities of XML exist, so the text does not grow.
func (s *scanner) resolve(dst, raw []byte) ([]byte, *Fault) {
	for {
		n := bytes.IndexByte(raw, '&')
		if n < 0 {
			return appendLines(dst, raw), nil
		}
		dst = appendLines(dst, raw[:n])
		name, rest, ok := bytes.Cut(raw[n+1:], []byte(";"))
		if !ok {
			return dst, s.malformed("& without a reference")
		}
		r, ok := referenced(name)
		if !ok {
			return dst, s.malformed("an undefined entity or a character that XML does not allow")
		}
		dst = utf8.AppendRune(dst, r)
		raw = rest
	}
}

// referenced returns the character of the reference &name;.
func referenced(name []byte) (rune, bool) {
	switch string(name) {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, ok := bytes.CutPrefix(name, []byte("#"))
	if !ok {
		return 0, false
	}
	base := rune(10)
	if hex, ok := bytes.CutPrefix(digits, []byte("x")); ok {
		base, digits = 16, hex
	}
	var r rune
	for _, c := range digits {
		digit := digitValue(c)
		if digit >= base {
			return 0, false
		}
		if r = r*base + digit; r > utf8.MaxRune {
			return 0, false
		}
	}
	return r, len(digits) > 0 && isXMLChar(r)
}

func digitValue(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return 16
}

// appendLines appends b with CR LF and lone CR replaced by LF, as XML 1.0, section 2.11,
// requires. A significant CR is written as a reference.
func appendLines(dst, b []byte) []byte {
	for {
		n := bytes.IndexByte(b, '\r')
		if n < 0 {
			return append(dst, b...)
		}
		dst = append(dst, b[:n]...)
		dst = append(dst, '\n')
		b = b[n+1:]
		if len(b) > 0 && b[0] == '\n' {
			b = b[1:]
		}
	}
}
