package atm

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// NewUUID returns a UUID of version 7 (RFC 9562, section 5.7) for the time t: milliseconds,
// then 74 random bits.
func NewUUID(t time.Time) string {
	var u [16]byte
	rand.Read(u[6:]) // never fails: crypto/rand ends the program instead
	binary.BigEndian.PutUint32(u[:4], uint32(t.UnixMilli()>>16))
	binary.BigEndian.PutUint16(u[4:6], uint16(t.UnixMilli()))
	u[6] = 0x70 | u[6]&0x0f
	u[8] = 0x80 | u[8]&0x3f
	var text [36]byte
	hex.Encode(text[:], u[:4])
	hex.Encode(text[9:], u[4:6])
	hex.Encode(text[14:], u[6:8])
	hex.Encode(text[19:], u[8:10])
	hex.Encode(text[24:], u[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// A RequestID identifies one intention of a client, however often it sends the request. Empty
// means that the client sent no id.
type RequestID string

// maxRequestID is the longest request id, in characters.
const maxRequestID = 128

// ErrRequestID reports a request id that is not 1 to 128 printable characters.
var ErrRequestID = errors.New("a request id is 1 to 128 printable characters")

// ParseRequestID checks a request id. Every character must be visible, so that two ids that
// look alike are the same intention.
func ParseRequestID(s string) (RequestID, error) {
	n := 0
	for _, c := range s {
		if n++; n > maxRequestID || !unicode.IsPrint(c) || c == utf8.RuneError || invisible(c) {
			return "", ErrRequestID
		}
	}
	if n == 0 {
		return "", ErrRequestID
	}
	return RequestID(s), nil
}

// invisible reports whether a character is invisible although its category is printable:
// fillers, joiners, variation selectors, and the Braille blank.
func invisible(c rune) bool {
	const brailleBlank = 0x2800
	return c == brailleBlank || unicode.In(c, unicode.Other_Default_Ignorable_Code_Point,
		unicode.Variation_Selector)
}

// Time returns the time in a request id that is a UUID of version 7, in any common form: with
// or without dashes, in braces or quotes, as a URN, in lower or upper case.
func (id RequestID) Time() (time.Time, bool) {
	raw, ok := parseUUID(string(id))
	if !ok || raw[6]>>4 != 7 || raw[8]>>6 != 0b10 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(raw[:8]) >> 16)), true
}

// parseUUID parses a UUID (RFC 9562, section 4).
func parseUUID(s string) (raw [16]byte, ok bool) {
	const urn = "urn:uuid:"
	for _, around := range [...]string{`""`, "{}"} {
		if n := len(s); n > 2 && s[0] == around[0] && s[n-1] == around[1] {
			s = s[1 : n-1]
		}
	}
	if len(s) > len(urn) && strings.EqualFold(s[:len(urn)], urn) {
		s = s[len(urn):]
	}
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		s = s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	}
	if len(s) != hex.EncodedLen(len(raw)) {
		return raw, false
	}
	_, err := hex.Decode(raw[:], []byte(s))
	return raw, err == nil
}
