package xmlrpc

import (
	"encoding/base64"
	"sync"
	"unicode/utf8"
)

// maxKeptBytes bounds a buffer that is kept for reuse, in bytes.
const maxKeptBytes = 64 << 10

// buffers has buffers for bodies and replies, for reuse.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 4<<10)
	return &b
}}

func releaseBuffer(b *[]byte) {
	if cap(*b) <= maxKeptBytes {
		buffers.Put(b)
	}
}

const declaration = `<?xml version="1.0"?>`

// appendResponse appends the methodResponse with v.
func appendResponse(dst []byte, v Value) []byte {
	dst = append(dst, declaration+"<methodResponse><params><param>"...)
	dst = appendValue(dst, v)
	return append(dst, "</param></params></methodResponse>"...)
}

// appendFault appends the methodResponse with f.
func appendFault(dst []byte, f *Fault) []byte {
	dst = append(dst, declaration+"<methodResponse><fault>"...)
	dst = appendValue(dst, f.value())
	return append(dst, "</fault></methodResponse>"...)
}

// appendCall appends a methodCall.
func appendCall(dst []byte, c call) []byte {
	dst = append(dst, declaration+"<methodCall><methodName>"...)
	dst = appendText(dst, c.method)
	dst = append(dst, "</methodName><params>"...)
	for _, arg := range c.args {
		dst = append(dst, "<param>"...)
		dst = appendValue(dst, arg)
		dst = append(dst, "</param>"...)
	}
	return append(dst, "</params></methodCall>"...)
}

func appendValue(dst []byte, v Value) []byte {
	switch v.Kind {
	case Nil:
		return append(dst, "<value><nil/></value>"...)
	case Array:
		dst = append(dst, "<value><array><data>"...)
		for i := range v.Items {
			dst = appendValue(dst, v.Items[i])
		}
		return append(dst, "</data></array></value>"...)
	case Struct:
		dst = append(dst, "<value><struct>"...)
		for i := range v.Members {
			dst = append(dst, "<member><name>"...)
			dst = appendText(dst, v.Members[i].Name)
			dst = append(dst, "</name>"...)
			dst = appendValue(dst, v.Members[i].Value)
			dst = append(dst, "</member>"...)
		}
		return append(dst, "</struct></value>"...)
	case Base64:
		dst = append(dst, "<value><base64>"...)
		dst = base64.StdEncoding.AppendEncode(dst, []byte(v.Text))
		return append(dst, "</base64></value>"...)
	case Int:
		if isInt([]byte(v.Text), 32) {
			dst = append(dst, "<value><int>"...)
			dst = append(dst, v.Text...)
			return append(dst, "</int></value>"...)
		}
	case Boolean:
		dst = append(dst, "<value><boolean>"...)
		dst = appendText(dst, v.Text)
		return append(dst, "</boolean></value>"...)
	case Double:
		dst = append(dst, "<value><double>"...)
		dst = appendText(dst, v.Text)
		return append(dst, "</double></value>"...)
	case DateTime:
		dst = append(dst, "<value><dateTime.iso8601>"...)
		dst = appendText(dst, v.Text)
		return append(dst, "</dateTime.iso8601></value>"...)
	}
	// A String, or an Int too large for the 32 bits of the specification.
	dst = append(dst, "<value><string>"...)
	dst = appendText(dst, v.Text)
	return append(dst, "</string></value>"...)
}

// appendText appends s as character data. Markup is escaped, CR is written as a reference
// because parsers turn a bare CR into LF, and a character that XML 1.0 does not allow becomes
// U+FFFD.
func appendText(dst []byte, s string) []byte {
	plain := 0 // from here to i, nothing needs escaping
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if escapes[c] != "" {
				dst = append(dst, s[plain:i]...)
				dst = append(dst, escapes[c]...)
				plain = i + 1
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || !isXMLChar(r) {
			dst = append(dst, s[plain:i]...)
			dst = append(dst, "\ufffd"...)
			plain = i + size
		}
		i += size
	}
	return append(dst, s[plain:]...)
}

// escapes has the escaped form of ASCII characters in character data, or "" if a character
// needs none.
var escapes = func() (table [utf8.RuneSelf]string) {
	for c := range table {
		if !isXMLChar(rune(c)) {
			table[c] = "\ufffd"
		}
	}
	table['&'], table['<'], table['>'], table['\r'] = "&amp;", "&lt;", "&gt;", "&#13;"
	return table
}()
