package xmlrpc

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"
)

// A Kind is the type of a value.
type Kind uint8

// The kinds of the specification, and Nil of its best known extension. Int
// stands for int, i4 and i8, and for the forms i1, i2 and biginteger in the
// namespace of Apache; Double also for float and bigdecimal there.
const (
	Nil Kind = iota
	Int
	Boolean
	String
	Double
	DateTime
	Base64
	Array
	Struct
)

var kindNames = [...]string{
	Nil: "nil", Int: "int", Boolean: "boolean", String: "string", Double: "double",
	DateTime: "dateTime.iso8601", Base64: "base64", Array: "array", Struct: "struct",
}

// String is the name of the element that carries the kind on the wire.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// A Value is what a call or an answer carries. The zero Value is nil.
type Value struct {
	Kind Kind

	// Text is the characters of a scalar as they were written: of a String
	// every one of them, of the others without the white space around them.
	// Of a Base64 it is the decoded bytes.
	Text string

	Items   []Value  // of an Array
	Members []Member // of a Struct, in the order in which they were written
}

// A Member is one named value of a struct.
type Member struct {
	Name  string
	Value Value
}

// Member returns the value of the member called name of a struct.
func (v Value) Member(name string) (Value, bool) {
	for i := range v.Members {
		if v.Members[i].Name == name {
			return v.Members[i].Value, true
		}
	}
	return Value{}, false
}

// StringValue is s. Characters that XML 1.0 cannot carry are replaced by
// U+FFFD when it is written.
func StringValue(s string) Value { return Value{Kind: String, Text: s} }

// IntValue is n. On the wire an int has 32 bits, so a number outside them is
// written as a string of digits.
func IntValue(n int64) Value { return Value{Kind: Int, Text: strconv.FormatInt(n, 10)} }

// BoolValue is b.
func BoolValue(b bool) Value {
	if b {
		return Value{Kind: Boolean, Text: "1"}
	}
	return Value{Kind: Boolean, Text: "0"}
}

// DoubleValue is f in plain decimal notation, the only one that the
// specification knows. It has none for infinities and NaN, which are
// therefore written as strings.
func DoubleValue(f float64) Value {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return StringValue(text)
	}
	return Value{Kind: Double, Text: text}
}

// DateTimeValue is t to the second, in UTC and without a zone: the
// specification leaves the zone to the documentation of a method.
func DateTimeValue(t time.Time) Value {
	return Value{Kind: DateTime, Text: t.UTC().Format("20060102T15:04:05")}
}

// Base64Value is the bytes of b.
func Base64Value(b []byte) Value { return Value{Kind: Base64, Text: string(b)} }

// ArrayValue is a list of items.
func ArrayValue(items ...Value) Value { return Value{Kind: Array, Items: items} }

// StructValue is a set of members, written in the order given.
func StructValue(members ...Member) Value { return Value{Kind: Struct, Members: members} }

// base64Strict refuses text whose unused bits are set, so that bytes have one
// form only.
var base64Strict = base64.StdEncoding.Strict()
