package xmlrpc

import (
	"bytes"
	"unicode/utf8"
)

// A scanner reads XML 1.0 with namespaces, tag by tag. It accepts a strict subset of the
// standard: no document type, no processing instructions, and no attributes except namespace
// declarations. Its input has passed checkCharacters and has no XML declaration.
//
// Each call of next reads the characters before a tag, and the tag.
type scanner struct {
	limits Limits
	data   []byte
	pos    int // everything before it has been read

	text    []byte  // characters before the tag, with references resolved
	tag     tagKind // tag that next found
	element element // element that the tag opens or closes
	name    []byte  // its name as written

	buf      []byte // memory of text if it is not a part of data
	open     []openElement
	spaces   []namespace // declarations in scope, the innermost last
	elements int         // opened so far
	empty    bool        // the tag was <name/>, so its end comes next
}

type tagKind uint8

const (
	openTag tagKind = iota
	closeTag
	endOfDocument
)

type openElement struct {
	name    []byte
	element element
	spaces  int // declarations in scope before it
}

func (s *scanner) reset(data []byte, limits Limits) {
	*s = scanner{
		limits: limits, data: data,
		buf: s.buf[:0], open: s.open[:0], spaces: s.spaces[:0],
	}
}

// next reads up to and including the next tag.
func (s *scanner) next() *Fault {
	s.text = nil
	if s.empty {
		s.empty = false
		s.closeInnermost()
		return nil
	}
	s.buf = s.buf[:0]
	for {
		rest := s.data[s.pos:]
		if len(rest) == 0 || rest[0] != '<' {
			n := bytes.IndexByte(rest, '<')
			if n < 0 {
				return s.finish(rest)
			}
			if fault := s.characters(rest[:n]); fault != nil {
				return fault
			}
			s.pos += n
			rest = rest[n:]
		}
		if len(rest) < 2 {
			return s.malformed("the document ends inside a tag")
		}
		switch rest[1] {
		case '/':
			return s.readCloseTag()
		case '!':
			if fault := s.readMarkup(rest); fault != nil {
				return fault
			}
		case '?':
			if !bytes.Contains(rest, []byte("?>")) {
				return s.malformed("the document ends inside a processing instruction")
			}
			return s.invalid("a processing instruction")
		default:
			return s.readOpenTag()
		}
	}
}

// finish ends the document. After the root, only white space may follow.
func (s *scanner) finish(rest []byte) *Fault {
	if len(s.open) > 0 || s.elements == 0 {
		return s.malformed("the document ends too early")
	}
	if !isBlank(rest) {
		return s.malformed("text after the document")
	}
	s.pos = len(s.data)
	s.tag, s.element, s.name = endOfDocument, foreignElement, nil
	return nil
}

// characters adds the character data between two pieces of markup.
func (s *scanner) characters(raw []byte) *Fault {
	if len(s.open) == 0 {
		if !isBlank(raw) {
			return s.malformed("text outside the root element")
		}
		return nil
	}
	if bytes.Contains(raw, []byte("]]>")) {
		return s.malformed("]]> in text")
	}
	if len(s.text) == 0 && bytes.IndexByte(raw, '&') < 0 && bytes.IndexByte(raw, '\r') < 0 {
		return s.setText(raw)
	}
	s.moveText()
	var fault *Fault
	if s.buf, fault = s.resolve(s.buf, raw); fault != nil {
		return fault
	}
	return s.setText(s.buf)
}

// moveText makes sure that text is in buf, where it can grow.
func (s *scanner) moveText() {
	if len(s.buf) == 0 {
		s.buf = append(s.buf, s.text...)
	}
}

func (s *scanner) setText(text []byte) *Fault {
	if len(text) > s.limits.StringBytes {
		return faultf(InvalidRequest, "A string is longer than the limit of %d bytes",
			s.limits.StringBytes)
	}
	s.text = text
	return nil
}

