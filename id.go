package atm

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"
	"unicode"
	"unicode/utf8"
)

// NewUUID returns a UUID of version 7 (RFC 9562, section 5.7) for the instant
// t: the time in milliseconds, then 74 random bits.
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

// A RequestID names one intention of a client, however often the request that
// carries it is sent. Empty means that the client gave none.
type RequestID string

// maxRequestID is the longest request id, in characters.
const maxRequestID = 128

// ErrRequestID reports a request id that is not 1 to 128 printable characters.
var ErrRequestID = errors.New("a request id is 1 to 128 printable characters")

// ParseRequestID checks a request id.
func ParseRequestID(s string) (RequestID, error) {
	n := 0
	for _, c := range s {
		if n++; n > maxRequestID || !unicode.IsPrint(c) || c == utf8.RuneError {
			return "", ErrRequestID
		}
	}
	if n == 0 {
		return "", ErrRequestID
	}
	return RequestID(s), nil
}

// Time returns the instant in the request id when it is a UUID of version 7,
// in lower or upper case.
func (id RequestID) Time() (time.Time, bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' || id[14] != '7' {
		return time.Time{}, false
	}
	digits := append(make([]byte, 0, 32), id[:8]...)
	for _, part := range []RequestID{id[9:13], id[14:18], id[19:23], id[24:]} {
		digits = append(digits, part...)
	}
	var raw [16]byte
	if _, err := hex.Decode(raw[:], digits); err != nil || raw[8]&0xc0 != 0x80 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(raw[:8]) >> 16)), true
}
