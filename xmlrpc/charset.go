package xmlrpc

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// An encoding is a character encoding that requests may have.
type encoding uint8

const (
	undetermined encoding = iota
	utf8Encoding
	utf16Encoding // with a byte order mark
	latin1Encoding
	asciiEncoding
)

// encodingNamed returns the encoding with one of the names that IANA has registered
// (https://www.iana.org/assignments/character-sets), in any case.
func encodingNamed(name string) encoding {
	switch strings.ToLower(name) {
	case "utf-8", "utf8":
		return utf8Encoding
	case "utf-16", "utf-16le", "utf-16be":
		return utf16Encoding
	case "iso-8859-1", "iso_8859-1", "iso8859-1", "latin1", "l1", "cp819", "ibm819":
		return latin1Encoding
	case "us-ascii", "ascii", "iso646-us", "ansi_x3.4-1968":
		return asciiEncoding
	}
	return undetermined
}

const byteOrderMark = "\ufeff"

// toUTF8 converts a document to UTF-8 and removes its declaration. The encoding is decided in
// the order of RFC 7303, section 3: the byte order mark, the charset parameter of the media
// type (empty if there is none), the declaration, and UTF-8 by default. A name of lower rank is
// overruled, because some clients declare "utf-16" and send UTF-8, but it must be a known name.
// All characters of the result are characters of XML 1.0.
//
// The result may share memory with body.
func toUTF8(body []byte, charset string) ([]byte, *Fault) {
	decided := undetermined
	if charset != "" {
		if decided = encodingNamed(charset); decided == undetermined {
			return nil, faultf(UnknownEncoding, "The charset %.40q of the content type is not "+
				"supported", charset)
		}
	}
	marked, text, fault := cutByteOrderMark(body)
	if fault != nil {
		return nil, fault
	}
	if marked != undetermined {
		decided = marked
	}
	name, text, fault := cutDeclaration(text)
	if fault != nil {
		return nil, fault
	}
	if name != "" {
		declared := encodingNamed(name)
		if declared == undetermined {
			return nil, faultf(UnknownEncoding, "The encoding %.40q is not supported", name)
		}
		if decided == undetermined {
			decided = declared
		}
	}
	switch decided {
	case utf16Encoding:
		if marked == undetermined {
			return nil, &Fault{UnknownEncoding, "UTF-16 is supported with a byte order mark only"}
		}
	case latin1Encoding:
		text = fromLatin1(text)
	case asciiEncoding:
		if i := firstNotASCII(text); i < len(text) {
			return nil, faultf(UnknownEncoding, "The byte %#02x is not US-ASCII", text[i])
		}
	}
	return text, checkCharacters(text)
}

// cutByteOrderMark removes a byte order mark, and converts UTF-16 to UTF-8.
func cutByteOrderMark(body []byte) (encoding, []byte, *Fault) {
	if rest, ok := bytes.CutPrefix(body, []byte(byteOrderMark)); ok {
		return utf8Encoding, rest, nil
	}
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(body, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	case bytes.HasPrefix(body, []byte{0xff, 0xfe}):
		order = binary.LittleEndian
	default:
		return undetermined, body, nil
	}
	text, fault := fromUTF16(body[2:], order)
	return utf16Encoding, text, fault
}

func fromUTF16(b []byte, order binary.ByteOrder) ([]byte, *Fault) {
	if len(b)%2 != 0 {
		return nil, &Fault{UnknownEncoding, "The last character is not UTF-16"}
	}
	text := make([]byte, 0, len(b)/2+len(b)/16)
	for ; len(b) > 0; b = b[2:] {
		r := rune(order.Uint16(b))
		if utf16.IsSurrogate(r) {
			low := rune(utf8.RuneError)
			if len(b) >= 4 {
				low = rune(order.Uint16(b[2:]))
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				return nil, &Fault{UnknownEncoding, "A surrogate stands alone, which is not UTF-16"}
			}
			b = b[2:]
		}
		text = utf8.AppendRune(text, r)
	}
	return text, nil
}

