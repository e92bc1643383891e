package xmlrpc

import "errors"

// Limits bounds one request. A zero field means its default.
//
// Together the limits bound the memory of a request. With the defaults: 256 KiB for the body,
// and as much again while its buffer grows; from decoding to answer at most 512 KiB for the
// body as UTF-8, and at most that for texts, which are copies of parts of it. An element makes
// at most one value of 72 bytes or one member of 88. Each is stored once on the decoder's
// stack, which may double while it grows, and once in its array or struct, so 10,000 of them
// take less than 3 MiB. The sum is 4 MiB for a call, for any order of elements.
//
// Of calls that large, only 16 are carried out at a time. So 200 connections that all send the
// worst body take 200 × 512 KiB + 16 × 4 MiB = 164 MiB, or 328 MiB with a garbage collector
// that lets the heap double.
type Limits struct {
	// BodyBytes bounds the body as sent. Default 256 KiB.
	BodyBytes int64

	// Depth bounds the nesting of elements. The root has depth 1. Default 32.
	Depth int

	// Elements bounds the number of elements. Default 10,000.
	Elements int

	// StringBytes bounds the text of one element, in bytes of UTF-8. Default 64 KiB.
	StringBytes int

	// Calls bounds the calls of one multicall. Default 100.
	Calls int

	// AnswerBytes bounds one answer. A call of a multicall that could exceed the rest of it is
	// refused before it runs; short answers always fit. Default 2 MiB.
	AnswerBytes int64

	// LargeCalls bounds how many calls of more than 16 KiB are carried out at the same time. Others
	// wait after their bodies are read. Default 16.
	LargeCalls int
}

// DefaultBodyBytes is the default of Limits.BodyBytes.
const DefaultBodyBytes = 256 << 10

// ShortAnswer is the largest size of a short answer on the wire, in bytes. As much is reserved
// for each call of a multicall.
const ShortAnswer = 4 << 10

// withDefaults replaces zero fields by their defaults.
func (l Limits) withDefaults() (Limits, error) {
	if l.BodyBytes < 0 || l.Depth < 0 || l.Elements < 0 || l.StringBytes < 0 || l.Calls < 0 ||
		l.LargeCalls < 0 || l.AnswerBytes < 0 {
		return l, errors.New("xmlrpc: a limit is negative")
	}
	if l.BodyBytes == 0 {
		l.BodyBytes = DefaultBodyBytes
	}
	if l.Depth == 0 {
		l.Depth = 32
	}
	if l.Elements == 0 {
		l.Elements = 10_000
	}
	if l.StringBytes == 0 {
		l.StringBytes = 64 << 10
	}
	if l.Calls == 0 {
		l.Calls = 100
	}
	if l.AnswerBytes == 0 {
		l.AnswerBytes = 2 << 20
	}
	if l.LargeCalls == 0 {
		l.LargeCalls = 16
	}
	return l, nil
}
