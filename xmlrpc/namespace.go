package xmlrpc

import "bytes"

// A namespace is a declaration of a prefix for one of the known namespaces.
type namespace struct {
	prefix []byte
	kind   namespaceKind
}

type namespaceKind uint8

const (
	noNamespace namespaceKind = iota
	extensionNamespace
	foreignNamespace
)

// maxNamespaces bounds the declarations in scope, because names are looked up linearly. Real
// clients make one.
const maxNamespaces = 16

// readAttributes reads the attributes and the end of an open tag, and brings the declared
// namespaces into scope. The element's own declarations begin at index scope.
func (s *scanner) readAttributes(scope int) *Fault {
	for {
		spaced := s.skipSpace()
		rest := s.data[s.pos:]
		switch {
		case len(rest) == 0:
			return s.malformed("the document ends inside a tag")
		case rest[0] == '>':
			s.pos++
			return nil
		case rest[0] == '/':
			if len(rest) < 2 || rest[1] != '>' {
				return s.malformed("/ inside a tag")
			}
			s.pos += 2
			s.empty = true
			return nil
		case !spaced:
			return s.malformed("a name with a character that names do not have")
		}
		name, value, fault := s.readAttribute()
		if fault != nil {
			return fault
		}
		if fault := s.declare(name, value, scope); fault != nil {
			return fault
		}
	}
}

// readAttribute reads name="value". References in the value are not resolved.
func (s *scanner) readAttribute() (name, value []byte, fault *Fault) {
	name = s.readName()
	s.skipSpace()
	if len(name) == 0 || s.pos == len(s.data) || s.data[s.pos] != '=' {
		return nil, nil, s.malformed("a tag with something that is no attribute")
	}
	s.pos++
	s.skipSpace()
	rest := s.data[s.pos:]
	if len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' {
		return nil, nil, s.malformed("an attribute without quotes")
	}
	n := bytes.IndexByte(rest[1:], rest[0])
	if n < 0 {
		return nil, nil, s.malformed("an attribute without its end")
	}
	value = rest[1 : 1+n]
	if bytes.IndexByte(value, '<') >= 0 {
		return nil, nil, s.malformed("< in an attribute")
	}
	s.pos += n + 2
	return name, value, nil
}

// declare brings a namespace into scope. XML-RPC defines no attributes, so any other attribute
// is refused.
func (s *scanner) declare(name, value []byte, scope int) *Fault {
	prefix, ok := bytes.CutPrefix(name, []byte("xmlns"))
	if ok && len(prefix) > 0 {
		ok = prefix[0] == ':'
		prefix = prefix[1:]
		if ok && (len(prefix) == 0 || nameBytes[prefix[0]] != nameStart ||
			bytes.IndexByte(prefix, ':') >= 0) {
			return s.malformed("a namespace without a proper prefix")
		}
	}
	if !ok {
		return s.invalid("an attribute")
	}
	// The buffer buf cannot be used here: it may still hold the text before the tag.
	uri, fault := s.resolve(make([]byte, 0, len(value)), value)
	if fault != nil {
		return fault
	}
	switch p := string(prefix); {
	case p == "xml", p == "xmlns", p != "" && len(uri) == 0,
		string(uri) == xmlNamespace, string(uri) == xmlnsNamespace:
		return s.malformed("a namespace that must not be declared")
	}
	for _, other := range s.spaces[scope:] {
		if bytes.Equal(other.prefix, prefix) {
			return s.malformed("an attribute given twice")
		}
	}
	if len(s.spaces) == maxNamespaces {
		return faultf(InvalidRequest, "There are more namespaces than the limit of %d",
			maxNamespaces)
	}
	kind := foreignNamespace
	switch string(uri) {
	case "":
		kind = noNamespace
	case extensions:
		kind = extensionNamespace
	}
	s.spaces = append(s.spaces, namespace{prefix, kind})
	return nil
}

// The namespaces that Namespaces in XML 1.0, section 3, reserves. They cannot be bound to other
// prefixes, and the first one need not be declared.
const (
	xmlNamespace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsNamespace = "http://www.w3.org/2000/xmlns/"
)

// resolveName returns the element of a name in the current scope.
func (s *scanner) resolveName(name []byte) (element, *Fault) {
	if len(s.spaces) == 0 { // true for nearly every request
		if e := elementNamed(name); e != foreignElement {
			return e, nil
		}
	}
	prefix, local, prefixed := bytes.Cut(name, []byte(":"))
	if !prefixed {
		prefix, local = nil, name
	} else if len(prefix) == 0 || len(local) == 0 || nameBytes[local[0]] != nameStart ||
		bytes.IndexByte(local, ':') >= 0 {
		return foreignElement, s.malformed("a name with a colon out of place")
	}
	for i := len(s.spaces) - 1; i >= 0; i-- {
		if !bytes.Equal(s.spaces[i].prefix, prefix) {
			continue
		}
		switch s.spaces[i].kind {
		case extensionNamespace:
			return extensionNamed(local), nil
		case foreignNamespace:
			return foreignElement, nil
		}
		return elementNamed(local), nil
	}
	switch string(prefix) {
	case "":
		return elementNamed(local), nil
	case "xml":
		return foreignElement, nil
	}
	return foreignElement, s.malformed("a prefix without its namespace")
}
