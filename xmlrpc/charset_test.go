package xmlrpc

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// inUTF16 encodes s in UTF-16 without a byte order mark.
func inUTF16(s string, order binary.AppendByteOrder) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func TestBodyIsReadInItsDeclaredEncoding(t *testing.T) {
	const text = "é😀"
	declared := func(name, value string) string {
		return `<?xml version="1.0" encoding="` + name + `"?>` + enveloped("<value>"+value+
			"</value>")
	}
	plain := enveloped("<value>" + text + "</value>")
	const (
		mark   = "\ufeff"
		big    = "\xfe\xff"
		little = "\xff\xfe"
	)
	bigEndian := func(s string) string { return inUTF16(s, binary.BigEndian) }
	littleEndian := func(s string) string { return inUTF16(s, binary.LittleEndian) }
	for _, tt := range []struct {
		name, body, charset string
		want                string
		code                int
	}{
		{"UTF-8 by default", plain, "", text, 0},
		{"UTF-8 declared", declared("UTF-8", text), "", text, 0},
		{"UTF-8 by the header", plain, "Utf-8", text, 0},
		{"UTF-8 with a mark", mark + declared("utf-8", text), "", text, 0},
		{"UTF-16, big endian", big + bigEndian(declared("UTF-16", text)), "", text, 0},
		{"UTF-16, little endian", little + littleEndian(plain), "utf-16", text, 0},
		{"ISO-8859-1 declared", declared("iso-8859-1", "\xe9\x80"), "", "é\u0080", 0},
		{"ISO-8859-1 by the header", enveloped("<value>\xe9</value>"), "ISO-8859-1", "é", 0},
		{"US-ASCII declared", declared("us-ascii", "a&#233;"), "", "aé", 0},

		// A source of higher rank overrules one of lower rank.
		{"header over declaration", declared("ISO-8859-1", "é"), "UTF-8", "é", 0},
		{"UTF-16 declared, UTF-8 by the header", declared("utf-16", "é"), "utf-8", "é", 0},
		{"mark over header", big + bigEndian(plain), "utf-8", text, 0},
		{"mark over both", mark + declared("US-ASCII", "é"), "iso-8859-1", "é", 0},

		{"US-ASCII with more", declared("US-ASCII", "é"), "", "", UnknownEncoding},
		{"header is not true", enveloped("<value>\xe9</value>"), "utf-8", "", UnknownEncoding},
		{"declaration is not true", declared("utf-8", "\xe9"), "", "", UnknownEncoding},
		{"UTF-16 declared, no mark", declared("UTF-16", "a"), "", "", UnknownEncoding},
		{"UTF-16 by the header, no mark", bigEndian(plain), "UTF-16", "", UnknownEncoding},
		{"UTF-16, odd", big + bigEndian(plain) + "\x00", "", "", UnknownEncoding},
		{
			"UTF-16, high surrogate at the end", big + bigEndian(plain) + "\xd8\x3d", "", "",
			UnknownEncoding,
		},
		{"UTF-16, low surrogate first", big + "\xde\x00\xd8\x3d", "", "", UnknownEncoding},
		{"UTF-16, two high surrogates", little + "\x3d\xd8\x3d\xd8", "", "", UnknownEncoding},
		{"EBCDIC declared", declared("ebcdic-cp-us", "a"), "", "", UnknownEncoding},
		{"UTF-7 by the header", plain, "utf-7", "", UnknownEncoding},
		{"unknown name under a known one", declared("klingon", "a"), "utf-8", "", UnknownEncoding},
		{"Windows-1252", declared("windows-1252", "\x80"), "", "", UnknownEncoding},
		{"UTF-32", little + "\x00\x00<\x00\x00\x00", "", "", NotWellFormed},
		{"UTF-16 without a word about it", bigEndian(plain), "", "", NotWellFormed},
		{"two marks", mark + mark + plain, "", "", NotWellFormed},
		{"name of no encoding", declared("8859-1", "a"), "", "", NotWellFormed},
	} {
		c, fault := decodeCall([]byte(tt.body), tt.charset, defaults(t))
		switch {
		case tt.code != 0:
			if fault == nil || fault.Code != tt.code {
				t.Errorf("%s: %v, %v, want code %d", tt.name, c.args, fault, tt.code)
			}
		case fault != nil:
			t.Errorf("%s: %v", tt.name, fault)
		case !cmp.Equal(c.args, []Value{StringValue(tt.want)}):
			t.Errorf("%s: %q, want %q", tt.name, c.args[0].Text, tt.want)
		}
	}
}

// TestCapturedRequestsAreReadInOtherEncodings converts requests that real clients sent.
func TestCapturedRequestsAreReadInOtherEncodings(t *testing.T) {
	for file, body := range captured(t) {
		for name, other := range map[string]string{
			"UTF-16BE":   "\xfe\xff" + inUTF16(string(body), binary.BigEndian),
			"UTF-16LE":   "\xff\xfe" + inUTF16(string(body), binary.LittleEndian),
			"with a BOM": byteOrderMark + string(body),
		} {
			got, fault := decodeCall([]byte(other), "", defaults(t))
			if fault != nil {
				t.Errorf("%s in %s: %v", file, name, fault)
			} else if diff := diffCalls(wantCaptured(t, file), got); diff != "" {
				t.Errorf("%s in %s: %s", file, name, diff)
			}
		}
	}
}

// TestBodyIsNotKept makes sure that a decoded call does not refer to its body, whose memory is
// reused.
func TestBodyIsNotKept(t *testing.T) {
	for file, body := range captured(t) {
		body = slices.Clone(body)
		got, fault := decodeCall(body, "", defaults(t))
		if fault != nil {
			t.Fatal(fault)
		}
		clear(body)
		if diff := diffCalls(wantCaptured(t, file), got); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

// TestForbiddenCharacterIsFoundAtAnyPlace tries each ASCII character at each offset, because
// the check reads eight bytes at a time.
func TestForbiddenCharacterIsFoundAtAnyPlace(t *testing.T) {
	for c := range byte(0x80) {
		want := c < ' ' && !isSpace(c)
		for at := range 17 {
			text := bytes.Repeat([]byte{' ', '~'}, 9)[:17]
			text[at] = c
			if fault := checkCharacters(text); (fault != nil) != want {
				t.Errorf("U+%04X at %d: %v", c, at, fault)
			}
		}
	}
}
