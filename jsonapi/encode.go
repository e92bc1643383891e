package jsonapi

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/atm"
)

// appendDict appends a status dict as an object. A refusal has the members of RFC 9457 too, but for
// its status, which is the dict's.
func appendDict(dst []byte, a *Answer) []byte {
	dst = append(dst, `{"status":`...)
	dst = appendText(dst, a.Word())
	dst = appendText(append(dst, `,"reason":`...), a.Reason)
	dst = appendValue(append(dst, `,"result":`...), a.Result)
	dst = appendText(append(dst, `,"code":`...), string(a.Code))
	dst = appendText(append(dst, `,"receipt":`...), a.Receipt)
	if a.Code != atm.OK {
		dst = appendText(append(dst, `,"type":`...), "/#"+string(a.Code))
		dst = appendText(append(dst, `,"title":`...), titleOf(a.Code))
		dst = appendText(append(dst, `,"detail":`...), a.Reason)
		if a.Receipt != "" {
			dst = appendText(append(dst, `,"instance":`...), instance(a.Receipt))
		}
	}
	return append(dst, '}')
}

// instance is a reference (RFC 3986) that names the entry of a refusal by the index in its receipt.
func instance(receipt string) string {
	index, _, _ := strings.Cut(receipt, " ")
	return "/audit/#" + index
}

// largestNumber is the largest number that every reader of JSON keeps exactly.
const largestNumber = 1<<53 - 1

func appendValue(dst []byte, result any) []byte {
	switch v := result.(type) {
	case string:
		return appendText(dst, v)
	case atm.Private:
		return appendText(dst, string(v))
	case int64:
		if v > largestNumber || v < -largestNumber {
			return appendText(dst, strconv.FormatInt(v, 10))
		}
		return strconv.AppendInt(dst, v, 10)
	case bool:
		return strconv.AppendBool(dst, v)
	case []string:
		return appendArray(dst, v)
	case []atm.Record:
		return appendArray(dst, v)
	case atm.Record:
		dst = append(dst, '{')
		for i, field := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendText(dst, field.Name), ':')
			dst = appendValue(dst, field.Value)
		}
		return append(dst, '}')
	}
	return append(dst, `""`...)
}

func appendArray[T any](dst []byte, items []T) []byte {
	dst = append(dst, '[')
	for i, item := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendValue(dst, item)
	}
	return append(dst, ']')
}

const hexDigits = "0123456789abcdef"

// appendText appends s as a string. What is not UTF-8 becomes U+FFFD.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	plain := 0 // from here to i, nothing needs escaping
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[plain:i]...), "\ufffd"...)
				plain = i + 1
			}
			i += size
			continue
		}
		if c < ' ' || c == '"' || c == '\\' {
			dst = append(append(dst, s[plain:i]...), '\\')
			switch c {
			case '"', '\\':
				dst = append(dst, c)
			case '\n':
				dst = append(dst, 'n')
			default:
				dst = append(dst, 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			plain = i + 1
		}
		i++
	}
	return append(append(dst, s[plain:]...), '"')
}
