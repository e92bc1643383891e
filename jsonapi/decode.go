package jsonapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"example.com/atm"
)

// A kind is the type of a value.
type kind uint8

const (
	null kind = iota
	integer
	decimal
	text
	boolean
	array
	object
)

// kindNames are the words for kinds in sentences, those of the signatures: an entry of the audit
// log reads the same whatever the caller speaks.
var kindNames = [...]string{
	null: "nil", integer: "int", decimal: "double", text: "string", boolean: "boolean",
	array: "array", object: "struct",
}

// A value is decoded JSON. text is that of a string, or of a number as written.
type value struct {
	kind    kind
	text    string
	items   []value
	members []member // in the order in which they were written
}

type member struct {
	name  string
	value value
}

// get returns the member with this name, or null.
func (v *value) get(name string) value {
	for i := range v.members {
		if v.members[i].name == name {
			return v.members[i].value
		}
	}
	return value{}
}

// arg is v as an argument. Below the members of a struct no operation has arguments, and none takes
// a boolean or an array: what is there becomes an empty struct, which no operation accepts.
func (v *value) arg() atm.Arg {
	if v.kind != object {
		return v.scalar()
	}
	a := atm.Arg{Kind: atm.Struct, Members: make([]atm.Member, len(v.members))}
	for i := range v.members {
		a.Members[i] = atm.Member{Name: v.members[i].name, Arg: v.members[i].value.scalar()}
	}
	return a
}

func (v *value) scalar() atm.Arg {
	switch v.kind {
	case null:
		return atm.Arg{}
	case integer:
		return atm.Arg{Kind: atm.Int, Text: v.text}
	case decimal:
		return atm.Arg{Kind: atm.Double, Text: v.text}
	case text:
		return atm.Arg{Kind: atm.String, Text: v.text}
	}
	return atm.Arg{Kind: atm.Struct}
}

// A refusal says why a body is not a call.
type refusal struct {
	status int // of HTTP
	text   string
}

