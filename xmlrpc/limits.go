package xmlrpc

import "errors"

// Limits bound what one request may ask of the server. A zero field means its
// default.
//
// Together they bound the memory of a request. With the defaults: 256 KiB for
// the body and as much again while its buffer grows; from decoding to answer at
// most 512 KiB for the body as UTF-8, and at most that for texts, which are
// copies of parts of it. An element makes at most one value of 72 bytes or one
// member of 88. Each stands once on the decoder's stack, which may double while
// it grows, and once in its place, so 10,000 of them take less than 3 MiB. That
// is 4 MiB for a call, and no order of elements makes it more.
//
// Of calls that large only 16 are carried out at a time. So 200 connections
// that all send the worst body hold 200 × 512 KiB + 16 × 4 MiB = 164 MiB, and
// a garbage collector that lets the heap double makes 328 MiB of it.
type Limits struct {
	// BodyBytes bounds the body, before its encoding is undone. 256 KiB.
	BodyBytes int64

	// Depth bounds the nesting of elements, the root being 1. 32.
	Depth int

	// Elements bounds the number of elements. 10,000.
	Elements int

	// StringBytes bounds the text of one element, in bytes of UTF-8. 64 KiB.
	StringBytes int

	// Calls bounds the calls in one multicall. 100.
	Calls int

	// AnswerBytes bounds one answer. Calls of a multicall that ask for more than what is
	// left of it are refused before they run; short answers always fit. 2 MiB.
	AnswerBytes int64

	// LargeCalls bounds how many calls of more than 16 KiB are carried out at
	// the same time; others wait with their bodies read. 16.
	LargeCalls int
}

// ShortAnswer is how many bytes on the wire a short answer has at most. So many are set
// aside for each call of a multicall.
const ShortAnswer = 4 << 10

// withDefaults fills in what is zero.
func (l Limits) withDefaults() (Limits, error) {
	if l.BodyBytes < 0 || l.Depth < 0 || l.Elements < 0 || l.StringBytes < 0 || l.Calls < 0 ||
		l.LargeCalls < 0 || l.AnswerBytes < 0 {
		return l, errors.New("xmlrpc: a limit is negative")
	}
	if l.BodyBytes == 0 {
		l.BodyBytes = 256 << 10
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