// readMarkup reads a comment or a CDATA section.
func (s *scanner) readMarkup(rest []byte) *Fault {
	if inner, ok := bytes.CutPrefix(rest, []byte("<!--")); ok {
		n := bytes.Index(inner, []byte("--"))
		if n < 0 || !bytes.HasPrefix(inner[n:], []byte("-->")) {
			return s.malformed("a comment without its end, or with -- inside")
		}
		s.pos += len("<!--") + n + len("-->")
		return nil
	}
	inner, ok := bytes.CutPrefix(rest, []byte("<![CDATA["))
	if !ok {
		if bytes.HasPrefix(rest, []byte("<!DOCTYPE")) {
			return s.invalid("a document type declaration")
		}
		return s.malformed("unknown markup")
	}
	n := bytes.Index(inner, []byte("]]>"))
	if n < 0 || len(s.open) == 0 {
		return s.malformed("a CDATA section without its end, or outside the root element")
	}
	s.pos += len("<![CDATA[") + n + len("]]>")
	s.moveText()
	s.buf = appendLines(s.buf, inner[:n])
	return s.setText(s.buf)
}

// readCloseTag reads </name>.
func (s *scanner) readCloseTag() *Fault {
	inner := s.data[s.pos+2:]
	n := bytes.IndexByte(inner, '>')
	switch {
	case n < 0:
		return s.malformed("the document ends inside a tag")
	case len(s.open) == 0:
		return s.malformed("an end tag without its start tag")
	}
	name := s.open[len(s.open)-1].name
	if rest, ok := bytes.CutPrefix(inner[:n], name); !ok || !isBlank(rest) {
		return s.malformed("an end tag that does not match its start tag")
	}
	s.pos += 2 + n + 1
	s.closeInnermost()
	return nil
}

func (s *scanner) closeInnermost() {
	last := len(s.open) - 1
	s.tag, s.element, s.name = closeTag, s.open[last].element, s.open[last].name
	s.spaces = s.spaces[:s.open[last].spaces]
	s.open = s.open[:last]
}

// readOpenTag reads <name>, with declarations of namespaces, or <name/>.
func (s *scanner) readOpenTag() *Fault {
	if len(s.open) == 0 && s.elements > 0 {
		return s.malformed("a second root element")
	}
	if len(s.open) >= s.limits.Depth {
		return faultf(InvalidRequest, "Elements are nested deeper than the limit of %d",
			s.limits.Depth)
	}
	if s.elements++; s.elements > s.limits.Elements {
		return faultf(InvalidRequest, "There are more elements than the limit of %d",
			s.limits.Elements)
	}
	s.pos++
	name := s.readName()
	if len(name) == 0 {
		return s.malformed("< without a name")
	}
	scope := len(s.spaces)
	if fault := s.readAttributes(scope); fault != nil {
		return fault
	}
	element, fault := s.resolveName(name)
	if fault != nil {
		return fault
	}
	s.open = append(s.open, openElement{name, element, scope})
	s.tag, s.element, s.name = openTag, element, name
	return nil
}

// readName reads a name of XML. Characters beyond ASCII are accepted without consulting tables,
// because no name of XML-RPC has them.
func (s *scanner) readName() []byte {
	rest := s.data[s.pos:]
	n := 0
	for n < len(rest) && nameBytes[rest[n]] != 0 {
		n++
	}
	if n > 0 && nameBytes[rest[0]] != nameStart {
		return nil
	}
	s.pos += n
	return rest[:n]
}

const (
	nameStart = 1 // allowed at the start of a name
	nameRest  = 2 // allowed in a name
)

// nameBytes says which bytes names consist of.
var nameBytes = func() (table [256]byte) {
	for c := range table {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == ':', c >= utf8.RuneSelf:
			table[c] = nameStart
		case c >= '0' && c <= '9', c == '-', c == '.':
			table[c] = nameRest
		}
	}
	return table
}()

func (s *scanner) skipSpace() (skipped bool) {
	for s.pos < len(s.data) && isSpace(s.data[s.pos]) {
		s.pos++
		skipped = true
	}
	return skipped
}

// malformed is the fault for a document that is not well-formed.
func (s *scanner) malformed(what string) *Fault {
	return faultf(NotWellFormed, "Not well-formed XML, line %d: %s", s.line(), what)
}

// invalid is the fault for a document that is not a call.
func (s *scanner) invalid(what string) *Fault {
	return faultf(InvalidRequest, "Not an XML-RPC call, line %d: %s", s.line(), what)
}

func (s *scanner) line() int {
	return 1 + bytes.Count(s.data[:s.pos], []byte("\n"))
}
