package xmlrpc

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// A node is an element built from the tokens of encoding/xml.
type node struct {
	element  element
	text     string // all of its text
	blank    bool   // the text is empty or white space
	children []*node
}

var errNoCall = errors.New("no call")

// decodeByStandardLibrary is a second implementation of the decoder, on a tree built by
// encoding/xml, with checks for what that package accepts wrongly. It has no limits.
func decodeByStandardLibrary(text []byte) (call, error) {
	root, err := parseTree(text)
	if err != nil {
		return call{}, err
	}
	if root.element != methodCallElement || !root.blank || len(root.children) == 0 ||
		len(root.children) > 2 {
		return call{}, errNoCall
	}
	name := root.children[0]
	c := call{method: strings.Trim(name.text, " \t\r\n")}
	if name.element != methodNameElement || len(name.children) > 0 ||
		!isMethodName([]byte(c.method)) {
		return call{}, errNoCall
	}
	for _, params := range root.children[1:] {
		if params.element != paramsElement || !params.blank {
			return call{}, errNoCall
		}
		for _, param := range params.children {
			if param.element != paramElement || !param.blank || len(param.children) != 1 {
				return call{}, errNoCall
			}
			v, err := param.children[0].value()
			if err != nil {
				return call{}, err
			}
			c.args = append(c.args, v)
		}
	}
	return c, nil
}

func parseTree(text []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	document := &node{blank: true}
	open := []*node{document}
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		innermost := open[len(open)-1]
		switch t := token.(type) {
		case xml.StartElement:
			for _, a := range t.Attr {
				if a.Name.Space != "xmlns" && a.Name != (xml.Name{Local: "xmlns"}) {
					return nil, errNoCall
				}
			}
			n := &node{blank: true}
			switch t.Name.Space {
			case "":
				n.element = elementNamed([]byte(t.Name.Local))
			case extensions:
				n.element = extensionNamed([]byte(t.Name.Local))
			}
			innermost.children = append(innermost.children, n)
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			innermost.text += string(t)
			innermost.blank = innermost.blank && isBlank(t)
		case xml.Comment:
		default:
			return nil, errNoCall
		}
	}
	if len(document.children) != 1 || !document.blank {
		return nil, errNoCall
	}
	return document.children[0], nil
}

func (n *node) value() (Value, error) {
	switch {
	case n.element != valueElement:
		return Value{}, errNoCall
	case len(n.children) == 0:
		return StringValue(n.text), nil
	case len(n.children) > 1 || !n.blank:
		return Value{}, errNoCall
	}
	typed := n.children[0]
	switch typed.element {
	case arrayElement:
		if !typed.blank || len(typed.children) != 1 || typed.children[0].element != dataElement ||
			!typed.children[0].blank {
			return Value{}, errNoCall
		}
		v := Value{Kind: Array}
		for _, item := range typed.children[0].children {
			i, err := item.value()
			if err != nil {
				return Value{}, err
			}
			v.Items = append(v.Items, i)
		}
		return v, nil
	case structElement:
		v := Value{Kind: Struct}
		for _, member := range typed.children {
			if member.element != memberElement || !member.blank || len(member.children) != 2 {
				return Value{}, errNoCall
			}
			name := member.children[0]
			if _, taken := v.Member(name.text); taken || name.element != nameElement ||
				len(name.children) > 0 {
				return Value{}, errNoCall
			}
			m, err := member.children[1].value()
			if err != nil {
				return Value{}, err
			}
			v.Members = append(v.Members, Member{name.text, m})
		}
		if !typed.blank {
			return Value{}, errNoCall
		}
		return v, nil
	}
	return typed.scalar()
}

func (n *node) scalar() (Value, error) {
	if len(n.children) > 0 {
		return Value{}, errNoCall
	}
	text := strings.Trim(n.text, " \t\r\n")
	v, ok := Value{Text: text}, false
	integer := func(bits int) { v.Kind, ok = Int, isInt([]byte(text), bits) }
	switch n.element {
	case i1Element:
		integer(8)
	case i2Element:
		integer(16)
	case intElement:
		integer(64)
	case i8Element:
		integer(64)
	case bigIntegerElement:
		integer(0)
	case booleanElement:
		v.Kind, ok = Boolean, text == "0" || text == "1"
	case stringElement:
		v, ok = StringValue(n.text), true
	case doubleElement:
		v.Kind, ok = Double, isDouble([]byte(text))
	case dateTimeElement:
		v.Kind, ok = DateTime, isDateTime([]byte(text))
	case base64Element:
		v.Kind = Base64
		v.Text, ok = decodeBase64([]byte(text))
	case nilElement:
		ok = text == ""
	}
	if !ok {
		return Value{}, errNoCall
	}
	return v, nil
}
