package xmlrpc

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"
)

// A Kind is the type of a value.
type Kind uint8

// The kinds of the specification, and Nil of its best known extension. Int also stands for i4
// and i8, and for i1, i2 and biginteger in Apache's namespace; Double also for float and
// bigdecimal there.
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

// String is the name of the kind's element on the wire.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// A Value is an argument or a result. The zero Value is nil.
type Value struct {
	Kind Kind

	// Text is the text of a scalar as written: of a String every character, of other kinds without
	// surrounding white space. For Base64 it is the decoded bytes.
	Text string

	Items   []Value  // of an Array
	Members []Member // of a Struct, in the order in which they were written
}

// A Member is a named value of a struct.
type Member struct {
	Name  string
	Value Value
}

// Member returns the value of the struct member with this name.
func (v Value) Member(name string) (Value, bool) {
	for i := range v.Members {
		if v.Members[i].Name == name {
			return v.Members[i].Value, true
		}
	}
	return Value{}, false
}

// StringValue is s. Characters that XML 1.0 does not allow are written as U+FFFD.
func StringValue(s string) Value { return Value{Kind: String, Text: s} }

// IntValue is n. An int has 32 bits on the wire, so a larger number is written as a string of
// digits.
func IntValue(n int64) Value { return Value{Kind: Int, Text: strconv.FormatInt(n, 10)} }

// BoolValue is b.
func BoolValue(b bool) Value {
	if b {
		return Value{Kind: Boolean, Text: "1"}
	}
	return Value{Kind: Boolean, Text: "0"}
}

// DoubleValue is f in plain decimal notation, the only one in the specification. It has no
// infinities and NaN, which are written as strings.
func DoubleValue(f float64) Value {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return StringValue(text)
	}
	return Value{Kind: Double, Text: text}
}

// DateTimeValue is t to the second, in UTC and without a zone. The specification leaves the
// zone to the documentation of a method.
func DateTimeValue(t time.Time) Value {
	return Value{Kind: DateTime, Text: t.UTC().Format("20060102T15:04:05")}
}

// Base64Value is the bytes of b.
func Base64Value(b []byte) Value { return Value{Kind: Base64, Text: string(b)} }

// ArrayValue is a list of items.
func ArrayValue(items ...Value) Value { return Value{Kind: Array, Items: items} }

// StructValue is a set of members, written in the order given.
func StructValue(members ...Member) Value { return Value{Kind: Struct, Members: members} }

// base64Strict refuses text whose unused bits are set, so that bytes have only one encoding.
var base64Strict = base64.StdEncoding.Strict()
