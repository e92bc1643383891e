package canonical

import (
	"strings"
	"time"
	"unicode/utf8"
)

// CutString reads a string that AppendString wrote without escaping anything, and returns it with
// what follows it. It returns false for any other text. The string shares the memory of s.
func CutString(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", s, false
	}
	value = s[1:]
	end := plainBytes(value)
	if end < len(value) && value[end] >= utf8.RuneSelf {
		if end = strings.IndexByte(value, '"'); end < 0 || !isPlain(value[:end]) {
			return "", s, false
		}
	}
	if end == len(value) || value[end] != '"' {
		return "", s, false
	}
	return value[:end], value[end+1:], true
}

// isPlain reports whether s is valid UTF-8 of which nothing needs to be escaped.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == '\\' || s[i] == '"' {
			return false
		}
	}
	return utf8.ValidString(s)
}

// ParseTime is time.Parse(TimeFormat, s), which is slower.
func ParseTime(s string) (time.Time, error) {
	if len(s) == len(TimeFormat) {
		t := time.Date(digits(s[0:4]), time.Month(digits(s[5:7])), digits(s[8:10]),
			digits(s[11:13]), digits(s[14:16]), digits(s[17:19]), 1000*digits(s[20:26]), time.UTC)
		var written [len(TimeFormat)]byte
		if string(AppendTime(written[:0], t)) == s { // the 30th of February comes back as in March
			return t, nil
		}
	}
	return time.Parse(TimeFormat, s)
}

// digits is a number that s may be.
func digits(s string) (n int) {
	for i := range len(s) {
		n = 10*n + int(s[i]-'0')
	}
	return n
}