func malformed(format string, args ...any) *refusal {
	return &refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// decode reads a body: one object, in UTF-8. The value shares no memory with body.
//
// The grammar is checked by encoding/json, so the walk below reads what is known to be valid. It
// does what the standard library would not: it keeps the text of numbers, and refuses names that
// occur twice, halves of surrogate pairs, and characters that cannot be in an entry.
func decode(body []byte, limits Limits) (value, *refusal) {
	switch {
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")):
		return value{}, malformed("The body begins with a byte order mark")
	case !utf8.Valid(body):
		return value{}, malformed("The body is not UTF-8")
	case !json.Valid(body):
		return value{}, malformed("The body is not JSON")
	}
	d := decoder{text: body, left: limits.Elements, limits: limits}
	v, no := d.value(1)
	if no == nil && v.kind != object {
		no = malformed("The body is not an object of named arguments")
	}
	return v, no
}

// A decoder walks through valid JSON.
type decoder struct {
	text   []byte
	at     int
	left   int // values that may still come
	limits Limits
}

// next skips white space and returns the next byte.
func (d *decoder) next() byte {
	for {
		switch c := d.text[d.at]; c {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return c
		}
	}
}

func (d *decoder) value(depth int) (v value, no *refusal) {
	if d.left--; d.left < 0 {
		return v, malformed("The body has more values than the limit of %d", d.limits.Elements)
	}
	switch c := d.next(); c {
	case '{', '[':
		if depth > d.limits.Depth {
			return v, malformed("The body is nested deeper than the limit of %d", d.limits.Depth)
		}
		if d.at++; c == '{' {
			return d.object(depth)
		}
		return d.array(depth)
	case '"':
		v.kind = text
		v.text, no = d.string()
		return v, no
	case 't':
		d.at += len("true")
		return value{kind: boolean, text: "true"}, nil
	case 'f':
		d.at += len("false")
		return value{kind: boolean, text: "false"}, nil
	case 'n':
		d.at += len("null")
		return v, nil
	}
	return d.number()
}

// object reads what follows an opening brace.
func (d *decoder) object(depth int) (v value, no *refusal) {
	v.kind = object
	for d.next() != '}' {
		if d.text[d.at] == ',' {
			d.at++
			d.next()
		}
		var m member
		if m.name, no = d.string(); no != nil {
			return v, no
		}
		d.next()
		d.at++ // the colon
		if m.value, no = d.value(depth + 1); no != nil {
			return v, no
		}
		v.members = append(v.members, m)
	}
	d.at++
	if name, is := twice(v.members); is {
		return v, malformed("An object has two members called %s", shown(name))
	}
	return v, nil
}

// array reads what follows an opening bracket.
func (d *decoder) array(depth int) (v value, no *refusal) {
	v.kind = array
	for d.next() != ']' {
		if d.text[d.at] == ',' {
			d.at++
		}
		item, no := d.value(depth + 1)
		if no != nil {
			return v, no
		}
		v.items = append(v.items, item)
	}
	d.at++
	return v, nil
}

func (d *decoder) number() (v value, no *refusal) {
	begin := d.at
	v.kind = integer
scan:
	for ; d.at < len(d.text); d.at++ {
		switch c := d.text[d.at]; {
		case c == '.', c == 'e', c == 'E':
			v.kind = decimal
		case c == '-', c == '+', c >= '0' && c <= '9':
		default:
			break scan
		}
	}
	if d.at-begin > d.limits.StringBytes {
		return v, malformed("A number is longer than the limit of %d bytes", d.limits.StringBytes)
	}
	v.text = string(d.text[begin:d.at])
	if _, err := strconv.ParseInt(v.text, 10, 64); v.kind == integer && err != nil {
		return v, malformed("A whole number has more than 64 bits")
	}
	return v, nil
}

// string reads a string from its opening quotation mark on.
func (d *decoder) string() (string, *refusal) {
	d.at++
	begin, escaped := d.at, false
	for d.text[d.at] != '"' {
		if d.text[d.at] == '\\' {
			escaped = true
			d.at++
		}
		d.at++
	}
	raw := d.text[begin:d.at]
	d.at++
	if escaped {
		var ok bool
		if raw, ok = unescaped(raw); !ok {
			return "", malformed("A string has half of a surrogate pair")
		}
	}
	if len(raw) > d.limits.StringBytes {
		return "", malformed("A string is longer than the limit of %d bytes", d.limits.StringBytes)
	}
	for _, r := range string(raw) {
		if !allowed(r) {
			return "", malformed("A string has the character U+%04X, which no text here may have", r)
		}
	}
	return string(raw), nil
}

// allowed reports whether a text may have a character: those of XML 1.0. So a call means the same
// whatever the caller speaks, and nothing behind this package meets a NUL.
func allowed(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000
}

// escapes are the characters that a backslash and a letter stand for.
var escapes = [256]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// unescaped resolves the escapes of a string. It reports false for half of a surrogate pair, which
// stands for no character.
func unescaped(raw []byte) ([]byte, bool) {
	plain := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		switch {
		case raw[0] != '\\':
			plain, raw = append(plain, raw[0]), raw[1:]
		case raw[1] != 'u':
			plain, raw = append(plain, escapes[raw[1]]), raw[2:]
		default:
			r := codeUnit(raw)
			raw = raw[len(`\u0000`):]
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if len(raw) >= len(`\u0000`) && raw[0] == '\\' && raw[1] == 'u' {
					low = codeUnit(raw)
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					return nil, false
				}
				raw = raw[len(`\u0000`):]
			}
			plain = utf8.AppendRune(plain, r)
		}
	}
	return plain, true
}

// codeUnit reads the four digits of \u.
func codeUnit(raw []byte) rune {
	n, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	if err != nil {
		return -1 // never in valid JSON
	}
	return rune(n)
}

// fewMembers is the largest number of members for which comparing every pair is cheaper than a map.
const fewMembers = 16

// twice finds a name that two members have. Parsers differ in which of the two they use.
func twice(members []member) (name string, is bool) {
	if len(members) <= fewMembers {
		for i := range members {
			for j := range members[:i] {
				if members[i].name == members[j].name {
					return members[i].name, true
				}
			}
		}
		return "", false
	}
	seen := make(map[string]struct{}, len(members))
	for i := range members {
		if _, is := seen[members[i].name]; is {
			return members[i].name, true
		}
		seen[members[i].name] = struct{}{}
	}
	return "", false
}

// shown shortens and quotes a name chosen by the client, for use in a sentence.
func shown(name string) string {
	const most = 40
	if utf8.RuneCountInString(name) > most {
		name = string([]rune(name)[:most]) + "…"
	}
	return strconv.Quote(name)
}
