package audit

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/atm"
)

// A writer appends canonical JSON (RFC 8785). Its callers write keys in order. Numbers are
// integers below 2^53, so their digits are their canonical form.
type writer struct {
	b     []byte
	comma bool // a comma belongs before the next key or item
}

func (w *writer) open(bracket byte) { w.b, w.comma = append(w.b, bracket), false }

func (w *writer) close(bracket byte) { w.b, w.comma = append(w.b, bracket), true }

// item begins the next item of an array.
func (w *writer) item() {
	if w.comma {
		w.b = append(w.b, ',')
	}
	w.comma = true
}

// key begins a member. Names come from the program itself and need no escaping.
func (w *writer) key(name string) {
	w.item()
	w.b = append(append(append(w.b, '"'), name...), '"', ':')
}

func (w *writer) field(name, value string) {
	w.key(name)
	w.text(value)
}

func (w *writer) int(n int64) { w.b = strconv.AppendInt(w.b, n, 10) }

func (w *writer) money(name string, a atm.Amount) {
	w.key(name)
	w.b = append(a.AppendText(append(w.b, '"')), '"')
}

func (w *writer) time(name string, t time.Time) {
	w.key(name)
	w.b = append(appendTime(append(w.b, '"'), t.UTC()), '"')
}

// appendTime is t.AppendFormat(b, TimeFormat) by hand, which is faster. Each entry has a time.
func appendTime(b []byte, t time.Time) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, TimeFormat)
	}
	b = append(appendDigits(b, year, 4), '-')
	b = append(appendDigits(b, int(month), 2), '-')
	b = append(appendDigits(b, day, 2), 'T')
	b = append(appendDigits(b, hour, 2), ':')
	b = append(appendDigits(b, minute, 2), ':')
	b = append(appendDigits(b, second, 2), '.')
	return append(appendDigits(b, t.Nanosecond()/1000, 6), 'Z')
}

// appendDigits appends the last digits of n.
func appendDigits(b []byte, n, digits int) []byte {
	b = append(b, "000000"[:digits]...)
	for i := len(b) - 1; n > 0 && digits > 0; i, digits = i-1, digits-1 {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

const lowerHex = "0123456789abcdef"

// text appends a string. Only quotation marks, backslashes and control characters are escaped.
// Invalid UTF-8 becomes U+FFFD.
func (w *writer) text(s string) {
	b := append(w.b, '"')
	i := plainBytes(s)
	b = append(b, s[:i]...)
	for i < len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\b':
			b = append(b, '\\', 'b')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\f':
			b = append(b, '\\', 'f')
		case c == '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&15])
		}
	}
	w.b = append(b, '"')
}

// plainBytes is the number of bytes at the start of s that need no escaping. It reads eight
// bytes at a time: a byte of the final expression has its highest bit set if that byte of s is
// not ASCII, a control character, a quotation mark or a backslash. A borrow can also set the bit
// for the byte after such a one, which only makes the byte-wise loop below run.
func plainBytes(s string) int {
	const each, highest = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, slash := w^each*'"', w^each*'\\'
		if (w|(w-each*' ')|(quote-each)&^quote|(slash-each)&^slash)&highest != 0 {
			break
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// value appends a structured result. Fields of a record are sorted by name; names are ASCII.
func (w *writer) value(v any) {
	switch v := v.(type) {
	case string:
		w.text(v)
	case int64:
		w.int(v)
	case bool:
		w.b = strconv.AppendBool(w.b, v)
	case []string:
		writeArray(w, v)
	case []atm.Record:
		writeArray(w, v)
	case atm.Record:
		w.open('{')
		for _, field := range slices.SortedFunc(slices.Values(v), func(a, b atm.Field) int {
			return cmp.Compare(a.Name, b.Name)
		}) {
			w.key(field.Name)
			w.value(field.Value)
		}
		w.close('}')
	default: // such as an atm.Private, which no log has
		w.text("")
	}
}

func writeArray[T any](w *writer, items []T) {
	w.open('[')
	for _, item := range items {
		w.item()
		w.value(item)
	}
	w.close(']')
}

// ResultText is a result as an entry keeps it: a string unchanged, anything else as the hash of
// its canonical JSON.
func ResultText(result any) string {
	switch v := result.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return hashText(AppendResult(nil, result))
}

// AppendResult appends a result of an operation in canonical JSON (RFC 8785).
func AppendResult(b []byte, result any) []byte {
	w := writer{b: b}
	w.value(result)
	return w.b
}

func hashText(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + base64.StdEncoding.EncodeToString(sum[:])
}

const (
	maxArgBytes   = 256 // the longest argument that is written whole
	keptArgLetter = 64  // how many characters of a longer one are kept
)

// ArgText is an argument as an entry keeps it: of a long one its first characters and its hash.
func ArgText(s string) string {
	if len(s) <= maxArgBytes {
		return s
	}
	kept := 0
	for i := range s {
		if kept++; kept > keptArgLetter {
			return strings.ToValidUTF8(s[:i], "\ufffd") + "…" + hashText([]byte(s))
		}
	}
	return s
}
