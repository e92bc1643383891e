package audit

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit/canonical"
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
	w.b = append(canonical.AppendTime(append(w.b, '"'), t.UTC()), '"')
}

// text appends a string.
func (w *writer) text(s string) { w.b = canonical.AppendString(w.b, s) }

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