// fromLatin1 converts ISO-8859-1. Its bytes 0x80 to 0x9f are the control characters of the
// standard, not the letters of Windows-1252 that browsers assume.
func fromLatin1(b []byte) []byte {
	wide := 0
	for _, c := range b {
		if c >= utf8.RuneSelf {
			wide++
		}
	}
	if wide == 0 {
		return b
	}
	text := make([]byte, 0, len(b)+wide)
	for _, c := range b {
		text = utf8.AppendRune(text, rune(c))
	}
	return text
}

func firstNotASCII(b []byte) int {
	for i, c := range b {
		if c >= utf8.RuneSelf {
			return i
		}
	}
	return len(b)
}

// checkCharacters verifies two properties on which the scanner relies: b is UTF-8, and each
// character matches Char of XML 1.0, section 2.2.
func checkCharacters(b []byte) *Fault {
	for i := 0; i < len(b); {
		for len(b)-i >= 8 && plainASCII(binary.LittleEndian.Uint64(b[i:])) {
			i += 8
		}
		if i == len(b) {
			break
		}
		c := b[i]
		if c < utf8.RuneSelf {
			if c < ' ' && !isSpace(c) {
				return faultf(NotWellFormed, "The character U+%04X is not allowed in XML", c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return faultf(UnknownEncoding, "The byte %#02x is not UTF-8 where it stands", c)
		}
		if !isXMLChar(r) {
			return faultf(NotWellFormed, "The character U+%04X is not allowed in XML", r)
		}
		i += size
	}
	return nil
}

// plainASCII reports whether eight bytes are ASCII characters and no control characters. In the
// sum, the highest bit of a byte is set if that byte is neither.
func plainASCII(eight uint64) bool {
	const each, highest = 0x0101010101010101, 0x8080808080808080
	return (eight|(eight-each*' '))&highest == 0
}

// isXMLChar reports whether r matches Char of XML 1.0, section 2.2.
func isXMLChar(r rune) bool {
	return r >= 0x20 && r <= 0xd7ff || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= utf8.MaxRune
}

// cutDeclaration removes an XML declaration at the start of b, and returns the encoding in it
// (XML 1.0, section 2.8).
func cutDeclaration(b []byte) (name string, rest []byte, fault *Fault) {
	inner, ok := bytes.CutPrefix(b, []byte("<?xml"))
	if !ok || len(inner) == 0 || !isSpace(inner[0]) {
		return "", b, nil
	}
	inner, rest, ok = bytes.Cut(inner, []byte("?>"))
	if !ok {
		return "", nil, errDeclaration
	}
	version, inner, ok := cutPseudoAttribute(inner, "version")
	if !ok || string(version) != "1.0" {
		return "", nil, errDeclaration
	}
	encodingName, inner, ok := cutPseudoAttribute(inner, "encoding")
	if ok && !isEncodingName(encodingName) {
		return "", nil, errDeclaration
	}
	standalone, inner, ok := cutPseudoAttribute(inner, "standalone")
	if ok && string(standalone) != "yes" && string(standalone) != "no" {
		return "", nil, errDeclaration
	}
	if !isBlank(inner) {
		return "", nil, errDeclaration
	}
	return string(encodingName), rest, nil
}

var errDeclaration = &Fault{NotWellFormed, "The XML declaration is not that of an XML 1.0 document"}

// cutPseudoAttribute cuts white space and key="value" from the start of b.
func cutPseudoAttribute(b []byte, key string) (value, rest []byte, ok bool) {
	inner := trimLeft(b)
	if len(inner) == len(b) {
		return nil, b, false
	}
	if inner, ok = bytes.CutPrefix(inner, []byte(key)); !ok {
		return nil, b, false
	}
	if inner, ok = bytes.CutPrefix(trimLeft(inner), []byte("=")); !ok {
		return nil, b, false
	}
	inner = trimLeft(inner)
	if len(inner) == 0 || inner[0] != '"' && inner[0] != '\'' {
		return nil, b, false
	}
	value, rest, ok = bytes.Cut(inner[1:], inner[:1])
	return value, rest, ok
}

// isEncodingName reports whether b matches EncName of XML 1.0, section 4.3.3.
func isEncodingName(b []byte) bool {
	for i, c := range b {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		other := c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !letter && (i == 0 || !other) {
			return false
		}
	}
	return len(b) > 0
}
