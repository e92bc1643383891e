package jsonapi

// Limits bounds one request. A zero field means its default.
//
// They bound the memory of a request as well: a value takes 72 bytes and a member 88, and a list of
// them twice that while it grows, so 10,000 values take less than 3 MiB.
type Limits struct {
	// Depth bounds the nesting of objects and arrays; the outermost has depth 1. Default 32.
	Depth int

	// Elements bounds the values of a body. Default 10,000.
	Elements int

	// StringBytes bounds a string, or the text of a number, in bytes. Default 64 KiB.
	StringBytes int

	// Calls bounds the calls of one multicall. Default 100.
	Calls int

	// AnswerBytes bounds one answer. A call of a multicall that could exceed the rest of it is
	// refused before it runs; short answers always fit. Default 2 MiB.
	AnswerBytes int64
}

const (
	// shortAnswer is the largest size of a short answer. As much is reserved for each call of a
	// multicall.
	shortAnswer = 4 << 10

	// heldAnswer is the size up to which no memory is reserved for an answer, because the kernel's
	// socket buffer takes as much at once even if the client reads nothing.
	heldAnswer = 128 << 10

	// usualAnswer is a size that most short answers do not exceed.
	usualAnswer = 1 << 10
)

func (l Limits) withDefaults() Limits {
	setDefault(&l.Depth, 32)
	setDefault(&l.Elements, 10_000)
	setDefault(&l.StringBytes, 64<<10)
	setDefault(&l.Calls, 100)
	setDefault(&l.AnswerBytes, 2<<20)
	return l
}

func setDefault[T int | int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
