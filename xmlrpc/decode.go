package xmlrpc

import "sync"

// A call is a decoded methodCall.
type call struct {
	method string
	args   []Value
}

// maxMethodName bounds the name of a method, which texts of faults repeat.
const maxMethodName = 255

// A decoder decodes calls. The zero value is ready, and a decoder can be reused.
type decoder struct {
	scanner

	// Items of arrays and structs that are not complete yet. They are collected here so that each
	// array and struct is allocated once, when its size is known.
	values  []Value
	members []Member
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// maxKeptItems bounds the memory that a decoder keeps between calls: 40 KiB.
const maxKeptItems = 256

// decodeCall decodes the call in body. charset is the parameter of the media type, or empty.
// The call shares no memory with body.
func decodeCall(body []byte, charset string, limits Limits) (call, *Fault) {
	text, fault := toUTF8(body, charset)
	if fault != nil {
		return call{}, fault
	}
	d := decoders.Get().(*decoder)
	c, fault := d.decode(text, limits)
	d.release()
	return c, fault
}

// release makes d ready for the next call, and drops its references.
func (d *decoder) release() {
	if cap(d.values) > maxKeptItems || cap(d.members) > maxKeptItems || cap(d.buf) > maxKeptBytes {
		return
	}
	clear(d.values) // left behind by a fault; the rest is cleared when it is popped
	clear(d.members)
	clear(d.open[:cap(d.open)])
	clear(d.spaces[:cap(d.spaces)])
	d.reset(nil, Limits{})
	decoders.Put(d)
}

// decode decodes a document in the form that toUTF8 returns.
func (d *decoder) decode(text []byte, limits Limits) (call, *Fault) {
	d.reset(text, limits)
	d.values, d.members = d.values[:0], d.members[:0]
	if fault := d.expectOpen(methodCallElement); fault != nil {
		return call{}, fault
	}
	if fault := d.expectOpen(methodNameElement); fault != nil {
		return call{}, fault
	}
	name, fault := d.content()
	if fault != nil {
		return call{}, fault
	}
	name = trimSpace(name)
	if !isMethodName(name) {
		return call{}, d.invalid("what stands in <methodName> is no name of a method")
	}
	c := call{method: string(name)}
	if fault := d.nextTag(); fault != nil {
		return call{}, fault
	}
	if d.tag == openTag {
		if d.element != paramsElement {
			return call{}, d.unexpected()
		}
		if c.args, fault = d.params(); fault != nil {
			return call{}, fault
		}
		if fault := d.expectClose(); fault != nil {
			return call{}, fault
		}
	}
	return c, d.next() // nil at the end of the document, or a fault
}

// isMethodName reports whether b consists of the characters that the specification allows in
// names of methods.
func isMethodName(b []byte) bool {
	for _, c := range b {
		if nameBytes[c] == 0 && c != '/' || c == '-' || c >= 0x80 {
			return false
		}
	}
	return len(b) > 0 && len(b) <= maxMethodName
}

func (d *decoder) params() ([]Value, *Fault) {
	mark := len(d.values)
	for {
		if fault := d.nextTag(); fault != nil {
			return nil, fault
		}
		if d.tag == closeTag {
			return pop(&d.values, mark), nil
		}
		if d.element != paramElement {
			return nil, d.unexpected()
		}
		if fault := d.expectOpen(valueElement); fault != nil {
			return nil, fault
		}
		v, fault := d.value()
		if fault != nil {
			return nil, fault
		}
		d.values = append(d.values, v)
		if fault := d.expectClose(); fault != nil {
			return nil, fault
		}
	}
}

// pop moves the items of a stack from mark on into memory of their own.
func pop[T any](stack *[]T, mark int) []T {
	top := (*stack)[mark:]
	if len(top) == 0 {
		return nil
	}
	own := make([]T, len(top))
	copy(own, top)
	clear(top)
	*stack = (*stack)[:mark]
	return own
}

// value decodes from <value> to after </value>.
func (d *decoder) value() (Value, *Fault) {
	if fault := d.next(); fault != nil {
		return Value{}, fault
	}
	if d.tag == closeTag {
		return StringValue(string(d.text)), nil // untyped
	}
	if !isBlank(d.text) {
		return Value{}, d.invalid("a <value> with both text and an element")
	}
	var v Value
	var fault *Fault
	switch d.element {
	case arrayElement:
		v, fault = d.array()
	case structElement:
		v, fault = d.structure()
	default:
		v, fault = d.scalar()
	}
	if fault != nil {
		return Value{}, fault
	}
	return v, d.expectClose()
}

// array decodes from <array> to after </array>.
func (d *decoder) array() (Value, *Fault) {
	if fault := d.expectOpen(dataElement); fault != nil {
		return Value{}, fault
	}
	mark := len(d.values)
	for {
		if fault := d.nextTag(); fault != nil {
			return Value{}, fault
		}
		if d.tag == closeTag {
			break
		}
		if d.element != valueElement {
			return Value{}, d.unexpected()
		}
		v, fault := d.value()
		if fault != nil {
			return Value{}, fault
		}
		d.values = append(d.values, v)
	}
	return Value{Kind: Array, Items: pop(&d.values, mark)}, d.expectClose()
}

// structure decodes from <struct> to after </struct>.
func (d *decoder) structure() (Value, *Fault) {
	mark := len(d.members)
	for {
		if fault := d.nextTag(); fault != nil {
			return Value{}, fault
		}
		if d.tag == closeTag {
			break
		}
		if d.element != memberElement {
			return Value{}, d.unexpected()
		}
		if fault := d.expectOpen(nameElement); fault != nil {
			return Value{}, fault
		}
		name, fault := d.content()
		if fault != nil {
			return Value{}, fault
		}
		m := Member{Name: memberName(name)}
		if fault := d.expectOpen(valueElement); fault != nil {
			return Value{}, fault
		}
		if m.Value, fault = d.value(); fault != nil {
			return Value{}, fault
		}
		d.members = append(d.members, m)
		if fault := d.expectClose(); fault != nil {
			return Value{}, fault
		}
	}
	v := Value{Kind: Struct, Members: pop(&d.members, mark)}
	if twice(v.Members) {
		return Value{}, d.invalid("a struct with two members of one name")
	}
	return v, nil
}

// memberName makes a string of the name of a member. It does not allocate for the names in a
// multicall.
func memberName(b []byte) string {
	switch string(b) {
	case "methodName":
		return "methodName"
	case "params":
		return "params"
	}
	return string(b)
}

// fewMembers is the largest number of members for which comparing every pair is cheaper than a
// map.
const fewMembers = 16

// twice reports whether two members have the same name. Parsers differ in which of the two they
// use.
func twice(members []Member) bool {
	if len(members) <= fewMembers {
		for i := range members {
			for j := range members[:i] {
				if members[i].Name == members[j].Name {
					return true
				}
			}
		}
		return false
	}
	seen := make(map[string]struct{}, len(members))
	for i := range members {
		seen[members[i].Name] = struct{}{}
	}
	return len(seen) < len(members)
}

// scalar decodes from the open tag of a scalar to after its end tag.
func (d *decoder) scalar() (Value, *Fault) {
	e := d.element
	if e < intElement {
		return Value{}, d.unexpected()
	}
	text, fault := d.content()
	if fault != nil {
		return Value{}, fault
	}
	if e == stringElement {
		return StringValue(string(text)), nil
	}
	text = trimSpace(text)
	v, ok := Value{}, false
	switch e {
	case i1Element:
		v.Kind, ok = Int, isInt(text, 8)
	case i2Element:
		v.Kind, ok = Int, isInt(text, 16)
	case intElement: // some clients write every integer as <int>, so up to 64 bits are accepted
		v.Kind, ok = Int, isInt(text, 64)
	case i8Element:
		v.Kind, ok = Int, isInt(text, 64)
	case bigIntegerElement:
		v.Kind, ok = Int, isInt(text, 0)
	case booleanElement:
		v.Kind, ok = Boolean, string(text) == "0" || string(text) == "1"
	case doubleElement:
		v.Kind, ok = Double, isDouble(text)
	case dateTimeElement:
		v.Kind, ok = DateTime, isDateTime(text)
	case nilElement:
		ok = len(text) == 0
	case base64Element:
		v.Kind = Base64
		v.Text, ok = decodeBase64(text)
	}
	if !ok {
		return Value{}, d.invalid("the text of <" + printable(d.name) + "> is none of its kind " +
			"or range")
	}
	if v.Kind != Base64 {
		v.Text = string(text)
	}
	return v, nil
}

// nextTag reads the next tag. No text may come before it.
func (d *decoder) nextTag() *Fault {
	if fault := d.next(); fault != nil {
		return fault
	}
	if !isBlank(d.text) {
		return d.invalid("text where only elements belong")
	}
	return nil
}

func (d *decoder) expectOpen(e element) *Fault {
	if fault := d.nextTag(); fault != nil {
		return fault
	}
	if d.tag != openTag || d.element != e {
		return d.unexpected()
	}
	return nil
}

// expectClose reads the end tag of the innermost element. The scanner has verified that it
// matches the open tag.
func (d *decoder) expectClose() *Fault {
	if fault := d.nextTag(); fault != nil {
		return fault
	}
	if d.tag != closeTag {
		return d.unexpected()
	}
	return nil
}

// content reads the text up to the end tag of the innermost element, which may not have child
// elements. The text is valid until the next tag is read.
func (d *decoder) content() ([]byte, *Fault) {
	if fault := d.next(); fault != nil {
		return nil, fault
	}
	if d.tag != closeTag {
		return nil, d.unexpected()
	}
	return d.text, nil
}

// unexpected is the fault for a tag in a wrong place.
func (d *decoder) unexpected() *Fault {
	name := printable(d.name)
	switch {
	case d.tag == closeTag:
		return d.invalid("<" + name + "> lacks what belongs in it")
	case d.element == foreignElement:
		return d.invalid("<" + name + "> is no element of XML-RPC")
	}
	return d.invalid("<" + name + "> does not belong there")
}

// printable shortens a name chosen by the client, for use in a sentence.
func printable[T []byte | string](name T) string {
	const most = 40
	if len(name) > most {
		return string(name[:most]) + "…"
	}
	return string(name)
}
